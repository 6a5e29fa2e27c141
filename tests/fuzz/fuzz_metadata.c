/* What the metadata action reads of a workflow: templates, formats of dates, versions, comments of lists. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "actions/handlebars.h"
#include "actions/lists.h"
#include "actions/metadata.h"
#include "actions/moment.h"

static char *value(void *data, const struct wh_handlebars_call *call, struct wh_error *err)
{
    (void)data;
    if (call->name[0] == 'e') {
        wh_fail(err, WH_E_ARGUMENT, "refused");
        return NULL;
    }
    return call->name[0] == 'n' ? NULL : wh_strdup(call->argument ? call->argument : call->name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 << 13 || memchr(data, 0, size))
        return 0;
    wh_autofree char *text = wh_strndup((const char *)data, size);
    free(wh_handlebars(text, value, NULL, NULL));
    (void)wh_handlebars_is_only(text, "raw");
    bool unknown;
    free(wh_moment_format(1709247845678, "UTC", text, &unknown));
    int64_t when;
    if (wh_moment_parse(text, &when))
        free(wh_moment_iso(when));
    struct metadata_semver semver;
    if (metadata_semver_parse(text, &semver)) { /* what was made of it is a version again */
        wh_autofree char *version = metadata_semver_version(&semver);
        metadata_semver_free(&semver);
        if (!metadata_semver_parse(version, &semver))
            abort();
        metadata_semver_free(&semver);
    }
    struct metadata_pep440 pep440;
    if (metadata_pep440_parse(text, &pep440))
        metadata_pep440_free(&pep440);
    wh_autofree char *plain =
        wh_input_uncomment(text, size % 2 ? WH_LIST_COMMENT_LINES : WH_LIST_COMMENT_ANYWHERE);
    wh_strv_free(wh_input_list(plain, WH_LIST_LINE));
    return 0;
}
