/* Evaluation of template tokens (job-execution.md §2.7): expressions are replaced by their values, and the
 * whole is checked against the kind that its place wants. Errors are gathered, so that a user sees all that
 * is wrong with an `env` at once. */
#include "text.h"
#include "value_impl.h"
#include "wherry/job/logtext.h"
#include "wherry/job/template.h"

#define MAX_ERROR_UNITS 500 /* of one error's text */
#define MAX_TEMPLATE_BYTES WH_MAX_EXPR_MEMORY

struct run {
    struct wh_template_env *env;
    size_t nerrors;
    size_t events; /* left */
    size_t bytes;  /* left */
    unsigned depth;
    bool stopped; /* a limit was passed: no more work, no more errors */
};

/* ---- errors ---- */

static void add_prefix(struct wh_str *out, const struct run *r, const struct wh_token *t)
{
    size_t files = wh_strv_len(r->env->file_table);
    const char *file = t->file > 0 && (size_t)t->file <= files ? r->env->file_table[t->file - 1] : NULL;
    bool has_position = t->line > 0 && t->col > 0;
    if (file && *file)
        wh_str_add(out, file);
    if (has_position)
        wh_str_addf(out, "%s(Line: %d, Col: %d)", out->len > 0 ? " " : "", t->line, t->col);
    if (out->len > 0)
        wh_str_add(out, ": ");
}

static void add_error(struct run *r, const struct wh_token *t, const char *text)
{
    if (r->nerrors++ >= WH_MAX_TEMPLATE_ERRORS || r->stopped)
        return;
    wh_autostr line = {0};
    add_prefix(&line, r, t);
    wh_str_add(&line, text);
    size_t keep = wh_utf16_prefix(wh_str_text(&line), line.len, MAX_ERROR_UNITS);
    if (keep < line.len) {
        wh_str_truncate(&line, keep);
        wh_str_add(&line, "[...]");
    }
    wh_strv_add(&r->env->errors, wh_str_text(&line));
}

static void add_unexpected(struct run *r, const struct wh_token *t, const struct wh_value *v)
{
    wh_autofree char *shown = wh_value_to_string(v);
    wh_autofree char *text = wh_printf("Unexpected value '%s'", shown);
    add_error(r, t, text);
}

/* False and an error at t if the whole template has become too large. */
static bool spend(struct run *r, const struct wh_token *t, size_t bytes)
{
    const char *text = NULL;
    if (r->stopped)
        return false;
    if (r->events == 0)
        text = "Maximum events exceeded while evaluating the template. This may indicate an infinite loop or "
               "too many "
               "nested loops.";
    else if (r->depth > WH_MAX_TEMPLATE_DEPTH)
        text = "Maximum object depth exceeded";
    else if (bytes > r->bytes)
        text = "Maximum object size exceeded";
    if (text) {
        add_error(r, t, text);
        r->stopped = true;
        return false;
    }
    r->events--;
    r->bytes -= bytes;
    return true;
}

/* ---- evaluation ---- */

/* The value of an expression token; NULL after an error (which is noted). */
static struct wh_value *eval_expression(struct run *r, const struct wh_token *t)
{
    wh_autoerror err = {0};
    wh_autoexpr *tree = wh_expr_parse(t->text, t->text_len, r->env->allows, &err);
    struct wh_value *v = tree ? wh_expr_eval(tree, &r->env->eval, &err) : NULL;
    if (!v)
        add_error(r, t, wh_error_text(&err));
    return v;
}

static struct wh_value *eval_any(struct run *r, const struct wh_token *t, bool case_sensitive);

static void eval_sequence_item(struct run *r, const struct wh_token *t, struct wh_value *out,
                               bool case_sensitive)
{
    wh_autovalue *v = eval_any(r, t, case_sensitive);
    if (!v)
        return;
    if (t->type != WH_TOKEN_EXPRESSION || wh_value_kind(v) != WH_ARRAY) {
        wh_array_add_take(out, wh_steal(&v));
        return;
    }
    for (size_t i = 0; i < wh_value_count(v) && spend(r, t, 24);
         i++) /* an expression's array is spliced in */
        wh_array_add(out, wh_array_at(v, i));
}

/* A mapping's key as text. False after an error. */
static bool eval_key(struct run *r, const struct wh_token *t, struct wh_str *out)
{
    if (t->type != WH_TOKEN_EXPRESSION) {
        wh_autofree char *text = wh_token_display(t);
        wh_str_add(out, text);
        return true;
    }
    wh_autovalue *v = eval_expression(r, t);
    if (!v)
        return false;
    if (!wh_value_is_primitive(v)) {
        add_error(r, t, "Expected a string");
        return false;
    }
    wh_value_add_string(out, v);
    return true;
}

/* What is done with each pair of a mapping; value is a token, or a value that an insert brought along. */
typedef void (*pair_fn)(struct run *r, const struct wh_token *key, const struct wh_str *name,
                        const struct wh_token *value, const struct wh_value *inserted, struct wh_value *out);

struct seen {
    struct wh_value *names; /* keys are unique without case, whatever the object says */
};

static bool note_key(struct run *r, const struct wh_token *t, const struct wh_str *name, struct seen *seen)
{
    if (wh_object_getn(seen->names, wh_str_text(name), name->len)) {
        wh_autofree char *text = wh_printf("'%s' is already defined", wh_str_text(name));
        add_error(r, t, text);
        return false;
    }
    wh_object_setn(seen->names, wh_str_text(name), name->len, NULL);
    return true;
}

static void walk_mapping(struct run *r, const struct wh_token *t, pair_fn each, struct wh_value *out,
                         struct seen *seen);

/* ${{ insert }}: the mapping given as value joins the one around it. */
static void walk_insert(struct run *r, const struct wh_token *value, pair_fn each, struct wh_value *out,
                        struct seen *seen)
{
    if (value->type == WH_TOKEN_MAPPING) {
        walk_mapping(r, value, each, out, seen);
        return;
    }
    if (value->type != WH_TOKEN_EXPRESSION) {
        add_error(r, value, "Expected a mapping");
        return;
    }
    wh_autovalue *v = eval_expression(r, value);
    if (!v)
        return;
    if (wh_value_kind(v) != WH_OBJECT) {
        add_error(r, value, "Expected a mapping");
        return;
    }
    for (size_t i = 0; i < wh_value_count(v) && spend(r, value, 24); i++) {
        wh_autostr name = {0};
        wh_str_addn(&name, wh_object_key_at(v, i), wh_object_key_len_at(v, i));
        if (note_key(r, value, &name, seen))
            each(r, value, &name, value, wh_object_value_at(v, i), out);
    }
}

static void walk_mapping(struct run *r, const struct wh_token *t, pair_fn each, struct wh_value *out,
                         struct seen *seen)
{
    r->depth++;
    for (size_t i = 0; i < t->count && !r->stopped; i++) {
        const struct wh_token *key = t->pairs[i].key, *value = t->pairs[i].value;
        wh_autostr name = {0};
        if (!spend(r, key, 24))
            break;
        if (key->type == WH_TOKEN_INSERT)
            walk_insert(r, value, each, out, seen);
        else if (eval_key(r, key, &name) && note_key(r, key, &name, seen))
            each(r, key, &name, value, NULL, out);
    }
    r->depth--;
}

static void any_pair(struct run *r, const struct wh_token *key, const struct wh_str *name,
                     const struct wh_token *value, const struct wh_value *inserted, struct wh_value *out)
{
    (void)key;
    struct wh_value *v =
        inserted ? wh_value_ref(inserted) : eval_any(r, value, wh_object_is_case_sensitive(out));
    if (!v && !r->stopped)
        v = wh_value_string(""); /* after an error go on, to find the next one */
    wh_object_setn(out, wh_str_text(name), name->len, v);
    wh_value_unref(v);
}

static struct wh_value *eval_mapping(struct run *r, const struct wh_token *t, pair_fn each,
                                     bool case_sensitive)
{
    struct wh_value *out = case_sensitive ? wh_value_object_case_sensitive() : wh_value_object();
    struct seen seen = {wh_value_object()};
    walk_mapping(r, t, each, out, &seen);
    wh_value_unref(seen.names);
    return out;
}

static struct wh_value *eval_any(struct run *r, const struct wh_token *t, bool case_sensitive)
{
    if (!spend(r, t, 24 + 2 * t->text_len))
        return NULL;
    struct wh_value *out;
    switch (t->type) {
    case WH_TOKEN_STRING:
        return wh_value_stringn(t->text, t->text_len);
    case WH_TOKEN_BOOL:
        return wh_value_bool(t->boolean);
    case WH_TOKEN_NUMBER:
        return wh_value_number(t->number);
    case WH_TOKEN_EXPRESSION:
        return eval_expression(r, t);
    case WH_TOKEN_SEQUENCE:
        out = wh_value_array();
        r->depth++;
        for (size_t i = 0; i < t->count && !r->stopped; i++)
            eval_sequence_item(r, t->items[i], out, case_sensitive);
        r->depth--;
        return out;
    case WH_TOKEN_MAPPING:
        return eval_mapping(r, t, any_pair, case_sensitive);
    case WH_TOKEN_INSERT:
        add_error(r, t, "The expression directive 'insert' is not supported in this context");
        return NULL;
    case WH_TOKEN_NULL:
        break;
    }
    return wh_value_null();
}

/* ---- typed targets ---- */

/* Collections where a scalar is due. True: noted as an error. */
static bool refuse_collection(struct run *r, const struct wh_token *t, const struct wh_value *v)
{
    if (wh_value_is_primitive(v))
        return false;
    add_error(r, t,
              wh_value_kind(v) == WH_ARRAY ? "A sequence was not expected" : "A mapping was not expected");
    return true;
}

/* A scalar of any kind; NULL after an error. What lies in a misplaced collection isn't looked at. */
static struct wh_value *eval_scalar(struct run *r, const struct wh_token *t)
{
    if (t->type == WH_TOKEN_SEQUENCE || t->type == WH_TOKEN_MAPPING) {
        add_error(r, t,
                  t->type == WH_TOKEN_SEQUENCE ? "A sequence was not expected"
                                               : "A mapping was not expected");
        return NULL;
    }
    struct wh_value *v = eval_any(r, t, false);
    if (v && refuse_collection(r, t, v)) {
        wh_value_unref(v);
        return NULL;
    }
    return v;
}

static struct wh_value *to_string_value(struct run *r, const struct wh_token *t, struct wh_value *v_taken)
{
    if (!v_taken || wh_value_kind(v_taken) == WH_STRING) {
        if (v_taken && !spend(r, t, 2 * v_taken->string.len)) {
            wh_value_unref(v_taken);
            return NULL;
        }
        return v_taken;
    }
    wh_autostr s = {0};
    wh_value_add_string(&s, v_taken);
    wh_value_unref(v_taken);
    return wh_value_string_take(&s);
}

static void string_pair(struct run *r, const struct wh_token *key, const struct wh_str *name,
                        const struct wh_token *value, const struct wh_value *inserted, struct wh_value *out)
{
    struct wh_value *v = NULL;
    if (inserted) {
        if (!refuse_collection(r, key, inserted))
            v = to_string_value(r, key, wh_value_ref(inserted));
    } else {
        v = to_string_value(r, value, eval_scalar(r, value));
    }
    if (!v)
        v = wh_value_string("");
    wh_object_setn(out, wh_str_text(name), name->len, v);
    wh_value_unref(v);
}

static struct run run_start(struct wh_template_env *env)
{
    wh_strv_free(env->errors);
    env->errors = NULL;
    return (struct run){
        .env = env, .events = WH_MAX_TEMPLATE_EVENTS, .bytes = MAX_TEMPLATE_BYTES, .depth = 1};
}

static int run_end(struct run *r, struct wh_error *err)
{
    if (r->nerrors == 0)
        return 0;
    wh_autofree char *all = wh_strv_join(r->env->errors, ",");
    return wh_fail(err, WH_E_ARGUMENT, "The template is not valid. %s", all);
}

static bool is_absent(const struct wh_token *t)
{
    return !t || t->type == WH_TOKEN_NULL;
}

struct wh_value *wh_token_eval(const struct wh_token *t, struct wh_template_env *env, struct wh_error *err)
{
    struct run r = run_start(env);
    wh_autovalue *v = t ? eval_any(&r, t, false) : wh_value_null();
    return run_end(&r, err) < 0 ? NULL : wh_steal(&v);
}

int wh_token_eval_string(const struct wh_token *t, struct wh_template_env *env, char **text,
                         struct wh_error *err)
{
    struct run r = run_start(env);
    *text = NULL;
    if (is_absent(t))
        return 0;
    wh_autovalue *v = eval_scalar(&r, t);
    if (run_end(&r, err) < 0)
        return -1;
    *text = wh_value_to_string(v);
    return 0;
}

/* A scalar of exactly that kind. NULL with *set false: absent. */
static struct wh_value *eval_kind(const struct wh_token *t, enum wh_kind kind, struct wh_template_env *env,
                                  struct wh_error *err)
{
    struct run r = run_start(env);
    wh_autovalue *v = eval_scalar(&r, t);
    if (v && wh_value_kind(v) != kind)
        add_unexpected(&r, t, v);
    return run_end(&r, err) < 0 ? NULL : wh_steal(&v);
}

int wh_token_eval_bool(const struct wh_token *t, struct wh_template_env *env, bool *set, bool *out,
                       struct wh_error *err)
{
    *set = !is_absent(t);
    *out = false;
    if (!*set)
        return 0;
    wh_autovalue *v = eval_kind(t, WH_BOOL, env, err);
    *out = wh_value_as_bool(v);
    return v ? 0 : -1;
}

int wh_token_eval_number(const struct wh_token *t, struct wh_template_env *env, bool *set, double *out,
                         struct wh_error *err)
{
    *set = !is_absent(t);
    *out = 0;
    if (!*set)
        return 0;
    wh_autovalue *v = eval_kind(t, WH_NUMBER, env, err);
    if (!v)
        return -1;
    *out = wh_value_as_number(v);
    return 0;
}

static struct wh_value *strings_of_object(struct run *r, const struct wh_token *t, const struct wh_value *v,
                                          bool case_sensitive)
{
    struct wh_value *out = case_sensitive ? wh_value_object_case_sensitive() : wh_value_object();
    for (size_t i = 0; i < wh_value_count(v) && spend(r, t, 24); i++) {
        wh_autostr name = {0};
        wh_str_addn(&name, wh_object_key_at(v, i), wh_object_key_len_at(v, i));
        string_pair(r, t, &name, t, wh_object_value_at(v, i), out);
    }
    return out;
}

static struct wh_value *eval_strings(struct run *r, const struct wh_token *t, bool case_sensitive)
{
    if (t->type == WH_TOKEN_MAPPING)
        return eval_mapping(r, t, string_pair, case_sensitive);
    if (t->type == WH_TOKEN_SEQUENCE) {
        add_error(r, t, "A sequence was not expected");
        return NULL;
    }
    wh_autovalue *v = eval_any(r, t, case_sensitive);
    if (wh_value_kind(v) == WH_OBJECT)
        return strings_of_object(r, t, v, case_sensitive);
    if (v && wh_value_kind(v) == WH_ARRAY)
        add_error(r, t, "A sequence was not expected");
    else if (v)
        add_unexpected(r, t, v);
    return NULL;
}

struct wh_value *wh_token_eval_strings(const struct wh_token *t, bool case_sensitive,
                                       struct wh_template_env *env, struct wh_error *err)
{
    struct run r = run_start(env);
    if (is_absent(t))
        return case_sensitive ? wh_value_object_case_sensitive() : wh_value_object();
    wh_autovalue *v = eval_strings(&r, t, case_sensitive);
    return run_end(&r, err) < 0 ? NULL : wh_steal(&v);
}
