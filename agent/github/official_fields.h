/* The fields of .runner and .credentials that we know, in the official runner's order. */
#ifndef WH_GITHUB_OFFICIAL_FIELDS_H
#define WH_GITHUB_OFFICIAL_FIELDS_H

#include <stddef.h>

#include "wherry/github/official.h"

enum gh_field_kind {
    GH_FIELD_TEXT,
    GH_FIELD_NUMBER,
    GH_FIELD_FLAG,
    GH_FIELD_KEPT /* not ours: kept as it is */
};
struct gh_field {
    const char *name;
    enum gh_field_kind kind;
    size_t offset; /* in struct wh_runner_config */
    bool web;      /* TEXT: a web address */
};
extern const struct gh_field gh_runner_fields[];     /* ends with a NULL name */
extern const struct gh_field gh_credential_fields[]; /* of .credentials' data; likewise */

#define GH_SCHEME "OAuth"
/* Members of wh_runner_config.foreign. */
#define GH_FOREIGN_RUNNER "runner"
#define GH_FOREIGN_CREDENTIALS "credentials"

/* .runner and .credentials alone. */
int gh_official_settings(struct wh_view runner, struct wh_view credentials, struct wh_runner_config *config,
                         struct wh_error *err);

/* One of .runner and .credentials, as the official runner writes it (with a BOM). */
void gh_official_print_file(const struct wh_runner_config *config, enum wh_official_file file,
                            struct wh_str *out);

static inline void *gh_field_at(const struct wh_runner_config *config, const struct gh_field *field)
{
    return (char *)config + field->offset;
}

#endif
