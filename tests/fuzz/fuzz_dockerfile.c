/* A Dockerfile from bytes to resolved steps. */
#include <stddef.h>
#include <stdint.h>

#include "wherry/dockerfile/eval.h"

static void evaluate(struct wh_df_plan *plan, size_t n)
{
    struct wh_df_result **results = wh_calloc(n, sizeof *results);
    for (size_t i = 0; i < n; i++) {
        const struct wh_df_plan_stage *st = &plan->stages[i];
        bool on_stage = st->base.kind == WH_DF_SOURCE_STAGE;
        if (!st->needed || (on_stage && !results[st->base.stage]))
            continue;
        if (wh_df_eval_stage(plan, i, NULL, on_stage ? results[st->base.stage] : NULL, &results[i], NULL,
                             NULL) < 0)
            results[i] = NULL;
    }
    for (size_t i = 0; i < n; i++)
        wh_df_result_free(results[i]);
    free(results);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wh_autodockerfile *df = NULL;
    struct wh_df_range where = {0};
    wh_autoerror err = {0};
    if (size > 1 << 16)
        return 0;
    if (wh_df_parse((const char *)data, size, "Dockerfile", &df, &where, &err) < 0) {
        free(wh_df_excerpt((const char *)data, size, "Dockerfile", where, wh_error_text(&err)));
        return 0;
    }
    wh_df_lint(df);
    char *const args[] = {"V=1", "HTTP_PROXY=http://p", NULL};
    char *const contexts[] = {"named", NULL};
    char *const onbuild[] = {"COPY --from=0 /a /b", "RUN x", NULL};
    struct wh_df_options options = {
        .build_platform = "linux/amd64", .build_args = args, .contexts = contexts};
    struct wh_df_plan *plan = NULL;
    if (wh_df_plan_new(df, &options, &plan, &where, NULL) < 0)
        return 0;
    bool ok = true;
    if (size % 2 == 0)
        ok = wh_df_plan_set_triggers(plan, 0, onbuild, &where, NULL) == 0;
    if (ok)
        evaluate(plan, df->nstages);
    wh_df_plan_free(plan);
    return 0;
}
