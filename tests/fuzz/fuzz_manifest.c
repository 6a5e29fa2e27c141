/* action.yml: any bytes give a manifest whose parts are whole, or an error that is told. */
#include <stdint.h>

#include "wherry/job/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void); /* NOLINT: the sanitizer's name */

/* libfyaml 0.7 forgets a buffer of a page on some broken inputs. */
const char *__lsan_default_suppressions(void) /* NOLINT */
{
    return "leak:libfyaml.so";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wh_autoerror err = {0};
    wh_autofree char *error = NULL;
    wh_autoactionmanifest *m =
        wh_action_manifest_parse((const char *)data, size, "o/r/v1/action.yml", 2, &error, &err);
    if (!m) {
        if (!error || err.code == WH_OK)
            __builtin_trap();
        return 0;
    }
    if (!m->pre_if || !m->post_if || (m->kind == WH_MANIFEST_NODE && !m->main) ||
        (m->kind == WH_MANIFEST_DOCKER && !m->image))
        __builtin_trap();
    for (size_t i = 0; i < m->nsteps; i++)
        if (!m->steps[i].id || !m->steps[i].condition || !m->steps[i].context_name)
            __builtin_trap();
    return 0;
}
