/* Volumes, --mount and --tmpfs of a container. */
#include <limits.h>
#include <unistd.h>

#include "create_internal.h"
#include "wherry/base/fs.h"

static cJSON *list_of(cJSON *request, const char *name)
{
    cJSON *list = cJSON_GetObjectItemCaseSensitive(request, name);
    return list ? list : cJSON_AddArrayToObject(request, name);
}

static cJSON *add_mount(cJSON *request, const char *target, const char *text, struct wh_error *err)
{
    cJSON *mounts = list_of(request, "mounts");
    if (target[0] != '/' || target[1] == '\0') {
        (void)wh_fail(err, WH_E_ARGUMENT, "the volume '%s' has no absolute path in the container", text);
        return NULL;
    }
    if ((size_t)cJSON_GetArraySize(mounts) >= WH_MAX_CREATE_MOUNTS) {
        (void)wh_fail(err, WH_E_LIMIT, "a container can have %u volumes", WH_MAX_CREATE_MOUNTS);
        return NULL;
    }
    cJSON *one = cJSON_CreateObject();
    wh_json_add_string(one, "target", target);
    cJSON_AddItemToArray(mounts, one);
    return one;
}

/* As docker's: a folder that is not there is made. What is written into it is the job user's afterwards. */
static void set_source(cJSON *request, cJSON *mount, const char *folder, bool make)
{
    char resolved[PATH_MAX];
    wh_autofree char *here = folder[0] == '/' ? NULL : getcwd(NULL, 0);
    wh_autofree char *path = here ? wh_path_join(here, folder) : wh_strdup(folder);
    if (make && access(path, F_OK) < 0)
        (void)wh_mkdir_p(path, 0755, NULL); /* else the engine says that it is not there */
    wh_json_add_string(mount, "source", realpath(path, resolved) ? resolved : path);
    if (!wh_json_bool(mount, "readonly", false))
        cJSON_AddItemToArray(list_of(request, "own"), cJSON_CreateString(wh_json_string(mount, "source")));
}

static bool is_volume_name(const char *name)
{
    static const char *const chars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    return name[0] && !strchr("_.-", name[0]) && name[strspn(name, chars)] == '\0';
}

static int set_mode(cJSON *mount, const char *modes, const char *text, struct wh_error *err)
{
    /* Of SELinux, of macOS, or what is so anyhow. */
    static const char *const passed_over[] = {"rw",         "z",        "Z",      "cached", "delegated",
                                              "consistent", "rprivate", "rslave", "nocopy"};
    wh_autostrv char **list = wh_strv_split(modes, ',');
    for (size_t i = 0; list[i]; i++) {
        bool known = wh_streq(list[i], "ro");
        if (known)
            cJSON_AddBoolToObject(mount, "readonly", true);
        for (size_t k = 0; k < WH_COUNT(passed_over); k++)
            known = known || wh_streq(list[i], passed_over[k]);
        if (!known)
            return wh_fail(err, WH_E_UNSUPPORTED,
                           "the mode '%s' of the volume '%s' is not supported by wherry", list[i], text);
    }
    return 0;
}

int wh_create_volume(cJSON *request, const char *text, struct wh_error *err)
{
    wh_autostrv char **parts = wh_strv_split(text, ':');
    size_t n = wh_strv_len(parts);
    if (n < 1 || n > 3 || strlen(text) > WH_MAX_CREATE_TEXT)
        return wh_fail(err, WH_E_ARGUMENT, "'%.200s' is no volume: folder:target[:ro] is", text);
    cJSON *mount = add_mount(request, parts[n == 1 ? 0 : 1], text, err);
    if (!mount || (n == 3 && set_mode(mount, parts[2], text, err) < 0))
        return -1;
    if (n == 1) {
        wh_json_add_string(mount, "volume", "");
    } else if (strchr(parts[0], '/') || wh_streq(parts[0], ".") || wh_streq(parts[0], "..")) {
        set_source(request, mount, parts[0], true);
    } else {
        if (!is_volume_name(parts[0]))
            return wh_fail(err, WH_E_ARGUMENT,
                           "the volume '%s': its name has other characters than a-z A-Z 0-9 _ . -", text);
        wh_json_add_string(mount, "volume", parts[0]);
    }
    return 0;
}

/* ---- type=bind,src=/a,dst=/b,ro ---- */

struct fields {
    char *type, *source, *target, *size;
    bool readonly;
};

static int take_field(struct fields *f, const char *field, struct wh_error *err)
{
    const struct {
        const char *name;
        char **into;
    } texts[] = {{"type", &f->type},      {"source", &f->source},      {"src", &f->source},
                 {"target", &f->target},  {"destination", &f->target}, {"dst", &f->target},
                 {"tmpfs-size", &f->size}};
    struct wh_view name;
    struct wh_view value;
    bool has_value = wh_view_split(wh_view_of(field), '=', &name, &value);
    if (wh_view_eq(name, "readonly") || wh_view_eq(name, "ro")) {
        f->readonly = !has_value || wh_view_eq(value, "true") || wh_view_eq(value, "1");
        return 0;
    }
    for (size_t i = 0; has_value && i < WH_COUNT(texts); i++) {
        if (wh_view_eq(name, texts[i].name)) {
            free(*texts[i].into);
            *texts[i].into = wh_view_dup(value);
            return 0;
        }
    }
    return wh_fail(err, WH_E_UNSUPPORTED, "'%s' of --mount is not supported by wherry", field);
}

static int apply_fields(cJSON *request, const struct fields *f, const char *text, struct wh_error *err)
{
    const char *type = f->type ? f->type : "volume";
    uint64_t size = 0;
    bool is_bind = wh_streq(type, "bind");
    bool is_volume = wh_streq(type, "volume");
    if (!is_bind && !is_volume && !wh_streq(type, "tmpfs"))
        return wh_fail(err, WH_E_UNSUPPORTED, "--mount of type '%s' is not supported by wherry", type);
    if (f->size && !wh_parse_size(f->size, &size))
        return wh_fail(err, WH_E_ARGUMENT, "the tmpfs-size '%s' is no size", f->size);
    if (is_bind && !f->source)
        return wh_fail(err, WH_E_ARGUMENT, "--mount '%s' has no source", text);
    if (is_volume && f->source && !is_volume_name(f->source))
        return wh_fail(err, WH_E_ARGUMENT, "--mount '%s': its source is no volume's name", text);
    cJSON *mount = add_mount(request, f->target ? f->target : "", text, err);
    if (!mount)
        return -1;
    if (f->readonly)
        cJSON_AddBoolToObject(mount, "readonly", true);
    if (size > 0)
        wh_json_add_int(mount, "size", (int64_t)WH_MIN(size, (uint64_t)1 << 52));
    if (is_bind)
        set_source(request, mount, f->source, false);
    else if (is_volume)
        wh_json_add_string(mount, "volume", f->source ? f->source : "");
    return 0;
}

int create_mount(cJSON *request, const char *text, struct wh_error *err)
{
    struct fields f = {0};
    wh_autostrv char **list = wh_strv_split(text, ',');
    int n = 0;
    for (size_t i = 0; list[i] && n == 0; i++)
        n = take_field(&f, list[i], err);
    if (n == 0)
        n = apply_fields(request, &f, text, err);
    free(f.type);
    free(f.source);
    free(f.target);
    free(f.size);
    return n;
}

/* target[:size=64m,...]: what else there is of options is as it is. */
int create_tmpfs(cJSON *request, const char *text, struct wh_error *err)
{
    struct wh_view target;
    struct wh_view options;
    uint64_t size = 0;
    (void)wh_view_split(wh_view_of(text), ':', &target, &options);
    wh_autofree char *path = wh_view_dup(target);
    wh_autofree char *rest = wh_view_dup(options);
    wh_autostrv char **list = wh_strv_split(rest, ',');
    for (size_t i = 0; list[i]; i++)
        if (wh_starts_with(list[i], "size=") && !wh_parse_size(list[i] + strlen("size="), &size))
            return wh_fail(err, WH_E_ARGUMENT, "the size of --tmpfs '%s' is none", text);
    cJSON *mount = add_mount(request, path, text, err);
    if (mount && size > 0)
        wh_json_add_int(mount, "size", (int64_t)WH_MIN(size, (uint64_t)1 << 52));
    return mount ? 0 : -1;
}
