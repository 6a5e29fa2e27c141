/* A Dockerfile evaluated for tests: parse, plan, every needed stage. Images are told by name with
 * set_image(). */
#ifndef WH_TEST_DOCKERFILE_STAGES_H
#define WH_TEST_DOCKERFILE_STAGES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "wherry/base/json.h"
#include "wherry/dockerfile/eval.h"

struct built {
    struct wh_dockerfile *df;
    struct wh_df_options options;
    struct wh_df_plan *plan;
    struct wh_df_result **results;
    struct wh_df_range where;
    struct wh_error error;
};

/* image: the config of every base image, JSON; NULL: a bare one with one layer. */
static int build_all(struct built *b, const char *text, const char *image)
{
    static const char bare[] =
        "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{},\"rootfs\":{\"type\":\"layers\","
        "\"diff_ids\":[\"sha256:"
        "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef\"]}}";
    if (!b->options.build_platform)
        b->options.build_platform = "linux/amd64";
    if (wh_df_parse(text, strlen(text), "Dockerfile", &b->df, &b->where, &b->error) < 0 ||
        wh_df_plan_new(b->df, &b->options, &b->plan, &b->where, &b->error) < 0)
        return -1;
    wh_autojson *config =
        wh_json_parse(image ? image : bare, strlen(image ? image : bare), 1 << 20, "image", NULL);
    assert_non_null(config);
    b->results = wh_calloc(b->df->nstages, sizeof *b->results);
    wh_autostrv char **onbuild = NULL;
    const cJSON *item;
    cJSON_ArrayForEach(item, wh_json_get(wh_json_get(config, "config"), "OnBuild"))
        wh_strv_add(&onbuild, item->valuestring);
    for (size_t i = 0; i < b->df->nstages; i++) {
        const struct wh_df_plan_stage *st = &b->plan->stages[i];
        bool outside = st->base.kind == WH_DF_SOURCE_IMAGE || st->base.kind == WH_DF_SOURCE_NAMED;
        if (!st->needed)
            continue;
        if (outside && wh_df_plan_set_triggers(b->plan, i, onbuild, &b->where, &b->error) < 0)
            return -1;
        const struct wh_df_result *base =
            st->base.kind == WH_DF_SOURCE_STAGE ? b->results[st->base.stage] : NULL;
        if (wh_df_eval_stage(b->plan, i, outside ? config : NULL, base, &b->results[i], &b->where,
                             &b->error) < 0)
            return -1;
    }
    return 0;
}

static void built_clear(struct built *b)
{
    for (size_t i = 0; b->results && i < b->df->nstages; i++)
        wh_df_result_free(b->results[i]);
    free(b->results);
    wh_df_plan_free(b->plan);
    wh_df_free(b->df);
    wh_error_clear(&b->error);
}
#define autobuilt __attribute__((cleanup(built_clear))) struct built

static inline const struct wh_df_result *target(const struct built *b)
{
    return b->results[b->plan->target];
}

/* The n-th entry of the target's history. */
static inline const char *history(const struct built *b, size_t n)
{
    assert_true(n < target(b)->nhistory);
    return target(b)->history[n].created_by;
}

/* The n-th step of a kind in the target. */
static inline const struct wh_df_step *step_of(const struct built *b, enum wh_df_kind kind, size_t n)
{
    for (size_t i = 0; i < target(b)->nsteps; i++)
        if (target(b)->steps[i].kind == kind && n-- == 0)
            return &target(b)->steps[i];
    fail_msg("no such step");
    return NULL;
}

/* The config section's member as JSON text; "" if absent. */
static inline char *config_member(const struct built *b, const char *name)
{
    const cJSON *m = wh_json_get(wh_json_get(target(b)->config, "config"), name);
    return m ? wh_json_print(m) : wh_strdup("");
}

#define assert_config(b, name, want)                                                                         \
    do {                                                                                                     \
        wh_autofree char *member_ = config_member(b, name);                                                  \
        assert_string_equal(member_, want);                                                                  \
    } while (0)

#define assert_built(b, text, image)                                                                         \
    do {                                                                                                     \
        if (build_all(b, text, image) < 0)                                                                   \
            fail_msg("%s", wh_error_text(&(b)->error));                                                      \
    } while (0)

#define assert_refused(text, want, at_line)                                                                  \
    do {                                                                                                     \
        autobuilt refused_ = {0};                                                                            \
        assert_true(build_all(&refused_, text, NULL) < 0);                                                   \
        assert_string_equal(wh_error_text(&refused_.error), want);                                           \
        assert_int_equal(refused_.where.line, at_line);                                                      \
    } while (0)

#endif
