/* Tokens to a tree (job-execution.md §2.2): operator precedence with two stacks instead of recursion, so that
 * depth of nesting costs no machine stack; the tree's own depth is limited at the end. */
#include "expr_impl.h"
#include "text.h"
#include "wherry/job/logtext.h"

#define NODES_A_CHUNK 16

struct wh_node_chunk {
    struct wh_node_chunk *next;
    size_t used;
    struct wh_node nodes[NODES_A_CHUNK];
};

struct parser {
    struct wh_expr *expr;
    struct wh_lexer lexer;
    uint32_t allows;
    struct wh_lex_token *operators;
    size_t noperators, operators_cap;
    struct wh_node **operands;
    size_t noperands, operands_cap;
    size_t stopped; /* where the error is */
    struct wh_error *err;
};

static const struct {
    const char *name;
    unsigned char function;
    unsigned short min, max;
    uint32_t needs; /* WH_ALLOW_… */
} functions[] = {
    {"case", WH_FN_CASE, 3, 255, 0},
    {"contains", WH_FN_CONTAINS, 2, 2, 0},
    {"endsWith", WH_FN_ENDS_WITH, 2, 2, 0},
    {"format", WH_FN_FORMAT, 1, 255, 0},
    {"fromJSON", WH_FN_FROM_JSON, 1, 1, 0},
    {"hashFiles", WH_FN_HASH_FILES, 1, 255, WH_ALLOW_HASHFILES},
    {"join", WH_FN_JOIN, 1, 2, 0},
    {"startsWith", WH_FN_STARTS_WITH, 2, 2, 0},
    {"toJSON", WH_FN_TO_JSON, 1, 1, 0},
    {"always", WH_FN_ALWAYS, 0, 0, WH_ALLOW_STATUS},
    {"success", WH_FN_SUCCESS, 0, 0, WH_ALLOW_STATUS},
    {"failure", WH_FN_FAILURE, 0, 0, WH_ALLOW_STATUS},
    {"cancelled", WH_FN_CANCELLED, 0, 0, WH_ALLOW_STATUS},
};

static const struct {
    const char *name;
    uint32_t bit;
} contexts[] = {
    {"github", WH_ALLOW_GITHUB},   {"inputs", WH_ALLOW_INPUTS},     {"vars", WH_ALLOW_VARS},
    {"needs", WH_ALLOW_NEEDS},     {"strategy", WH_ALLOW_STRATEGY}, {"matrix", WH_ALLOW_MATRIX},
    {"secrets", WH_ALLOW_SECRETS}, {"steps", WH_ALLOW_STEPS},       {"job", WH_ALLOW_JOB},
    {"runner", WH_ALLOW_RUNNER},   {"env", WH_ALLOW_ENV},           {"jobs", WH_ALLOW_JOBS},
};

static int fail_at(struct parser *p, const char *what, struct wh_view token)
{
    p->stopped = (size_t)(token.data - p->lexer.text);
    size_t at = wh_utf16_length(p->lexer.text, (size_t)(token.data - p->lexer.text)) + 1;
    return wh_fail(p->err, WH_E_PARSE, "%s: '%.*s'. Located at position %zu within expression: %.*s", what,
                   (int)token.len, token.data, at, (int)p->lexer.len, p->lexer.text);
}

static struct wh_node *node_new(struct parser *p, enum wh_node_kind kind)
{
    struct wh_node_chunk *chunk = p->expr->chunks;
    if (!chunk || chunk->used == NODES_A_CHUNK) {
        chunk = wh_malloc(sizeof *chunk);
        chunk->next = p->expr->chunks;
        chunk->used = 0;
        p->expr->chunks = chunk;
    }
    struct wh_node *n = &chunk->nodes[chunk->used++];
    *n = (struct wh_node){.kind = (unsigned char)kind, .id = p->expr->nnodes++};
    return n;
}

static void node_add(struct wh_node *parent, struct wh_node *child)
{
    if (parent->last_child)
        parent->last_child->next = child;
    else
        parent->child = child;
    parent->last_child = child;
    parent->nchildren++;
}

/* a && b && c is one node with three children: the operands of a nested one are taken over. */
static void node_add_flat(struct wh_node *parent, struct wh_node *child)
{
    if (child->kind != parent->kind || (child->kind != WH_NODE_AND && child->kind != WH_NODE_OR)) {
        node_add(parent, child);
        return;
    }
    if (parent->last_child)
        parent->last_child->next = child->child;
    else
        parent->child = child->child;
    parent->last_child = child->last_child;
    parent->nchildren += child->nchildren;
}

static void push_operand_node(struct parser *p, struct wh_node *n)
{
    if (p->noperands == p->operands_cap) {
        p->operands_cap = p->operands_cap ? p->operands_cap * 2 : 16;
        p->operands = wh_reallocarray(p->operands, p->operands_cap, sizeof(struct wh_node *));
    }
    p->operands[p->noperands++] = n;
}

/* The text between the quotes, '' as one. */
static struct wh_value *string_literal(struct wh_view raw)
{
    struct wh_view inner = {raw.data + 1, raw.len - 2};
    if (!memchr(inner.data, '\'', inner.len))
        return wh_value_stringn(inner.data, inner.len);
    wh_autostr s = {0};
    for (size_t i = 0; i < inner.len; i++) {
        wh_str_addc(&s, inner.data[i]);
        if (inner.data[i] == '\'')
            i++;
    }
    return wh_value_stringn(wh_str_text(&s), s.len);
}

/* The row of a function; -1. */
static int find_function(struct wh_view name)
{
    for (size_t i = 0; i < WH_COUNT(functions); i++)
        if (strlen(functions[i].name) == name.len &&
            wh_strcmp_ci(functions[i].name, name.data, name.len) == 0)
            return (int)i;
    return -1;
}

bool wh_function_find(struct wh_view name, uint32_t *needs)
{
    int i = find_function(name);
    *needs = i < 0 ? 0 : functions[i].needs;
    return i >= 0;
}

bool wh_context_find(struct wh_view name, uint32_t *needs)
{
    for (size_t i = 0; i < WH_COUNT(contexts); i++) {
        if (strlen(contexts[i].name) != name.len || wh_strcmp_ci(contexts[i].name, name.data, name.len) != 0)
            continue;
        *needs = contexts[i].bit;
        return true;
    }
    *needs = 0;
    return false;
}

static struct wh_node *push_name(struct parser *p, enum wh_node_kind kind, const struct wh_lex_token *t)
{
    struct wh_node *n = node_new(p, kind);
    n->value = wh_value_stringn(t->raw.data, t->raw.len);
    n->at = (unsigned)(t->raw.data - p->lexer.text);
    push_operand_node(p, n);
    return n;
}

static int push_function(struct parser *p, const struct wh_lex_token *t)
{
    int i = find_function(t->raw);
    bool good = i >= 0 && !(functions[i].needs & ~p->allows);
    if (!good && !(p->allows & WH_ALLOW_UNKNOWN))
        return fail_at(p, "Unrecognized function", t->raw);
    struct wh_node *n = push_name(p, WH_NODE_CALL, t);
    n->function = i < 0 ? WH_FN_UNKNOWN : functions[i].function;
    if (n->function >= WH_FN_ALWAYS && n->function <= WH_FN_CANCELLED)
        p->expr->uses_status = true;
    return 0;
}

static int push_named(struct parser *p, const struct wh_lex_token *t)
{
    uint32_t needs;
    bool good = wh_context_find(t->raw, &needs) && (needs & p->allows);
    if (!good && !(p->allows & WH_ALLOW_UNKNOWN))
        return fail_at(p, "Unrecognized named-value", t->raw);
    push_name(p, WH_NODE_NAMED, t);
    return 0;
}

static int push_operand(struct parser *p, const struct wh_lex_token *t)
{
    struct wh_value *value = NULL;
    switch (t->kind) {
    case WH_LEX_FUNCTION:
        return push_function(p, t);
    case WH_LEX_NAMED:
        return push_named(p, t);
    case WH_LEX_WILDCARD:
        push_operand_node(p, node_new(p, WH_NODE_WILDCARD));
        return 0;
    case WH_LEX_BOOL:
        value = wh_value_bool(t->number != 0);
        break;
    case WH_LEX_NUMBER:
        value = wh_value_number(t->number);
        break;
    case WH_LEX_STRING:
        value = string_literal(t->raw);
        break;
    case WH_LEX_PROPERTY:
        value = wh_value_stringn(t->raw.data, t->raw.len);
        break;
    default:
        value = wh_value_null();
        break;
    }
    struct wh_node *n = node_new(p, WH_NODE_LITERAL);
    n->value = value;
    n->at = (unsigned)(t->raw.data - p->lexer.text);
    push_operand_node(p, n);
    return 0;
}

static int precedence(const struct wh_lex_token *t)
{
    switch (t->kind) {
    case WH_LEX_START_GROUP:
        return 20;
    case WH_LEX_START_INDEX:
    case WH_LEX_START_PARAMETERS:
    case WH_LEX_DEREFERENCE:
        return 19;
    case WH_LEX_OPERATOR:
        break;
    default:
        return 1;
    }
    switch (t->node) {
    case WH_NODE_NOT:
        return 16;
    case WH_NODE_AND:
        return 6;
    case WH_NODE_OR:
        return 5;
    case WH_NODE_EQUAL:
    case WH_NODE_NOT_EQUAL:
        return 10;
    default:
        return 11;
    }
}

/* Makes the node of an operator from the operands on the stack. */
static void reduce(struct parser *p, const struct wh_lex_token *op)
{
    bool index = op->kind == WH_LEX_DEREFERENCE || op->kind == WH_LEX_START_INDEX;
    struct wh_node *n = node_new(p, index ? WH_NODE_INDEX : op->node);
    size_t count = n->kind == WH_NODE_NOT ? 1 : 2;
    p->noperands -= count;
    for (size_t i = 0; i < count; i++)
        node_add_flat(n, p->operands[p->noperands + i]);
    push_operand_node(p, n);
}

static bool is_opener(enum wh_lex_kind kind)
{
    return kind == WH_LEX_START_GROUP || kind == WH_LEX_START_INDEX || kind == WH_LEX_START_PARAMETERS ||
           kind == WH_LEX_SEPARATOR;
}

/* Takes from the stack of operators all that bind at least as tightly, down to the nearest opener. */
static void reduce_down_to(struct parser *p, int floor)
{
    while (p->noperators > 0) {
        const struct wh_lex_token *top = &p->operators[p->noperators - 1];
        if (is_opener(top->kind) || precedence(top) < floor)
            break;
        struct wh_lex_token op = *top;
        p->noperators--;
        reduce(p, &op);
    }
}

static void push_operator_token(struct parser *p, const struct wh_lex_token *t)
{
    if (p->noperators == p->operators_cap) {
        p->operators_cap = p->operators_cap ? p->operators_cap * 2 : 16;
        p->operators = wh_reallocarray(p->operators, p->operators_cap, sizeof *p->operators);
    }
    p->operators[p->noperators++] = *t;
}

static int check_parameters(struct parser *p, const struct wh_node *call, struct wh_view paren)
{
    for (size_t i = 0; i < WH_COUNT(functions); i++) {
        if (functions[i].function != call->function)
            continue;
        if (call->nchildren < functions[i].min)
            return fail_at(p, "Too few parameters supplied", paren);
        if (call->nchildren > functions[i].max)
            return fail_at(p, "Too many parameters supplied", paren);
        if (call->function == WH_FN_CASE && call->nchildren % 2 == 0)
            return fail_at(p, "Even number of parameters supplied, requires an odd number of parameters",
                           paren);
    }
    return 0;
}

/* ")" of a call: the operands since its "(" become parameters. */
static int end_call(struct parser *p, bool empty)
{
    size_t count = empty ? 0 : 1;
    while (p->operators[p->noperators - 1].kind == WH_LEX_SEPARATOR) {
        p->noperators--;
        count++;
    }
    struct wh_view paren = p->operators[--p->noperators].raw;
    p->noperands -= count;
    struct wh_node *call = p->operands[p->noperands - 1];
    for (size_t i = 0; i < count; i++)
        node_add(call, p->operands[p->noperands + i]);
    return check_parameters(p, call, paren);
}

static int push_operator(struct parser *p, const struct wh_lex_token *t, enum wh_lex_kind last)
{
    bool left = t->kind != WH_LEX_START_GROUP && !(t->kind == WH_LEX_OPERATOR && t->node == WH_NODE_NOT);
    if (left)
        reduce_down_to(p, precedence(t));
    switch (t->kind) {
    case WH_LEX_END_GROUP:
        p->noperators--; /* its "(" */
        return 0;
    case WH_LEX_END_INDEX: {
        struct wh_lex_token open = p->operators[--p->noperators];
        reduce(p, &open);
        return 0;
    }
    case WH_LEX_END_PARAMETERS:
        return end_call(p, last == WH_LEX_START_PARAMETERS);
    default:
        push_operator_token(p, t);
        return 0;
    }
}

static bool is_operand_kind(enum wh_lex_kind kind)
{
    return kind < WH_LEX_SEPARATOR;
}

static bool too_deep(const struct wh_node *n, unsigned depth)
{
    if (depth > WH_MAX_EXPR_DEPTH)
        return true;
    for (const struct wh_node *c = n->child; c; c = c->next) {
        if (too_deep(c, depth + 1))
            return true;
    }
    return false;
}

static int finish(struct parser *p, const struct wh_lex_token *last)
{
    if (p->noperators > 0) {
        bool closed = is_operand_kind(last->kind)
                          ? last->kind != WH_LEX_FUNCTION
                          : last->kind >= WH_LEX_END_GROUP && last->kind <= WH_LEX_END_PARAMETERS;
        if (!closed || p->lexer.nopen > 0)
            return fail_at(p, "Unexpected end of expression", last->raw);
    }
    reduce_down_to(p, 0);
    p->expr->root = p->operands[0];
    if (too_deep(p->expr->root, 1))
        return wh_fail(p->err, WH_E_LIMIT, "Exceeded max expression depth %d", WH_MAX_EXPR_DEPTH);
    return 0;
}

static int parse(struct parser *p)
{
    struct wh_lex_token t, last = {.kind = WH_LEX_NONE};
    while (wh_lex_next(&p->lexer, &t)) {
        if (t.kind == WH_LEX_UNEXPECTED)
            return fail_at(p, "Unexpected symbol", t.raw);
        int r = is_operand_kind(t.kind) ? push_operand(p, &t) : push_operator(p, &t, last.kind);
        if (r < 0)
            return r;
        last = t;
    }
    return last.kind == WH_LEX_NONE ? 0 : finish(p, &last);
}

struct wh_expr *wh_expr_parse(const char *text, size_t len, uint32_t allows, struct wh_error *err)
{
    size_t stopped;
    return wh_expr_parse_at(text, len, allows, &stopped, err);
}

struct wh_expr *wh_expr_parse_at(const char *text, size_t len, uint32_t allows, size_t *stopped,
                                 struct wh_error *err)
{
    *stopped = 0;
    if (len > WH_MAX_EXPR_LENGTH && wh_utf16_length(text, len) > WH_MAX_EXPR_LENGTH) {
        wh_fail(err, WH_E_LIMIT, "Exceeded max expression length %d", WH_MAX_EXPR_LENGTH);
        return NULL;
    }
    wh_autoexpr *expr = wh_calloc(1, sizeof *expr);
    struct parser p = {.expr = expr, .lexer = {.text = text, .len = len}, .allows = allows, .err = err};
    int r = parse(&p);
    *stopped = p.stopped;
    free(p.lexer.open);
    free(p.operators);
    free(p.operands);
    return r < 0 ? NULL : wh_steal(&expr);
}

void wh_expr_free(struct wh_expr *e)
{
    if (!e)
        return;
    while (e->chunks) {
        struct wh_node_chunk *chunk = e->chunks;
        e->chunks = chunk->next;
        for (size_t i = 0; i < chunk->used; i++)
            wh_value_unref(chunk->nodes[i].value);
        free(chunk);
    }
    free(e);
}

void wh_expr_free_ptr(struct wh_expr **e)
{
    wh_expr_free(*e);
}

bool wh_expr_is_blank(const struct wh_expr *e)
{
    return e->root == NULL;
}

bool wh_expr_uses_status(const struct wh_expr *e)
{
    return e->uses_status;
}

bool wh_expr_is_string_literal(const struct wh_expr *e, struct wh_view *value)
{
    if (!e->root || e->root->kind != WH_NODE_LITERAL || wh_value_kind(e->root->value) != WH_STRING)
        return false;
    *value = wh_value_view(e->root->value);
    return true;
}
