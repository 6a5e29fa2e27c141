/* Requests that only read the Dockerfile: check, outline, targets (builder.md §1.8), printed as buildx prints
 * them. */
#include "build/solve.h"

bool call_known(const char *call)
{
    return strcmp(call, "check") == 0 || strcmp(call, "outline") == 0 || strcmp(call, "targets") == 0;
}

static bool as_json(const struct build *b)
{
    return wh_streq(b->request->call_format, "json");
}

/* ---- tables: columns as wide as their widest cell, and some blanks ---- */

struct table {
    char **cells; /* row by row */
    size_t columns, blanks;
};

static void table_row(struct table *t, const char *const *cells, size_t n)
{
    for (size_t i = 0; i < t->columns; i++)
        wh_strv_add(&t->cells, i < n && cells[i] ? cells[i] : "");
}
#define ROW(t, ...)                                                                                          \
    table_row(t, (const char *const[]){__VA_ARGS__},                                                         \
              sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void table_print(struct table *t, struct wh_str *out)
{
    size_t widths[4] = {0}, n = wh_strv_len(t->cells);
    for (size_t i = 0; i < n; i++)
        widths[i % t->columns] = WH_MAX(widths[i % t->columns], strlen(t->cells[i]));
    for (size_t i = 0; i < n; i++) {
        bool last = i % t->columns == t->columns - 1;
        int width = last ? 0 : (int)(widths[i % t->columns] + t->blanks);
        wh_str_addf(out, "%-*s%s", width, t->cells[i], last ? "\n" : "");
    }
    wh_strv_free(t->cells);
    t->cells = NULL;
}

static cJSON *location(struct wh_df_range range)
{
    cJSON *where = cJSON_CreateObject(), *item = cJSON_CreateObject();
    cJSON *ranges = cJSON_AddArrayToObject(where, "ranges");
    cJSON_AddItemToArray(ranges, item);
    wh_json_add_int(cJSON_AddObjectToObject(item, "start"), "line", range.line);
    wh_json_add_int(cJSON_AddObjectToObject(item, "end"), "line", WH_MAX(range.end_line, range.line));
    return where;
}

static void add_source(const struct build *b, cJSON *json)
{
    wh_autofree char *text = wh_base64(b->request->dockerfile, b->request->dockerfile_len);
    cJSON_AddItemToArray(cJSON_AddArrayToObject(json, "sources"), cJSON_CreateString(text));
}

static void print_json(const cJSON *json, struct wh_str *out)
{
    wh_autofree char *text = wh_json_print_indented(json);
    wh_str_add(out, text);
    if (!wh_ends_with(text, "\n"))
        wh_str_addc(out, '\n');
}

/* ---- check ---- */

static void check_json(const struct build *b, const struct wh_error *err, struct wh_str *out)
{
    wh_autojson *json = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(json, "warnings");
    for (size_t i = 0; i < b->df->nwarnings; i++) {
        const struct wh_df_warning *w = &b->df->warnings[i];
        wh_autofree char *url = wh_df_rule_url(w->rule);
        cJSON *item = cJSON_CreateObject();
        wh_json_add_string(item, "ruleName", w->rule);
        wh_json_add_string(item, "description", wh_df_rule_description(w->rule));
        wh_json_add_string(item, "url", url);
        wh_json_add_string(item, "detail", w->message);
        cJSON_AddItemToObject(item, "location", location(w->range));
        cJSON_AddItemToArray(list, item);
    }
    cJSON *source = cJSON_CreateObject();
    wh_autofree char *text = wh_base64(b->request->dockerfile, b->request->dockerfile_len);
    cJSON_AddItemToArray(cJSON_AddArrayToObject(json, "sources"), source);
    wh_json_add_string(source, "filename", b->request->dockerfile_name);
    wh_json_add_string(source, "language", "Dockerfile");
    wh_json_add_string(source, "data", text);
    if (err) {
        cJSON *error = cJSON_AddObjectToObject(json, "buildError");
        wh_json_add_string(error, "message", wh_error_text(err));
        cJSON_AddItemToObject(error, "location", location(b->where));
    }
    print_json(json, out);
}

static void check_text(const struct build *b, bool failed, struct wh_str *out)
{
    size_t n = b->df->nwarnings;
    if (n == 0)
        wh_str_add(out, "Check complete, no warnings found.\n");
    else
        wh_str_addf(out, "Check complete, %zu warning%s been found!\n", n, n == 1 ? " has" : "s have");
    for (size_t i = 0; i < n; i++) {
        const struct wh_df_warning *w = &b->df->warnings[i];
        wh_autofree char *url = wh_df_rule_url(w->rule);
        wh_autofree char *excerpt = wh_df_excerpt(b->request->dockerfile, b->request->dockerfile_len,
                                                  b->request->dockerfile_name, w->range, NULL);
        wh_str_addf(out, "\nWARNING: %s%s%s\n%s\n%s", w->rule, url ? " - " : "", url ? url : "", w->message,
                    excerpt);
    }
    if (failed)
        wh_str_addc(out, '\n');
}

/* ---- outline ---- */

struct outline {
    const struct build *b;
    cJSON *args, *secrets, *ssh;
    bool *seen; /* stages */
};

static bool has_name(const cJSON *list, const char *name)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        if (wh_streq(wh_json_string(item, "name"), name))
            return true;
    }
    return false;
}

static void add_arg(struct outline *o, const char *name, const char *value, const struct wh_df_instr *in)
{
    if (has_name(o->args, name))
        return;
    cJSON *item = cJSON_CreateObject();
    wh_autofree char *text = wh_df_description(in->comment ? in->comment : "", name);
    wh_json_add_string(item, "name", name);
    wh_json_add_string(item, "description", text);
    wh_json_add_string(item, "value", value && value[0] ? value : NULL);
    cJSON_AddItemToObject(item, "location", location(in->range));
    cJSON_AddItemToArray(o->args, item);
}

/* An ARG before the first FROM; true if there is one of the name. Those in its default count as used too. */
static bool add_global(struct outline *o, const char *name, unsigned depth)
{
    const struct wh_dockerfile *df = o->b->df;
    for (size_t i = df->nmeta; i-- > 0;)
        for (size_t k = 0; k < df->meta[i]->npairs; k++) {
            const struct wh_df_pair *pair = &df->meta[i]->pairs[k];
            if (strcmp(pair->name, name) != 0)
                continue;
            add_arg(o, name, wh_env_get(o->b->plan->global, name), df->meta[i]);
            struct wh_df_expansion seen = {0};
            wh_autofree char *value = NULL;
            if (pair->value && depth < WH_MAX_EXPANSION_DEPTH &&
                wh_df_expand(pair->value, o->b->plan->global, df->escape, WH_DF_EXPAND, &value, &seen,
                             NULL) == 0)
                for (size_t u = 0; seen.used && seen.used[u]; u++)
                    if (strcmp(seen.used[u], name) != 0)
                        add_global(o, seen.used[u], depth + 1);
            wh_df_expansion_clear(&seen);
            return true;
        }
    return false;
}

static void add_used(struct outline *o, const char *word)
{
    struct wh_df_expansion seen = {0};
    wh_autofree char *value = NULL;
    if (word &&
        wh_df_expand(word, o->b->plan->global, o->b->df->escape, WH_DF_EXPAND, &value, &seen, NULL) == 0)
        for (size_t u = 0; seen.used && seen.used[u]; u++)
            add_global(o, seen.used[u], 0);
    wh_df_expansion_clear(&seen);
}

/* `ARG A=v B` of the history, pair by pair. */
static char *value_of(const struct wh_df_step *step, size_t nth)
{
    const struct wh_df_instr *in = step->instr;
    const char *at = step->created_by + strlen("ARG ");
    for (size_t i = 1; i <= nth && at; i++) {
        wh_autofree char *mark = wh_printf(" %s", in->pairs[i].name);
        at = strstr(at, mark);
        at = at ? at + 1 : NULL;
    }
    size_t len = strlen(in->pairs[nth].name);
    if (!at || at[len] != '=')
        return NULL;
    at += len + 1;
    wh_autofree char *next = nth + 1 < in->npairs ? wh_printf(" %s", in->pairs[nth + 1].name) : NULL;
    const char *end = next ? strstr(at, next) : NULL;
    return end ? wh_strndup(at, (size_t)(end - at)) : wh_strdup(at);
}

static void add_step_args(struct outline *o, const struct wh_df_step *step)
{
    for (size_t k = 0; k < step->instr->npairs; k++) {
        const struct wh_df_pair *pair = &step->instr->pairs[k];
        if (!pair->value && add_global(o, pair->name, 0))
            continue;
        wh_autofree char *value = value_of(step, k);
        add_arg(o, pair->name, value, step->instr);
    }
}

static void add_mount(cJSON *list, const struct wh_df_mount *m, struct wh_df_range range)
{
    if (has_name(list, m->id))
        return;
    cJSON *item = cJSON_CreateObject();
    wh_json_add_string(item, "name", m->id);
    if (m->required)
        cJSON_AddTrueToObject(item, "required");
    cJSON_AddItemToObject(item, "location", location(range));
    cJSON_AddItemToArray(list, item);
}

static void add_stage(struct outline *o, size_t index)
{
    const struct stage *s = &o->b->stages[index];
    const struct wh_df_plan_stage *ps = &o->b->plan->stages[index];
    if (o->seen[index] || !s->eval)
        return;
    o->seen[index] = true;
    add_used(o, ps->stage->from->words[0]);
    add_used(o, ps->stage->from->platform);
    for (size_t i = 0; i < s->eval->nsteps; i++) {
        const struct wh_df_step *step = &s->eval->steps[i];
        if (step->kind == WH_DF_ARG)
            add_step_args(o, step);
        for (size_t m = 0; m < step->nmounts; m++)
            if (step->mounts[m].type == WH_DF_MOUNT_SECRET || step->mounts[m].type == WH_DF_MOUNT_SSH)
                add_mount(step->mounts[m].type == WH_DF_MOUNT_SECRET ? o->secrets : o->ssh, &step->mounts[m],
                          step->range);
    }
    for (size_t i = 0; i < ps->ndeps; i++)
        add_stage(o, ps->deps[i]);
}

static int64_t line_of(const cJSON *item)
{
    return wh_json_int(wh_json_get(wh_json_get(wh_json_get(item, "location"), "ranges")->child, "start"),
                       "line", 0);
}

/* By line; few as they are. */
static cJSON *sorted(cJSON *list)
{
    cJSON *out = cJSON_CreateArray();
    while (list->child) {
        cJSON *first = list->child, *item;
        for (item = list->child; item; item = item->next)
            if (line_of(item) < line_of(first))
                first = item;
        cJSON_AddItemToArray(out, cJSON_DetachItemViaPointer(list, first));
    }
    cJSON_Delete(list);
    return out;
}

static void needs_table(const char *head, const cJSON *list, struct wh_str *out)
{
    struct table t = {.columns = 2, .blanks = 3};
    const cJSON *item;
    if (cJSON_GetArraySize(list) == 0)
        return;
    ROW(&t, head, "REQUIRED");
    cJSON_ArrayForEach(item, list)
    {
        ROW(&t, wh_json_string(item, "name"), wh_json_bool(item, "required", false) ? "true" : "");
    }
    table_print(&t, out);
    wh_str_addc(out, '\n');
}

static void outline_text(const cJSON *json, struct wh_str *out)
{
    const char *name = wh_json_string(json, "name"), *about = wh_json_string(json, "description");
    struct table head = {.columns = 2, .blanks = 1}, args = {.columns = 3, .blanks = 3};
    const cJSON *item;
    if (name || about) {
        ROW(&head, "TARGET:", name ? name : "(default)");
        if (about)
            ROW(&head, "DESCRIPTION:", about);
        table_print(&head, out);
        wh_str_addc(out, '\n');
    }
    if (cJSON_GetArraySize(wh_json_get(json, "args")) > 0) {
        ROW(&args, "BUILD ARG", "VALUE", "DESCRIPTION");
        cJSON_ArrayForEach(item, wh_json_get(json, "args"))
        {
            ROW(&args, wh_json_string(item, "name"), wh_json_string(item, "value"),
                wh_json_string(item, "description"));
        }
        table_print(&args, out);
        wh_str_addc(out, '\n');
    }
    needs_table("SECRET", wh_json_get(json, "secrets"), out);
    needs_table("SSH", wh_json_get(json, "ssh"), out);
}

static void add_list(cJSON *json, const char *name, cJSON *list)
{
    cJSON *all = sorted(list);
    if (all->child)
        cJSON_AddItemToObject(json, name, all);
    else
        cJSON_Delete(all);
}

static void outline(const struct build *b, struct wh_str *out)
{
    const struct wh_df_stage *target = b->plan->stages[b->plan->target].stage;
    struct outline o = {b, cJSON_CreateArray(), cJSON_CreateArray(), cJSON_CreateArray(),
                        wh_calloc(b->df->nstages, sizeof(bool))};
    add_stage(&o, b->plan->target);
    free(o.seen);
    wh_autojson *json = cJSON_CreateObject();
    wh_autofree char *about =
        target->name ? wh_df_description(target->from->comment ? target->from->comment : "", target->name)
                     : NULL;
    wh_json_add_string(json, "name", target->name);
    wh_json_add_string(json, "description", about);
    add_list(json, "args", o.args);
    add_list(json, "secrets", o.secrets);
    add_list(json, "ssh", o.ssh);
    if (!as_json(b)) {
        outline_text(json, out);
        return;
    }
    add_source(b, json);
    print_json(json, out);
}

/* ---- targets ---- */

static void targets(const struct build *b, struct wh_str *out)
{
    struct table t = {.columns = 2, .blanks = 1};
    wh_autojson *json = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(json, "targets");
    ROW(&t, "TARGET", "DESCRIPTION");
    for (size_t i = 0; i < b->df->nstages; i++) {
        const struct wh_df_stage *stage = &b->df->stages[i];
        bool is_default = i + 1 == b->df->nstages;
        if (!stage->name && !is_default)
            continue;
        wh_autofree char *about =
            stage->name ? wh_df_description(stage->from->comment ? stage->from->comment : "", stage->name)
                        : NULL;
        wh_autofree char *shown =
            wh_printf("%s%s%s", stage->name ? stage->name : "", stage->name && is_default ? " " : "",
                      is_default ? "(default)" : "");
        ROW(&t, shown, about);
        cJSON *item = cJSON_CreateObject();
        wh_json_add_string(item, "name", stage->name);
        if (is_default)
            cJSON_AddTrueToObject(item, "default");
        wh_json_add_string(item, "description", about);
        wh_json_add_string(item, "base", stage->from->words[0]);
        wh_json_add_string(item, "platform", stage->from->platform);
        cJSON_AddItemToObject(item, "location", location(stage->from->range));
        cJSON_AddItemToArray(list, item);
    }
    if (as_json(b)) {
        add_source(b, json);
        print_json(json, out);
        wh_strv_free(t.cells);
        return;
    }
    table_print(&t, out);
}

/* ---- all ---- */

int call_answer(struct build *b, cJSON *result, int status, struct wh_error *err)
{
    wh_autostr out = {0};
    bool check = wh_streq(b->request->call, "check");
    bool linted = check && b->plan && (status == 0 || b->df->nwarnings > 0);
    if (linted && status == 0)
        status = wh_df_lint_verdict(b->df, &b->check, err);
    if (status < 0 && !linted)
        return -1;
    if (check && as_json(b))
        check_json(b, status < 0 ? err : NULL, &out);
    else if (check)
        check_text(b, status < 0, &out);
    else if (wh_streq(b->request->call, "outline"))
        outline(b, &out);
    else
        targets(b, &out);
    wh_json_add_string(result, "output", wh_str_text(&out));
    wh_json_add_int(result, "exitCode", check && b->df->nwarnings > 0);
    return status;
}
