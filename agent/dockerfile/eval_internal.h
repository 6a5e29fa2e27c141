/* The state of one stage's evaluation, shared by the eval_*.c files. */
#ifndef WH_DOCKERFILE_EVAL_INTERNAL_H
#define WH_DOCKERFILE_EVAL_INTERNAL_H

#include "dockerfile/plan_internal.h"
#include "wherry/dockerfile/eval.h"

/* An ARG as declared; value NULL: none so far. */
struct df_build_arg {
    char *name, *value;
};

/* What stages on top inherit, and what the steps borrow. */
struct wh_df_scope {
    char **env; /* at the stage's end; owned */
    struct df_build_arg *args;
    size_t nargs;
    bool workdir_set;
    char ***envs; /* environments that steps share; owned */
    size_t nenvs, env_bytes;
    char **proxy; /* owned */
};

struct df_eval {
    const struct wh_df_plan *plan;
    const struct wh_df_plan_stage *st;
    struct wh_df_result *result;
    char **env;        /* ENV and ARG values as expansion and RUN see them */
    char **env_shared; /* a copy of env that steps hold; NULL once env changed */
    char **config_env;
    char **shell, **cmd, **entrypoint, **onbuild;
    /* The last instruction of its kind in this stage; line 0: none. */
    struct wh_df_range cmd_here, entrypoint_here, health_here;
    bool workdir_set;
    char *cwd, *user;
    cJSON *section; /* "config" inside result->config */
    struct df_build_arg *args;
    size_t nargs;
    size_t index, total;             /* the i/n of titles */
    const struct wh_df_instr *instr; /* the current one */
    bool trigger;
    struct wh_df_range range;
};

/* eval.c */
void df_warn(struct df_eval *ev, const char *rule, const char *fmt, ...) WH_PRINTF(3, 4);
int df_ev_expand(struct df_eval *ev, const char *word, char **out, struct wh_error *err);
void df_ev_unset(struct df_eval *ev, const struct wh_df_expansion *seen);
int df_ev_setenv(struct df_eval *ev, const char *name, const char *value, struct wh_error *err);
char **df_ev_shared_env(struct df_eval *ev, struct wh_error *err);
struct wh_df_step *df_ev_step(struct df_eval *ev);
/* created_by is taken. */
void df_ev_commit(struct df_eval *ev, struct wh_df_step *step, char *created_by, bool layer);
/* text is taken. */
void df_ev_title(struct df_eval *ev, struct wh_df_step *step, char *text);
/* The instruction's own line, expanded, keyword in upper case. */
char *df_ev_line(struct df_eval *ev, enum wh_df_expand_mode mode, char *const *env, const char *more);
char **df_ev_with_shell(const struct df_eval *ev, const char *line);
char *df_join_path(const char *dir, const char *path); /* absolute and clean */

/* eval_meta.c, eval_run.c, eval_copy.c */
int df_eval_meta(struct df_eval *ev, struct wh_error *err);
int df_eval_run(struct df_eval *ev, struct wh_error *err);
int df_eval_copy(struct df_eval *ev, struct wh_error *err);
int df_eval_workdir(struct df_eval *ev, struct wh_error *err);
void df_section_list(cJSON *section, const char *name, char *const *list);
char **df_section_read(const cJSON *section, const char *name);
void df_section_text(cJSON *section, const char *name, const char *value);
/* values.c */
int df_parse_ports(const char *text, char ***out, bool *upper_proto, bool *host_part, struct wh_error *err);
int df_check_signal(const char *text, struct wh_error *err);
void df_add_duration(struct wh_str *out, int64_t ns);              /* Go's Duration.String() */
int df_check_heredoc_name(const char *name, struct wh_error *err); /* where it becomes a file */
bool df_secret_name(const char *name);

#endif
