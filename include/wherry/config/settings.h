/* The settings of a box: /etc/wherry/wherry.yaml, its drop-ins, what they include, the environment and the
 * options of the command line; later ones win. One table (agent/config/schema.c) says what there is: the
 * reader, `config check`, the JSON schema, the commented file of `config init` and docs follow from it.
 *
 * Merging: sections and maps merge key by key, a scalar or a list replaces the former one, and the list
 * `runners` grows. Secrets are never written into a file: a secret says where it is (file, env, systemd). */
#ifndef WH_CONFIG_SETTINGS_H
#define WH_CONFIG_SETTINGS_H

#include <stdio.h>

#include "wherry/base/secret.h"
#include "wherry/base/str.h"

#define WH_MAX_SETTINGS_FILES 100u  /* with all drop-ins and includes */
#define WH_MAX_SETTINGS_INCLUDES 8u /* deep */
#define WH_MAX_SETTINGS_PROBLEMS 200u
#define WH_MAX_SETTINGS_ITEMS 4096u /* of one list or map */
#define WH_MAX_SETTINGS_SECRET ((size_t)64 << 10)

enum wh_setting_type {
    WH_SETTING_STRING,
    WH_SETTING_NAME,     /* A-Z a-z 0-9 . _ - and what templates of names hold */
    WH_SETTING_PATH,     /* relative ones are below the file's own folder */
    WH_SETTING_URL,      /* http or https */
    WH_SETTING_SIZE,     /* number: bytes */
    WH_SETTING_DURATION, /* number: seconds */
    WH_SETTING_INT,
    WH_SETTING_BOOL,
    WH_SETTING_CHOICE,
    WH_SETTING_SECRET,  /* a section with one of file, env, systemd */
    WH_SETTING_SECTION, /* fields: its rows */
    WH_SETTING_MAP,     /* fields: one row, the kind of its values; keys are free */
    WH_SETTING_LIST     /* fields: one row, the kind of its items */
};

enum wh_setting_flag {
    WH_SETTING_RESTART = 1,  /* a reload can't change it */
    WH_SETTING_REQUIRED = 2, /* within its section */
    WH_SETTING_GROWS = 4     /* a list: later files add to it */
};

/* One row of the schema. All static. */
struct wh_setting {
    const char *name; /* NULL in the row of a list or map */
    enum wh_setting_type type;
    const char *preset; /* the default as it would be written; NULL: none */
    const char *help;   /* one line or more, no full stop needed */
    const struct wh_setting *fields;
    size_t nfields;
    const char *const *choices; /* NULL-terminated */
    int64_t min, max;           /* INT, SIZE and DURATION; both 0: any */
    unsigned flags;
};
extern const struct wh_setting wh_settings_schema; /* the root section */

enum wh_setting_origin { WH_ORIGIN_DEFAULT, WH_ORIGIN_FILE, WH_ORIGIN_ENVIRONMENT, WH_ORIGIN_OPTION };

struct wh_setting_value {
    const struct wh_setting *setting;
    char *name;     /* the key in a map; NULL. Owned */
    char *text;     /* a scalar as text, paths made absolute; NULL: unset */
    int64_t number; /* INT, BOOL (0, 1), SIZE, DURATION */
    enum wh_setting_origin origin;
    char *place; /* "FILE:LINE:COL", "WHERRY_CACHE_MAX_SIZE", "--cache-max-size"; NULL for a default */
    struct wh_setting_value *
        *items; /* a section: one for each row, in its order; a map or list: what there is */
    size_t nitems;
};

struct wh_settings_problem {
    bool warning;
    char *place; /* "FILE:LINE:COL" or the variable's or option's name */
    char *path;  /* "runners[1].name"; NULL where it is about a file */
    char *text;  /* what is wrong, and what to do */
};
struct wh_settings_report {
    struct wh_settings_problem *problems; /* in the order of their places */
    size_t nproblems, nerrors;
    bool truncated; /* at WH_MAX_SETTINGS_PROBLEMS */
};
void wh_settings_report_free(struct wh_settings_report *report);
/* "FILE:3:7: error: cache.max-size: ..." a line each. */
void wh_settings_report_print(const struct wh_settings_report *report, FILE *out);

struct wh_settings_sources {
    const char
        *file; /* NULL: WHERRY_CONFIG, else /etc/wherry/wherry.yaml (for other users than root their own,
                  $XDG_CONFIG_HOME/wherry/wherry.yaml, where there is one), which may be missing */
    char *const *env; /* NULL: none is read */
    bool no_default;  /* no file but the one that is named */
};

struct wh_settings {
    struct wh_setting_value *root;
    char **files; /* that were read, in order; NULL: none */
};
/* Reads all there is. Problems of every kind go to report, and all of them, not the first. NULL where one is
 * an error. */
struct wh_settings *wh_settings_load(const struct wh_settings_sources *sources,
                                     struct wh_settings_report *report);
void wh_settings_free(struct wh_settings *s);
void wh_settings_free_ptr(struct wh_settings **s);
#define wh_autosettings __attribute__((cleanup(wh_settings_free_ptr))) struct wh_settings

/* Everything else reads values by their path in the schema ("cache.max-size"); one that is not there is a bug
 * of ours and ends the process. */
const struct wh_setting_value *wh_settings_get(const struct wh_settings *s, const char *path);
const char *wh_settings_text(const struct wh_settings *s, const char *path); /* NULL: unset */
int64_t wh_settings_number(const struct wh_settings *s, const char *path, int64_t unset);
bool wh_settings_bool(const struct wh_settings *s, const char *path);
/* The texts of a list; NULL: empty. Owned by the caller. */
char **wh_settings_strings(const struct wh_settings *s, const char *path);
/* The same for a value's own field, as of an item of `runners`. */
const struct wh_setting_value *wh_setting_field(const struct wh_setting_value *section, const char *name);
const char *wh_setting_text(const struct wh_setting_value *section, const char *name);
/* A map's value by its key; NULL. */
const struct wh_setting_value *wh_setting_entry(const struct wh_setting_value *map, const char *key);
bool wh_setting_is_set(const struct wh_setting_value *v);

/* Puts an option's value over it: option is its name ("--cache-max-size"). Fails as the reader would. */
int wh_settings_set(struct wh_settings *s, const char *path, const char *text, const char *option,
                    struct wh_error *err);

/* Reads a secret where it is. The file must be its owner's alone; `systemd` is below $CREDENTIALS_DIRECTORY;
 * ends of line at the end go. v is a SECRET that is set. */
struct wh_secret *wh_setting_secret(const struct wh_setting_value *v, struct wh_error *err);

/* ---- for people and editors ---- */
/* Effective values as YAML, each with where it came from as a comment. all: defaults and unset ones too. */
void wh_settings_print(const struct wh_settings *s, bool all, FILE *out);
/* The same as JSON: {"cache":{"max-size":...}}; owned by the caller. */
struct cJSON *wh_settings_json(const struct wh_settings *s);
/* A JSON schema (2020-12) of the file; owned by the caller. */
struct cJSON *wh_settings_json_schema(void);
/* A file with every setting explained, commented out at its default. lines: "path=value" that are set. */
void wh_settings_print_template(char *const *lines, FILE *out);
/* "max-size" below "cache" as "WHERRY_CACHE_MAX_SIZE"; owned by the caller. */
char *wh_settings_variable(const char *path);

#endif
