/* Expressions to tokens (job-execution.md §2.1). Whether a token may follow the one before it is decided here
 * too, so that the parser never sees a wrong order. */
#include <math.h>

#include "expr_impl.h"
#include "text.h"

bool wh_is_keyword(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '-')))
            return false;
    }
    return len > 0;
}

#define AFTER(kind) (1u << (kind))
#define AFTER_OPENING                                                                                        \
    (AFTER(WH_LEX_NONE) | AFTER(WH_LEX_SEPARATOR) | AFTER(WH_LEX_START_GROUP) |                              \
     AFTER(WH_LEX_START_PARAMETERS) | AFTER(WH_LEX_START_INDEX) | AFTER(WH_LEX_OPERATOR))
#define AFTER_REFERENCE                                                                                      \
    (AFTER(WH_LEX_END_GROUP) | AFTER(WH_LEX_END_PARAMETERS) | AFTER(WH_LEX_END_INDEX) |                      \
     AFTER(WH_LEX_WILDCARD) | AFTER(WH_LEX_PROPERTY) | AFTER(WH_LEX_NAMED))
#define AFTER_OPERAND                                                                                        \
    (AFTER_REFERENCE | AFTER(WH_LEX_NULL) | AFTER(WH_LEX_BOOL) | AFTER(WH_LEX_NUMBER) | AFTER(WH_LEX_STRING))

static unsigned allowed_after(const struct wh_lex_token *t)
{
    switch (t->kind) {
    case WH_LEX_NULL:
    case WH_LEX_BOOL:
    case WH_LEX_NUMBER:
    case WH_LEX_STRING:
    case WH_LEX_FUNCTION:
    case WH_LEX_NAMED:
    case WH_LEX_START_GROUP:
        return AFTER_OPENING;
    case WH_LEX_PROPERTY:
        return AFTER(WH_LEX_DEREFERENCE);
    case WH_LEX_WILDCARD:
        return AFTER(WH_LEX_DEREFERENCE) | AFTER(WH_LEX_START_INDEX);
    case WH_LEX_START_INDEX:
    case WH_LEX_DEREFERENCE:
        return AFTER_REFERENCE;
    case WH_LEX_START_PARAMETERS:
        return AFTER(WH_LEX_FUNCTION);
    case WH_LEX_END_PARAMETERS:
        return AFTER_OPERAND | AFTER(WH_LEX_START_PARAMETERS);
    case WH_LEX_END_GROUP:
    case WH_LEX_END_INDEX:
    case WH_LEX_SEPARATOR:
        return AFTER_OPERAND;
    case WH_LEX_OPERATOR:
        return t->node == WH_NODE_NOT ? AFTER_OPENING : AFTER_OPERAND;
    case WH_LEX_NONE:
    case WH_LEX_UNEXPECTED:
        break;
    }
    return 0;
}

static enum wh_lex_kind innermost(const struct wh_lexer *l)
{
    return l->nopen > 0 ? l->open[l->nopen - 1] : WH_LEX_NONE;
}

/* Keeps the stack of what is open; false: a closer or comma without its opener. */
static bool balance(struct wh_lexer *l, enum wh_lex_kind kind)
{
    switch (kind) {
    case WH_LEX_START_GROUP:
    case WH_LEX_START_INDEX:
    case WH_LEX_START_PARAMETERS:
        if (l->nopen == l->open_cap) {
            l->open_cap = l->open_cap ? l->open_cap * 2 : 16;
            l->open = wh_reallocarray(l->open, l->open_cap, sizeof *l->open);
        }
        l->open[l->nopen++] = kind;
        return true;
    case WH_LEX_END_GROUP:
    case WH_LEX_END_INDEX:
    case WH_LEX_END_PARAMETERS:
        if (innermost(l) != kind - WH_LEX_END_GROUP + WH_LEX_START_GROUP)
            return false;
        l->nopen--;
        return true;
    case WH_LEX_SEPARATOR:
        return innermost(l) == WH_LEX_START_PARAMETERS;
    default:
        return true;
    }
}
_Static_assert(WH_LEX_END_INDEX - WH_LEX_END_GROUP == WH_LEX_START_INDEX - WH_LEX_START_GROUP &&
                   WH_LEX_END_PARAMETERS - WH_LEX_END_GROUP == WH_LEX_START_PARAMETERS - WH_LEX_START_GROUP,
               "openers and closers are numbered alike");

static bool is_boundary(const struct wh_lexer *l, size_t pos)
{
    char c = l->text[pos];
    if ((unsigned char)c < 0x80)
        return strchr("()[],.!><=&|", c) != NULL || wh_is_space((unsigned char)c);
    return wh_is_space(wh_utf8_next(l->text, l->len, &pos));
}

static bool opens_number(const struct wh_lexer *l)
{
    char c = l->text[l->pos];
    if (c == '-' || c == '+' || (c >= '0' && c <= '9'))
        return true;
    return c == '.' && (AFTER(l->last) & AFTER_OPENING);
}

static void take_number(struct wh_lexer *l, struct wh_lex_token *out)
{
    size_t start = l->pos++;
    while (l->pos < l->len && (l->text[l->pos] == '.' || !is_boundary(l, l->pos)))
        l->pos++;
    out->raw = (struct wh_view){l->text + start, l->pos - start};
    out->number = wh_number_parse(out->raw.data, out->raw.len);
    out->kind = isnan(out->number) ? WH_LEX_UNEXPECTED : WH_LEX_NUMBER;
}

static void take_string(struct wh_lexer *l, struct wh_lex_token *out)
{
    size_t start = l->pos++;
    out->kind = WH_LEX_UNEXPECTED; /* until the closing quote */
    while (l->pos < l->len) {
        if (l->text[l->pos++] != '\'')
            continue;
        if (l->pos >= l->len || l->text[l->pos] != '\'') {
            out->kind = WH_LEX_STRING;
            break;
        }
        l->pos++;
    }
    out->raw = (struct wh_view){l->text + start, l->pos - start};
}

static void take_operator(struct wh_lexer *l, struct wh_lex_token *out)
{
    static const struct {
        char text[3];
        enum wh_node_kind node;
    } operators[] = {
        {"!=", WH_NODE_NOT_EQUAL}, {">=", WH_NODE_GREATER_EQUAL}, {"<=", WH_NODE_LESS_EQUAL},
        {"==", WH_NODE_EQUAL},     {"&&", WH_NODE_AND},           {"||", WH_NODE_OR},
        {"!", WH_NODE_NOT},        {">", WH_NODE_GREATER},        {"<", WH_NODE_LESS},
    };
    size_t start = l->pos;
    for (size_t i = 0; i < WH_COUNT(operators); i++) {
        size_t n = strlen(operators[i].text);
        if (l->len - start >= n && memcmp(l->text + start, operators[i].text, n) == 0) {
            l->pos += n;
            *out = (struct wh_lex_token){WH_LEX_OPERATOR, operators[i].node, {l->text + start, n}, 0};
            return;
        }
    }
    l->pos++;
    while (l->pos < l->len && !is_boundary(l, l->pos))
        l->pos++;
    out->kind = WH_LEX_UNEXPECTED;
    out->raw = (struct wh_view){l->text + start, l->pos - start};
}

static bool next_is_call(const struct wh_lexer *l)
{
    size_t pos = l->pos;
    while (pos < l->len) {
        size_t next = pos;
        if (!wh_is_space(wh_utf8_next(l->text, l->len, &next)))
            return l->text[pos] == '(';
        pos = next;
    }
    return false;
}

static void classify_keyword(const struct wh_lexer *l, struct wh_lex_token *out)
{
    static const struct {
        const char *text;
        enum wh_lex_kind kind;
        double number;
    } literals[] = {
        {"null", WH_LEX_NULL, 0},
        {"true", WH_LEX_BOOL, 1},
        {"false", WH_LEX_BOOL, 0},
        {"NaN", WH_LEX_NUMBER, NAN},
        {"Infinity", WH_LEX_NUMBER, INFINITY},
    };
    if (!wh_is_keyword(out->raw.data, out->raw.len)) {
        out->kind = WH_LEX_UNEXPECTED;
        return;
    }
    if (l->last == WH_LEX_DEREFERENCE) {
        out->kind = WH_LEX_PROPERTY;
        return;
    }
    for (size_t i = 0; i < WH_COUNT(literals); i++) {
        if (wh_view_eq(out->raw, literals[i].text)) {
            out->kind = literals[i].kind;
            out->number = literals[i].number;
            return;
        }
    }
    out->kind = next_is_call(l) ? WH_LEX_FUNCTION : WH_LEX_NAMED;
}

static void take_keyword(struct wh_lexer *l, struct wh_lex_token *out)
{
    size_t start = l->pos;
    wh_utf8_next(l->text, l->len, &l->pos);
    while (l->pos < l->len && !is_boundary(l, l->pos))
        l->pos++;
    out->raw = (struct wh_view){l->text + start, l->pos - start};
    classify_keyword(l, out);
}

static void take_punctuation(struct wh_lexer *l, struct wh_lex_token *out)
{
    out->raw = (struct wh_view){l->text + l->pos, 1};
    switch (l->text[l->pos++]) {
    case '(':
        out->kind = l->last == WH_LEX_FUNCTION ? WH_LEX_START_PARAMETERS : WH_LEX_START_GROUP;
        break;
    case ')':
        out->kind = innermost(l) == WH_LEX_START_PARAMETERS ? WH_LEX_END_PARAMETERS : WH_LEX_END_GROUP;
        break;
    case '[':
        out->kind = WH_LEX_START_INDEX;
        break;
    case ']':
        out->kind = WH_LEX_END_INDEX;
        break;
    case ',':
        out->kind = WH_LEX_SEPARATOR;
        break;
    case '*':
        out->kind = WH_LEX_WILDCARD;
        break;
    default:
        out->kind = WH_LEX_DEREFERENCE;
        break;
    }
}

bool wh_lex_next(struct wh_lexer *l, struct wh_lex_token *out)
{
    while (l->pos < l->len) {
        size_t next = l->pos;
        if (!wh_is_space(wh_utf8_next(l->text, l->len, &next)))
            break;
        l->pos = next;
    }
    if (l->pos >= l->len)
        return false;
    *out = (struct wh_lex_token){WH_LEX_UNEXPECTED, WH_NODE_LITERAL, {l->text + l->pos, 0}, 0};
    char c = l->text[l->pos];
    if (opens_number(l))
        take_number(l, out);
    else if (c != '\0' && strchr("()[],*.", c))
        take_punctuation(l, out);
    else if (c == '\'')
        take_string(l, out);
    else if (c != '\0' && strchr("!><=&|", c))
        take_operator(l, out);
    else
        take_keyword(l, out);
    if (!(allowed_after(out) & AFTER(l->last)) || !balance(l, out->kind))
        out->kind = WH_LEX_UNEXPECTED;
    l->last = out->kind;
    return true;
}
