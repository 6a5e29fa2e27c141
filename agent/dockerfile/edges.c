/* Edges of the stage graph: --from and mounts, circles, what the target needs, triggers (builder.md §1.2,
 * §1.6). */
#include "dockerfile/mount.h"
#include "dockerfile/plan_internal.h"
#include "dockerfile/text.h"

/* ---- names ---- */

/* A reference as a person writes it: without docker.io, library/ and :latest. */
static char *familiar(const char *name)
{
    if (wh_starts_with(name, "docker.io/"))
        name += strlen("docker.io/");
    else if (wh_starts_with(name, "index.docker.io/"))
        name += strlen("index.docker.io/");
    if (wh_starts_with(name, "library/") && !strchr(name + strlen("library/"), '/'))
        name += strlen("library/");
    size_t n = strlen(name);
    return wh_strndup(name, wh_ends_with(name, ":latest") ? n - strlen(":latest") : n);
}

const char *df_named_context(const struct wh_df_plan *plan, const char *name, const char *platform)
{
    char *const *contexts = plan->options->contexts;
    if (!contexts)
        return NULL;
    const struct wh_df_options *o = plan->options;
    if (!platform)
        platform = o->target_platform ? o->target_platform : o->build_platform;
    wh_autofree char *wanted = familiar(name);
    const char *found = NULL;
    for (size_t i = 0; contexts[i]; i++) {
        const char *colons = strstr(contexts[i], "::");
        wh_autofree char *key = colons ? wh_strndup(contexts[i], (size_t)(colons - contexts[i])) : NULL;
        wh_autofree char *have = familiar(key ? key : contexts[i]);
        if (strcmp(have, wanted) != 0)
            continue;
        if (colons && strcmp(colons + 2, platform) == 0)
            return contexts[i];
        if (!colons && !found)
            found = contexts[i];
    }
    return found;
}

void df_outside_source(const struct wh_df_plan *plan, const char *name, const char *platform,
                       struct wh_df_source *out)
{
    *out = (struct wh_df_source){.kind = WH_DF_SOURCE_SCRATCH};
    if (strcmp(name, "scratch") == 0)
        return;
    const char *named = df_named_context(plan, name, platform);
    out->kind = named ? WH_DF_SOURCE_NAMED : WH_DF_SOURCE_IMAGE;
    out->name = wh_strdup(named ? named : name);
}

bool df_stage_by_name(const struct wh_df_plan *plan, const char *name, size_t *out)
{
    for (size_t i = plan->df->nstages; i-- > 0;) {
        const char *have = plan->df->stages[i].name;
        if (have && wh_streq_ci(have, name)) {
            *out = i;
            return true;
        }
    }
    return false;
}

static bool is_number(const char *text)
{
    if (*text == '+' || *text == '-')
        text++;
    return *text != '\0' && strspn(text, "0123456789") == strlen(text);
}

int wh_df_plan_resolve_from(const struct wh_df_plan *plan, size_t stage, const char *from, bool index_ok,
                            struct wh_df_source *out, struct wh_error *err)
{
    size_t found;
    uint64_t index;
    if (index_ok && is_number(from)) {
        if (!wh_parse_u64(from[0] == '+' ? from + 1 : from, plan->df->nstages - 1, &index))
            return wh_fail(err, WH_E_ARGUMENT, "invalid stage index %s", from);
        found = (size_t)index;
    } else if (!df_stage_by_name(plan, from, &found)) {
        df_outside_source(plan, from, NULL, out);
        return 0;
    }
    (void)stage;
    *out = (struct wh_df_source){.kind = WH_DF_SOURCE_STAGE, .stage = found};
    return 0;
}

const struct wh_df_instr *df_stage_instr(const struct wh_df_plan_stage *st, size_t i, bool *trigger)
{
    *trigger = i < st->ntriggers;
    if (*trigger)
        return st->triggers[i];
    i -= st->ntriggers;
    return !st->replaced && i < st->stage->ninstrs ? st->stage->instrs[i] : NULL;
}

/* ---- edges ---- */

/* Called for each `from` of a stage: text, and where it leads. */
typedef int (*from_fn)(struct wh_df_plan *plan, size_t stage, const struct wh_df_instr *in, const char *from,
                       const struct wh_df_source *source, struct wh_error *err);

static int no_variables(const struct wh_df_plan *plan, const char *from, struct wh_error *err)
{
    wh_autofree char *expanded = NULL;
    if (wh_df_expand(from, NULL, plan->df->escape, WH_DF_EXPAND, &expanded, NULL, err) < 0)
        return -1;
    if (strcmp(expanded, from) != 0)
        return wh_fail(err, WH_E_ARGUMENT,
                       "variable expansion is not supported for --from, define a new stage with FROM using "
                       "ARG from global "
                       "scope as a workaround");
    return 0;
}

static int visit_from(struct wh_df_plan *plan, size_t stage, const struct wh_df_instr *in, const char *from,
                      bool index_ok, from_fn fn, struct wh_error *err)
{
    struct wh_df_source source = {0};
    int r = wh_df_plan_resolve_from(plan, stage, from, index_ok, &source, err);
    if (r == 0)
        r = fn(plan, stage, in, from, &source, err);
    wh_df_source_clear(&source);
    return r;
}

static int visit_instr(struct wh_df_plan *plan, size_t stage, const struct wh_df_instr *in, from_fn fn,
                       struct wh_error *err)
{
    if (in->kind == WH_DF_COPY && in->from && in->from[0]) {
        if (no_variables(plan, in->from, err) < 0)
            return -1;
        return visit_from(plan, stage, in, in->from, true, fn, err);
    }
    for (size_t i = 0; in->kind == WH_DF_RUN && in->mounts && in->mounts[i]; i++) {
        wh_autofree char *from = NULL;
        if (df_mount_from(in->mounts[i], &from, err) < 0)
            return -1;
        if (from && from[0] && visit_from(plan, stage, in, from, false, fn, err) < 0)
            return -1;
    }
    return 0;
}

static int visit_stage(struct wh_df_plan *plan, size_t stage, from_fn fn, struct wh_df_range *where,
                       struct wh_error *err)
{
    const struct wh_df_plan_stage *st = &plan->stages[stage];
    bool trigger;
    const struct wh_df_instr *in;
    for (size_t i = 0; (in = df_stage_instr(st, i, &trigger)); i++) {
        *where = trigger ? st->stage->from->range : in->range;
        if (visit_instr(plan, stage, in, fn, err) < 0)
            return -1;
    }
    return 0;
}

static void add_dep(struct wh_df_plan_stage *st, size_t dep)
{
    for (size_t i = 0; i < st->ndeps; i++)
        if (st->deps[i] == dep)
            return;
    st->deps = wh_reallocarray(st->deps, st->ndeps + 1, sizeof *st->deps);
    st->deps[st->ndeps++] = dep;
}

static int collect(struct wh_df_plan *plan, size_t stage, const struct wh_df_instr *in, const char *from,
                   const struct wh_df_source *source, struct wh_error *err)
{
    (void)in, (void)from, (void)err;
    if (source->kind == WH_DF_SOURCE_STAGE)
        add_dep(&plan->stages[stage], source->stage);
    return 0;
}

static int stage_deps(struct wh_df_plan *plan, size_t stage, struct wh_df_range *where, struct wh_error *err)
{
    struct wh_df_plan_stage *st = &plan->stages[stage];
    st->ndeps = 0;
    if (visit_stage(plan, stage, collect, where, err) < 0)
        return -1;
    if (st->base.kind == WH_DF_SOURCE_STAGE)
        add_dep(st, st->base.stage);
    return 0;
}

/* ---- circles: COPY and mounts alone make them, since FROM looks back only ---- */

enum { NEW, OPEN, DONE };

static bool circle_from(const struct wh_df_plan *plan, size_t start, uint8_t *marks, size_t *stack,
                        size_t *next)
{
    size_t depth = 0;
    stack[0] = start;
    next[0] = 0;
    marks[start] = OPEN;
    for (;;) {
        const struct wh_df_plan_stage *st = &plan->stages[stack[depth]];
        bool down = false;
        while (next[depth] < st->ndeps && !down) {
            size_t dep = st->deps[next[depth]++];
            bool base_only = st->base.kind == WH_DF_SOURCE_STAGE && dep == st->base.stage;
            if (marks[dep] == OPEN && !base_only)
                return true;
            down = marks[dep] == NEW;
            if (down) {
                stack[++depth] = dep;
                next[depth] = 0;
                marks[dep] = OPEN;
            }
        }
        if (down)
            continue;
        marks[stack[depth]] = DONE;
        if (depth-- == 0)
            return false;
    }
}

/* The first instruction of the stage that takes from another one. */
static struct wh_df_range asking(const struct wh_df_plan_stage *st)
{
    for (size_t i = 0; i < st->stage->ninstrs; i++)
        if (st->stage->instrs[i]->from || st->stage->instrs[i]->mounts)
            return st->stage->instrs[i]->range;
    return st->stage->from->range;
}

static int check_circles(struct wh_df_plan *plan, struct wh_df_range *where, struct wh_error *err)
{
    size_t n = plan->df->nstages;
    wh_autofree uint8_t *marks = wh_calloc(n, 1);
    wh_autofree size_t *stack = wh_calloc(n, sizeof *stack), *next = wh_calloc(n, sizeof *next);
    for (size_t i = 0; i < n; i++) {
        if (marks[i] != NEW || !circle_from(plan, i, marks, stack, next))
            continue;
        *where = asking(&plan->stages[i]);
        return wh_fail(err, WH_E_ARGUMENT, "circular dependency detected on stage: %s",
                       plan->stages[i].title);
    }
    return 0;
}

/* ---- what is needed ---- */

static void mark_needed(struct wh_df_plan *plan)
{
    size_t n = plan->df->nstages, depth = 1;
    for (size_t i = 0; i < n; i++)
        plan->stages[i].needed = false;
    wh_autofree size_t *stack = wh_calloc(n, sizeof *stack);
    stack[0] = plan->target;
    plan->stages[plan->target].needed = true;
    while (depth > 0) {
        const struct wh_df_plan_stage *st = &plan->stages[stack[--depth]];
        for (size_t i = 0; i < st->ndeps; i++) {
            if (plan->stages[st->deps[i]].needed)
                continue;
            plan->stages[st->deps[i]].needed = true;
            stack[depth++] = st->deps[i];
        }
    }
}

static int no_later(struct wh_df_plan *plan, size_t stage, const struct wh_df_instr *in, const char *from,
                    const struct wh_df_source *source, struct wh_error *err)
{
    if (source->kind != WH_DF_SOURCE_STAGE || source->stage < stage)
        return 0;
    if (in->kind == WH_DF_COPY)
        return wh_fail(err, WH_E_ARGUMENT,
                       "cannot copy from stage \"%s\", it needs to be defined before current stage \"%s\"",
                       from, plan->stages[stage].title);
    return wh_fail(err, WH_E_ARGUMENT,
                   "cannot mount from stage \"%s\", stage needs to be defined before current command", from);
}

static int add_trigger(struct wh_df_plan_stage *st, const char *text, struct wh_error *err)
{
    struct wh_df_instr *in;
    if (st->ntriggers >= 1024)
        return wh_fail(err, WH_E_LIMIT, "the base has more than 1024 ONBUILD triggers");
    if (wh_df_parse_trigger(text, &in, err) < 0)
        return wh_wrap(err, "ONBUILD %s", text);
    in->range = st->stage->from->range;
    st->triggers = wh_reallocarray(st->triggers, st->ntriggers + 1, sizeof(void *));
    st->triggers[st->ntriggers++] = in;
    return 0;
}

/* Triggers that a base stage of this file has. */
static int triggers_of_base(struct wh_df_plan *plan, size_t i, struct wh_error *err)
{
    struct wh_df_plan_stage *st = &plan->stages[i];
    const struct wh_df_plan_stage *base = &plan->stages[st->base.stage];
    st->triggers_set = true;
    for (size_t k = 0; !base->replaced && k < base->stage->ninstrs; k++) {
        const struct wh_df_instr *in = base->stage->instrs[k];
        if (in->kind == WH_DF_ONBUILD && add_trigger(st, in->words[0], err) < 0)
            return -1;
    }
    return 0;
}

static int settle(struct wh_df_plan *plan, struct wh_df_range *where, struct wh_error *err)
{
    bool more = true;
    while (more) {
        more = false;
        mark_needed(plan);
        for (size_t i = 0; i < plan->df->nstages; i++) {
            struct wh_df_plan_stage *st = &plan->stages[i];
            if (!st->needed || st->triggers_set || st->base.kind != WH_DF_SOURCE_STAGE)
                continue;
            *where = st->stage->from->range;
            if (triggers_of_base(plan, i, err) < 0 || stage_deps(plan, i, where, err) < 0)
                return -1;
            more |= st->ntriggers > 0;
        }
    }
    if (check_circles(plan, where, err) < 0)
        return -1;
    for (size_t i = 0; i < plan->df->nstages; i++)
        if (plan->stages[i].needed && visit_stage(plan, i, no_later, where, err) < 0)
            return -1;
    return 0;
}

/* Names are shown where there is more than one stage, or something that BuildKit counts as one: a RUN
 * --mount, or a
 * --from that is no stage. */
static void decide_titles(struct wh_df_plan *plan)
{
    if (plan->df->nstages > 1)
        return;
    struct wh_df_plan_stage *st = &plan->stages[0];
    bool trigger;
    const struct wh_df_instr *in;
    for (size_t i = 0; (in = df_stage_instr(st, i, &trigger)); i++)
        if ((in->kind == WH_DF_RUN && in->mounts) ||
            (in->kind == WH_DF_COPY && in->from && !is_number(in->from)))
            return;
    st->title[0] = '\0';
}

int df_plan_edges(struct wh_df_plan *plan, struct wh_df_range *where, struct wh_error *err)
{
    for (size_t i = 0; i < plan->df->nstages; i++)
        if (stage_deps(plan, i, where, err) < 0)
            return -1;
    if (settle(plan, where, err) < 0)
        return -1;
    decide_titles(plan);
    *where = (struct wh_df_range){0};
    return 0;
}

int wh_df_plan_set_triggers(struct wh_df_plan *plan, size_t stage, char *const *onbuild,
                            struct wh_df_range *where, struct wh_error *err)
{
    struct wh_df_range nowhere;
    if (!where)
        where = &nowhere;
    struct wh_df_plan_stage *st = &plan->stages[stage];
    if (st->triggers_set)
        return 0;
    st->triggers_set = true;
    *where = st->stage->from->range;
    for (size_t i = 0; onbuild && onbuild[i]; i++)
        if (add_trigger(st, onbuild[i], err) < 0)
            return -1;
    if (st->ntriggers == 0)
        return 0;
    return stage_deps(plan, stage, where, err) < 0 ? -1 : settle(plan, where, err);
}
