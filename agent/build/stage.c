/* Stages before anything runs: evaluated in the order of their dependencies, keyed, and looked up (builder.md
 * §2, §3). */
#include "build/cache.h"

/* What a stage stands on, as a key: an image by its layers alone, so that another tag of the same layers
 * hits. */
static int base_key(struct build *b, struct stage *s, struct wh_digest *out)
{
    const struct wh_df_source *base = &b->plan->stages[s->index].base;
    if (base->kind == WH_DF_SOURCE_STAGE) {
        *out = b->stages[base->stage].key;
        return 0;
    }
    if (s->folder.id > 0)
        return 0; /* its key is there already */
    struct key k;
    key_begin(&k, "base");
    key_text(&k, b->plan->stages[s->index].platform);
    for (size_t i = 0; s->image && i < s->image->nlayers; i++)
        key_digest(&k, &s->image->layers[i].diff_id);
    key_end(&k, out);
    return 0;
}

static bool from_ran(const struct build *b, const struct wh_df_source *from)
{
    return from->kind == WH_DF_SOURCE_STAGE && b->stages[from->stage].by_ref;
}

static bool allowed(const struct build *b, const char *entitlement)
{
    for (char **item = b->request->allow; item && *item; item++)
        if (strcmp(*item, entitlement) == 0)
            return true;
    return false;
}

/* "name[,required]": the device must be there, or the RUN goes without it. */
static int check_devices(const struct build *b, const struct wh_df_step *step, struct wh_error *err)
{
    for (char **device = step->instr->devices; device && *device; device++) {
        bool required = strstr(*device, "required") != NULL;
        if (required && !allowed(b, "device"))
            return wh_fail(err, WH_E_DENIED, "failed to load LLB: required device \"%.*s\" is not registered",
                           (int)strcspn(*device, ","), *device);
        if (required)
            return wh_fail(
                err, WH_E_UNSUPPORTED,
                "RUN --device=%s: wherry's own builder hands no devices of the machine to a RUN yet",
                *device);
    }
    return 0;
}

/* What a RUN needs a permission for. The machine's network is an entitlement, as in BuildKit, although RUN
 * has it by default here. */
static int check_entitlements(const struct build *b, const struct wh_df_step *step, struct wh_error *err)
{
    if (step->network && strcmp(step->network, "host") == 0 && !wh_streq(b->request->network, "host") &&
        !allowed(b, "network.host"))
        return wh_fail(err, WH_E_DENIED, "failed to load LLB: network.host is not allowed");
    if (step->security && strcmp(step->security, "insecure") == 0)
        return allowed(b, "security.insecure")
                   ? wh_fail(err, WH_E_UNSUPPORTED,
                             "RUN --security=insecure needs the machine's own root, which wherry's builder "
                             "never has")
                   : wh_fail(err, WH_E_DENIED, "failed to load LLB: security.insecure is not allowed");
    return step->kind == WH_DF_RUN ? check_devices(b, step, err) : 0;
}

/* Whether what comes out depends on a RUN: this one, one below, or one of a stage that files are taken from.
 */
static bool after_run(const struct build *b, const struct stage *s, const struct wh_df_step *step)
{
    return s->by_ref || step->kind == WH_DF_RUN || (step->nsources > 0 && from_ran(b, &step->from));
}

static int look_up(struct build *b, struct stage *s, const struct wh_df_step *step,
                   const struct wh_digest *parent, struct node *node, struct wh_error *err)
{
    s->by_ref = after_run(b, s, step);
    *node = (struct node){.step = step, .by_ref = s->by_ref};
    if (check_entitlements(b, step, err) < 0 || step_definition_key(b, s, node, parent, err) < 0)
        return -1;
    int found = s->no_cache ? 0 : step_lookup(b, node->by_ref, &node->key, &node->layer, err);
    if (found == 0 && !s->no_cache)
        found = cache_find(b, &node->key, &node->layer);
    node->state = found == 1 ? NODE_HIT : NODE_MISS;
    return found < 0 ? -1 : 0;
}

static int make_nodes(struct build *b, struct stage *s, struct wh_error *err)
{
    s->nodes = wh_calloc(s->eval->nsteps, sizeof(*s->nodes));
    base_key(b, s, &s->key);
    s->by_ref = from_ran(b, &b->plan->stages[s->index].base);
    for (size_t i = 0; i < s->eval->nsteps; i++) {
        const struct wh_df_step *step = &s->eval->steps[i];
        if (!step->layer)
            continue;
        if (look_up(b, s, step, &s->key, &s->nodes[s->nnodes], err) < 0) {
            b->where = step->range;
            return -1;
        }
        s->key = s->nodes[s->nnodes++].key;
    }
    return 0;
}

static void check_platform(struct build *b, const struct wh_df_plan_stage *ps, const cJSON *config)
{
    struct wh_platform is = {0}, wanted;
    const char *os = wh_json_string(config, "os"), *arch = wh_json_string(config, "architecture");
    const char *variant = wh_json_string(config, "variant");
    wh_autofree char *text =
        wh_printf("%s/%s%s%s", os ? os : "", arch ? arch : "", variant ? "/" : "", variant ? variant : "");
    char is_text[100], wanted_text[100];
    if (wh_platform_parse(text, &is, NULL) < 0 || wh_platform_parse(ps->platform, &wanted, NULL) < 0 ||
        (strcmp(is.os, wanted.os) == 0 && strcmp(is.arch, wanted.arch) == 0))
        return;
    wh_df_warn(b->df, "InvalidBaseImagePlatform", ps->stage->from->range,
               "Base image %s was pulled with platform \"%s\", expected \"%s\" for current build",
               ps->base.name, wh_platform_text(&is, is_text), wh_platform_text(&wanted, wanted_text));
}

static int find_base(struct build *b, struct stage *s, struct wh_error *err)
{
    const struct wh_df_plan_stage *ps = &b->plan->stages[s->index];
    const struct wh_build_context *context;
    if (ps->base.kind == WH_DF_SOURCE_STAGE || ps->base.kind == WH_DF_SOURCE_SCRATCH)
        return 0;
    b->where = ps->stage->from->range;
    if (named_get(b, &ps->base, ps->platform, &s->image, &context, err) < 0)
        return -1;
    if (s->image)
        check_platform(b, ps, s->image->config);
    return context ? context_layer(b, context, &s->folder, &s->key, err) : 0;
}

static int prepare(struct build *b, size_t index, struct wh_error *err);

static int set_triggers(struct build *b, struct stage *s, const struct stage *base, struct wh_error *err)
{
    wh_autostrv char **onbuild = NULL;
    if (base) {
        onbuild = base->eval->onbuild ? wh_strv_dup(base->eval->onbuild) : NULL;
    } else if (s->image) {
        const cJSON *item;
        cJSON_ArrayForEach(item, wh_json_get(wh_json_get(s->image->config, "config"), "OnBuild"))
        {
            if (cJSON_IsString(item))
                wh_strv_add(&onbuild, item->valuestring);
        }
    }
    return wh_df_plan_set_triggers(b->plan, s->index, onbuild, &b->where, err);
}

static int prepare(struct build *b, size_t index, struct wh_error *err)
{
    struct stage *s = &b->stages[index];
    const struct wh_df_plan_stage *ps = &b->plan->stages[index];
    if (s->eval)
        return 0;
    *s = (struct stage){.build = b, .index = index};
    s->no_cache = b->request->no_cache || (ps->stage->name && b->request->no_cache_filter &&
                                           wh_strv_has(b->request->no_cache_filter, ps->stage->name));
    const struct stage *base = NULL;
    if (ps->base.kind == WH_DF_SOURCE_STAGE) {
        if (prepare(b, ps->base.stage, err) < 0)
            return -1;
        base = &b->stages[ps->base.stage];
    }
    if (find_base(b, s, err) < 0 || set_triggers(b, s, base, err) < 0)
        return -1;
    for (size_t i = 0; i < ps->ndeps; i++)
        if (prepare(b, ps->deps[i], err) < 0)
            return -1;
    if (wh_df_eval_stage(b->plan, index, s->image ? s->image->config : NULL, base ? base->eval : NULL,
                         &s->eval, &b->where, err) < 0)
        return -1;
    return b->request->call ? 0 : make_nodes(b, s, err);
}

int stages_prepare(struct build *b, struct wh_error *err)
{
    b->stages = wh_calloc(b->df->nstages, sizeof(*b->stages));
    uint64_t vertex = 0;
    for (size_t i = 0; i < b->request->ncontexts && vertex == 0; i++)
        if (b->request->contexts[i].dirfd >= 0)
            vertex = report_start(&b->report, "[internal] load build context", NULL);
    int status = prepare(b, b->plan->target, err);
    if (vertex != 0)
        report_end(&b->report, vertex, status, err);
    if (status == 0)
        b->where = (struct wh_df_range){0};
    return status;
}
