/* The stage graph (builder.md §1.2, §2): which stages the target needs, what each stands on, what it copies
 * and mounts from. */
#ifndef WH_DOCKERFILE_PLAN_H
#define WH_DOCKERFILE_PLAN_H

#include "wherry/dockerfile/parse.h"

/* What the user asks for. All borrowed; must outlive the plan. */
struct wh_df_options {
    const char *target;          /* stage name, any case; NULL: the last stage */
    char *const *build_args;     /* "NAME=value" */
    const char *build_platform;  /* "linux/amd64", normalised; needed */
    const char *target_platform; /* NULL: build_platform */
    char *const *contexts;       /* names of --build-context ("name" or "name::platform"); NULL: none */
    char *const *labels;         /* --label, "NAME=value": set last, on the target only */
};

enum wh_df_source_kind {
    WH_DF_SOURCE_CONTEXT, /* the main build context */
    WH_DF_SOURCE_SCRATCH, /* nothing (FROM scratch) */
    WH_DF_SOURCE_STAGE,   /* stage */
    WH_DF_SOURCE_NAMED,   /* name: a named context, as options.contexts has it */
    WH_DF_SOURCE_IMAGE,   /* name: an image reference as written */
};
struct wh_df_source {
    enum wh_df_source_kind kind;
    size_t stage;
    char *name; /* owned */
};

struct wh_df_plan_stage {
    const struct wh_df_stage *stage;
    bool needed;   /* reachable from the target */
    bool replaced; /* a named context of the stage's name stands for it: base says which, no instruction runs
                    */
    struct wh_df_source base;
    char *image;    /* owned: the base image with its defaults written out, "docker.io/library/alpine:latest";
                       NULL */
    char *title;    /* owned: how progress names the stage, "build" or "stage-1"; "" where there is but one */
    char *platform; /* owned: what the base is wanted for, "linux/amd64" */
    size_t *deps;   /* owned: stages that it needs: base, COPY --from, mounts (no duplicates) */
    size_t ndeps;
    struct wh_df_instr **triggers; /* ONBUILD of the base, parsed, run before the instructions; owned */
    size_t ntriggers;
    bool triggers_set;
};

struct wh_df_plan {
    struct wh_dockerfile *df;
    const struct wh_df_options *options;
    struct wh_df_plan_stage *stages; /* as many as df->nstages */
    size_t target;
    char **global;   /* owned: the environment of FROM lines: platform ARGs and the ARGs before FROM */
    char **defaults; /* owned: the same if no build argument were given */
};

/* df and options are borrowed; lint findings are added to df. On failure where has the place. Expands FROM
 * lines, resolves every --from and mount from. */
int wh_df_plan_new(struct wh_dockerfile *df, const struct wh_df_options *options, struct wh_df_plan **out,
                   struct wh_df_range *where, struct wh_error *err);
void wh_df_plan_free(struct wh_df_plan *plan);
/* os[/arch[/variant]] by its form alone, in BuildKit's words. */
int wh_df_platform_check(const char *text, struct wh_error *err);

/* Once the config of a stage's base image (or named context) is known: its OnBuild (NULL or empty: none). May
 * make further stages needed: look at `needed` again after it. Stages that stand on scratch or on another
 * stage need no call: their triggers come from the file. */
int wh_df_plan_set_triggers(struct wh_df_plan *plan, size_t stage, char *const *onbuild,
                            struct wh_df_range *where, struct wh_error *err);
/* What a COPY --from or a mount's from names. base-first order of lookup: stage, index (COPY only), named
 * context, image. */
int wh_df_plan_resolve_from(const struct wh_df_plan *plan, size_t stage, const char *from, bool index_ok,
                            struct wh_df_source *out, struct wh_error *err);
void wh_df_source_clear(struct wh_df_source *s);

#endif
