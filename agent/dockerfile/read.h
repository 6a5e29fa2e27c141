/* From bytes to logical lines, and from a line to its shape (builder.md §1.1). Private to the room. */
#ifndef WH_DOCKERFILE_READ_H
#define WH_DOCKERFILE_READ_H

#include "wherry/dockerfile/parse.h"

/* One instruction before its flags and arguments are checked against its kind. */
struct df_node {
    struct wh_df_instr
        *instr;        /* owned; keyword, original, comment, range, words, json, pairs, heredocs are set */
    bool known;        /* the keyword is an instruction */
    char **flags;      /* owned: "--name=value" as written, quotes gone */
    char *health_type; /* HEALTHCHECK: the first word; owned */
    bool trigger_heredocs; /* ONBUILD RUN, COPY or ADD */
};
void df_node_clear(struct df_node *node);

/* Where reading goes on: the physical lines and the directives so far. */
struct df_source {
    struct wh_reader r;
    int line; /* of what was read last */
    char escape;
    bool directives_done;
    bool shebang;             /* the file starts with #!: no escape directive then */
    char *directive[3];       /* syntax, escape, check; owned */
    struct wh_dockerfile *df; /* warnings go here; NULL: nowhere */
};
/* 1: a node; 0: the end; negative: an error with its place. */
int df_read_node(struct df_source *src, struct df_node *out, struct wh_df_range *where, struct wh_error *err);
/* `# name = value` at the top: 1 if the line was one. */
int df_directive(struct df_source *src, struct wh_view line, bool at_column_1, struct wh_error *err);
/* Splits a logical line into keyword, flags and arguments, and the arguments into their shape. */
int df_shape(const char *line, char escape, struct df_node *node, struct wh_error *err);
/* The heredocs that a line asks for, without content. */
int df_heredocs_of(const char *line, struct wh_df_instr *instr, struct wh_error *err);
/* One word as a heredoc: 1 and *out (name owned), 0: it is none. */
int df_heredoc_word(const char *word, struct wh_df_heredoc *out, struct wh_error *err);
/* A JSON array of strings: 1 with *out, 0 if the text is none, negative if it has other members. */
int df_json_array(const char *text, char ***out, struct wh_error *err);
/* -1 for an unknown keyword. */
int df_kind_of(const char *keyword);

/* Phase two: flags and arguments checked by kind (instr.c, flags.c). */
int df_type(struct df_node *node, struct wh_dockerfile *df, struct wh_error *err);
int df_flags(struct df_node *node, struct wh_error *err);
/* HEALTHCHECK's options; they are parsed after its type is known. */
struct df_flag_texts {
    char *interval, *timeout, *start_period, *start_interval, *retries;
};
int df_health_flags(struct df_node *node, struct wh_error *err);
/* Finds token on the range's first line and sets the column to it. */
void df_locate(const char *text, size_t len, struct wh_df_range *range, const char *token);

#endif
