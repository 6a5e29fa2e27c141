/* The tree of an expression and the parts of its machinery that several files of this room share. */
#ifndef WH_JOB_EXPR_IMPL_H
#define WH_JOB_EXPR_IMPL_H

#include "wherry/job/expr.h"

enum wh_node_kind {
    WH_NODE_LITERAL,
    WH_NODE_NAMED, /* a context */
    WH_NODE_WILDCARD,
    WH_NODE_INDEX,
    WH_NODE_CALL,
    WH_NODE_NOT,
    WH_NODE_EQUAL,
    WH_NODE_NOT_EQUAL,
    WH_NODE_GREATER,
    WH_NODE_GREATER_EQUAL,
    WH_NODE_LESS,
    WH_NODE_LESS_EQUAL,
    WH_NODE_AND,
    WH_NODE_OR,
};

enum wh_function {
    WH_FN_CASE,
    WH_FN_CONTAINS,
    WH_FN_ENDS_WITH,
    WH_FN_FORMAT,
    WH_FN_FROM_JSON,
    WH_FN_HASH_FILES,
    WH_FN_JOIN,
    WH_FN_STARTS_WITH,
    WH_FN_TO_JSON,
    WH_FN_ALWAYS, /* the status functions, in the order of enum wh_status_function */
    WH_FN_SUCCESS,
    WH_FN_FAILURE,
    WH_FN_CANCELLED,
    WH_FN_UNKNOWN, /* WH_ALLOW_UNKNOWN: for tools that look at trees and never evaluate them */
};

struct wh_node {
    unsigned char kind;
    unsigned char function; /* CALL: enum wh_function */
    unsigned short nchildren;
    unsigned id;            /* number in the tree */
    unsigned at;            /* LITERAL, NAMED, CALL: where it stands in the text, in bytes */
    struct wh_value *value; /* LITERAL: itself; NAMED and CALL: the name as written (string) */
    struct wh_node *child, *last_child, *next;
};

/* Bits that a context or a function of that name needs (0: none); false: there is no such thing. */
bool wh_context_find(struct wh_view name, uint32_t *needs);
bool wh_function_find(struct wh_view name, uint32_t *needs);
/* wh_expr_parse(), with the byte at which it stopped. */
struct wh_expr *wh_expr_parse_at(const char *text, size_t len, uint32_t allows, size_t *stopped,
                                 struct wh_error *err);

struct wh_node_chunk;
struct wh_expr {
    struct wh_node *root; /* NULL: blank text */
    struct wh_node_chunk *chunks;
    unsigned nnodes;
    bool uses_status;
};

/* ---- tokens ---- */
enum wh_lex_kind {
    WH_LEX_NONE, /* before the first token */
    WH_LEX_UNEXPECTED,
    WH_LEX_NULL,
    WH_LEX_BOOL,
    WH_LEX_NUMBER,
    WH_LEX_STRING,
    WH_LEX_PROPERTY,
    WH_LEX_FUNCTION,
    WH_LEX_NAMED,
    WH_LEX_WILDCARD,
    WH_LEX_SEPARATOR,
    WH_LEX_START_GROUP,
    WH_LEX_START_INDEX,
    WH_LEX_START_PARAMETERS,
    WH_LEX_END_GROUP,
    WH_LEX_END_INDEX,
    WH_LEX_END_PARAMETERS,
    WH_LEX_DEREFERENCE,
    WH_LEX_OPERATOR, /* node says which */
};

struct wh_lex_token {
    enum wh_lex_kind kind;
    enum wh_node_kind node; /* OPERATOR */
    struct wh_view raw;     /* in the text */
    double number;          /* NUMBER; BOOL: 0 or 1 */
};

struct wh_lexer {
    const char *text;
    size_t len, pos;
    enum wh_lex_kind last;
    enum wh_lex_kind *open; /* unclosed ( [ and calls, innermost last; owned */
    size_t nopen, open_cap;
};
bool wh_lex_next(struct wh_lexer *lexer, struct wh_lex_token *out); /* false at the end */
bool wh_is_keyword(const char *text, size_t len);                   /* [A-Za-z_][A-Za-z0-9_-]* */

/* ---- the tree as text: "Evaluating: …", and in errors ---- */
void wh_node_add_expression(struct wh_str *out, const struct wh_node *n);
void wh_value_add_trace(struct wh_str *out, const struct wh_value *v); /* as in "=> 'x'" */

/* ---- evaluation ---- */
struct wh_evaluator {
    const struct wh_expr *expr;
    const struct wh_eval *env;
    struct wh_error *err;
    size_t memory;
    struct wh_value **realized; /* by node id, while tracing */
};
struct wh_value *wh_node_eval(struct wh_evaluator *ev, const struct wh_node *n, unsigned level);
struct wh_value *wh_call_eval(struct wh_evaluator *ev, const struct wh_node *n, unsigned level);
struct wh_value *wh_memory_exceeded(struct wh_evaluator *ev, const struct wh_node *n); /* NULL */
/* Built text can't be more than this many bytes without passing the limit on its UTF-16 size. */
#define WH_MAX_EXPR_TEXT (WH_MAX_EXPR_MEMORY / 2 * 3)
void wh_trace(struct wh_evaluator *ev, unsigned level, const char *fmt, ...) WH_PRINTF(3, 4);

#endif
