/* A Dockerfile as a tree: directives, stages and typed instructions, nothing expanded yet (builder.md
 * §1.1-1.4, 1.6).
 *
 * Texts are C strings: a NUL byte in the file is an error. Everything in the tree is owned by the tree and
 * lives until wh_df_free(). Errors keep BuildKit's texts; the place comes apart from the text, in a
 * wh_df_range, so that the caller can show `Dockerfile:12:6: ...` and the excerpt. */
#ifndef WH_DOCKERFILE_PARSE_H
#define WH_DOCKERFILE_PARSE_H

#include "wherry/base/str.h"

#define WH_MAX_DOCKERFILE_BYTES ((size_t)16 << 20)
#define WH_MAX_DOCKERFILE_LINE ((size_t)65535) /* bytes of one physical line */
#define WH_MAX_DOCKERFILE_INSTRUCTIONS 16384
#define WH_MAX_DOCKERFILE_WORDS 16384 /* words, pairs, flags or heredocs of one instruction */

struct wh_df_range {
    int line;     /* 1-based first line; 0: no place is known */
    int column;   /* 1-based, in bytes */
    int end_line; /* last line of the instruction, heredocs included */
};

enum wh_df_kind {
    WH_DF_ADD,
    WH_DF_ARG,
    WH_DF_CMD,
    WH_DF_COPY,
    WH_DF_ENTRYPOINT,
    WH_DF_ENV,
    WH_DF_EXPOSE,
    WH_DF_FROM,
    WH_DF_HEALTHCHECK,
    WH_DF_LABEL,
    WH_DF_MAINTAINER,
    WH_DF_ONBUILD,
    WH_DF_RUN,
    WH_DF_SHELL,
    WH_DF_STOPSIGNAL,
    WH_DF_USER,
    WH_DF_VOLUME,
    WH_DF_WORKDIR,
    WH_DF_KINDS
};
/* "ADD", ... */
const char *wh_df_kind_text(enum wh_df_kind kind);

struct wh_df_heredoc {
    char *name;    /* the delimiter without quotes: COPY's file name */
    char *content; /* body as written (tabs stripped with <<-), every line with its newline */
    unsigned fd;   /* the digits before <<; 0 if none */
    bool expand;   /* false: the delimiter was quoted */
    bool chomp;    /* <<- */
};

struct wh_df_pair {
    char *name;
    char *value;   /* NULL: ARG NAME without a value */
    bool no_delim; /* the legacy form `ENV KEY rest of line` */
};

struct wh_df_health {
    bool given_interval, given_timeout, given_start_period, given_start_interval, given_retries;
    int64_t interval, timeout, start_period, start_interval; /* ns */
    int64_t retries;
    bool none; /* HEALTHCHECK NONE */
};

/* Three answers of a boolean flag. */
enum wh_df_tri { WH_DF_UNSET, WH_DF_FALSE, WH_DF_TRUE };

struct wh_df_instr {
    enum wh_df_kind kind;
    struct wh_df_range range;
    char *keyword;  /* as written */
    char *original; /* the logical line as written, continuations joined, without heredoc bodies */
    char *comment;  /* the comment lines right above, "" if none */

    /* Arguments: RUN CMD ENTRYPOINT SHELL HEALTHCHECK: argv if json, else one string. COPY ADD VOLUME EXPOSE:
     * the list (COPY and ADD: the last is the destination; heredoc sources are not in it). MAINTAINER
     * STOPSIGNAL USER WORKDIR: one string. FROM: the base. ONBUILD: the trigger's text, heredocs appended. */
    char **words;
    bool json;
    struct wh_df_pair *pairs; /* ENV LABEL ARG */
    size_t npairs;
    struct wh_df_heredoc *heredocs; /* RUN COPY ADD */
    size_t nheredocs;
    bool heredoc_only; /* RUN whose command line is one heredoc and nothing else */
    struct wh_df_health health;
    char *as; /* FROM: the stage name, lower case; NULL if none */

    /* Flags, not expanded; NULL where not given. */
    char *platform;                 /* FROM */
    char *from;                     /* COPY */
    char *chown, *chmod, *checksum; /* COPY ADD; checksum: ADD */
    bool link, parents;             /* COPY ADD; parents: COPY */
    enum wh_df_tri unpack;          /* ADD */
    enum wh_df_tri keep_git_dir;    /* ADD */
    char **excludes;                /* COPY ADD */
    char **mounts;                  /* RUN: CSV records */
    char *network, *security;       /* RUN */
    char **devices;                 /* RUN */
};

struct wh_df_stage {
    size_t index;
    struct wh_df_instr *from; /* owned; from->words[0] is the base as written */
    char *name;               /* lower case; NULL: unnamed */
    struct wh_df_instr **instrs;
    size_t ninstrs;
    struct wh_df_range range;
};

/* A lint finding (§1.8). */
struct wh_df_warning {
    const char *rule; /* static: "StageNameCasing" */
    char *message;    /* without rule and line */
    struct wh_df_range range;
};

struct wh_dockerfile {
    char *filename; /* as errors name it: "Dockerfile" */
    char *text;     /* the whole file, for excerpts */
    size_t len;
    char *syntax; /* directives; NULL if absent */
    char *check;
    char escape;
    struct wh_df_instr **meta; /* ARGs before the first FROM */
    size_t nmeta;
    struct wh_df_stage *stages;
    size_t nstages;
    struct wh_df_warning *warnings; /* found by reading; wh_df_lint() and evaluation add theirs */
    size_t nwarnings;
};

/* Reads a Dockerfile. On failure where (may be NULL) has the place. The caller frees *out by wh_df_free(). A
 * `syntax` that is not docker/dockerfile[-upstream] is WH_E_UNSUPPORTED. */
int wh_df_parse(const char *text, size_t len, const char *filename, struct wh_dockerfile **out,
                struct wh_df_range *where, struct wh_error *err);
void wh_df_free(struct wh_dockerfile *df);
void wh_df_free_ptr(struct wh_dockerfile **df);
#define wh_autodockerfile __attribute__((cleanup(wh_df_free_ptr))) struct wh_dockerfile

/* One instruction line (with heredocs after it), as an image's OnBuild has them. The caller frees by
 * wh_df_instr_free(). */
int wh_df_parse_trigger(const char *text, struct wh_df_instr **out, struct wh_error *err);
void wh_df_instr_free(struct wh_df_instr *instr);

/* The lint rules that need no evaluation; adds to df->warnings. */
void wh_df_lint(struct wh_dockerfile *df);
void wh_df_warn(struct wh_dockerfile *df, const char *rule, struct wh_df_range range, const char *fmt, ...)
    WH_PRINTF(4, 5);
/* "Name: message (line N)"; owned by the caller. */
char *wh_df_warning_text(const struct wh_df_warning *w);

/* What buildx shows after a failed build: "Dockerfile:N", 20 dashes, two lines before and after with `>>>` on
 * the range, 20 dashes. problem (NULL: none) goes behind the place: "Dockerfile:12:6: unknown instruction:
 * RUNN". Owned by the caller. */
char *wh_df_excerpt(const char *text, size_t len, const char *filename, struct wh_df_range where,
                    const char *problem);

#endif
