/* One step: its keys, whether the store has it, its execution and record (builder.md §3; design.md "Trust").
 */
#include "build/solve.h"

#include "wherry/base/clock.h"

/* RUN's result depends on more than its key says (network, secrets, cache mounts), so its records obey the
 * scopes of refs, and so do the definition keys of all that stands on it or copies from it. The content keys
 * of COPY and WORKDIR determine the result: all refs of a repository share them. */
static const char *const *scopes_of(const struct build *b, bool by_ref, size_t *n)
{
    if (by_ref) {
        *n = b->scopes.nrefs;
        return (const char *const *)b->scopes.refs;
    }
    *n = 1;
    return (const char *const *)&b->scopes.repository;
}

static int make_key(struct build *b, struct stage *s, const struct wh_df_step *step, bool definition,
                    const struct wh_digest *parent, struct wh_digest *files, struct wh_digest *out,
                    char ***inputs, struct wh_error *err)
{
    struct key k;
    key_begin(&k, definition ? "definition" : "content");
    k.inputs = inputs;
    key_digest(&k, parent);
    key_text(&k, b->plan->stages[s->index].platform);
    key_text(&k, wh_df_kind_text(step->kind));
    int status = step->kind == WH_DF_RUN ? run_key(b, s, step, definition, &k, err)
                                         : add_key(b, s, step, definition, &k, files, err);
    key_end(&k, out);
    return status;
}

int step_definition_key(struct build *b, struct stage *s, struct node *node, const struct wh_digest *parent,
                        struct wh_error *err)
{
    return make_key(b, s, node->step, true, parent, &node->files, &node->key, NULL, err);
}

static char *slot_of(const struct build *b, const struct stage *s, const struct wh_df_step *step)
{
    const char *name = b->plan->stages[s->index].stage->name;
    size_t nth = (size_t)(step - s->eval->steps);
    if (name)
        return wh_printf("%s:%s:%s:%zu", b->scopes.repository, b->request->dockerfile_name, name, nth);
    return wh_printf("%s:%s:%zu:%zu", b->scopes.repository, b->request->dockerfile_name, s->index, nth);
}

static void layer_of_record(const struct wh_record *r, struct layer *out)
{
    *out = (struct layer){
        .id = r->layer, .has_diffid = r->has_diffid, .diffid = r->diffid, .created = r->created};
}

int step_lookup(struct build *b, bool by_ref, const struct wh_digest *key, struct layer *out,
                struct wh_error *err)
{
    size_t n;
    const char *const *scopes = scopes_of(b, by_ref, &n);
    wh_autorecord r = {0};
    int found = wh_record_find(b->store, scopes, n, key, &r, err);
    if (found == 1)
        layer_of_record(&r, out);
    if (found == 1 && !out->has_diffid && out->id > 0 &&
        wh_layer_diffid(b->store, out->id, &out->diffid, NULL) == 1)
        out->has_diffid = true;
    return found;
}

static int file_record(struct build *b, struct stage *s, const struct node *node, bool by_ref,
                       const struct wh_digest *key, char *const *inputs, struct wh_error *err)
{
    size_t n;
    wh_autofree char *slot = slot_of(b, s, node->step);
    wh_autofree char *meta_text = explain_meta(b, s, node->step, inputs);
    struct wh_record r = {.key = *key,
                          .scope = (char *)scopes_of(b, by_ref, &n)[0],
                          .layer = node->layer.id,
                          .has_diffid = node->layer.has_diffid,
                          .diffid = node->layer.diffid,
                          .slot = slot,
                          .meta = meta_text,
                          .created = node->layer.created};
    return wh_record_put(b->store, &r, err);
}

int64_t step_previous_layer(struct build *b, const struct stage *s, const struct wh_df_step *step)
{
    wh_autofree char *slot = slot_of(b, s, step);
    for (int by_ref = 0; by_ref < 2; by_ref++) {
        size_t n;
        const char *const *scopes = scopes_of(b, by_ref, &n);
        wh_autorecord r = {0};
        if (wh_record_previous(b->store, scopes, n, slot, &r, NULL) == 1 && r.layer > 0 &&
            wh_store_lease_layer(b->store, r.layer, NULL) == 1)
            return r.layer;
    }
    return 0;
}

/* Why the store had no answer, in a few words. */
static char *why_missed(struct build *b, const struct stage *s, const struct node *node, char *const *inputs)
{
    if (s->no_cache)
        return wh_strdup("no-cache was asked for");
    size_t n;
    const char *const *scopes = scopes_of(b, node->by_ref, &n);
    wh_autofree char *slot = slot_of(b, s, node->step);
    wh_autorecord previous = {0};
    if (wh_record_previous(b->store, scopes, n, slot, &previous, NULL) != 1 || !previous.meta)
        return wh_strdup("not built here before");
    return explain_miss(b, s, node, previous.meta, inputs);
}

static void note_miss(struct build *b, const struct node *node, const char *why)
{
    cJSON *item = cJSON_CreateObject();
    wh_json_add_string(item, "step", node->step->title);
    wh_json_add_string(item, "why", why);
    pthread_mutex_lock(&b->lock);
    if (!b->misses)
        b->misses = cJSON_CreateArray();
    cJSON_AddItemToArray(b->misses, item);
    pthread_mutex_unlock(&b->lock);
}

/* A key's record is true only if the files that the key was made of are those that went into the layer: a job
 * may have changed them between. */
static int file_definition(struct build *b, struct stage *s, const struct node *node,
                           const struct wh_digest *files, char *const *inputs, struct wh_error *err)
{
    return wh_digest_eq(&node->files, files) ? file_record(b, s, node, node->by_ref, &node->key, inputs, err)
                                             : 0;
}

/* By what the layers below really are: a step whose definition changed, but whose inputs did not, needs no
 * run. */
static int find_by_content(struct build *b, struct stage *s, struct node *node, const struct wh_digest *key,
                           const struct wh_digest *files, char *const *inputs, struct wh_error *err)
{
    if (s->no_cache)
        return 0;
    int found = step_lookup(b, node->step->kind == WH_DF_RUN, key, &node->layer, err);
    if (found != 1)
        return found;
    node->found_late = true;
    report_cached(&b->report, node->step->title);
    return file_definition(b, s, node, files, inputs, err) < 0 ? -1 : 1;
}

static int execute(struct build *b, struct stage *s, struct node *node, struct state *state,
                   struct wh_digest *files, char *const *inputs, struct wh_error *err)
{
    wh_autofree char *why = why_missed(b, s, node, inputs);
    note_miss(b, node, why);
    uint64_t vertex = report_start(&b->report, node->step->title, why);
    int status = node->step->kind == WH_DF_RUN
                     ? run_execute(b, s, node->step, state, vertex, &node->layer, err)
                     : add_execute(b, s, node->step, state, vertex, &node->layer, files, err);
    node->layer.created = wh_now_ns();
    report_end(&b->report, vertex, status, err);
    return status;
}

int step_execute(struct build *b, struct stage *s, struct node *node, struct state *state,
                 struct wh_error *err)
{
    struct wh_digest content, files = {0}, copied = {0};
    wh_autostrv char **inputs = NULL;
    if (make_key(b, s, node->step, false, &state->identity, &files, &content, &inputs, err) < 0)
        return -1;
    int found = find_by_content(b, s, node, &content, &files, inputs, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    if (execute(b, s, node, state, &copied, inputs, err) < 0 ||
        file_definition(b, s, node, &copied, inputs, err) < 0)
        return -1;
    if (!wh_digest_eq(&files, &copied))
        return 0;
    return file_record(b, s, node, node->step->kind == WH_DF_RUN, &content, inputs, err);
}
