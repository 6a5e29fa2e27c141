/* Builders: all are the native engine; what a name stands for is a small file. */
#include "actions/buildx.h"

#include <errno.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/oci/reference.h"

char *wh_buildx_config_dir(void)
{
    const char *dir = getenv("BUILDX_CONFIG");
    if (dir && *dir)
        return wh_strdup(dir);
    dir = getenv("DOCKER_CONFIG");
    if (dir && *dir)
        return wh_path_join(dir, "buildx");
    const char *home = getenv("HOME");
    return wh_path_join(home && *home ? home : "/", ".docker/buildx");
}

int wh_buildx_name_check(const char *name, struct wh_error *err)
{
    size_t len = strlen(name);
    if (len > 0 && len <= 128 && name[0] != '.' && name[0] != '-' &&
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == len)
        return 0;
    return wh_fail(err, WH_E_ARGUMENT, "invalid builder name `%.128s`: letters, digits and -_. are allowed",
                   name);
}

static char *file_of(const char *name)
{
    wh_autofree char *dir = wh_buildx_config_dir();
    return wh_printf("%s/instances/%s", dir, name);
}

int wh_buildx_find(const char *name, char **driver, struct wh_error *err)
{
    if (strcmp(name, "default") == 0) {
        *driver = wh_strdup("docker");
        return 1;
    }
    if (wh_buildx_name_check(name, err) < 0)
        return -1;
    wh_autofree char *path = file_of(name);
    wh_autoerror mine = {0};
    wh_autojson *json = wh_json_read_file(path, 65536, &mine);
    if (!json)
        return mine.code == WH_E_NOT_FOUND ? 0 : wh_error_move(err, &mine);
    *driver = wh_json_text(json, "Driver");
    return 1;
}

int wh_buildx_create(const char *name, const char *driver, bool use, struct wh_error *err)
{
    wh_autofree char *dir = wh_buildx_config_dir();
    wh_autofree char *instances = wh_path_join(dir, "instances");
    wh_autofree char *path = file_of(name), *current = wh_path_join(dir, "current");
    wh_autojson *json = cJSON_CreateObject();
    wh_json_add_string(json, "Name", name);
    wh_json_add_string(json, "Driver", driver);
    wh_autofree char *text = wh_json_print(json);
    if (wh_mkdir_p(instances, 0755, err) < 0 ||
        wh_write_file_quick(AT_FDCWD, path, text, strlen(text), 0644, err) < 0)
        return -1;
    return use ? wh_write_file_quick(AT_FDCWD, current, name, strlen(name), 0644, err) : 0;
}

int wh_buildx_remove(const char *name, struct wh_error *err)
{
    wh_autofree char *dir = wh_buildx_config_dir();
    wh_autofree char *path = file_of(name), *current = wh_path_join(dir, "current"),
                     *used = wh_buildx_current();
    if (strcmp(used, name) == 0)
        (void)unlink(current);
    if (unlink(path) < 0)
        return wh_fail_errno(err, "remove builder %s", name);
    return 0;
}

char *wh_buildx_current(void)
{
    const char *builder = getenv("BUILDX_BUILDER");
    if (builder && *builder)
        return wh_strdup(builder);
    wh_autofree char *dir = wh_buildx_config_dir();
    wh_autofree char *path = wh_path_join(dir, "current");
    wh_autostr text = {0};
    if (wh_read_file(AT_FDCWD, path, 256, &text, NULL) < 0 || text.len == 0)
        return wh_strdup("default");
    return wh_view_dup(wh_view_trim(wh_view_of(text.data)));
}

const char *wh_buildx_platform(void)
{
    static char text[100];
    struct wh_platform host;
    wh_platform_host(&host);
    return wh_platform_text(&host, text);
}

cJSON *wh_buildx_nodes(const char *name)
{
    cJSON *nodes = cJSON_CreateArray(), *node = cJSON_CreateObject();
    wh_autofree char *node_name = wh_printf("%s0", name);
    wh_json_add_string(node, "name", node_name);
    wh_json_add_string(node, "endpoint", "wherry");
    wh_json_add_string(node, "status", "running");
    wh_json_add_string(node, "buildkit", "wherry " WH_VERSION);
    wh_json_add_string(node, "platforms", wh_buildx_platform());
    cJSON_AddItemToArray(nodes, node);
    return nodes;
}
