/* Stages and what they stand on: FROM lines, targets, what is needed (builder.md §1.2, §2). */
#include "dockerfile/plan_internal.h"

#include "dockerfile/text.h"
#include "wherry/oci/reference.h"

void wh_df_source_clear(struct wh_df_source *s)
{
    free(s->name);
    *s = (struct wh_df_source){0};
}

void wh_df_plan_free(struct wh_df_plan *plan)
{
    if (!plan)
        return;
    for (size_t i = 0; plan->stages && i < plan->df->nstages; i++) {
        struct wh_df_plan_stage *st = &plan->stages[i];
        for (size_t k = 0; k < st->ntriggers; k++)
            wh_df_instr_free(st->triggers[k]);
        wh_df_source_clear(&st->base);
        free(st->triggers);
        free(st->image);
        free(st->title);
        free(st->platform);
        free(st->deps);
    }
    free(plan->stages);
    wh_strv_free(plan->global);
    wh_strv_free(plan->defaults);
    free(plan);
}

/* ---- global scope ---- */

/* os, arch and variant of "os/arch/variant". */
static void platform_args(struct wh_df_plan *plan, const char *prefix, const char *platform)
{
    wh_autostrv char **parts = wh_strv_split(platform, '/');
    size_t n = wh_strv_len(parts);
    const struct {
        const char *name, *value;
    } args[] = {{"PLATFORM", platform},
                {"OS", n > 0 ? parts[0] : ""},
                {"OSVERSION", ""},
                {"ARCH", n > 1 ? parts[1] : ""},
                {"VARIANT", n > 2 ? parts[2] : ""}};
    for (size_t i = 0; i < WH_COUNT(args); i++) {
        wh_autofree char *name = wh_printf("%s%s", prefix, args[i].name);
        const char *own = wh_env_get(plan->options->build_args, name);
        df_env_put(&plan->global, name, own ? own : args[i].value);
    }
}

static int global_scope(struct wh_df_plan *plan, struct wh_df_range *where, struct wh_error *err)
{
    const struct wh_df_options *o = plan->options;
    const struct wh_dockerfile *df = plan->df;
    const char *target = o->target && o->target[0] ? o->target : df->stages[df->nstages - 1].name;
    platform_args(plan, "BUILD", o->build_platform);
    platform_args(plan, "TARGET", o->target_platform ? o->target_platform : o->build_platform);
    const char *own = wh_env_get(o->build_args, "TARGETSTAGE");
    df_env_put(&plan->global, "TARGETSTAGE", own ? own : target ? target : "default");
    plan->defaults = wh_strv_dup(plan->global);
    for (size_t i = 0; i < df->nmeta; i++) {
        const struct wh_df_instr *arg = df->meta[i];
        for (size_t k = 0; k < arg->npairs; k++) {
            const struct wh_df_pair *pair = &arg->pairs[k];
            wh_autofree char *plain = NULL;
            if (pair->value &&
                wh_df_expand(pair->value, plan->defaults, df->escape, WH_DF_EXPAND, &plain, NULL, NULL) == 0)
                df_env_put(&plan->defaults, pair->name, plain);
            const char *given = wh_env_get(o->build_args, pair->name);
            wh_autofree char *value = NULL;
            *where = arg->range;
            if (given)
                value = wh_strdup(given);
            else if (pair->value &&
                     wh_df_expand(pair->value, plan->global, df->escape, WH_DF_EXPAND, &value, NULL, err) < 0)
                return -1;
            if (value)
                df_env_put(&plan->global, pair->name, value);
        }
    }
    return 0;
}

void df_env_put(char ***env, const char *name, const char *value)
{
    wh_env_set(env, name, NULL);
    wh_strv_take(env, wh_printf("%s=%s", name, value));
}

/* ---- FROM lines ---- */

static void warn_undeclared(struct wh_df_plan *plan, const struct wh_df_expansion *seen,
                            struct wh_df_range range)
{
    wh_autostrv char **names = NULL;
    for (size_t i = 0; plan->global && plan->global[i]; i++)
        wh_strv_take(&names, wh_strndup(plan->global[i], strcspn(plan->global[i], "=")));
    for (size_t i = 0; i < plan->df->nmeta; i++)
        for (size_t k = 0; k < plan->df->meta[i]->npairs; k++)
            wh_strv_add(&names, plan->df->meta[i]->pairs[k].name);
    for (size_t i = 0; seen->unset && seen->unset[i]; i++) {
        if (wh_strv_has(names, seen->unset[i]))
            continue;
        wh_autostr text = {0};
        wh_str_addf(&text, "FROM argument '%s' is not declared", seen->unset[i]);
        df_suggest(&text, seen->unset[i], (const char *const *)names, false);
        wh_df_warn(plan->df, "UndefinedArgInFrom", range, "%s", wh_str_text(&text));
    }
}

int wh_df_platform_check(const char *text, struct wh_error *err)
{
    wh_autostrv char **parts = wh_strv_split(text, '/');
    size_t n = wh_strv_len(parts);
    if (n > 3)
        return wh_fail(err, WH_E_ARGUMENT, "\"%s\": cannot parse platform specifier: invalid argument", text);
    for (size_t i = 0; i < n; i++)
        if (parts[i][0] == '\0' || strspn(parts[i], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                                    "0123456789._-") != strlen(parts[i]))
            return wh_fail(
                err, WH_E_ARGUMENT,
                "\"%s\" is an invalid component of \"%s\": platform specifier component must match "
                "\"^[A-Za-z0-9_.-]+$\": invalid argument",
                parts[i], text);
    return 0;
}

static int expand_from(struct wh_df_plan *plan, const struct wh_df_instr *from, const char *word, char **out,
                       struct wh_error *err)
{
    struct wh_df_expansion seen = {0};
    int r = wh_df_expand(word, plan->global, plan->df->escape, WH_DF_EXPAND, out, &seen, err);
    if (r == 0)
        warn_undeclared(plan, &seen, from->range);
    wh_df_expansion_clear(&seen);
    return r;
}

static int from_platform(struct wh_df_plan *plan, struct wh_df_plan_stage *st, struct wh_error *err)
{
    const struct wh_df_instr *from = st->stage->from;
    if (!from->platform)
        return 0;
    if (expand_from(plan, from, from->platform, &st->platform, err) < 0)
        return wh_wrap(err, "failed to process arguments for platform %s", from->platform);
    if (st->platform[0] == '\0')
        return wh_fail(err, WH_E_ARGUMENT, "empty platform value from expression %s", from->platform);
    if (wh_df_platform_check(st->platform, err) < 0)
        return wh_wrap(err, "failed to parse platform %s", st->platform);
    bool constant = !strchr(from->platform, '$');
    if (constant)
        wh_df_warn(plan->df, "FromPlatformFlagConstDisallowed", from->range,
                   "FROM --platform flag should not use constant value \"%s\"", st->platform);
    else if (strcmp(from->platform, "$TARGETPLATFORM") == 0 ||
             strcmp(from->platform, "${TARGETPLATFORM}") == 0)
        wh_df_warn(plan->df, "RedundantTargetPlatform", from->range,
                   "Setting platform to predefined %s in FROM is redundant as this is the default behavior",
                   from->platform);
    return 0;
}

/* "alpine" is "docker.io/library/alpine:latest". */
static char *full_reference(const char *name)
{
    const char *slash = strchr(name, '/');
    size_t host = slash ? (size_t)(slash - name) : 0;
    bool has_host =
        slash && (memchr(name, '.', host) || memchr(name, ':', host) || strncmp(name, "localhost/", 10) == 0);
    const char *last = strrchr(name, '/');
    bool tagged = strchr(last ? last : name, ':') || strchr(name, '@');
    bool short_name = !has_host && !slash;
    if (wh_starts_with(name, "docker.io/") && !strchr(name + 10, '/'))
        return wh_printf("docker.io/library/%s%s", name + 10, tagged ? "" : ":latest");
    return wh_printf("%s%s%s",
                     has_host     ? ""
                     : short_name ? "docker.io/library/"
                                  : "docker.io/",
                     name, tagged ? "" : ":latest");
}

/* What a base's name would be if nobody gave any argument. */
static void check_default(struct wh_df_plan *plan, const struct wh_df_instr *from)
{
    wh_autofree char *name = NULL;
    wh_autoref ref = {0};
    if (wh_df_expand(from->words[0], plan->defaults, plan->df->escape, WH_DF_EXPAND, &name, NULL, NULL) ==
            0 &&
        wh_ref_parse(name, &ref, NULL) < 0)
        wh_df_warn(plan->df, "InvalidDefaultArgInFrom", from->range,
                   "Default value for ARG %s results in empty or invalid base image name", from->words[0]);
}

static int plan_from(struct wh_df_plan *plan, size_t i, struct wh_error *err)
{
    struct wh_df_plan_stage *st = &plan->stages[i];
    const struct wh_df_instr *from = st->stage->from;
    wh_autofree char *base = NULL;
    check_default(plan, from);
    if (expand_from(plan, from, from->words[0], &base, err) < 0 || from_platform(plan, st, err) < 0)
        return -1;
    if (base[0] == '\0')
        return wh_fail(err, WH_E_ARGUMENT, "base name (%s) should not be blank", from->words[0]);
    const struct wh_df_options *o = plan->options;
    const char *target_platform = o->target_platform ? o->target_platform : o->build_platform;
    const char *named = st->stage->name ? df_named_context(plan, st->stage->name, st->platform) : NULL;
    if (named) {
        st->replaced = true;
        st->base = (struct wh_df_source){.kind = WH_DF_SOURCE_NAMED, .name = wh_strdup(named)};
    } else {
        for (size_t k = i; k-- > 0 && st->base.kind != WH_DF_SOURCE_STAGE;)
            if (plan->stages[k].stage->name && strcmp(plan->stages[k].stage->name, base) == 0)
                st->base = (struct wh_df_source){.kind = WH_DF_SOURCE_STAGE, .stage = k};
        if (st->base.kind != WH_DF_SOURCE_STAGE)
            df_outside_source(plan, base, st->platform, &st->base);
    }
    if (st->base.kind == WH_DF_SOURCE_IMAGE)
        st->image = full_reference(base);
    st->triggers_set =
        st->base.kind == WH_DF_SOURCE_STAGE || st->base.kind == WH_DF_SOURCE_SCRATCH || st->replaced;
    if (st->base.kind == WH_DF_SOURCE_STAGE) {
        free(st->platform);
        st->platform = wh_strdup(plan->stages[st->base.stage].platform);
        st->triggers_set = false;
    } else if (!st->platform || st->base.kind == WH_DF_SOURCE_SCRATCH) {
        free(st->platform);
        st->platform = wh_strdup(target_platform);
    }
    return 0;
}

/* ---- the target ---- */

static int find_target(struct wh_df_plan *plan, struct wh_error *err)
{
    const char *target = plan->options->target;
    plan->target = plan->df->nstages - 1;
    if (!target || target[0] == '\0')
        return 0;
    if (df_stage_by_name(plan, target, &plan->target))
        return 0;
    const char **names = wh_calloc(plan->df->nstages + 1, sizeof *names);
    for (size_t i = 0; i < plan->df->nstages; i++)
        names[i] = plan->stages[i].title;
    wh_autostr text = {0};
    wh_str_addf(&text, "target stage \"%s\" could not be found", target);
    df_suggest(&text, target, names, false);
    free(names);
    return wh_fail(err, WH_E_NOT_FOUND, "%s", wh_str_text(&text));
}

int wh_df_plan_new(struct wh_dockerfile *df, const struct wh_df_options *options, struct wh_df_plan **out,
                   struct wh_df_range *where, struct wh_error *err)
{
    struct wh_df_range nowhere;
    if (!where)
        where = &nowhere;
    *where = (struct wh_df_range){0};
    struct wh_df_plan *plan = wh_calloc(1, sizeof *plan);
    plan->df = df;
    plan->options = options;
    plan->stages = wh_calloc(df->nstages, sizeof *plan->stages);
    int r = global_scope(plan, where, err);
    for (size_t i = 0; i < df->nstages && r == 0; i++) {
        struct wh_df_plan_stage *st = &plan->stages[i];
        st->stage = &df->stages[i];
        st->title = st->stage->name ? wh_strdup(st->stage->name) : wh_printf("stage-%zu", i);
        *where = st->stage->from->range;
        r = plan_from(plan, i, err);
    }
    if (r == 0) {
        *where = (struct wh_df_range){0};
        r = find_target(plan, err);
    }
    if (r == 0)
        r = df_plan_edges(plan, where, err);
    if (r < 0) {
        wh_df_plan_free(plan);
        return -1;
    }
    *out = plan;
    return 0;
}
