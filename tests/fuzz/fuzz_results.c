/* What comes back from the results service and out of our own files: signed URLs, step records, kept
 * completions. A record that was read is written and read again to the same. */
#include "github/results_internal.h"

static void record(const cJSON *json)
{
    struct wh_step_record *first = wh_step_record_read(json);
    if (!first)
        return;
    wh_autojson *again = wh_step_record_json(first);
    struct wh_step_record *second = wh_step_record_read(again);
    if (!second)
        abort();
    wh_autojson *third = wh_step_record_json(second);
    wh_autofree char *a = wh_json_print(again);
    wh_autofree char *b = wh_json_print(third);
    if (!wh_streq(a, b))
        abort();
    wh_step_record_free(first);
    wh_step_record_free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wh_autojson *json = wh_json_parse((const char *)data, size, (size_t)1 << 20, "an answer", NULL);
    if (!json)
        return 0;
    for (int kind = WH_SPOOL_JOB_LOG; kind <= WH_SPOOL_DIAGNOSTICS; kind++) {
        struct gh_blob_url url;
        if (gh_blob_url_read(json, (enum wh_spool_kind)kind, &url, NULL) == 0 &&
            strncasecmp(url.url, "http", 4) != 0)
            abort();
    }
    record(json);
    struct wh_github_completion completion;
    wh_autoerror err = {0};
    if (wh_github_completion_read(json, &completion, &err) == 0) {
        wh_autojson *body = wh_github_completion_json(&completion);
        if (!body)
            abort();
        wh_github_completion_clear(&completion);
    }
    return 0;
}
