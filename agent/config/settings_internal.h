/* Between the files of the settings. */
#ifndef WH_CONFIG_SETTINGS_INTERNAL_H
#define WH_CONFIG_SETTINGS_INTERNAL_H

#include "wherry/base/yaml.h"
#include "wherry/config/settings.h"

/* Where a value is being read from, and where complaints go. */
struct settings_reader {
    struct wh_settings_report *report;
    const char *file; /* as shown; NULL: not a file */
    const char *base; /* relative paths are below it */
    enum wh_setting_origin origin;
};

/* ---- settings_report.c ---- */
void settings_problem(struct wh_settings_report *report, bool warning, const char *place, const char *path,
                      const char *fmt, ...) WH_PRINTF(5, 6);

/* ---- settings_value.c ---- */
/* An unset value with all its fields, at their defaults. */
struct wh_setting_value *setting_new(const struct wh_setting *setting, const char *name);
void setting_free(struct wh_setting_value *v);
void setting_add(struct wh_setting_value *parent, struct wh_setting_value *child);
void setting_clear_items(struct wh_setting_value *v);
/* Takes text as the value of a scalar; base: for paths, NULL: the current folder. Says what it should be. */
int setting_take(struct wh_setting_value *v, const char *text, const char *base, struct wh_error *err);
void setting_set_origin(struct wh_setting_value *v, enum wh_setting_origin origin, char *place);
bool setting_is_scalar(const struct wh_setting *setting);

/* ---- settings_read.c ---- */
/* Merges a document's root into v. */
void settings_read(const struct settings_reader *r, const struct wh_yaml *node, struct wh_setting_value *v,
                   const char *path);
char *settings_place(const struct settings_reader *r, const struct wh_yaml *node);

/* ---- settings_check.c ---- */
/* What no single value can tell: names that others refer to, fields that exclude each other. */
void settings_check(const struct wh_setting_value *root, struct wh_settings_report *report);

#endif
