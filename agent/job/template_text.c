/* From a scalar's text with ${{ }} to a token (job-execution.md §2.7). */
#include "text.h"
#include "wherry/job/template.h"

#define OPEN "${{"

struct segments {
    struct wh_str format;    /* the argument of format(): literals escaped, {0} for expressions */
    struct wh_str arguments; /* ", e0, e1" */
    unsigned expressions;
    bool literal;        /* there is text outside of expressions */
    struct wh_str first; /* text of the first expression */
    bool insert;         /* the first is the insert directive */
    size_t end;          /* how far the text is taken */
};

static void segments_free(struct segments *s)
{
    wh_str_free(&s->format);
    wh_str_free(&s->arguments);
    wh_str_free(&s->first);
}

static void add_literal(struct segments *s, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\'' || text[i] == '{' || text[i] == '}')
            wh_str_addc(&s->format, text[i]);
        wh_str_addc(&s->format, text[i]);
    }
    s->literal = s->literal || len > 0;
}

/* The end of the expression that opens at `at`: the index behind its }}; 0 if it is not closed. */
static size_t closing(const char *text, size_t len, size_t at)
{
    bool quoted = false;
    for (size_t i = at + strlen(OPEN); i < len; i++) {
        if (text[i] == '\'')
            quoted = !quoted; /* '' inside of a string closes and opens it again */
        else if (!quoted && text[i] == '}' && text[i - 1] == '}' && i > at + strlen(OPEN))
            return i + 1;
    }
    return 0;
}

int wh_template_next(const char *text, size_t len, size_t *at, size_t *start, struct wh_view *inner)
{
    const char *open = memmem(text + *at, len - *at, OPEN, strlen(OPEN));
    if (!open)
        return 0;
    *start = (size_t)(open - text);
    size_t end = closing(text, len, *start);
    if (end == 0)
        return -1;
    *inner = (struct wh_view){text + *start + strlen(OPEN), end - *start - strlen(OPEN) - 2};
    *at = end;
    return 1;
}

/* "insert" alone; with words behind it: an error. 1 yes, 0 no, negative: error. */
static int is_insert(struct wh_view v, struct wh_error *err)
{
    if (v.len < 6 || memcmp(v.data, "insert", 6) != 0)
        return 0;
    if (v.len == 6)
        return 1;
    size_t pos = 6;
    if (!wh_is_space(wh_utf8_next(v.data, v.len, &pos)))
        return 0;
    size_t words = 0;
    bool inside = false;
    for (pos = 6; pos < v.len;) {
        bool space = wh_is_space(wh_utf8_next(v.data, v.len, &pos));
        words += !space && !inside;
        inside = !space;
    }
    return wh_fail(
        err, WH_E_PARSE,
        "Exactly 0 parameter(s) were expected following the directive 'insert'. Actual parameter count: %zu",
        words);
}

static int add_expression(struct segments *s, struct wh_view inner, bool whole, uint32_t allows,
                          struct wh_error *err)
{
    inner = wh_view_trim_unicode(inner);
    if (inner.len == 0)
        return wh_fail(err, WH_E_PARSE, "An expression was expected");
    int insert = is_insert(inner, err);
    if (insert < 0)
        return -1;
    if (insert && !whole)
        return wh_fail(
            err, WH_E_PARSE,
            "The directive 'insert' is not allowed in this context. Directives are not supported for "
            "expressions that are embedded within a string. Directives are only supported when the entire "
            "value is an expression.");
    if (!insert) {
        wh_autoexpr *tree = wh_expr_parse(inner.data, inner.len, allows, err);
        if (!tree)
            return -1;
    }
    if (s->expressions == 0)
        wh_str_addn(&s->first, inner.data, inner.len);
    s->insert = insert != 0;
    wh_str_addf(&s->format, "{%u}", s->expressions++);
    wh_str_add(&s->arguments, ", ");
    wh_str_addn(&s->arguments, inner.data, inner.len);
    return 0;
}

static int scan(struct segments *s, const char *text, size_t len, uint32_t allows, struct wh_error *err)
{
    size_t at = 0;
    size_t start = 0;
    struct wh_view inner;
    for (int found; (found = wh_template_next(text, len, &at, &start, &inner)) != 0;) {
        if (allows == 0)
            return wh_fail(err, WH_E_PARSE, "A template expression is not allowed in this context");
        if (found < 0)
            return wh_fail(
                err, WH_E_PARSE,
                "The expression is not closed. An unescaped ${{ sequence was found, but the closing }} "
                "sequence was not found.");
        add_literal(s, text + s->end, start - s->end);
        s->end = at;
        if (add_expression(s, inner, start == 0 && at == len, allows, err) < 0)
            return -1;
    }
    add_literal(s, text + at, len - at);
    return 0;
}

/* A single string literal is the literal itself: ${{ '{{ braces }}' }}. */
static struct wh_token *fold(const struct segments *s, uint32_t allows)
{
    wh_autoexpr *tree = wh_expr_parse(wh_str_text(&s->first), s->first.len, allows, NULL);
    struct wh_view literal;
    if (tree && wh_expr_is_string_literal(tree, &literal))
        return wh_token_string(literal.data, literal.len);
    return wh_token_expression(wh_str_text(&s->first), s->first.len);
}

static struct wh_token *make(const struct segments *s, bool is_key, uint32_t allows, struct wh_error *err)
{
    if (s->insert && !is_key) {
        wh_fail(err, WH_E_PARSE, "The expression directive 'insert' is not supported in this context");
        return NULL;
    }
    if (s->insert)
        return wh_token_new(WH_TOKEN_INSERT, 0, 0, 0);
    if (s->expressions == 1 && !s->literal)
        return fold(s, allows);
    wh_autofree char *text = wh_printf("format('%s'%s)", wh_str_text(&s->format), wh_str_text(&s->arguments));
    wh_autoexpr *tree = wh_expr_parse(text, strlen(text), allows, err);
    return tree ? wh_token_expression(text, strlen(text)) : NULL;
}

struct wh_token *wh_template_from_text(const char *text, size_t len, bool is_key, uint32_t allows,
                                       struct wh_error *err)
{
    if (!memmem(text, len, OPEN, strlen(OPEN)))
        return wh_token_string(text, len);
    struct segments s = {0};
    struct wh_token *t = NULL;
    if (scan(&s, text, len, allows, err) == 0)
        t = make(&s, is_key, allows, err);
    segments_free(&s);
    return t;
}

char *wh_token_display(const struct wh_token *t)
{
    if (!t)
        return wh_strdup("");
    wh_autostr out = {0};
    switch (t->type) {
    case WH_TOKEN_STRING:
        wh_str_addn(&out, t->text, t->text_len);
        break;
    case WH_TOKEN_EXPRESSION:
        wh_str_add(&out, "${{ ");
        wh_str_addn(&out, t->text, t->text_len);
        wh_str_add(&out, " }}");
        break;
    case WH_TOKEN_BOOL:
        wh_str_add(&out, t->boolean ? "true" : "false");
        break;
    case WH_TOKEN_NUMBER:
        wh_number_add(&out, t->number);
        break;
    case WH_TOKEN_INSERT:
        wh_str_add(&out, "${{ insert }}");
        break;
    default:
        break;
    }
    return wh_str_steal(&out);
}
