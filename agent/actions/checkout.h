/* actions/checkout v3 to v7 for git over HTTP (actions.md §2), one file a concern: inputs, git, the work tree
 * that was there, credentials, refs. Private to the action. */
#ifndef WH_ACTIONS_CHECKOUT_H
#define WH_ACTIONS_CHECKOUT_H

#include "wherry/actions/action.h"

struct checkout {
    struct wh_action_run *run;
    struct wh_action_version version;

    /* inputs (checkout_inputs.c); all owned */
    char *owner, *name;     /* of the repository */
    char *origin;           /* "https://github.com" */
    char *api;              /* "https://api.github.com" */
    char *url;              /* what is fetched */
    char *workspace, *path; /* absolute */
    char *temp;             /* RUNNER_TEMP */
    char *ref, *commit;     /* "" where there is none */
    char *filter;
    char *token;
    int64_t depth; /* 0: all */
    bool clean, fetch_tags, persist, safe_directory, show_progress;

    /* git (checkout_git.c) */
    char *git; /* its path */
    unsigned version_of_git[3];
    char **env;      /* what git gets */
    char *gitdir;    /* <path>/.git */
    bool may_answer; /* nothing in the environment makes git answer otherwise than its files say */

    /* reuse (checkout_reuse.c) */
    char *head_is_now_at; /* git's answer to reset --hard, where that was done; NULL: not yet */
    char **fetched;       /* the refspecs that were fetched last */

    /* credentials (checkout_auth.c) */
    char *home;        /* temporary HOME, NULL: none */
    char *token_key;   /* "http.<origin>/.extraheader" */
    char *credentials; /* v6+: the file */
};

void checkout_free(struct checkout *c);
static inline bool checkout_at_least(const struct checkout *c, int major, int minor, int patch)
{
    return wh_action_version_at_least(&c->version, major, minor, patch);
}

/* ---- checkout_inputs.c ---- */
int checkout_inputs(struct checkout *c, struct wh_error *err);
/* Refuses a fork's code in a workflow with the base's rights (§2.1 "Guard"). */
int checkout_guard(struct checkout *c, const char *repository, struct wh_error *err);

/* ---- checkout_git.c ---- */
#define CHECKOUT_QUIET 1u /* neither the command nor its output is shown */
#define CHECKOUT_ANY 2u   /* any exit code is an answer */
/* Finds git, asks for its version, and makes its environment. WH_E_UNSUPPORTED if it is missing or too old.
 */
int checkout_git_start(struct checkout *c, struct wh_error *err);
bool checkout_git_at_least(const struct checkout *c, unsigned major, unsigned minor);
void checkout_git_env(struct checkout *c, const char *name,
                      const char *value); /* NULL: as in our own environment */
/* Runs git in the repository; its output goes to ours line by line, or (out not NULL) is collected and then
 * shown. The exit code; -1 with "The process '/usr/bin/git' failed with exit code N". */
int checkout_git(struct checkout *c, unsigned flags, struct wh_str *out, struct wh_error *err,
                 const char *const *args);
#define CHECKOUT_GIT(c, flags, out, err, ...)                                                                \
    checkout_git(c, flags, out, err, (const char *const[]){__VA_ARGS__, NULL})
/* "[command]/usr/bin/git ..." for a command whose answer is known without it. */
void checkout_echo(struct checkout *c, const char *const *args);
#define CHECKOUT_ECHO(c, ...) checkout_echo(c, (const char *const[]){__VA_ARGS__, NULL})
/* The same three times with a pause, as all that needs the network. */
int checkout_git_retry(struct checkout *c, struct wh_error *err, const char *const *args);
/* Seconds between two tries, 10 to 20; tests make it short. */
extern unsigned checkout_retry_min, checkout_retry_max;
void checkout_wait(void);

/* ---- checkout_config.c: git config, answered from the files where that is the same ---- */
char *checkout_config_get(struct checkout *c,
                          const char *key); /* config --local --get; NULL if not one value */
int checkout_config_set(struct checkout *c, const char *key, const char *value, struct wh_error *err);
/* Like checkout_config_set(), but shown and (where git is asked) given to git as `shown`; the file is 0600
 * from then on. */
int checkout_config_set_secret(struct checkout *c, const char *key, const char *value, const char *shown,
                               struct wh_error *err);
/* config --local --name-only --get-regexp of exactly this key, and --unset-all if it is there; for submodules
 * too. */
int checkout_config_remove(struct checkout *c, const char *key, struct wh_error *err);
/* Drops includeIf values that point to credentials files; their paths are added to `files`. */
int checkout_config_drop_includes(struct checkout *c, char ***files, struct wh_error *err);
/* submodule foreach --recursive ...: nothing where there are none. */
int checkout_foreach(struct checkout *c, struct wh_str *out, const char *command, struct wh_error *err);
bool checkout_no_submodules(struct checkout *c); /* surely none */
int checkout_sparse_disable(struct checkout *c, struct wh_error *err);
char *checkout_regex_escape(const char *text);

/* ---- checkout_prepare.c ---- */
/* The work tree that was there before: made usable, or emptied (§2.4). */
int checkout_prepare(struct checkout *c, struct wh_error *err);

/* ---- checkout_reuse.c: a work tree in the plain state that a checkout leaves ---- */
/* Detaches HEAD from ref (it is on it), resets, and deletes the branch if it is the only one: 1. 0: not done,
 * the usual way is to be gone. */
int checkout_leave_branch(struct checkout *c, const char *ref, struct wh_error *err);
int checkout_clean(struct checkout *c); /* clean -ffdx; the exit code */
int checkout_reset(struct checkout *c); /* reset --hard HEAD; the exit code */
/* Whether the refspecs were fetched by the checkout before, and all of it still is there. The checkout is to
 * say at its end that it went well. */
bool checkout_fetched_before(const struct checkout *c, char *const *specs);
void checkout_note_fetched(struct checkout *c);

/* ---- checkout_auth.c ---- */
int checkout_safe_directory(struct checkout *c, struct wh_error *err);
int checkout_auth_configure(struct checkout *c, struct wh_error *err);
int checkout_auth_remove(struct checkout *c, struct wh_error *err);
void checkout_home_remove(struct checkout *c);

/* ---- checkout_refs.c ---- */
int checkout_default_branch(struct checkout *c, struct wh_error *err);
/* "sha256", or "" where nobody says so. Owned. */
char *checkout_object_format(struct checkout *c);
int checkout_fetch(struct checkout *c, struct wh_error *err);
/* What to check out: a start point only for branches. Owned. */
int checkout_target(struct checkout *c, char **target, char **start, struct wh_error *err);
int checkout_commit(struct checkout *c, char **commit, struct wh_error *err); /* log -1 --format=%H */

#endif
