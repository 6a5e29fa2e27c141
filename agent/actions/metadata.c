/* docker/metadata-action v4 to v6 (actions.md §6): tags and labels of an image from the event and the ref. */
#include "actions/metadata.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "actions/list.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"

static const struct wh_action_input inputs[] = {
    {.name = "context", .default_value = "workflow", .required = true},
    {.name = "images"},
    {.name = "tags"},
    {.name = "flavor"},
    {.name = "labels"},
    {.name = "annotations", .min_major = 5},
    {.name = "sep-tags"},
    {.name = "sep-labels"},
    {.name = "sep-annotations", .min_major = 5},
    {.name = "bake-target"},
    {.name = "github-token", .default_value = "${{ github.token }}", .required = true},
};

/* Everything that is printed and set, made before the first line of it. */
struct results {
    char **tags, **names, **labels, **annotations, **levels;
    char *dir; /* of the bake files */
    bool export_env;
};

static void results_free(struct results *r)
{
    char **const lists[] = {r->tags, r->names, r->labels, r->annotations, r->levels};
    for (size_t i = 0; i < WH_COUNT(lists); i++)
        wh_strv_free(lists[i]);
    free(r->dir);
}
#define autoresults __attribute__((cleanup(results_free))) struct results

/* Go's words for yes and no, which Docker's tools take in variables. */
static int env_bool(const char *name, bool absent, bool *out, struct wh_error *err)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
    const char *text = wh_action_env(name);
    *out = absent;
    if (!text[0])
        return 0;
    for (size_t i = 0; i < WH_COUNT(yes); i++) {
        if (wh_streq(text, yes[i]) || wh_streq(text, no[i])) {
            *out = wh_streq(text, yes[i]);
            return 0;
        }
    }
    return wh_fail(err, WH_E_ARGUMENT, "%s: parseBool syntax error: %s", name, text);
}

static int make_results(struct metadata *m, struct results *r, struct wh_error *err)
{
    const char *levels = wh_action_env("DOCKER_METADATA_ANNOTATIONS_LEVELS");
    r->levels = wh_strv_split(levels[0] ? levels : "manifest", ',');
    r->tags = metadata_tags(m, false);
    r->names = metadata_tags(m, true);
    r->labels = metadata_labels(m, m->in.labels, err);
    wh_autostrv char **raw = r->labels ? metadata_labels(m, m->in.annotations, err) : NULL;
    if (!raw || env_bool("DOCKER_METADATA_SET_OUTPUT_ENV", true, &r->export_env, err) < 0)
        return -1;
    for (char **level = r->levels; *level; level++)
        for (char **a = raw; *a; a++)
            wh_strv_take(&r->annotations, wh_printf("%s:%s", *level, *a));
    const char *temp = wh_action_env("RUNNER_TEMP");
    r->dir = wh_printf("%s/docker-actions-toolkit-XXXXXX", temp[0] ? temp : "/tmp");
    return mkdtemp(r->dir) ? 0 : wh_fail_errno(err, "create %s", r->dir);
}

static int set(struct wh_action_run *run, const struct results *r, const char *name, const char *value,
               struct wh_error *err)
{
    if (wh_action_set_output(run, name, value, err) < 0)
        return -1;
    if (!r->export_env)
        return 0;
    wh_autofree char *variable = wh_printf("DOCKER_METADATA_OUTPUT_%s", name);
    wh_ascii_upper(variable);
    for (char *p = variable; *p; p++)
        *p = *p == '-' ? '_' : *p;
    return wh_action_export_env(run, variable, value, err);
}

static char *join(char *const *list, const char *separator)
{
    return list ? wh_strv_join(list, separator) : wh_strdup("");
}

static void print_group(const char *title, char *const *lines)
{
    wh_action_group("%s", title);
    for (; lines && *lines; lines++)
        wh_action_print("%s", *lines);
    wh_action_group_end();
}

/* ---- JSON ---- */

static cJSON *array_of(char *const *list)
{
    cJSON *array = cJSON_CreateArray();
    for (; list && *list; list++)
        cJSON_AddItemToArray(array, cJSON_CreateString(*list));
    return array;
}

/* A value ends at its first newline here, as the original's does. */
static cJSON *object_of(char *const *labels)
{
    cJSON *object = cJSON_CreateObject();
    for (; labels && *labels; labels++) {
        size_t key = strcspn(*labels, "="), value = strcspn(*labels + key + 1, "\r\n");
        wh_autofree char *name = wh_strndup(*labels, key), *text = wh_strndup(*labels + key + 1, value);
        wh_json_add_string(object, name, text);
    }
    return object;
}

static cJSON *args_of(const struct metadata *m)
{
    cJSON *args = cJSON_CreateObject();
    wh_autostrv char **images = metadata_image_names(m);
    wh_autofree char *list = join(images, ",");
    wh_json_add_string(args, "DOCKER_META_IMAGES", list);
    wh_json_add_string(args, "DOCKER_META_VERSION", m->main);
    return args;
}

/* {"target":{T:target}}; takes target over. The text is owned by the caller, *path too. */
static int write_bake_file(const struct metadata *m, const struct results *r, const char *suffix,
                           cJSON *target, char **path, char **text, struct wh_error *err)
{
    wh_autojson *json = cJSON_CreateObject();
    cJSON_AddItemToObject(cJSON_AddObjectToObject(json, "target"), m->in.bake_target, target);
    *path = wh_printf("%s/docker-metadata-action-bake%s%s.json", r->dir, suffix[0] ? "-" : "", suffix);
    *text = wh_json_print_indented(json);
    return wh_write_file_quick(AT_FDCWD, *path, *text, strlen(*text), 0644, err);
}

/* One of the three files that have a group and an output of their own. */
static int set_bake_file(struct wh_action_run *run, const struct metadata *m, const struct results *r,
                         const char *kind, cJSON *target, struct wh_error *err)
{
    wh_autofree char *path = NULL, *text = NULL, *name = wh_printf("bake-file-%s", kind);
    if (write_bake_file(m, r, kind, target, &path, &text, err) < 0)
        return -1;
    wh_action_group("Bake file definition (%s)", kind);
    wh_action_print("%s", text);
    wh_action_group_end();
    return set(run, r, name, path, err);
}

static cJSON *tags_target(const struct metadata *m, const struct results *r, bool labels)
{
    cJSON *target = cJSON_CreateObject();
    cJSON_AddItemToObject(target, "tags", array_of(r->tags));
    if (labels)
        cJSON_AddItemToObject(target, "labels", object_of(r->labels));
    cJSON_AddItemToObject(target, "args", args_of(m));
    return target;
}

static int set_bake_files(struct wh_action_run *run, const struct metadata *m, const struct results *r,
                          struct wh_error *err)
{
    cJSON *labels = cJSON_CreateObject(), *annotations = cJSON_CreateObject();
    cJSON_AddItemToObject(labels, "labels", object_of(r->labels));
    cJSON_AddItemToObject(annotations, "annotations", array_of(r->annotations));
    int status = set_bake_file(run, m, r, "tags", tags_target(m, r, false), err);
    status = status < 0 ? (cJSON_Delete(labels), -1) : set_bake_file(run, m, r, "labels", labels, err);
    status = status < 0 ? (cJSON_Delete(annotations), -1)
                        : set_bake_file(run, m, r, "annotations", annotations, err);
    wh_autofree char *path = NULL, *text = NULL;
    if (status < 0 || write_bake_file(m, r, "", tags_target(m, r, true), &path, &text, err) < 0)
        return -1;
    return set(run, r, "bake-file", path, err);
}

static int set_json(struct wh_action_run *run, const struct results *r, struct wh_error *err)
{
    wh_autojson *json = cJSON_CreateObject();
    cJSON_AddItemToObject(json, "tags", array_of(r->tags));
    cJSON_AddItemToObject(json, "tag-names", array_of(r->names));
    cJSON_AddItemToObject(json, "labels", object_of(r->labels));
    cJSON_AddItemToObject(json, "annotations", array_of(r->annotations));
    wh_autofree char *pretty = wh_json_print_indented(json), *line = wh_json_print(json);
    wh_action_group("JSON output");
    wh_action_print("%s", pretty);
    wh_action_group_end();
    return set(run, r, "json", line, err);
}

/* ---- the order of the log ---- */

static int set_lists(struct wh_action_run *run, const struct metadata *m, const struct results *r,
                     struct wh_error *err)
{
    wh_autofree char *tags = join(r->tags, m->in.sep_tags), *names = join(r->names, m->in.sep_tags),
                     *labels = join(r->labels, m->in.sep_labels),
                     *annotations = join(r->annotations, m->in.sep_annotations);
    if (r->tags)
        print_group("Docker tags", r->tags);
    else
        wh_action_warning("No Docker tag has been generated. Check tags input.");
    if (set(run, r, "tags", tags, err) < 0 || set(run, r, "tag-names", names, err) < 0)
        return -1;
    print_group("Docker labels", r->labels);
    if (set(run, r, "labels", labels, err) < 0)
        return -1;
    print_group("Annotations", r->annotations);
    return set(run, r, "annotations", annotations, err);
}

static int tell(struct wh_action_run *run, struct metadata *m, struct wh_error *err)
{
    autoresults r = {0};
    if (make_results(m, &r, err) < 0)
        return -1;
    char *const version[] = {m->main, NULL};
    if (m->main)
        print_group("Docker image version", version);
    else
        wh_action_warning("No Docker image version has been generated. Check tags input.");
    if (set(run, &r, "version", m->main ? m->main : "", err) < 0 || set_lists(run, m, &r, err) < 0 ||
        set_json(run, &r, err) < 0)
        return -1;
    return set_bake_files(run, m, &r, err);
}

static int stage_main(struct wh_action_run *run)
{
    wh_autoerror err = {0};
    struct metadata m = {.now = wh_now_ns() / 1000000};
    int status = 0;
    if (metadata_context_read(run, &m.context, &err) < 0 || metadata_inputs_read(run, &m.in, &err) < 0 ||
        metadata_make_version(&m, &err) < 0 || tell(run, &m, &err) < 0)
        status = wh_action_fail(&err);
    free(m.main);
    wh_strv_free(m.partial);
    metadata_inputs_free(&m.in);
    metadata_context_free(&m.context);
    return status;
}

const struct wh_action wh_action_metadata = {
    .repository = "docker/metadata-action",
    .min_major = 4,
    .max_major = 6,
    .inputs = inputs,
    .ninputs = WH_COUNT(inputs),
    .main = stage_main,
};
