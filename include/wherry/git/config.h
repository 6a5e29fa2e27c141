/* git's configuration files, read and edited as text (git-config(1), "Syntax"): what `git config --file F`
 * would answer, without a process of git. Includes are not followed, as git does not with --local and --file.
 * A file that this parser doesn't understand is an error, and the caller asks git itself. */
#ifndef WH_GIT_CONFIG_H
#define WH_GIT_CONFIG_H

#include "wherry/base/str.h"

#define WH_MAX_GIT_CONFIG ((size_t)4 << 20)
#define WH_MAX_GIT_CONFIG_ENTRIES 100000

struct wh_git_config_entry {
    char *name;        /* "section.key" or "section.Sub Section.key": section and key in lower case */
    char *value;       /* NULL: a key without "=", which means true */
    size_t start, end; /* its lines in the text */
    size_t section;    /* number of its section's header */
};
struct wh_git_config_section {
    char *name;        /* "section" or "section.Sub Section" */
    size_t start, end; /* the header in the text */
};
struct wh_git_config {
    struct wh_str text;
    struct wh_git_config_entry *entries;
    size_t nentries;
    struct wh_git_config_section *sections;
    size_t nsections;
};
void wh_git_config_clear(struct wh_git_config *c);
#define wh_autogitconfig __attribute__((cleanup(wh_git_config_clear))) struct wh_git_config

/* Parses a copy of the text. */
int wh_git_config_parse(struct wh_git_config *out, const char *text, size_t len, struct wh_error *err);
/* A missing file is an empty configuration. */
int wh_git_config_read(struct wh_git_config *out, const char *path, struct wh_error *err);

/* name in any case for section and key, the subsection exact. The last value, as git's --get; borrowed; NULL
 * if there is none (or it has no value). */
const char *wh_git_config_get(const struct wh_git_config *c, const char *name);
size_t wh_git_config_count(const struct wh_git_config *c, const char *name);

/* Edits of the text, parsed anew after each. set: replaces the only value, or adds one; more than one is
 * WH_E_EXISTS, as for git. */
int wh_git_config_set(struct wh_git_config *c, const char *name, const char *value, struct wh_error *err);
int wh_git_config_add(struct wh_git_config *c, const char *name, const char *value, struct wh_error *err);
/* Removes the values equal to `value` (NULL: all). The number removed. */
int wh_git_config_unset(struct wh_git_config *c, const char *name, const char *value, struct wh_error *err);
/* Writes as git does: beside, under <path>.lock (WH_E_BUSY if that exists), then renamed. mode 0: that of the
 * file now, 0644 where there is none. */
int wh_git_config_write(const struct wh_git_config *c, const char *path, unsigned mode, struct wh_error *err);

#endif
