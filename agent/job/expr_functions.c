/* The functions of expressions (job-execution.md §2.5). Each evaluates only the arguments that it needs. */
#include "expr_impl.h"
#include "json_out.h"
#include "text.h"
#include "value_impl.h"

static const struct wh_node *argument(const struct wh_node *n, size_t i)
{
    const struct wh_node *c = n->child;
    while (i-- > 0)
        c = c->next;
    return c;
}

/* A value's string form without a copy where it is a string already. */
struct text {
    struct wh_view view;
    struct wh_str own;
};

static void text_of(struct text *t, const struct wh_value *v)
{
    t->own = (struct wh_str){0};
    t->view = wh_value_view(v);
    if (wh_value_kind(v) != WH_STRING) {
        wh_value_add_string(&t->own, v);
        t->view = (struct wh_view){wh_str_text(&t->own), t->own.len};
    }
}

typedef bool (*text_test)(struct wh_view a, struct wh_view b);

static struct wh_value *test_texts(const struct wh_value *a, const struct wh_value *b, text_test test)
{
    struct text x, y;
    text_of(&x, a);
    text_of(&y, b);
    bool result = test(x.view, y.view);
    wh_str_free(&x.own);
    wh_str_free(&y.own);
    return wh_value_bool(result);
}

/* startsWith, endsWith, and contains of a primitive. */
static struct wh_value *call_text_test(struct wh_evaluator *ev, const struct wh_node *n, unsigned level,
                                       text_test test)
{
    wh_autovalue *a = wh_node_eval(ev, argument(n, 0), level + 1);
    if (!a)
        return NULL;
    if (!wh_value_is_primitive(a))
        return wh_value_bool(false);
    wh_autovalue *b = wh_node_eval(ev, argument(n, 1), level + 1);
    if (!b)
        return NULL;
    return wh_value_is_primitive(b) ? test_texts(a, b, test) : wh_value_bool(false);
}

static struct wh_value *call_contains(struct wh_evaluator *ev, const struct wh_node *n, unsigned level)
{
    wh_autovalue *a = wh_node_eval(ev, argument(n, 0), level + 1);
    if (!a)
        return NULL;
    bool list = wh_value_kind(a) == WH_ARRAY && wh_value_count(a) > 0;
    if (!list && !wh_value_is_primitive(a))
        return wh_value_bool(false);
    wh_autovalue *b = wh_node_eval(ev, argument(n, 1), level + 1);
    if (!b)
        return NULL;
    if (!list)
        return wh_value_is_primitive(b) ? test_texts(a, b, wh_view_contains_ci) : wh_value_bool(false);
    for (size_t i = 0; i < wh_value_count(a); i++) {
        if (wh_value_equals(b, wh_array_at(a, i)))
            return wh_value_bool(true);
    }
    return wh_value_bool(false);
}

static struct wh_value *call_join(struct wh_evaluator *ev, const struct wh_node *n, unsigned level)
{
    wh_autovalue *list = wh_node_eval(ev, argument(n, 0), level + 1);
    if (!list)
        return NULL;
    wh_autostr out = {0}, separator = {0};
    if (wh_value_is_primitive(list)) {
        if (wh_value_kind(list) == WH_STRING)
            return wh_steal(&list);
        wh_value_add_string(&out, list);
        return wh_value_string_take(&out);
    }
    size_t count = wh_value_kind(list) == WH_ARRAY ? wh_value_count(list) : 0;
    bool given = false;
    if (count > 1 && n->nchildren > 1) {
        wh_autovalue *s = wh_node_eval(ev, argument(n, 1), level + 1);
        if (!s)
            return NULL;
        given = wh_value_is_primitive(s);
        if (given)
            wh_value_add_string(&separator, s);
    }
    if (!given)
        wh_str_addc(&separator, ',');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            wh_str_addn(&out, separator.data, separator.len);
        wh_value_add_string(&out, wh_array_at(list, i));
        if (out.len > WH_MAX_EXPR_TEXT)
            return wh_memory_exceeded(ev, n);
    }
    return wh_value_string_take(&out);
}

static struct wh_value *call_to_json(struct wh_evaluator *ev, const struct wh_node *n, unsigned level)
{
    wh_autovalue *v = wh_node_eval(ev, argument(n, 0), level + 1);
    if (!v)
        return NULL;
    wh_autostr out = {0};
    if (!wh_value_add_json_max(&out, v, WH_MAX_EXPR_TEXT))
        return wh_memory_exceeded(ev, n);
    return wh_value_string_take(&out);
}

static struct wh_value *call_from_json(struct wh_evaluator *ev, const struct wh_node *n, unsigned level)
{
    wh_autovalue *v = wh_node_eval(ev, argument(n, 0), level + 1);
    if (!v)
        return NULL;
    struct text t;
    text_of(&t, v);
    struct wh_value *result = wh_value_parse_json(t.view.data, t.view.len, ev->err);
    wh_str_free(&t.own);
    return result;
}

static struct wh_value *call_case(struct wh_evaluator *ev, const struct wh_node *n, unsigned level)
{
    const struct wh_node *c = n->child;
    for (; c->next; c = c->next->next) {
        wh_autovalue *predicate = wh_node_eval(ev, c, level + 1);
        if (!predicate)
            return NULL;
        if (wh_value_kind(predicate) != WH_BOOL) {
            wh_fail(ev->err, WH_E_ARGUMENT, "case predicate must evaluate to a boolean value");
            return NULL;
        }
        if (wh_value_as_bool(predicate))
            return wh_node_eval(ev, c->next, level + 1);
    }
    return wh_node_eval(ev, c, level + 1);
}

/* ---- format ---- */

struct format {
    struct wh_evaluator *ev;
    const struct wh_node *node;
    unsigned level;
    struct wh_view text;
    struct wh_value **arguments; /* evaluated so far, by number */
    struct wh_str *out;          /* NULL while the text is only checked */
};

static int format_char(const struct format *f, size_t at)
{
    return at < f->text.len ? (unsigned char)f->text.data[at] : -1;
}

static int format_invalid(const struct format *f, const char *what)
{
    return wh_fail(f->ev->err, WH_E_ARGUMENT, "%s: %.*s", what, (int)f->text.len, f->text.data);
}

static int format_add(struct format *f, const char *data, size_t len)
{
    if (!f->out || len == 0)
        return 0;
    wh_str_addn(f->out, data, len);
    if (f->out->len <= WH_MAX_EXPR_TEXT)
        return 0;
    wh_memory_exceeded(f->ev, f->node);
    return -1;
}

/* "0}" or "0:spec}" after the brace at `open`; *end is behind the closing one. Spec has }} as }. */
static bool format_item(const struct format *f, size_t open, unsigned *number, struct wh_str *spec,
                        size_t *end)
{
    size_t at = open + 1;
    unsigned n = 0;
    for (; format_char(f, at) >= '0' && format_char(f, at) <= '9'; at++) {
        n = n * 10 + (unsigned)(f->text.data[at] - '0');
        if (n > 255)
            return false;
    }
    if (at == open + 1)
        return false;
    *number = n;
    if (format_char(f, at) == ':') {
        for (at++; format_char(f, at) != '}' || format_char(f, at + 1) == '}'; at++) {
            if (at >= f->text.len)
                return false;
            wh_str_addc(spec, f->text.data[at]);
            if (f->text.data[at] == '}')
                at++;
        }
    } else if (format_char(f, at) != '}') {
        return false;
    }
    *end = at + 1;
    return true;
}

static int format_argument(struct format *f, unsigned number, const struct wh_str *spec)
{
    if (!f->out)
        return 0;
    if (!f->arguments[number]) {
        f->arguments[number] = wh_node_eval(f->ev, argument(f->node, number + 1), f->level + 1);
        if (!f->arguments[number])
            return -1;
    }
    const struct wh_value *v = f->arguments[number];
    if (spec->len > 0)
        return wh_fail(f->ev->err, WH_E_ARGUMENT,
                       "The format specifiers '%s' are not valid for objects of type '%s'", wh_str_text(spec),
                       wh_kind_name(wh_value_kind(v)));
    wh_value_add_string(f->out, v);
    if (f->out->len <= WH_MAX_EXPR_TEXT)
        return 0;
    wh_memory_exceeded(f->ev, f->node);
    return -1;
}

/* One walk over the text: with out NULL it only checks, so that a bad text fails before any argument is
 * evaluated. */
static int format_walk(struct format *f)
{
    size_t at = 0;
    while (at < f->text.len) {
        size_t brace = at;
        while (brace < f->text.len && f->text.data[brace] != '{' && f->text.data[brace] != '}')
            brace++;
        if (brace == f->text.len)
            return format_add(f, f->text.data + at, brace - at);
        char c = f->text.data[brace];
        if (format_char(f, brace + 1) == c) {
            if (format_add(f, f->text.data + at, brace - at + 1) < 0)
                return -1;
            at = brace + 2;
            continue;
        }
        unsigned number;
        size_t end;
        wh_autostr spec = {0};
        if (c == '}' || !format_item(f, brace, &number, &spec, &end))
            return format_invalid(f, "The following format string is invalid");
        if (number + 1u >= f->node->nchildren)
            return format_invalid(f,
                                  "The following format string references more arguments than were supplied");
        if (format_add(f, f->text.data + at, brace - at) < 0 || format_argument(f, number, &spec) < 0)
            return -1;
        at = end;
    }
    return 0;
}

static struct wh_value *call_format(struct wh_evaluator *ev, const struct wh_node *n, unsigned level)
{
    wh_autovalue *v = wh_node_eval(ev, argument(n, 0), level + 1);
    if (!v)
        return NULL;
    struct text t;
    text_of(&t, v);
    wh_autostr out = {0};
    struct format f = {.ev = ev, .node = n, .level = level, .text = t.view};
    f.arguments = wh_calloc(n->nchildren, sizeof(struct wh_value *));
    int r = format_walk(&f);
    if (r == 0) {
        f.out = &out;
        r = format_walk(&f);
    }
    for (size_t i = 0; i < n->nchildren; i++)
        wh_value_unref(f.arguments[i]);
    free(f.arguments);
    wh_str_free(&t.own);
    return r < 0 ? NULL : wh_value_string_take(&out);
}

/* ---- functions of the runner ---- */

static struct wh_value *call_status(struct wh_evaluator *ev, enum wh_function which)
{
    enum wh_status_function status = (enum wh_status_function)(which - WH_FN_ALWAYS);
    if (ev->env->status)
        return wh_value_bool(ev->env->status(ev->env->status_arg, status));
    return wh_value_bool(status == WH_STATUS_ALWAYS || status == WH_STATUS_SUCCESS);
}

/* Patterns in a message: joined by ", ", quotes doubled as in the expression. */
static void hash_files_wrap(struct wh_evaluator *ev, const struct wh_str *shown, struct wh_error *cause)
{
    if (cause->code == WH_E_TIMEOUT)
        wh_fail(ev->err, WH_E_TIMEOUT, "hashFiles('%s') couldn't finish within %d seconds.",
                wh_str_text(shown), WH_MAX_HASHFILES_SECONDS);
    else
        wh_fail(ev->err, cause->code, "hashFiles('%s') failed. Fail to hash files under directory '%s': %s",
                wh_str_text(shown), ev->env->workspace ? ev->env->workspace : "", wh_error_text(cause));
    wh_error_clear(cause);
}

static void add_shown(struct wh_str *shown, struct wh_view pattern)
{
    if (shown->len > 0)
        wh_str_add(shown, ", ");
    for (size_t i = 0; i < pattern.len; i++) {
        if (pattern.data[i] == '\'')
            wh_str_addc(shown, '\'');
        wh_str_addc(shown, pattern.data[i]);
    }
}

static struct wh_value *call_hash_files(struct wh_evaluator *ev, const struct wh_node *n, unsigned level)
{
    wh_autostr patterns = {0}, shown = {0};
    bool follow = false;
    for (const struct wh_node *c = n->child; c; c = c->next) {
        wh_autovalue *v = wh_node_eval(ev, c, level + 1);
        if (!v)
            return NULL;
        wh_autofree char *text = wh_value_to_string(v);
        if (c == n->child && wh_starts_with(text, "--")) {
            follow = wh_streq_ci(text, "--follow-symbolic-links");
            if (follow)
                continue;
            wh_fail(ev->err, WH_E_ARGUMENT,
                    "Invalid glob option %s, available option: '--follow-symbolic-links'.", text);
            return NULL;
        }
        wh_str_add(&patterns, text);
        wh_str_addc(&patterns, '\n');
        add_shown(&shown, wh_view_of(text));
    }
    wh_trace(ev, 0, "Search root directory: '%s'", ev->env->workspace ? ev->env->workspace : "");
    wh_trace(ev, 0, "Search pattern: '%s'", wh_str_text(&shown));
    struct wh_error cause = {0};
    wh_autofree char *hash = NULL;
    if (ev->env->workspace)
        hash = wh_hash_files(ev->env->workspace, wh_str_text(&patterns), follow, &cause);
    else
        wh_fail(&cause, WH_E_ARGUMENT, "there is no workspace");
    if (!hash) {
        hash_files_wrap(ev, &shown, &cause);
        return NULL;
    }
    wh_trace(ev, 0, "Hash result: '%s'", hash);
    return wh_value_string(hash);
}

struct wh_value *wh_call_eval(struct wh_evaluator *ev, const struct wh_node *n, unsigned level)
{
    switch ((enum wh_function)n->function) {
    case WH_FN_CASE:
        return call_case(ev, n, level);
    case WH_FN_CONTAINS:
        return call_contains(ev, n, level);
    case WH_FN_STARTS_WITH:
        return call_text_test(ev, n, level, wh_view_starts_ci);
    case WH_FN_ENDS_WITH:
        return call_text_test(ev, n, level, wh_view_ends_ci);
    case WH_FN_FORMAT:
        return call_format(ev, n, level);
    case WH_FN_JOIN:
        return call_join(ev, n, level);
    case WH_FN_TO_JSON:
        return call_to_json(ev, n, level);
    case WH_FN_FROM_JSON:
        return call_from_json(ev, n, level);
    case WH_FN_HASH_FILES:
        return call_hash_files(ev, n, level);
    case WH_FN_ALWAYS:
    case WH_FN_SUCCESS:
    case WH_FN_FAILURE:
    case WH_FN_CANCELLED:
        return call_status(ev, (enum wh_function)n->function);
    case WH_FN_UNKNOWN:
        break;
    }
    return wh_value_null();
}
