/* Reading a workflow file, and questions about it. */
#include "workflow/workflow_internal.h"

struct wh_workflow *wh_workflow_parse(const char *text, size_t len, const char *name, struct wh_error *err)
{
    struct wh_workflow *w = wh_calloc(1, sizeof *w);
    w->file = wh_strdup(name);
    if (wh_yaml_parse(text, len, name, &w->doc, err) < 0 || wh_workflow_check(w, err) < 0) {
        wh_workflow_free(w);
        return NULL;
    }
    return w;
}

void wh_workflow_free(struct wh_workflow *w)
{
    if (!w)
        return;
    wh_yaml_doc_free(&w->doc);
    free(w->file);
    free(w);
}

void wh_workflow_free_ptr(struct wh_workflow **w)
{
    wh_workflow_free(*w);
    *w = NULL;
}

/* ---- questions ---- */

const struct wh_yaml *wh_workflow_job(const struct wh_workflow *w, const char *id)
{
    return wh_yaml_get(w->jobs, id);
}

static const char *scalar_text(const struct wh_yaml *map, const char *key)
{
    const struct wh_yaml *node = wh_yaml_get(map, key);
    return node && node->kind == WH_YAML_SCALAR && node->text[0] ? node->text : NULL;
}

const char *wh_workflow_name(const struct wh_workflow *w)
{
    const char *name = scalar_text(w->root, "name");
    return name ? name : w->file;
}

size_t wh_workflow_job_count(const struct wh_workflow *w)
{
    return w->jobs->nitems / 2;
}

const char *wh_workflow_job_id(const struct wh_workflow *w, size_t i)
{
    return w->jobs->items[2 * i]->text;
}

const char *wh_workflow_file(const struct wh_workflow *w)
{
    return w->file;
}

char *wh_workflow_job_name(const struct wh_workflow *w, size_t i)
{
    const char *name = scalar_text(w->jobs->items[2 * i + 1], "name");
    return wh_strdup(name ? name : wh_workflow_job_id(w, i));
}

bool wh_workflow_job_has_matrix(const struct wh_workflow *w, const char *id)
{
    return wh_yaml_get(wh_workflow_job(w, id), "strategy") != NULL;
}

bool wh_workflow_has_event(const struct wh_workflow *w, const char *event)
{
    const struct wh_yaml *on = wh_yaml_get(w->root, "on");
    if (on->kind == WH_YAML_SCALAR)
        return wh_streq_ci(on->text, event);
    if (on->kind == WH_YAML_MAPPING)
        return wh_yaml_get(on, event) != NULL;
    for (size_t i = 0; i < on->nitems; i++)
        if (on->items[i]->kind == WH_YAML_SCALAR && wh_streq_ci(on->items[i]->text, event))
            return true;
    return false;
}

char **wh_workflow_events(const struct wh_workflow *w)
{
    const struct wh_yaml *on = wh_yaml_get(w->root, "on");
    char **events = NULL;
    if (on->kind == WH_YAML_SCALAR)
        wh_strv_add(&events, on->text);
    for (size_t i = 0; i < on->nitems; i += on->kind == WH_YAML_MAPPING ? 2 : 1)
        wh_strv_add(&events, on->items[i]->text);
    return events;
}

int wh_workflow_check_expressions(const struct wh_workflow *w, struct wh_error *err)
{
    wh_autojson *github = cJSON_CreateObject();
    struct wh_workflow_context context = {.github = github};
    for (size_t i = 0; i < wh_workflow_job_count(w); i++) {
        const char *id = wh_workflow_job_id(w, i);
        const struct wh_yaml *job = wh_workflow_job(w, id);
        struct wh_convert t = {.file = w->file};
        wh_autofree char *condition = wh_convert_condition(&t, wh_yaml_get(job, "if"), WH_PLACE_JOB_IF, err);
        if (!condition || wh_workflow_check_places(w, job, err) < 0)
            return -1;
        wh_autojson *message = wh_yaml_get(job, "uses") ? NULL : wh_workflow_message(w, id, &context, err);
        if (!message && !wh_yaml_get(job, "uses"))
            return -1;
    }
    return 0;
}

/* ---- `uses` of a job ---- */

#define MAX_REFERENCE 1024

static bool is_workflow_path(const char *path)
{
    const char *name = wh_starts_with(path, ".github/workflows/") ? path + strlen(".github/workflows/") : "";
    return name[0] && !strchr(name, '/') && (wh_ends_with(name, ".yml") || wh_ends_with(name, ".yaml"));
}

static int bad_reference(const char *text, struct wh_error *err)
{
    return wh_fail(err, WH_E_PARSE,
                   "invalid value workflow reference '%.200s': ./.github/workflows/FILE.yml or "
                   "OWNER/REPO/.github/workflows/FILE.yml@REF is expected",
                   text);
}

int wh_workflow_reference_parse(const char *text, struct wh_workflow_reference *out, struct wh_error *err)
{
    *out = (struct wh_workflow_reference){0};
    if (strlen(text) > MAX_REFERENCE)
        return bad_reference(text, err);
    if (wh_starts_with(text, "./")) {
        if (!is_workflow_path(text + 2))
            return bad_reference(text, err);
        out->path = wh_strdup(text + 2);
        return 0;
    }
    struct wh_view whole;
    struct wh_view ref;
    if (!wh_view_split(wh_view_of(text), '@', &whole, &ref) || ref.len == 0)
        return bad_reference(text, err);
    wh_autofree char *name = wh_view_dup(whole);
    char *slash = strchr(name, '/');
    slash = slash && slash != name ? strchr(slash + 1, '/') : NULL;
    if (!slash || slash[-1] == '/' || !is_workflow_path(slash + 1))
        return bad_reference(text, err);
    out->path = wh_strdup(slash + 1);
    out->repository = wh_strndup(name, (size_t)(slash - name));
    out->ref = wh_view_dup(ref);
    return 0;
}

void wh_workflow_reference_clear(struct wh_workflow_reference *r)
{
    free(r->repository);
    free(r->path);
    free(r->ref);
    *r = (struct wh_workflow_reference){0};
}
