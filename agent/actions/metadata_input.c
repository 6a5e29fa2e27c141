/* The inputs images, flavor and tags: lists of lines, each of them CSV again, each field name=value. */
#include <ctype.h>
#include <stdlib.h>

#include "actions/lists.h"
#include "actions/metadata.h"

/* ---- a line as fields ---- */

static int bad_quote(const char *line, size_t field, const struct wh_str *value, struct wh_error *err)
{
    return wh_fail(err, WH_E_ARGUMENT,
                   "Invalid Opening Quote: a quote is found on field %zu at line 1, value is \"%s\" (in %s)",
                   field, wh_str_text(value), line);
}

static int take_quoted(struct wh_reader *r, struct wh_str *value, const char *line, struct wh_error *err)
{
    for (int c = wh_reader_next(r);; c = wh_reader_next(r)) {
        if (c == -1)
            return wh_fail(err, WH_E_ARGUMENT,
                           "Quote Not Closed: the parsing is finished with an opening quote at "
                           "line 1 (in %s)",
                           line);
        if (c != '"')
            wh_str_addc(value, (char)c);
        else if (wh_reader_take(r, '"'))
            wh_str_addc(value, '"');
        else
            break;
    }
    int after = wh_reader_peek(r);
    if (after != -1 && after != ',' && after != '\n' && after != '\r')
        return wh_fail(err, WH_E_ARGUMENT,
                       "Invalid Closing Quote: got \"%c\" at line 1 instead of delimiter, record delimiter, "
                       "trimable character (if activated) or comment (in %s)",
                       after, line);
    return 0;
}

/* The fields of the first record; strict about quotes. */
static int split(const char *line, char ***fields, struct wh_error *err)
{
    struct wh_reader r = wh_reader_of(line, strlen(line));
    do {
        wh_autostr value = {0};
        if (wh_reader_take(&r, '"')) {
            if (take_quoted(&r, &value, line, err) < 0)
                return -1;
        } else {
            for (int c = wh_reader_peek(&r); c != -1 && c != ',' && c != '\n' && c != '\r';
                 c = wh_reader_peek(&r)) {
                if (c == '"')
                    return bad_quote(line, wh_strv_len(*fields), &value, err);
                wh_str_addc(&value, (char)wh_reader_next(&r));
            }
        }
        wh_strv_add(fields, wh_str_text(&value));
    } while (wh_reader_take(&r, ','));
    return 0;
}

/* Lists end a value at a second =, tags do not. */
enum cut { CUT_AT_SECOND, CUT_NOT };

/* name=value, trimmed, the name in lower case (owned both); false: there is no =, *value is the field. */
static bool pair(const char *field, enum cut cut, char **name, char **value)
{
    const char *equals = cut == CUT_NOT && field[0] ? strchr(field + 1, '=') : strchr(field, '=');
    if (!equals) {
        *name = NULL;
        *value = wh_view_dup(wh_view_trim(wh_view_of(field)));
        return false;
    }
    size_t len = cut == CUT_AT_SECOND ? strcspn(equals + 1, "=") : strlen(equals + 1);
    *name = wh_view_dup(wh_view_trim((struct wh_view){field, (size_t)(equals - field)}));
    *value = wh_view_dup(wh_view_trim((struct wh_view){equals + 1, len}));
    wh_ascii_lower(*name);
    return true;
}

static bool is_truth(const char *text)
{
    return wh_streq(text, "true") || wh_streq(text, "false");
}

static int read_list(struct wh_action_run *run, const char *input, char ***lines, struct wh_error *err)
{
    enum wh_list_comments comments =
        wh_action_version(run)->major >= 6 ? WH_LIST_COMMENT_LINES : WH_LIST_COMMENT_ANYWHERE;
    wh_autofree char *text = wh_input_uncomment(wh_action_input(run, input), comments);
    *lines = wh_input_list(text, WH_LIST_LINE);
    if (wh_strv_len(*lines) > WH_MAX_METADATA_ITEMS)
        return wh_fail(err, WH_E_LIMIT, "Input '%s' has more than %d lines", input, WH_MAX_METADATA_ITEMS);
    return 0;
}

/* ---- images ---- */

static void add_image(struct metadata_inputs *in, char *name, bool enable)
{
    in->images = wh_reallocarray(in->images, in->nimages + 1, sizeof *in->images);
    in->images[in->nimages++] = (struct metadata_image){.name = name, .enable = enable};
}

/* One line of names alone: "a,b". */
static bool is_old_format(char **fields)
{
    for (char **f = fields; f && *f; f++)
        if (strchr(*f, '='))
            return false;
    return true;
}

static int read_image_field(const char *field, const char *line, struct metadata_image *image,
                            struct wh_error *err)
{
    wh_autofree char *name = NULL, *value = NULL;
    if (!pair(field, CUT_AT_SECOND, &name, &value) || wh_streq(name, "name")) {
        free(image->name);
        image->name = wh_steal(&value);
        return 0;
    }
    if (!wh_streq(name, "enable"))
        return wh_fail(err, WH_E_ARGUMENT, "Unknown image attribute: %s", line);
    if (!is_truth(value))
        return wh_fail(err, WH_E_ARGUMENT, "Invalid enable attribute value: %s", line);
    image->enable = wh_streq(value, "true");
    return 0;
}

static int read_image(const char *line, bool only, struct metadata_inputs *in, struct wh_error *err)
{
    wh_autostrv char **fields = NULL;
    if (split(line, &fields, err) < 0)
        return -1;
    if (only && is_old_format(fields)) {
        for (char **f = fields; f && *f; f++)
            add_image(in, wh_view_dup(wh_view_trim(wh_view_of(*f))), true);
        return 0;
    }
    struct metadata_image image = {.name = wh_strdup(""), .enable = true};
    int status = 0;
    for (char **f = fields; f && *f && status == 0; f++)
        status = read_image_field(*f, line, &image, err);
    if (status == 0 && !image.name[0])
        status = wh_fail(err, WH_E_ARGUMENT, "Image name attribute empty: %s", line);
    if (status == 0)
        add_image(in, image.name, image.enable);
    else
        free(image.name);
    return status;
}

static int read_images(struct wh_action_run *run, struct metadata_inputs *in, struct wh_error *err)
{
    wh_autostrv char **lines = NULL;
    if (read_list(run, "images", &lines, err) < 0)
        return -1;
    bool only = wh_strv_len(lines) == 1;
    for (char **l = lines; l && *l; l++)
        if (read_image(*l, only, in, err) < 0)
            return -1;
    wh_action_group("Processing images input");
    for (size_t i = 0; i < in->nimages; i++)
        wh_action_print("name=%s,enable=%s", in->images[i].name, in->images[i].enable ? "true" : "false");
    wh_action_group_end();
    return 0;
}

/* ---- flavor ---- */

static void replace(char **text, char **by)
{
    free(*text);
    *text = wh_steal(by);
}

/* last: the field before an onlatest that it belongs to. */
static int read_flavor_field(const char *field, const char *line, struct metadata_flavor *flavor, bool **last,
                             struct wh_error *err)
{
    wh_autofree char *name = NULL, *value = NULL;
    if (!pair(field, CUT_AT_SECOND, &name, &value))
        return wh_fail(err, WH_E_ARGUMENT, "Invalid flavor entry: %s", line);
    if (wh_streq(name, "latest")) {
        if (!is_truth(value) && !wh_streq(value, "auto"))
            return wh_fail(err, WH_E_ARGUMENT, "Invalid latest flavor entry: %s", line);
        replace(&flavor->latest, &value);
    } else if (wh_streq(name, "prefix")) {
        replace(&flavor->prefix, &value);
        *last = &flavor->prefix_latest;
    } else if (wh_streq(name, "suffix")) {
        replace(&flavor->suffix, &value);
        *last = &flavor->suffix_latest;
    } else if (wh_streq(name, "onlatest")) {
        if (!is_truth(value))
            return wh_fail(err, WH_E_ARGUMENT, "Invalid value for onlatest attribute: %s", value);
        if (*last)
            **last = wh_streq(value, "true");
    } else {
        return wh_fail(err, WH_E_ARGUMENT, "Unknown flavor entry: %s", line);
    }
    return 0;
}

static int read_flavor(struct wh_action_run *run, struct metadata_flavor *flavor, struct wh_error *err)
{
    wh_autostrv char **lines = NULL;
    *flavor = (struct metadata_flavor){
        .latest = wh_strdup("auto"), .prefix = wh_strdup(""), .suffix = wh_strdup("")};
    if (read_list(run, "flavor", &lines, err) < 0)
        return -1;
    for (char **l = lines; l && *l; l++) {
        wh_autostrv char **fields = NULL;
        bool *last = NULL;
        if (split(*l, &fields, err) < 0)
            return -1;
        for (char **f = fields; f && *f; f++)
            if (read_flavor_field(*f, *l, flavor, &last, err) < 0)
                return -1;
    }
    wh_action_group("Processing flavor input");
    wh_action_print("latest=%s", flavor->latest);
    wh_action_print("prefix=%s", flavor->prefix);
    wh_action_print("prefixLatest=%s", flavor->prefix_latest ? "true" : "false");
    wh_action_print("suffix=%s", flavor->suffix);
    wh_action_print("suffixLatest=%s", flavor->suffix_latest ? "true" : "false");
    wh_action_group_end();
    return 0;
}

/* ---- tags ---- */

static const struct {
    const char *name, *priority;
} types[] = {
    [METADATA_SCHEDULE] = {"schedule", "1000"},
    [METADATA_SEMVER] = {"semver", "900"},
    [METADATA_PEP440] = {"pep440", "900"},
    [METADATA_MATCH] = {"match", "800"},
    [METADATA_EDGE] = {"edge", "700"},
    [METADATA_REF] = {"ref", "600"},
    [METADATA_RAW] = {"raw", "200"},
    [METADATA_SHA] = {"sha", "100"},
};

const char *metadata_attr(const struct metadata_tag *t, const char *name)
{
    const char *value = wh_env_get(t->attrs, name);
    return value ? value : "";
}

bool metadata_has_attr(const struct metadata_tag *t, const char *name)
{
    return wh_env_get(t->attrs, name) != NULL;
}

static void set_default(struct metadata_tag *t, const char *name, const char *value)
{
    if (!metadata_has_attr(t, name))
        wh_env_set(&t->attrs, name, value);
}

static int need(const struct metadata_tag *t, const char *name, const char *line, struct wh_error *err)
{
    return metadata_has_attr(t, name)
               ? 0
               : wh_fail(err, WH_E_ARGUMENT, "Missing %s attribute for %s", name, line);
}

static bool is_one_of(const char *text, const char *const *names)
{
    for (; *names; names++)
        if (wh_streq(*names, text))
            return true;
    return false;
}

static int read_type(const char *name, enum metadata_type *type, struct wh_error *err)
{
    for (size_t i = 0; i < WH_COUNT(types); i++) {
        if (wh_streq(types[i].name, name)) {
            *type = (enum metadata_type)i;
            return 0;
        }
    }
    return wh_fail(err, WH_E_ARGUMENT, "Unknown tag type attribute: %s", name);
}

static int complete_match(struct metadata_tag *t, const char *line, struct wh_error *err)
{
    uint64_t group;
    if (need(t, "pattern", line, err) < 0)
        return -1;
    set_default(t, "group", "0");
    set_default(t, "value", "");
    return wh_parse_u64(metadata_attr(t, "group"), 65535, &group)
               ? 0
               : wh_fail(err, WH_E_ARGUMENT, "Invalid match group for %s", line);
}

static int complete_ref(struct metadata_tag *t, const char *line, struct wh_error *err)
{
    static const char *const events[] = {"branch", "tag", "pr", NULL};
    if (need(t, "event", line, err) < 0)
        return -1;
    if (!is_one_of(metadata_attr(t, "event"), events))
        return wh_fail(err, WH_E_ARGUMENT, "Invalid event for %s", line);
    if (wh_streq(metadata_attr(t, "event"), "pr"))
        set_default(t, "prefix", "pr-");
    return 0;
}

static int complete_sha(struct metadata_tag *t, const char *line, struct wh_error *err)
{
    static const char *const formats[] = {"short", "long", NULL};
    set_default(t, "prefix", "sha-");
    set_default(t, "format", "short");
    return is_one_of(metadata_attr(t, "format"), formats)
               ? 0
               : wh_fail(err, WH_E_ARGUMENT, "Invalid format for %s", line);
}

/* What the type asks for and sets by itself. */
static int complete(struct metadata_tag *t, const char *line, struct wh_error *err)
{
    int status = 0;
    switch (t->type) {
    case METADATA_SCHEDULE:
        set_default(t, "pattern", "nightly");
        break;
    case METADATA_SEMVER:
    case METADATA_PEP440:
        status = need(t, "pattern", line, err);
        set_default(t, "value", "");
        set_default(t, "match", "");
        break;
    case METADATA_MATCH:
        status = complete_match(t, line, err);
        break;
    case METADATA_EDGE:
        set_default(t, "branch", "");
        break;
    case METADATA_REF:
        status = complete_ref(t, line, err);
        break;
    case METADATA_RAW:
        status = need(t, "value", line, err);
        break;
    case METADATA_SHA:
        status = complete_sha(t, line, err);
        break;
    }
    set_default(t, "enable", "true");
    set_default(t, "priority", types[t->type].priority);
    return status;
}

static int read_tag(const char *line, struct metadata_tag *t, struct wh_error *err)
{
    wh_autostrv char **fields = NULL;
    if (split(line, &fields, err) < 0)
        return -1;
    t->type = METADATA_RAW;
    for (char **f = fields; f && *f; f++) {
        wh_autofree char *name = NULL, *value = NULL;
        if (!pair(*f, CUT_NOT, &name, &value))
            wh_env_set(&t->attrs, "value", value);
        else if (!wh_streq(name, "type"))
            wh_env_set(&t->attrs, name, value);
        else if (read_type(value, &t->type, err) < 0)
            return -1;
    }
    return complete(t, line, err);
}

/* Stable, the highest priority first; what is no number is equal to all. */
static void sort_tags(struct metadata_tag *tags, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct metadata_tag t = tags[i];
        double priority = strtod(metadata_attr(&t, "priority"), NULL);
        size_t at = i;
        for (; at > 0 && strtod(metadata_attr(&tags[at - 1], "priority"), NULL) < priority; at--)
            tags[at] = tags[at - 1];
        tags[at] = t;
    }
}

static int read_tags(struct wh_action_run *run, struct metadata_inputs *in, struct wh_error *err)
{
    static const char *const defaults[] = {"type=schedule", "type=ref,event=branch", "type=ref,event=tag",
                                           "type=ref,event=pr"};
    wh_autostrv char **lines = NULL;
    if (read_list(run, "tags", &lines, err) < 0)
        return -1;
    if (!lines)
        for (size_t i = 0; i < WH_COUNT(defaults); i++)
            wh_strv_add(&lines, defaults[i]);
    size_t n = wh_strv_len(lines);
    in->tags = wh_calloc(n, sizeof *in->tags);
    for (in->ntags = 0; in->ntags < n;) {
        struct metadata_tag *t = &in->tags[in->ntags];
        if (read_tag(lines[in->ntags++], t, err) < 0)
            return -1;
    }
    sort_tags(in->tags, n);
    wh_action_group("Processing tags input");
    for (size_t i = 0; i < n; i++) {
        wh_autofree char *attrs = wh_strv_join(in->tags[i].attrs, ",");
        wh_action_print("type=%s,%s", types[in->tags[i].type].name, attrs);
    }
    wh_action_group_end();
    return 0;
}

/* ---- all of them ---- */

static char *separator(struct wh_action_run *run, const char *input)
{
    const char *text = wh_action_input_raw(run, input);
    return wh_strdup(text[0] ? text : "\n");
}

int metadata_inputs_read(struct wh_action_run *run, struct metadata_inputs *in, struct wh_error *err)
{
    const char *target = wh_action_input(run, "bake-target");
    *in = (struct metadata_inputs){
        .sep_tags = separator(run, "sep-tags"),
        .sep_labels = separator(run, "sep-labels"),
        .sep_annotations = separator(run, "sep-annotations"),
        .bake_target = wh_strdup(target[0] ? target : "docker-metadata-action"),
    };
    if (read_list(run, "labels", &in->labels, err) < 0 ||
        read_list(run, "annotations", &in->annotations, err) < 0 || read_images(run, in, err) < 0 ||
        read_tags(run, in, err) < 0 || read_flavor(run, &in->flavor, err) < 0)
        return -1;
    return 0;
}

void metadata_inputs_free(struct metadata_inputs *in)
{
    for (size_t i = 0; i < in->nimages; i++)
        free(in->images[i].name);
    for (size_t i = 0; i < in->ntags; i++)
        wh_strv_free(in->tags[i].attrs);
    free(in->images);
    free(in->tags);
    free(in->flavor.latest);
    free(in->flavor.prefix);
    free(in->flavor.suffix);
    wh_strv_free(in->labels);
    wh_strv_free(in->annotations);
    free(in->sep_tags);
    free(in->sep_labels);
    free(in->sep_annotations);
    free(in->bake_target);
    *in = (struct metadata_inputs){0};
}
