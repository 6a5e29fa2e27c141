/* action.yml: what an action that is not built in declares and runs (job-execution.md §7.1). Foreign bytes to
 * a struct, bounded and checked, errors with line and column. */
#ifndef WH_JOB_MANIFEST_H
#define WH_JOB_MANIFEST_H

#include "wherry/job/message.h"

#define WH_MAX_ACTION_MANIFEST_BYTES ((size_t)1 << 20)
#define WH_MAX_ACTION_MANIFEST_INPUTS 1000u
#define WH_MAX_ACTION_MANIFEST_STEPS 1000u
#define WH_MAX_COMPOSITE_DEPTH 9 /* composites within composites: one deeper is refused */

enum wh_action_manifest_kind { WH_MANIFEST_NODE, WH_MANIFEST_COMPOSITE, WH_MANIFEST_DOCKER };

struct wh_action_manifest_input {
    char *name;
    struct wh_token *value; /* the default; NULL: "" */
    char *deprecation;      /* NULL: none */
};

struct wh_action_manifest { /* everything owned */
    enum wh_action_manifest_kind kind;
    char *name;
    struct wh_action_manifest_input *inputs;
    size_t ninputs;
    /* JavaScript: files below the action's folder. Docker: entrypoints. NULL where there is none. */
    int node; /* 12, 16, 20, 24 */
    char *main, *pre, *post;
    char *pre_if, *post_if; /* conditions as written; "always()" where there is none */
    /* Docker */
    char *image;
    struct wh_token *args; /* sequence or NULL */
    struct wh_token *env;  /* mapping or NULL */
    /* Composite */
    struct wh_step *steps;
    size_t nsteps;
    struct wh_token *outputs; /* mapping: name -> value; NULL */
};

/* name is how messages call the file; file_index its number in the job's file table (1...). NULL on failure:
 * *error is then the single error with its place (owned by the caller; NULL where the err says all). */
struct wh_action_manifest *wh_action_manifest_parse(const char *text, size_t len, const char *name,
                                                    int file_index, char **error, struct wh_error *err);
/* A folder with only a Dockerfile is a Docker action, too: its manifest. */
struct wh_action_manifest *wh_action_manifest_of_dockerfile(const char *file);
void wh_action_manifest_free(struct wh_action_manifest *m);
void wh_action_manifest_free_ptr(struct wh_action_manifest **m);
#define wh_autoactionmanifest __attribute__((cleanup(wh_action_manifest_free_ptr))) struct wh_action_manifest

#endif
