/* docker/metadata-action v4 to v6 (actions.md §6): what its files share. */
#ifndef WH_ACTIONS_METADATA_H
#define WH_ACTIONS_METADATA_H

#include "wherry/actions/action.h"
#include "wherry/base/json.h"

#define WH_MAX_METADATA_ITEMS 1000       /* lines of images, tags, labels ... each */
#define WH_METADATA_REGEX_STEPS 1000000u /* of one `match`: pcre2_set_match_limit() */

/* What the event, or git, says. Texts are owned; "" where there is none. */
struct metadata_context {
    char *event, *sha, *ref, *workflow, *action, *actor, *run_number, *run_id;
    int64_t commit_date;                                            /* ms since 1970 */
    const cJSON *payload;                                           /* borrowed */
    char *name, *description, *html_url, *license, *default_branch; /* of the repository */
};
int metadata_context_read(struct wh_action_run *run, struct metadata_context *c, struct wh_error *err);
void metadata_context_free(struct metadata_context *c);

struct metadata_image {
    char *name; /* as typed */
    bool enable;
};
struct metadata_flavor {
    char *latest; /* auto, true, false */
    char *prefix, *suffix;
    bool prefix_latest, suffix_latest;
};
enum metadata_type {
    METADATA_SCHEDULE,
    METADATA_SEMVER,
    METADATA_PEP440,
    METADATA_MATCH,
    METADATA_EDGE,
    METADATA_REF,
    METADATA_RAW,
    METADATA_SHA
};
struct metadata_tag {
    enum metadata_type type;
    char **attrs; /* "name=value" in the order of writing */
};
const char *metadata_attr(const struct metadata_tag *t, const char *name); /* "" if absent */
bool metadata_has_attr(const struct metadata_tag *t, const char *name);

struct metadata_inputs {
    struct metadata_image *images;
    size_t nimages;
    struct metadata_flavor flavor;
    struct metadata_tag *tags; /* by priority */
    size_t ntags;
    char **labels, **annotations;
    char *sep_tags, *sep_labels, *sep_annotations, *bake_target;
};
/* Prints the three "Processing ... input" groups. */
int metadata_inputs_read(struct wh_action_run *run, struct metadata_inputs *in, struct wh_error *err);
void metadata_inputs_free(struct metadata_inputs *in);

struct metadata {
    struct metadata_context context;
    struct metadata_inputs in;
    int64_t now;    /* ms since 1970 */
    char *main;     /* the version; NULL: none was made */
    char **partial; /* the others */
    int latest;     /* -1: not decided */
};
/* A text with expressions: {{branch}}, {{date 'YYYY'}} ... Owned. */
char *metadata_expand(struct metadata *m, const char *text, struct wh_error *err);
/* {{date}} and {{commit_date}}; NULL without err: the name is another one. */
struct wh_handlebars_call;
char *metadata_expand_date(struct metadata *m, const struct wh_handlebars_call *call, struct wh_error *err);
/* Goes through all tags: main, partial, latest. */
int metadata_make_version(struct metadata *m, struct wh_error *err);
char *metadata_sanitize(const char *tag);

/* images with tags, or bare tags. Owned. */
char **metadata_tags(const struct metadata *m, bool names_only);
char **metadata_image_names(const struct metadata *m);
/* The labels of the image format with the custom ones in and over them, sorted. NULL with err. */
char **metadata_labels(struct metadata *m, char *const *custom, struct wh_error *err);

/* ---- versions (metadata_semver.c, metadata_pep440.c) ---- */
struct metadata_semver {
    unsigned long long major, minor, patch;
    char *prerelease, *build; /* dotted; owned; NULL: none */
};
bool metadata_semver_parse(const char *text, struct metadata_semver *out);
void metadata_semver_free(struct metadata_semver *v);
/* Owned: "1.2.3-rc.1". */
char *metadata_semver_version(const struct metadata_semver *v);

struct metadata_pep440 {
    char *clean;      /* normalised; owned */
    char *release[3]; /* owned; "0" where it is shorter */
    bool pre, post, dev;
};
bool metadata_pep440_parse(const char *text, struct metadata_pep440 *out);
void metadata_pep440_free(struct metadata_pep440 *v);

/* ---- JavaScript's String.match() by PCRE2 ---- */
/* 1: matches, *group (owned) is group number n, NULL if there is none; 0: no match; negative: the pattern is
 * wrong. flags as behind a /regex/: g i m s u v y d. */
int metadata_match(const char *pattern, const char *flags, const char *text, unsigned n, char **group,
                   struct wh_error *err);

#endif
