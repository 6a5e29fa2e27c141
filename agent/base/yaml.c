#include "wherry/base/yaml.h"

#include <libfyaml.h>

struct anchor {
    char *name;
    struct wh_yaml *node;
};

struct reader {
    struct fy_parser *parser;
    struct fy_diag *diag;
    const char *name;
    struct wh_yaml_doc *doc;
    struct anchor *anchors;
    size_t nanchors;
};

static int fail_at(const struct reader *r, unsigned line, unsigned col, struct wh_error *err,
                   const char *text)
{
    return wh_fail(err, WH_E_PARSE, "%s (Line: %u, Col: %u): %s", r->name, line, col, text);
}

/* libfyaml's own message with its place, counted from 1 there. */
static int syntax_error(const struct reader *r, struct wh_error *err)
{
    void *iterator = NULL;
    const struct fy_diag_error *e = fy_diag_errors_iterate(r->diag, &iterator);
    if (!e || !e->msg)
        return wh_fail(err, WH_E_PARSE, "%s: it is not valid YAML", r->name);
    return fail_at(r, (unsigned)WH_MAX(e->line, 1), (unsigned)WH_MAX(e->column, 1), err, e->msg);
}

static void set_place(struct wh_yaml *node, struct fy_token *token)
{
    const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;
    node->line = mark ? (unsigned)mark->line + 1 : 1;
    node->col = mark ? (unsigned)mark->column + 1 : 1;
}

static struct wh_yaml *new_node(struct reader *r, enum wh_yaml_kind kind, struct fy_token *token,
                                struct wh_error *err)
{
    struct wh_yaml_doc *doc = r->doc;
    if (doc->nnodes >= WH_MAX_YAML_NODES) {
        wh_fail(err, WH_E_LIMIT, "%s: more than %u YAML nodes", r->name, WH_MAX_YAML_NODES);
        return NULL;
    }
    struct wh_yaml *node = wh_calloc(1, sizeof *node);
    node->kind = kind;
    set_place(node, token);
    if (doc->nnodes == doc->cap) {
        doc->cap = doc->cap ? doc->cap * 2 : 64;
        doc->nodes = wh_reallocarray(doc->nodes, doc->cap, sizeof(void *));
    }
    doc->nodes[doc->nnodes++] = node;
    return node;
}

static char *token_text(struct fy_token *token)
{
    size_t len = 0;
    const char *text = token ? fy_token_get_text(token, &len) : NULL;
    return text ? wh_strndup(text, len) : NULL;
}

/* Anchor and tag tokens belong to every node event. The tag's text is "!!str" or its long form. */
static void set_properties(struct reader *r, struct wh_yaml *node, struct fy_token *anchor,
                           struct fy_token *tag)
{
    if (anchor) {
        r->anchors = wh_reallocarray(r->anchors, r->nanchors + 1, sizeof(struct anchor));
        r->anchors[r->nanchors++] = (struct anchor){token_text(anchor), node};
    }
    char *text = token_text(tag);
    if (!text)
        return;
    static const char core[] = "tag:yaml.org,2002:";
    const char *short_text = text;
    if (wh_starts_with(text, core))
        short_text += strlen(core);
    else if (wh_starts_with(text, "!!"))
        short_text += 2;
    node->tag = wh_strdup(short_text);
    free(text);
}

static void add_item(struct wh_yaml *parent, struct wh_yaml *child)
{
    if (parent->nitems == parent->cap) {
        parent->cap = parent->cap ? parent->cap * 2 : 8;
        parent->items = wh_reallocarray(parent->items, parent->cap, sizeof(struct wh_yaml *));
    }
    parent->items[parent->nitems++] = child;
}

static struct wh_yaml *scalar_of(struct reader *r, struct fy_event *e, struct wh_error *err)
{
    struct wh_yaml *node = new_node(r, WH_YAML_SCALAR, e->scalar.value, err);
    if (!node)
        return NULL;
    node->text = token_text(e->scalar.value);
    if (!node->text)
        node->text = wh_strdup("");
    enum fy_scalar_style style = fy_token_scalar_style(e->scalar.value);
    node->plain = style == FYSS_PLAIN;
    /* The token begins behind the quote; people and GitHub count from it. */
    if ((style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED) && node->col > 1)
        node->col--;
    set_properties(r, node, e->scalar.anchor, e->scalar.tag);
    return node;
}

static struct wh_yaml *alias_of(struct reader *r, struct fy_event *e, struct wh_error *err)
{
    wh_autofree char *name = token_text(e->alias.anchor);
    for (size_t i = r->nanchors; i-- > 0;) /* the latest of that name */
        if (name && wh_streq(r->anchors[i].name, name))
            return r->anchors[i].node;
    struct wh_yaml here;
    set_place(&here, e->alias.anchor);
    wh_autofree char *text = wh_printf("there is no anchor '&%s' before it", name ? name : "");
    fail_at(r, here.line, here.col, err, text);
    return NULL;
}

/* The stack of open collections; the recursion is unrolled so that depth costs no stack of ours. */
struct stack {
    struct wh_yaml *open[WH_MAX_YAML_DEPTH];
    size_t depth;
};

static int put(struct reader *r, struct stack *s, struct wh_yaml *node, bool opens, struct wh_error *err)
{
    if (!node)
        return -1;
    if (s->depth > 0) {
        /* An alias of a node that is still open would make a loop. */
        for (size_t i = 0; i < s->depth; i++)
            if (s->open[i] == node)
                return fail_at(r, node->line, node->col, err, "an anchor can't hold an alias of itself");
        add_item(s->open[s->depth - 1], node);
    } else if (!r->doc->root) {
        r->doc->root = node;
    }
    if (!opens)
        return 0;
    if (s->depth == WH_MAX_YAML_DEPTH)
        return fail_at(r, node->line, node->col, err, "Maximum object depth exceeded");
    s->open[s->depth++] = node;
    return 0;
}

/* 1: go on; 0: end of the document; negative: error. */
static int handle(struct reader *r, struct stack *s, struct fy_event *e, struct wh_error *err)
{
    struct wh_yaml *node;
    switch (e->type) {
    case FYET_SCALAR:
        return put(r, s, scalar_of(r, e, err), false, err) < 0 ? -1 : 1;
    case FYET_ALIAS:
        return put(r, s, alias_of(r, e, err), false, err) < 0 ? -1 : 1;
    case FYET_SEQUENCE_START:
        node = new_node(r, WH_YAML_SEQUENCE, e->sequence_start.sequence_start, err);
        if (node)
            set_properties(r, node, e->sequence_start.anchor, e->sequence_start.tag);
        return put(r, s, node, true, err) < 0 ? -1 : 1;
    case FYET_MAPPING_START:
        node = new_node(r, WH_YAML_MAPPING, e->mapping_start.mapping_start, err);
        if (node)
            set_properties(r, node, e->mapping_start.anchor, e->mapping_start.tag);
        return put(r, s, node, true, err) < 0 ? -1 : 1;
    case FYET_SEQUENCE_END:
    case FYET_MAPPING_END:
        if (s->depth > 0)
            s->depth--;
        return 1;
    case FYET_DOCUMENT_END:
        return 0;
    default:
        return 1;
    }
}

static int read_document(struct reader *r, struct wh_error *err)
{
    struct stack stack = {.depth = 0};
    int n = 1;
    while (n > 0) {
        struct fy_event *e = fy_parser_parse(r->parser);
        if (!e)
            break;
        n = handle(r, &stack, e, err);
        fy_parser_event_free(r->parser, e);
    }
    if (n < 0)
        return -1;
    if (fy_parser_get_stream_error(r->parser) || stack.depth > 0)
        return syntax_error(r, err);
    return 0;
}

int wh_yaml_parse(const char *text, size_t len, const char *name, struct wh_yaml_doc *out,
                  struct wh_error *err)
{
    *out = (struct wh_yaml_doc){0};
    if (len > WH_MAX_YAML_BYTES)
        return wh_fail(err, WH_E_LIMIT, "%s: larger than %zu bytes", name, WH_MAX_YAML_BYTES);
    if (!wh_utf8_valid(text, len) || memchr(text, '\0', len))
        return wh_fail(err, WH_E_PARSE, "%s: it is not UTF-8 text", name);
    struct reader r = {.name = name, .doc = out};
    struct fy_diag_cfg diag_cfg;
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    r.diag = fy_diag_create(&diag_cfg);
    if (r.diag)
        fy_diag_set_collect_errors(r.diag, true);
    struct fy_parse_cfg cfg = {.search_path = "",
                               .diag = r.diag,
                               .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_DEFAULT_VERSION_1_2 |
                                        FYPCF_JSON_NONE | FYPCF_ALLOW_DUPLICATE_KEYS};
    r.parser = fy_parser_create(&cfg);
    int n = r.parser && r.diag ? 0 : wh_fail(err, WH_E_FAILED, "%s: the YAML parser can't be made", name);
    if (n == 0 && len > 0 && fy_parser_set_string(r.parser, text, len) != 0)
        n = wh_fail(err, WH_E_FAILED, "%s: the YAML parser can't read it", name);
    if (n == 0 && len > 0)
        n = read_document(&r, err);
    if (r.parser)
        fy_parser_destroy(r.parser);
    if (r.diag)
        fy_diag_destroy(r.diag);
    for (size_t i = 0; i < r.nanchors; i++)
        free(r.anchors[i].name);
    free(r.anchors);
    if (n < 0)
        wh_yaml_doc_free(out);
    return n;
}

void wh_yaml_doc_free(struct wh_yaml_doc *doc)
{
    for (size_t i = 0; i < doc->nnodes; i++) {
        free(doc->nodes[i]->text);
        free(doc->nodes[i]->tag);
        free(doc->nodes[i]->items);
        free(doc->nodes[i]);
    }
    free(doc->nodes);
    *doc = (struct wh_yaml_doc){0};
}

const struct wh_yaml *wh_yaml_get(const struct wh_yaml *map, const char *key)
{
    if (!map || map->kind != WH_YAML_MAPPING)
        return NULL;
    for (size_t i = 0; i + 1 < map->nitems; i += 2)
        if (map->items[i]->kind == WH_YAML_SCALAR && wh_streq_ci(map->items[i]->text, key))
            return map->items[i + 1];
    return NULL;
}
