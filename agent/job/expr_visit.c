/* What an expression names, for tools that check workflows without running them. */
#include "expr_impl.h"

struct visit {
    uint32_t allows;
    wh_expr_use_fn fn;
    void *arg;
};

static struct wh_view text_of(const struct wh_node *n)
{
    return wh_value_view(n->value);
}

static void tell(const struct visit *v, const struct wh_node *n, struct wh_expr_use *use)
{
    uint32_t needs;
    use->name = (struct wh_expr_part){text_of(n), n->at};
    use->known =
        use->function ? wh_function_find(use->name.name, &needs) : wh_context_find(use->name.name, &needs);
    use->allowed = use->known && !(needs & ~v->allows);
    v->fn(v->arg, use);
}

/* The base of a.b['c'].d, and the literal names behind it as far as they are ones. */
static const struct wh_node *base_of(const struct wh_node *n, struct wh_expr_use *use)
{
    const struct wh_node *chain[WH_MAX_EXPR_DEPTH + 1];
    size_t count = 0;
    for (; n->kind == WH_NODE_INDEX && count < WH_COUNT(chain); n = n->child)
        chain[count++] = n->child->next;
    while (count > 0 && use->nparts < WH_MAX_EXPR_PARTS) {
        const struct wh_node *index = chain[--count];
        if (index->kind != WH_NODE_LITERAL || wh_value_kind(index->value) != WH_STRING)
            break;
        use->parts[use->nparts++] = (struct wh_expr_part){text_of(index), index->at};
    }
    return n;
}

/* outer: n is the base of the chain that a node above has told already. Depth is bounded by the parser. */
static void walk(const struct visit *v, const struct wh_node *n, bool in_chain)
{
    struct wh_expr_use use = {0};
    if (n->kind == WH_NODE_NAMED && !in_chain)
        tell(v, n, &use);
    if (n->kind == WH_NODE_CALL) {
        use.function = true;
        tell(v, n, &use);
    }
    bool named = false;
    if (n->kind == WH_NODE_INDEX && !in_chain) {
        const struct wh_node *base = base_of(n, &use);
        named = base->kind == WH_NODE_NAMED;
        if (named)
            tell(v, base, &use);
    }
    bool chain = n->kind == WH_NODE_INDEX && (named || in_chain);
    for (const struct wh_node *c = n->child; c; c = c->next)
        walk(v, c, chain && c == n->child);
}

int wh_expr_visit(const char *text, size_t len, uint32_t allows, wh_expr_use_fn fn, void *arg, bool *status,
                  size_t *stopped, struct wh_error *err)
{
    wh_autoexpr *e = wh_expr_parse_at(text, len, allows | WH_ALLOW_UNKNOWN, stopped, err);
    if (!e)
        return -1;
    struct visit v = {allows, fn, arg};
    if (e->root)
        walk(&v, e->root, false);
    if (status)
        *status = e->uses_status;
    return 0;
}
