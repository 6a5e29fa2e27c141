/* Actions that are not built in: which ones a job needs, with all that they use themselves; fetched together,
 * level by level, and their manifests loaded (job-execution.md §7). */
#include <ctype.h>

#include "wherry/base/fs.h"
#include "worker/job.h"

void wh_foreign_free(struct wh_foreign *f)
{
    if (!f)
        return;
    free(f->key);
    free(f->directory);
    wh_action_manifest_free(f->manifest);
    free(f);
}

/* ---- loading one ---- */

static int add_file(struct wh_job *j, const char *name)
{
    for (size_t i = 0; j->message->file_table && j->message->file_table[i]; i++)
        if (wh_streq(j->message->file_table[i], name))
            return (int)i + 1;
    wh_strv_add(&j->message->file_table, name);
    return (int)wh_strv_len(j->message->file_table);
}

static struct wh_action_manifest *parse(struct wh_job *j, const struct wh_str *text, const char *shown,
                                        struct wh_error *err)
{
    wh_autofree char *error = NULL;
    struct wh_action_manifest *m =
        wh_action_manifest_parse(wh_str_text(text), text->len, shown, add_file(j, shown), &error, err);
    if (!m && error)
        wh_say_error(j, "%s", error);
    return m;
}

/* shown: how the folder is called in messages. NULL without an error: there is no manifest. */
static struct wh_action_manifest *load(struct wh_job *j, const char *directory, const char *shown,
                                       struct wh_error *err)
{
    static const char *const names[] = {"action.yml", "action.yaml"};
    static const char *const dockerfiles[] = {"Dockerfile", "dockerfile"};
    for (size_t i = 0; i < WH_COUNT(names); i++) {
        wh_autofree char *path = wh_path_join(directory, names[i]);
        wh_autofree char *name = wh_printf("%s%s%s", shown, shown[0] ? "/" : "", names[i]);
        wh_autostr text = {0};
        wh_autoerror why = {0};
        if (wh_read_file(AT_FDCWD, path, WH_MAX_ACTION_MANIFEST_BYTES, &text, &why) == 0)
            return parse(j, &text, name, err);
        if (why.code != WH_E_NOT_FOUND) {
            wh_error_move(err, &why);
            return NULL;
        }
    }
    for (size_t i = 0; i < WH_COUNT(dockerfiles); i++) {
        wh_autofree char *path = wh_path_join(directory, dockerfiles[i]);
        struct stat st;
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
            return wh_action_manifest_of_dockerfile(dockerfiles[i]);
    }
    return NULL;
}

/* ---- the steps of a composite ---- */

static void add_children(struct wh_job *j, struct wh_run *run)
{
    const struct wh_action_manifest *m = run->foreign->manifest;
    if (m->kind != WH_MANIFEST_COMPOSITE || run->children)
        return;
    run->children = wh_calloc(m->nsteps + 1, sizeof(struct wh_run *));
    for (size_t i = 0; i < m->nsteps; i++) {
        struct wh_run *child = wh_run_new(&m->steps[i]);
        child->state = wh_value_object_case_sensitive();
        child->parent = run;
        wh_run_find_native(j, child);
        run->children[run->nchildren++] = child;
    }
}

static int depth_of(const struct wh_run *run)
{
    int depth = 0;
    for (const struct wh_run *r = run->parent; r; r = r->parent)
        depth++;
    return depth;
}

/* ---- a level: runs whose actions are fetched together ---- */

struct level {
    struct wh_run **runs;
    size_t n;
};

static void level_add(struct level *l, struct wh_run *run)
{
    l->runs = wh_reallocarray(l->runs, l->n + 1, sizeof(struct wh_run *));
    l->runs[l->n++] = run;
}

static bool needs_repository(const struct wh_run *run)
{
    const struct wh_step_reference *ref = &run->step->reference;
    return ref->type == WH_REFERENCE_REPOSITORY && ref->name && !run->action && !run->local_checkout &&
           !run->foreign;
}

static char *key_of(const struct wh_step_reference *ref)
{
    wh_autofree char *name = wh_strdup(ref->name);
    wh_ascii_lower(name);
    return wh_printf("%s/%s@%s", name, ref->path ? ref->path : "", ref->ref ? ref->ref : "");
}

static const struct wh_foreign *find_loaded(const struct wh_job *j, const char *key)
{
    for (size_t i = 0; i < j->nforeigns; i++)
        if (wh_streq(j->foreigns[i]->key, key))
            return j->foreigns[i];
    return NULL;
}

static const struct wh_foreign *keep(struct wh_job *j, const char *key, char *directory,
                                     struct wh_action_manifest *manifest)
{
    struct wh_foreign *f = wh_calloc(1, sizeof *f);
    *f = (struct wh_foreign){.key = wh_strdup(key), .directory = directory, .manifest = manifest};
    j->foreigns = wh_reallocarray(j->foreigns, j->nforeigns + 1, sizeof(struct wh_foreign *));
    j->foreigns[j->nforeigns++] = f;
    return f;
}

/* Of the machine's owner: WHERRY_ACTION_MAP, "o/r@ref=/folder,..." (actions.map of the settings). */
static void read_map(struct wh_job *j)
{
    const char *text = getenv("WHERRY_ACTION_MAP");
    struct wh_view rest = wh_view_of(text ? text : "");
    j->action_map = cJSON_CreateObject();
    for (bool more = rest.len > 0; more;) {
        struct wh_view one;
        struct wh_view key;
        struct wh_view folder;
        more = wh_view_split(rest, ',', &one, &rest);
        (void)wh_view_split(wh_view_trim(one), '=', &key, &folder);
        wh_autofree char *name = wh_view_dup(key);
        wh_autofree char *path = wh_view_dup(folder);
        if (strchr(name, '@') && path[0] == '/')
            wh_json_add_string(j->action_map, name, path);
        else
            wh_say_warning(
                j, "'%.*s' of actions.map (WHERRY_ACTION_MAP) is not OWNER/REPO@REF=/FOLDER: it is left out",
                (int)one.len, one.data);
    }
}

/* What the machine's owner has on disk for it; NULL. */
static const char *mapped(struct wh_job *j, const struct wh_step_reference *ref)
{
    wh_autofree char *key = wh_printf("%s@%s", ref->name, ref->ref ? ref->ref : "");
    if (!j->action_map)
        read_map(j);
    return wh_json_string(j->action_map, key);
}

static int fetch_level(struct wh_job *j, const struct level *l, struct wh_error *err)
{
    struct wh_wanted *wanted = wh_calloc(l->n + 1, sizeof *wanted);
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct wh_step_reference *ref = &l->runs[i]->step->reference;
        if (!needs_repository(l->runs[i]) || mapped(j, ref))
            continue;
        bool known = false;
        for (size_t k = 0; k < n && !known; k++)
            known = wh_streq_ci(wanted[k].name, ref->name) && wh_streq(wanted[k].ref, ref->ref);
        if (!known)
            wanted[n++] = (struct wh_wanted){ref->name, ref->ref ? ref->ref : "", ref->path};
    }
    int code = n > 0 ? wh_fetch_actions(j, wanted, n, err) : 0;
    free(wanted);
    return code;
}

static bool leads_out(const char *path)
{
    for (const char *p = path; *p;) {
        size_t len = strcspn(p, "/");
        if (len == 2 && p[0] == '.' && p[1] == '.')
            return true;
        p += len + (p[len] == '/');
    }
    return path[0] == '/';
}

static int load_repository(struct wh_job *j, struct wh_run *run, struct wh_error *err)
{
    const struct wh_step_reference *ref = &run->step->reference;
    wh_autofree char *key = key_of(ref);
    run->foreign = find_loaded(j, key);
    if (run->foreign)
        return 0;
    const char *slash = ref->path && ref->path[0] ? "/" : "";
    const char *below = ref->path ? ref->path : "";
    if (leads_out(below))
        return wh_fail(err, WH_E_ARGUMENT, "the path of action '%s/%s@%s' leads out of its repository",
                       ref->name, below, ref->ref);
    const char *folder = mapped(j, ref);
    wh_autofree char *shown = wh_printf("%s/%s%s%s", ref->name, ref->ref, slash, below);
    wh_autofree char *directory =
        folder ? wh_printf("%s%s%s", folder, slash, below) : wh_printf("%s/_actions/%s", j->dirs.work, shown);
    wh_autoerror why = {0};
    struct wh_action_manifest *m = load(j, directory, shown, &why);
    if (!m && why.code != WH_OK)
        return wh_error_move(err, &why);
    if (!m)
        return wh_fail(err, WH_E_NOT_FOUND,
                       "Can't find 'action.yml', 'action.yaml' or 'Dockerfile' for action '%s%s%s@%s'.",
                       ref->name, slash, below, ref->ref);
    run->foreign = keep(j, key, wh_steal(&directory), m);
    return 0;
}

static int prepare_level(struct wh_job *j, const struct level *l, struct level *next, struct wh_error *err)
{
    if (fetch_level(j, l, err) < 0)
        return -1;
    for (size_t i = 0; i < l->n; i++) {
        struct wh_run *run = l->runs[i];
        if (needs_repository(run) && load_repository(j, run, err) < 0)
            return -1;
        if (!run->foreign)
            continue;
        add_children(j, run);
        for (size_t k = 0; k < run->nchildren; k++) {
            if (run->children[k]->step->reference.type != WH_REFERENCE_SCRIPT &&
                depth_of(run->children[k]) > WH_MAX_COMPOSITE_DEPTH)
                return wh_fail(err, WH_E_LIMIT, "Composite action depth exceeded max depth %d",
                               WH_MAX_COMPOSITE_DEPTH);
            level_add(next, run->children[k]);
        }
    }
    return 0;
}

/* Takes the level over. */
static int prepare_all(struct wh_job *j, struct level level, struct wh_error *err)
{
    int code = 0;
    while (code == 0 && level.n > 0) {
        struct level next = {0};
        code = prepare_level(j, &level, &next, err);
        free(level.runs);
        level = next;
    }
    free(level.runs);
    return code;
}

int wh_actions_prepare(struct wh_job *j, struct wh_error *err)
{
    struct level level = {0};
    for (size_t i = 0; i < j->nmains; i++)
        level_add(&level, j->mains[i]);
    return prepare_all(j, level, err);
}

/* Without "." and empty parts. Owned by the caller. */
static char *cleaned(const char *path)
{
    wh_autostr out = {0};
    for (const char *p = path; *p;) {
        size_t len = strcspn(p, "/");
        if (len > 0 && !(len == 1 && p[0] == '.')) {
            wh_str_addc(&out, '/');
            wh_str_addn(&out, p, len);
        }
        p += len + (p[len] == '/');
    }
    return wh_str_steal(&out);
}

int wh_actions_prepare_local(struct wh_job *j, struct wh_run *run, struct wh_error *err)
{
    const char *path = run->step->reference.path;
    wh_autofree char *joined = wh_path_join(j->dirs.workspace, path ? path : "");
    /* "/w/./x" is shown, and seen by the action, as "/w/x". */
    wh_autofree char *directory = cleaned(joined);
    wh_autoerror why = {0};
    struct wh_action_manifest *m = load(j, directory, directory, &why);
    if (!m && why.code != WH_OK)
        return wh_error_move(err, &why);
    if (!m)
        return wh_fail(err, WH_E_NOT_FOUND,
                       "Can't find 'action.yml', 'action.yaml' or 'Dockerfile' under '%s'. Did you forget to "
                       "run actions/checkout before running your local action?",
                       directory);
    run->foreign = keep(j, NULL, wh_steal(&directory), m);
    if (m->pre)
        wh_say_warning(j, "`pre` execution is not supported for local action from '%s'", path);
    add_children(j, run);
    struct level level = {0};
    level_add(&level, run);
    return prepare_all(j, level, err);
}
