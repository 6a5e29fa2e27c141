/* One stage, evaluated: each instruction resolved to what a solver must do, and the image config that comes
 * out (builder.md §1.3-1.6, §4 Env, §5 Config and History). Needs no file and no network: evaluate stages in
 * the order of their dependencies as soon as base configs are known; the steps then say all that is to be
 * done. */
#ifndef WH_DOCKERFILE_EVAL_H
#define WH_DOCKERFILE_EVAL_H

#include <cjson/cJSON.h>

#include "wherry/dockerfile/expand.h"
#include "wherry/dockerfile/plan.h"

#define WH_MAX_STAGE_VARIABLES 4096                /* ENV and ARG names of one stage */
#define WH_MAX_STAGE_ENV_BYTES ((size_t)256 << 20) /* all environments of one stage's steps together */

#define WH_DF_DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

enum wh_df_mount_type {
    WH_DF_MOUNT_BIND,
    WH_DF_MOUNT_CACHE,
    WH_DF_MOUNT_TMPFS,
    WH_DF_MOUNT_SECRET,
    WH_DF_MOUNT_SSH
};
enum wh_df_sharing { WH_DF_SHARED, WH_DF_PRIVATE, WH_DF_LOCKED };

/* RUN --mount, values expanded (§1.3). */
struct wh_df_mount {
    enum wh_df_mount_type type;
    struct wh_df_source from; /* bind: default the context; cache: default scratch (empty) */
    bool from_given;
    char *source; /* bind, cache: path in from, "" = its root; owned */
    char *target; /* absolute; NULL: secret that is only a variable */
    bool read_only;
    char *id; /* cache (default: the cleaned target), secret, ssh; owned, NULL for the others */
    enum wh_df_sharing sharing;
    uint64_t size; /* tmpfs, bytes; 0: no limit */
    bool has_mode;
    unsigned mode; /* defaults filled in: 0755 cache, 0400 secret, 0600 ssh */
    bool has_uid, has_gid;
    unsigned uid, gid;
    bool required;
    char *env; /* secret: the variable; owned or NULL */
};

struct wh_df_file { /* a heredoc as a file */
    char *name;
    char *content;
};

/* --chmod, parsed. */
struct wh_df_chmod {
    bool given;
    bool symbolic;
    unsigned octal; /* 0..07777 */
    char *text;     /* as given, expanded; owned */
};
/* The mode that a symbolic chmod makes of mode (permission bits of a file or directory). */
unsigned wh_df_chmod_apply(const struct wh_df_chmod *c, unsigned mode, bool is_dir);
/* text: octal or "u+x,go-w". "invalid chmod parameter: ..." */
int wh_df_chmod_parse(const char *text, struct wh_df_chmod *out, struct wh_error *err);

enum wh_df_add_kind { WH_DF_ADD_PATH, WH_DF_ADD_URL, WH_DF_ADD_GIT };
/* git@host:path, git:// or ssh://, or http(s):// with a path that ends in .git (builder.md §1.4 "ADD git").
 */
bool wh_git_address(const char *source);
struct wh_df_copy_source {
    enum wh_df_add_kind kind;
    char *path; /* expanded: path in the source's root as written (absolute or not), URL or git URL */
};

struct wh_df_step {
    enum wh_df_kind kind;
    const struct wh_df_instr *instr; /* lives as long as the Dockerfile and the plan */
    struct wh_df_range range;
    bool trigger;     /* came from the base's ONBUILD */
    bool layer;       /* makes a layer: RUN, COPY, ADD, WORKDIR (other than /) */
    char *created_by; /* history text; NULL: no entry (FROM, ONBUILD) */
    char *title;      /* "[build 2/5] RUN make": what progress shows; NULL for metadata */
    char *text;       /* the title without the brackets */

    /* The state that this step sees: RUN's environment is env (the config's variables and the ARGs, in
     * BuildKit's order) plus proxy, which counts in no key. Both are borrowed from the result: steps share
     * them. */
    char **env;
    char **proxy;
    char *cwd;  /* absolute */
    char *user; /* "" = root */

    /* RUN */
    char **argv;
    struct wh_df_file
        script; /* heredoc with #!: mounted read-only, 0755, at /dev/pipes/<name>; name NULL if none */
    struct wh_df_mount *mounts;
    size_t nmounts;
    char *network;  /* "default", "none", "host"; NULL: not given */
    char *security; /* "sandbox", "insecure"; NULL: not given */

    /* COPY, ADD */
    struct wh_df_source from;
    struct wh_df_copy_source *sources;
    size_t nsources;
    struct wh_df_file *files; /* heredoc sources, bodies expanded; 0644 */
    size_t nfiles;
    char *dest;  /* absolute (WORKDIR joined), cleaned; a trailing "/" or "/." kept as "/" */
    char *chown; /* expanded; NULL: none */
    struct wh_df_chmod chmod;
    char *checksum; /* ADD, expanded; NULL */

    /* WORKDIR */
    char *workdir; /* absolute */
};

struct wh_df_history {
    char *created_by;
    bool empty_layer;
    size_t step; /* index of the step in its own stage */
};

struct wh_df_scope; /* variables, for stages that stand on this one */

struct wh_df_result {
    struct wh_df_step *steps;
    size_t nsteps;
    /* The image config document: the base's with this stage's edits; rootfs and history still those of the
     * base image. */
    cJSON *config;
    /* Entries after the base image's: those of base stages first. */
    struct wh_df_history *history;
    size_t nhistory;
    char **onbuild; /* what OnBuild became: triggers for a stage that stands on this one */
    struct wh_df_scope *scope;
    struct wh_df_warning *warnings; /* UndefinedVar and the like */
    size_t nwarnings;
};

/* base_config: the image's config document (NULL for scratch and for a base stage); base: the result of the
 * base stage. The plan's triggers of this stage must have been set (none is fine). On failure where has the
 * place. */
int wh_df_eval_stage(const struct wh_df_plan *plan, size_t stage, const cJSON *base_config,
                     const struct wh_df_result *base, struct wh_df_result **out, struct wh_df_range *where,
                     struct wh_error *err);
void wh_df_result_free(struct wh_df_result *r);

#endif
