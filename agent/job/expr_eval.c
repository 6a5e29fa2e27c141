/* Evaluation of expression trees: contexts, index and wildcard (job-execution.md §2.4), operators (§2.3), the
 * memory limit (§2.6) and the trace of step debug (§9). Recursion is bounded by the tree's depth. */
#include <math.h>

#include "expr_impl.h"
#include "text.h"
#include "value_impl.h"
#include "wherry/job/logtext.h"

static const char *const node_names[] = {
    [WH_NODE_WILDCARD] = "Wildcard",
    [WH_NODE_INDEX] = "Index",
    [WH_NODE_NOT] = "Not",
    [WH_NODE_EQUAL] = "Equal",
    [WH_NODE_NOT_EQUAL] = "NotEqual",
    [WH_NODE_GREATER] = "GreaterThan",
    [WH_NODE_GREATER_EQUAL] = "GreaterThanOrEqual",
    [WH_NODE_LESS] = "LessThan",
    [WH_NODE_LESS_EQUAL] = "LessThanOrEqual",
    [WH_NODE_AND] = "And",
    [WH_NODE_OR] = "Or",
};

void wh_trace(struct wh_evaluator *ev, unsigned level, const char *fmt, ...)
{
    if (!ev->env->trace)
        return;
    va_list args;
    wh_autostr line = {0};
    for (unsigned i = 0; i < level; i++)
        wh_str_addn(&line, "..", 2);
    va_start(args, fmt);
    wh_autofree char *text = wh_vprintf(fmt, args);
    va_end(args);
    wh_str_add(&line, text);
    ev->env->trace(ev->env->trace_arg, wh_str_text(&line));
}

static const char *node_name(const struct wh_node *n)
{
    if (n->kind == WH_NODE_LITERAL)
        return wh_kind_name(wh_value_kind(n->value));
    if (n->kind == WH_NODE_NAMED || n->kind == WH_NODE_CALL)
        return wh_value_text(n->value);
    return node_names[n->kind];
}

/* Those whose value stands in the "Expanded:" line instead of their text. */
static bool is_realized(const struct wh_node *n)
{
    if (n->kind == WH_NODE_CALL)
        return n->function != WH_FN_CONTAINS && n->function != WH_FN_STARTS_WITH &&
               n->function != WH_FN_ENDS_WITH;
    return n->kind == WH_NODE_NAMED || n->kind == WH_NODE_INDEX;
}

struct wh_value *wh_memory_exceeded(struct wh_evaluator *ev, const struct wh_node *n)
{
    wh_autostr text = {0};
    wh_node_add_expression(&text, n);
    wh_fail(ev->err, WH_E_LIMIT,
            "The maximum allowed memory size was exceeded while evaluating the following expression: %s",
            wh_str_text(&text));
    return NULL;
}

/* What the result of a node costs (§2.6). The exact UTF-16 length is counted only where the cheap bound is
 * too much. */
static size_t cost_of(const struct wh_value *v, size_t left)
{
    if (wh_value_kind(v) == WH_STRING) {
        size_t cost = 26 + 2 * v->string.len;
        return cost <= left ? cost : 26 + 2 * wh_utf16_length(v->string.text, v->string.len);
    }
    if (wh_value_kind(v) == WH_ARRAY && v->filtered)
        return 24 + 8 * v->array.count;
    return 24;
}

/* ---- index ---- */

/* An index as what objects and as what arrays take, made once for all elements of a filtered array. */
struct index {
    bool wildcard, has_key, has_number;
    struct wh_view key;
    struct wh_str text; /* behind key where the index is no string */
    size_t number;
};

static void index_init(struct index *ix, const struct wh_value *v, bool wildcard)
{
    *ix = (struct index){.wildcard = wildcard};
    if (wildcard)
        return;
    if (wh_value_is_primitive(v)) {
        ix->has_key = true;
        ix->key = wh_value_view(v);
        if (wh_value_kind(v) != WH_STRING) {
            wh_value_add_string(&ix->text, v);
            ix->key = (struct wh_view){wh_str_text(&ix->text), ix->text.len};
        }
    }
    double n = wh_value_to_number(v);
    if (!isnan(n) && n >= 0 && floor(n) <= INT32_MAX) {
        ix->has_number = true;
        ix->number = (size_t)n;
    }
}

static void add_children(struct wh_value *out, const struct wh_value *collection)
{
    for (size_t i = 0; i < wh_value_count(collection); i++)
        wh_array_add(out, wh_value_kind(collection) == WH_ARRAY ? wh_array_at(collection, i)
                                                                : wh_object_value_at(collection, i));
}

/* The child that the index names; NULL if there is none. Borrowed. */
static const struct wh_value *child_at(const struct wh_value *collection, const struct index *ix)
{
    if (wh_value_kind(collection) == WH_OBJECT && ix->has_key)
        return wh_object_getn(collection, ix->key.data, ix->key.len);
    if (wh_value_kind(collection) == WH_ARRAY && ix->has_number)
        return wh_array_at(collection, ix->number);
    return NULL;
}

static struct wh_value *apply_index(const struct wh_value *left, const struct index *ix)
{
    if (wh_value_is_primitive(left))
        return ix->wildcard ? wh_value_filtered_array() : wh_value_null();
    bool filtered = wh_value_kind(left) == WH_ARRAY && left->filtered;
    if (!filtered && !ix->wildcard)
        return wh_value_ref(child_at(left, ix));
    struct wh_value *out = wh_value_filtered_array();
    if (!filtered) {
        add_children(out, left);
        return out;
    }
    for (size_t i = 0; i < left->array.count; i++) {
        const struct wh_value *item = left->array.items[i];
        if (ix->wildcard) {
            add_children(out, item);
            continue;
        }
        const struct wh_value *child = child_at(item, ix);
        if (child)
            wh_array_add(out, child);
    }
    return out;
}

static struct wh_value *eval_index(struct wh_evaluator *ev, const struct wh_node *n, unsigned level)
{
    wh_autovalue *left = wh_node_eval(ev, n->child, level + 1);
    if (!left)
        return NULL;
    const struct wh_node *parameter = n->child->next;
    bool wildcard = parameter->kind == WH_NODE_WILDCARD;
    if (wh_value_is_primitive(left)) /* the index isn't even evaluated */
        return wildcard ? wh_value_filtered_array() : wh_value_null();
    wh_autovalue *right = wh_node_eval(ev, parameter, level + 1);
    if (!right)
        return NULL;
    struct index ix;
    index_init(&ix, right, wildcard);
    struct wh_value *result = apply_index(left, &ix);
    wh_str_free(&ix.text);
    return result;
}

/* ---- operators ---- */

static struct wh_value *eval_logical(struct wh_evaluator *ev, const struct wh_node *n, unsigned level)
{
    bool stop_at = n->kind == WH_NODE_OR;
    for (const struct wh_node *c = n->child; c; c = c->next) {
        struct wh_value *v = wh_node_eval(ev, c, level + 1);
        if (!v || !c->next || wh_value_truthy(v) == stop_at)
            return v;
        wh_value_unref(v);
    }
    return wh_value_null();
}

static bool compare(enum wh_node_kind kind, const struct wh_value *a, const struct wh_value *b)
{
    switch (kind) {
    case WH_NODE_EQUAL:
        return wh_value_equals(a, b);
    case WH_NODE_NOT_EQUAL:
        return !wh_value_equals(a, b);
    case WH_NODE_GREATER:
        return wh_value_less(b, a);
    case WH_NODE_GREATER_EQUAL:
        return wh_value_equals(a, b) || wh_value_less(b, a);
    case WH_NODE_LESS:
        return wh_value_less(a, b);
    default:
        return wh_value_equals(a, b) || wh_value_less(a, b);
    }
}

static struct wh_value *eval_core(struct wh_evaluator *ev, const struct wh_node *n, unsigned level)
{
    switch ((enum wh_node_kind)n->kind) {
    case WH_NODE_LITERAL:
        return wh_value_ref(n->value);
    case WH_NODE_WILDCARD:
        return wh_value_string("*");
    case WH_NODE_NAMED: {
        struct wh_view name = wh_value_view(n->value);
        return wh_value_ref(wh_object_getn(ev->env->contexts, name.data, name.len));
    }
    case WH_NODE_INDEX:
        return eval_index(ev, n, level);
    case WH_NODE_CALL:
        return wh_call_eval(ev, n, level);
    case WH_NODE_AND:
    case WH_NODE_OR:
        return eval_logical(ev, n, level);
    case WH_NODE_NOT: {
        wh_autovalue *v = wh_node_eval(ev, n->child, level + 1);
        return v ? wh_value_bool(!wh_value_truthy(v)) : NULL;
    }
    default:
        break;
    }
    wh_autovalue *left = wh_node_eval(ev, n->child, level + 1);
    wh_autovalue *right = left ? wh_node_eval(ev, n->child->next, level + 1) : NULL;
    return right ? wh_value_bool(compare((enum wh_node_kind)n->kind, left, right)) : NULL;
}

static void trace_result(struct wh_evaluator *ev, const struct wh_node *n, const struct wh_value *v,
                         unsigned level)
{
    wh_autostr text = {0};
    wh_value_add_trace(&text, v);
    wh_trace(ev, level, "=> %s", wh_str_text(&text));
    if (is_realized(n)) {
        wh_value_unref(ev->realized[n->id]);
        ev->realized[n->id] = wh_value_ref(v);
    }
}

struct wh_value *wh_node_eval(struct wh_evaluator *ev, const struct wh_node *n, unsigned level)
{
    size_t mark = ev->memory;
    if (ev->realized)
        wh_trace(ev, level, "Evaluating %s:", node_name(n));
    wh_autovalue *v = eval_core(ev, n, level);
    if (!v)
        return NULL;
    /* What the children cost is given back: their results are gone, or are part of this one. */
    size_t left = WH_MAX_EXPR_MEMORY - mark, cost = cost_of(v, left);
    if (cost > left)
        return wh_memory_exceeded(ev, ev->expr->root);
    ev->memory = mark + cost;
    if (ev->realized)
        trace_result(ev, n, v, level);
    return wh_steal(&v);
}

/* ---- the tree as text ---- */

static const char *infix(enum wh_node_kind kind)
{
    switch (kind) {
    case WH_NODE_EQUAL:
        return " == ";
    case WH_NODE_NOT_EQUAL:
        return " != ";
    case WH_NODE_GREATER:
        return " > ";
    case WH_NODE_GREATER_EQUAL:
        return " >= ";
    case WH_NODE_LESS:
        return " < ";
    case WH_NODE_LESS_EQUAL:
        return " <= ";
    case WH_NODE_AND:
        return " && ";
    default:
        return " || ";
    }
}

void wh_value_add_trace(struct wh_str *out, const struct wh_value *v)
{
    if (wh_value_kind(v) == WH_NULL) {
        wh_str_add(out, "null");
    } else if (wh_value_kind(v) != WH_STRING) {
        wh_value_add_string(out, v);
    } else {
        wh_str_addc(out, '\'');
        for (const char *p = v->string.text, *end = p + v->string.len; p < end; p++) {
            if (*p == '\'')
                wh_str_addc(out, '\'');
            wh_str_addc(out, *p);
        }
        wh_str_addc(out, '\'');
    }
}

/* realized: values by node id that stand for their nodes ("Expanded:"), or NULL. */
static void add_node(struct wh_str *out, const struct wh_node *n, struct wh_value **realized);

static void add_list(struct wh_str *out, const struct wh_node *n, const char *separator,
                     struct wh_value **realized)
{
    for (const struct wh_node *c = n->child; c; c = c->next) {
        if (c != n->child)
            wh_str_add(out, separator);
        add_node(out, c, realized);
    }
}

static void add_index(struct wh_str *out, const struct wh_node *n, struct wh_value **realized)
{
    const struct wh_node *key = n->child->next;
    add_node(out, n->child, realized);
    struct wh_view text = wh_value_view(key->kind == WH_NODE_LITERAL ? key->value : NULL);
    if (!realized && wh_is_keyword(text.data, text.len)) {
        wh_str_addc(out, '.');
        wh_str_addn(out, text.data, text.len);
        return;
    }
    wh_str_addc(out, '[');
    add_node(out, key, realized);
    wh_str_addc(out, ']');
}

static void add_node(struct wh_str *out, const struct wh_node *n, struct wh_value **realized)
{
    if (realized && realized[n->id]) {
        wh_value_add_trace(out, realized[n->id]);
        return;
    }
    switch ((enum wh_node_kind)n->kind) {
    case WH_NODE_LITERAL:
        wh_value_add_trace(out, n->value);
        break;
    case WH_NODE_NAMED:
        wh_str_add(out, wh_value_text(n->value));
        break;
    case WH_NODE_WILDCARD:
        wh_str_addc(out, '*');
        break;
    case WH_NODE_INDEX:
        add_index(out, n, realized);
        break;
    case WH_NODE_CALL:
        wh_str_add(out, wh_value_text(n->value));
        wh_str_addc(out, '(');
        add_list(out, n, ", ", realized);
        wh_str_addc(out, ')');
        break;
    case WH_NODE_NOT:
        wh_str_addc(out, '!');
        add_node(out, n->child, realized);
        break;
    default:
        wh_str_addc(out, '(');
        add_list(out, n, infix((enum wh_node_kind)n->kind), realized);
        wh_str_addc(out, ')');
        break;
    }
}

void wh_node_add_expression(struct wh_str *out, const struct wh_node *n)
{
    add_node(out, n, NULL);
}

static void trace_tree(struct wh_evaluator *ev, const struct wh_value *v)
{
    wh_autostr expanded = {0}, result = {0};
    add_node(&expanded, ev->expr->root, ev->realized);
    wh_value_add_trace(&result, v);
    const char *e = wh_str_text(&expanded), *r = wh_str_text(&result);
    /* A number that was text before is not worth a line. */
    wh_autofree char *quoted = wh_printf("'%s'", r);
    if (!wh_streq(e, r) && !(wh_value_kind(v) == WH_NUMBER && wh_streq(e, quoted)))
        wh_trace(ev, 0, "Expanded: %s", e);
    wh_trace(ev, 0, "Result: %s", r);
}

struct wh_value *wh_expr_eval(const struct wh_expr *e, const struct wh_eval *env, struct wh_error *err)
{
    if (!e->root)
        return wh_value_null();
    struct wh_evaluator ev = {.expr = e, .env = env, .err = err};
    if (env->trace) {
        wh_autostr text = {0};
        add_node(&text, e->root, NULL);
        wh_trace(&ev, 0, "Evaluating: %s", wh_str_text(&text));
        ev.realized = wh_calloc(e->nnodes, sizeof(struct wh_value *));
    }
    struct wh_value *v = wh_node_eval(&ev, e->root, 0);
    if (ev.realized) {
        if (v)
            trace_tree(&ev, v);
        for (unsigned i = 0; i < e->nnodes; i++)
            wh_value_unref(ev.realized[i]);
        free(ev.realized);
    }
    return v;
}

struct wh_value *wh_expr_eval_text(const char *text, uint32_t allows, const struct wh_eval *env,
                                   struct wh_error *err)
{
    wh_autoexpr *e = wh_expr_parse(text, strlen(text), allows, err);
    return e ? wh_expr_eval(e, env, err) : NULL;
}
