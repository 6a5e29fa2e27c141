/* `docker inspect`: what a container or an image is, as JSON or by a simple template. */
#include <stdio.h>

#include "cmd/docker.h"

#define MAX_FORMAT ((size_t)4096)

/* ---- objects, with docker's names ---- */

static cJSON *ports_object(const cJSON *ports)
{
    cJSON *object = cJSON_CreateObject();
    const cJSON *port;
    cJSON_ArrayForEach(port, ports)
    {
        wh_autofree char *key =
            wh_printf("%s/%s", wh_json_string(port, "container"), wh_json_string(port, "protocol"));
        cJSON *list = cJSON_GetObjectItemCaseSensitive(object, key);
        if (!list)
            list = cJSON_AddArrayToObject(object, key);
        cJSON *one = cJSON_CreateObject();
        wh_json_add_string(one, "HostIp", wh_json_string(port, "address"));
        wh_json_add_string(one, "HostPort", wh_json_string(port, "host"));
        cJSON_AddItemToArray(list, one);
    }
    return object;
}

static cJSON *container_object(const cJSON *c)
{
    cJSON *one = cJSON_CreateObject();
    wh_autofree char *name = wh_printf("/%s", wh_json_string(c, "name"));
    const char *status = wh_json_string(c, "state");
    const char *health = wh_json_string(c, "health");
    const char *network = wh_json_string(c, "network");
    wh_json_add_string(one, "Id", wh_json_string(c, "id"));
    wh_json_add_string(one, "Name", name);
    wh_json_add_string(one, "Image", wh_json_string(c, "image"));
    cJSON *state = cJSON_AddObjectToObject(one, "State");
    wh_json_add_string(state, "Status", status);
    cJSON_AddBoolToObject(state, "Running", wh_streq(status, "running"));
    cJSON_AddBoolToObject(state, "OOMKilled", wh_json_bool(c, "oom", false));
    wh_json_add_int(state, "ExitCode", wh_json_int(c, "code", 0));
    wh_json_add_string(state, "Error", wh_json_string(c, "error") ? wh_json_string(c, "error") : "");
    if (health)
        wh_json_add_string(cJSON_AddObjectToObject(state, "Health"), "Status", health);
    cJSON *config = cJSON_AddObjectToObject(one, "Config");
    wh_json_add_string(config, "Image", wh_json_string(c, "image"));
    cJSON_AddItemToObject(config, "Labels", cJSON_Duplicate(wh_json_get(c, "labels"), true));
    cJSON *settings = cJSON_AddObjectToObject(one, "NetworkSettings");
    cJSON_AddItemToObject(settings, "Ports", ports_object(wh_json_get(c, "ports")));
    cJSON *networks = cJSON_AddObjectToObject(settings, "Networks");
    if (network)
        wh_json_add_string(cJSON_AddObjectToObject(networks, network), "IPAddress",
                           wh_json_string(c, "address"));
    return one;
}

static cJSON *image_object(const cJSON *result)
{
    const cJSON *config = wh_json_get(result, "config");
    cJSON *image = cJSON_CreateObject();
    wh_json_add_string(image, "Id", wh_json_string(result, "digest"));
    cJSON_AddItemToArray(cJSON_AddArrayToObject(image, "RepoDigests"),
                         cJSON_CreateString(wh_json_string(result, "name")));
    wh_json_add_string(image, "Created", wh_json_string(config, "created"));
    wh_json_add_string(image, "Architecture", wh_json_string(config, "architecture"));
    wh_json_add_string(image, "Os", wh_json_string(config, "os"));
    cJSON_AddItemToObject(image, "Config", cJSON_Duplicate(wh_json_get(config, "config"), true));
    return image;
}

/* ---- {{.State.Status}}, {{json .Config.Env}} ---- */

static void add_value(struct wh_str *out, const cJSON *value, bool json)
{
    if (!json && cJSON_IsString(value)) {
        wh_str_add(out, value->valuestring);
        return;
    }
    wh_autofree char *text = value ? wh_json_print(value) : wh_strdup(json ? "null" : "<no value>");
    wh_str_add(out, text);
}

static const cJSON *walk(const cJSON *object, const char *path)
{
    wh_autostrv char **names = wh_strv_split(path + 1, '.');
    for (size_t i = 0; names[i] && names[i][0]; i++)
        object = cJSON_GetObjectItemCaseSensitive(object, names[i]);
    return object;
}

/* One action between the braces; false: it is more than we do. */
static bool add_action(struct wh_str *out, const cJSON *object, struct wh_view action)
{
    wh_autofree char *text = wh_view_dup(wh_view_trim(action));
    bool json = wh_starts_with(text, "json ");
    struct wh_view path = wh_view_trim(wh_view_of(json ? text + strlen("json ") : text));
    wh_autofree char *dotted = wh_view_dup(path);
    if (dotted[0] != '.' || strpbrk(dotted, " |()\"$"))
        return false;
    add_value(out, walk(object, dotted), json);
    return true;
}

static bool fill(struct wh_str *out, const cJSON *object, const char *format)
{
    for (const char *at = format; *at;) {
        const char *open = strstr(at, "{{");
        const char *close = open ? strstr(open, "}}") : NULL;
        if (!close) {
            wh_str_add(out, at);
            return open == NULL;
        }
        wh_str_addn(out, at, (size_t)(open - at));
        if (!add_action(out, object, (struct wh_view){open + 2, (size_t)(close - open) - 2}))
            return false;
        at = close + 2;
    }
    return true;
}

/* ---- the command ---- */

/* 0 with *object (owned), or the exit code. */
static int look_up(const char *name, const cJSON *list, bool images, bool containers, cJSON **object)
{
    const cJSON *all = containers ? wh_json_get(list, "containers") : NULL;
    const cJSON *one;
    cJSON_ArrayForEach(one, all)
    {
        if (wh_streq(wh_json_string(one, "name"), name) || wh_starts_with(wh_json_string(one, "id"), name)) {
            *object = container_object(one);
            return 0;
        }
    }
    if (!images) {
        fprintf(stderr, "Error: No such container: %s\n", name);
        return 1;
    }
    wh_autojson *result = NULL;
    cJSON *request = docker_request("pull", "image", name);
    cJSON_AddBoolToObject(request, "pull", false);
    wh_engine_add_login(request, name);
    if (docker_ask(request, NULL, 0, &result) != 0)
        return 1;
    *object = image_object(result);
    return 0;
}

static int print_all(const cJSON *shown, const char *format)
{
    if (!format) {
        wh_autofree char *text = wh_json_print_indented(shown);
        printf("%s\n", text);
        return 0;
    }
    const cJSON *one;
    cJSON_ArrayForEach(one, shown)
    {
        wh_autostr text = {0};
        if (!fill(&text, one, format))
            return docker_refuse("inspect", "a template of more than {{.Name}} and {{json .Name}}");
        printf("%s\n", wh_str_text(&text));
    }
    return 0;
}

int docker_inspect(int argc, char **argv)
{
    const char *format = NULL;
    const char *type = "";
    wh_autojson *list = NULL;
    wh_autojson *shown = cJSON_CreateArray();
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if ((wh_streq(argv[i], "-f") || wh_streq(argv[i], "--format")) && i + 1 < argc)
            format = argv[++i];
        else if (wh_starts_with(argv[i], "--format="))
            format = argv[i] + strlen("--format=");
        else if (wh_streq(argv[i], "--type") && i + 1 < argc)
            type = argv[++i];
        else if (wh_starts_with(argv[i], "--type="))
            type = argv[i] + strlen("--type=");
        else
            return docker_refuse("inspect", argv[i]);
    }
    if (i >= argc || (format && strlen(format) > MAX_FORMAT))
        return docker_refuse("inspect", i >= argc ? "a call without a name" : "a template of this size");
    if (*type && !wh_streq(type, "image") && !wh_streq(type, "container"))
        return docker_refuse("inspect", "this --type");
    if (docker_ask(docker_request("list", NULL, NULL), NULL, 0, &list) != 0)
        return 1;
    for (; i < argc; i++) {
        cJSON *one = NULL;
        int code = look_up(argv[i], list, !wh_streq(type, "container"), !wh_streq(type, "image"), &one);
        if (code != 0)
            return code;
        cJSON_AddItemToArray(shown, one);
    }
    return print_all(shown, format);
}
