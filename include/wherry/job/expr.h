/* The expression language of workflows (job-execution.md §2): parse once, evaluate many times.
 *
 * What names and functions a text may use depends on the place where it stands (§2.7); others are parse
 * errors. */
#ifndef WH_JOB_EXPR_H
#define WH_JOB_EXPR_H

#include "wherry/job/value.h"

#define WH_MAX_EXPR_LENGTH 21000 /* UTF-16 units */
#define WH_MAX_EXPR_DEPTH 50
#define WH_MAX_EXPR_MEMORY ((size_t)10 << 20) /* bytes of results per evaluation, counted as §2.6 says */
#define WH_MAX_HASHFILES_SECONDS 120

/* What a place allows: contexts by name, the group of status functions, hashFiles. */
enum wh_allow {
    WH_ALLOW_GITHUB = 1 << 0,
    WH_ALLOW_INPUTS = 1 << 1,
    WH_ALLOW_VARS = 1 << 2,
    WH_ALLOW_NEEDS = 1 << 3,
    WH_ALLOW_STRATEGY = 1 << 4,
    WH_ALLOW_MATRIX = 1 << 5,
    WH_ALLOW_SECRETS = 1 << 6,
    WH_ALLOW_STEPS = 1 << 7,
    WH_ALLOW_JOB = 1 << 8,
    WH_ALLOW_RUNNER = 1 << 9,
    WH_ALLOW_ENV = 1 << 10,
    WH_ALLOW_JOBS = 1 << 11,   /* outputs of a reusable workflow */
    WH_ALLOW_STATUS = 1 << 16, /* always() success() failure() cancelled() */
    WH_ALLOW_HASHFILES = 1 << 17,
    WH_ALLOW_UNKNOWN = 1 << 18, /* any name: for wh_expr_visit() alone, such a tree is never evaluated */
};

enum wh_place {
    WH_PLACE_WORKFLOW,              /* run-name, concurrency: github, inputs, vars */
    WH_PLACE_WORKFLOW_ENV,          /* + secrets */
    WH_PLACE_JOB_IF,                /* github, inputs, vars, needs + status functions */
    WH_PLACE_JOB,                   /* name, runs-on, environment, container, services: github … matrix */
    WH_PLACE_JOB_STRATEGY,          /* github, inputs, vars, needs */
    WH_PLACE_JOB_ENV,               /* job's + secrets */
    WH_PLACE_JOB_DEFAULTS,          /* job's + env */
    WH_PLACE_CONTAINER_ENV,         /* env of containers: job's + secrets, job, runner, env */
    WH_PLACE_CONTAINER_CREDENTIALS, /* job's + secrets, env */
    WH_PLACE_JOB_OUTPUTS,           /* everything but hashFiles */
    WH_PLACE_ENVIRONMENT_URL,       /* everything but secrets and hashFiles */
    WH_PLACE_STEP_IF,               /* everything but secrets; status functions, hashFiles */
    WH_PLACE_STEP, /* env, with, name, run, timeout-minutes, continue-on-error: + secrets, no status functions
                    */
    WH_PLACE_ACTION_INPUT,      /* defaults of an action's inputs: github, strategy, matrix, job, runner +
                                   hashFiles */
    WH_PLACE_ACTION_IF,         /* pre-if, post-if: as STEP_IF */
    WH_PLACE_ACTION_ARGS,       /* args and env of a Docker action: inputs */
    WH_PLACE_COMPOSITE_STEP,    /* github, inputs, strategy, matrix, steps, job, runner, env + hashFiles */
    WH_PLACE_COMPOSITE_IF,      /* + vars, needs, status functions */
    WH_PLACE_COMPOSITE_OUTPUTS, /* the composite step's without hashFiles */
    WH_PLACE_LITERAL,           /* no expressions: defaults of workflow_dispatch */
    WH_PLACE_WORKFLOW_OUTPUTS,  /* of a reusable workflow: the workflow's + jobs */
    WH_PLACE_ANY,               /* tests and tools */
};
uint32_t wh_place_allows(enum wh_place place);

enum wh_status_function { WH_STATUS_ALWAYS, WH_STATUS_SUCCESS, WH_STATUS_FAILURE, WH_STATUS_CANCELLED };

/* What an evaluation sees. Borrowed for the call. */
struct wh_eval {
    const struct wh_value *contexts; /* object: context name -> value; a missing one is null */
    /* always() and friends (§5.3); NULL: always and success are true, the others false. */
    bool (*status)(void *arg, enum wh_status_function which);
    void *status_arg;
    const char *workspace; /* for hashFiles, absolute; NULL: hashFiles fails */
    /* Step debug (§9): called per trace line without "##[debug]"; NULL: no trace is made. */
    void (*trace)(void *arg, const char *line);
    void *trace_arg;
};

struct wh_expr; /* immutable */
void wh_expr_free(struct wh_expr *e);
void wh_expr_free_ptr(struct wh_expr **e);
#define wh_autoexpr __attribute__((cleanup(wh_expr_free_ptr))) struct wh_expr

/* allows: wh_place_allows(place), or bits of enum wh_allow. Blank text gives a tree that evaluates to null
 * (see wh_expr_is_blank). NULL on failure; the message is GitHub's, with the position (§2.6). */
struct wh_expr *wh_expr_parse(const char *text, size_t len, uint32_t allows, struct wh_error *err);
bool wh_expr_is_blank(const struct wh_expr *e);
bool wh_expr_uses_status(const struct wh_expr *e); /* any of the four status functions */
/* If the whole text is one string literal: true, and its value (borrowed). */
bool wh_expr_is_string_literal(const struct wh_expr *e, struct wh_view *value);
/* A new reference; NULL on failure. */
struct wh_value *wh_expr_eval(const struct wh_expr *e, const struct wh_eval *env, struct wh_error *err);
/* Parse and evaluate. */
struct wh_value *wh_expr_eval_text(const char *text, uint32_t allows, const struct wh_eval *env,
                                   struct wh_error *err);

/* ---- for tools: what an expression names, without evaluating it ---- */
#define WH_MAX_EXPR_PARTS 8
struct wh_expr_part {
    struct wh_view name; /* valid during the call */
    size_t at;           /* in bytes of the text */
};
struct wh_expr_use {
    bool function; /* name(…); else a context */
    struct wh_expr_part name;
    bool known, allowed; /* there is such a context or function; it may stand here */
    /* A context: the literal names behind it (steps.build.outputs: 2), up to what is computed or a wildcard.
     */
    struct wh_expr_part parts[WH_MAX_EXPR_PARTS];
    size_t nparts;
};
typedef void (*wh_expr_use_fn)(void *arg, const struct wh_expr_use *use);
/* Calls fn for each context and function. Negative: the text can't be parsed, *stopped is the byte where;
 * names and functions that are unknown or not allowed are no errors here but told as such. *status (may be
 * NULL): any of the four status functions is called. */
int wh_expr_visit(const char *text, size_t len, uint32_t allows, wh_expr_use_fn fn, void *arg, bool *status,
                  size_t *stopped, struct wh_error *err);

/* ---- conditions (§2.7 `if`) ---- */
/* From the author's `if` text to the condition of a job message: unwraps `${{ }}`, blank becomes success(),
 * and a text without a status function becomes `success() && (<text>)`. Owned; NULL if it can't be parsed. */
char *wh_condition_from_text(const char *text, uint32_t allows, struct wh_error *err);
/* Evaluates a message's condition (already wrapped; blank is success()). 1 true, 0 false, negative: error. */
int wh_condition_eval(const char *condition, uint32_t allows, const struct wh_eval *env,
                      struct wh_error *err);

/* hashFiles() by itself: the patterns joined by newline. "" if nothing matches. Owned; NULL on failure
 * (§2.5). */
char *wh_hash_files(const char *workspace, const char *patterns, bool follow_links, struct wh_error *err);

#endif
