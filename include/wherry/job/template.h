/* Template tokens: the tree of literals and expressions in which a job message carries `env`, `with`,
 * `outputs` ... (§1 token JSON, §2.7), and their evaluation to strings, booleans, numbers and maps. */
#ifndef WH_JOB_TEMPLATE_H
#define WH_JOB_TEMPLATE_H

#include "wherry/job/expr.h"

#define WH_MAX_TEMPLATE_DEPTH 50
#define WH_MAX_TEMPLATE_EVENTS 1000000u
#define WH_MAX_TEMPLATE_ERRORS 10

enum wh_token_type { /* the numbers of the wire */
                     WH_TOKEN_STRING = 0,
                     WH_TOKEN_SEQUENCE = 1,
                     WH_TOKEN_MAPPING = 2,
                     WH_TOKEN_EXPRESSION = 3,
                     WH_TOKEN_INSERT = 4,
                     WH_TOKEN_BOOL = 5,
                     WH_TOKEN_NUMBER = 6,
                     WH_TOKEN_NULL = 7,
};

struct wh_token_pair;
struct wh_token { /* owned by its parent or by whoever made it; members are readable, made by the functions
                     below */
    enum wh_token_type type;
    int file, line, col; /* file: 1-based index into the file table; 0: no position */
    char *text;          /* STRING: the literal; EXPRESSION: text without ${{ }} */
    size_t text_len;
    bool boolean;
    double number;
    struct wh_token **items;     /* SEQUENCE */
    struct wh_token_pair *pairs; /* MAPPING, in order */
    size_t count;
};
struct wh_token_pair {
    struct wh_token *key, *value;
};
void wh_token_free(struct wh_token *t);
void wh_token_free_ptr(struct wh_token **t);
#define wh_autotoken __attribute__((cleanup(wh_token_free_ptr))) struct wh_token

/* ---- making ---- */
struct wh_token *wh_token_new(enum wh_token_type type, int file, int line, int col);
struct wh_token *wh_token_string(const char *text, size_t len);
struct wh_token *wh_token_expression(const char *text, size_t len);
void wh_token_add_item(struct wh_token *sequence, struct wh_token *item_taken);
void wh_token_add_pair(struct wh_token *mapping, struct wh_token *key_taken, struct wh_token *value_taken);
/* Borrowed; by literal key, case ignored. */
const struct wh_token *wh_token_get(const struct wh_token *mapping, const char *key);
struct wh_token *wh_token_copy(const struct wh_token *t);
/* From and to the wire. NULL json gives a null token; `what` names it in errors. */
struct wh_token *wh_token_from_json(const cJSON *json, const char *what, struct wh_error *err);
cJSON *wh_token_to_json(const struct wh_token *t);
/* A YAML scalar's text with `${{ }}` parts to a string or expression token (§2.7 scanning): exactly one
 * expression stays typed, mixed text becomes format('…{0}…', …), `${{ insert }}` an insert directive if
 * is_key. allows: what may stand there; 0 forbids expressions. The error says what is wrong, without a
 * position prefix. */
struct wh_token *wh_template_from_text(const char *text, size_t len, bool is_key, uint32_t allows,
                                       struct wh_error *err);
/* The next ${{ }} of a text from *at on. 1: it opens at *start, *inner is what stands between, *at is behind
 * it; 0: there is none; -1: the one at *start is not closed. */
int wh_template_next(const char *text, size_t len, size_t *at, size_t *start, struct wh_view *inner);
/* How a token shows in a name that can't be evaluated: literals as they are, expressions as ${{ … }}. Owned.
 */
char *wh_token_display(const struct wh_token *t);

/* ---- evaluating ---- */
struct wh_template_env {
    struct wh_eval eval;
    uint32_t allows;         /* wh_place_allows(...) */
    char *const *file_table; /* NULL-terminated, borrowed; may be NULL */
    char **errors; /* out: the single errors with their prefixes, NULL-terminated; cleared by each call; free
                      by wh_strv_free(). The err of the call is "The template is not valid. <e1>,<e2>". */
};

/* The token as a value: mappings become objects (keys in any case unless case_sensitive), sequences arrays.
 * NULL on failure. */
struct wh_value *wh_token_eval(const struct wh_token *t, struct wh_template_env *env, struct wh_error *err);
/* Typed targets (§2.7). A NULL or null token: text NULL / *set false. */
int wh_token_eval_string(const struct wh_token *t, struct wh_template_env *env, char **text,
                         struct wh_error *err);
int wh_token_eval_bool(const struct wh_token *t, struct wh_template_env *env, bool *set, bool *out,
                       struct wh_error *err);
int wh_token_eval_number(const struct wh_token *t, struct wh_template_env *env, bool *set, double *out,
                         struct wh_error *err);
/* A mapping whose values are strings: env (case-sensitive object) and inputs, outputs (keys in any case).
 * NULL on failure. */
struct wh_value *wh_token_eval_strings(const struct wh_token *t, bool case_sensitive,
                                       struct wh_template_env *env, struct wh_error *err);

#endif
