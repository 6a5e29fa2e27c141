/* The request as a frame. The builder reads it from a process that may be hostile: every member is checked
 * and bounded. */
#include <unistd.h>

#include "wherry/base/digest.h"
#include "wherry/base/secret.h"
#include "wherry/build/request.h"

#define WH_MAX_REQUEST_LIST 4096 /* build args, labels, ... of each kind */

/* ---- writing ---- */

static void add_list(cJSON *json, const char *name, char *const *list)
{
    if (wh_strv_len(list) == 0)
        return;
    cJSON *array = cJSON_AddArrayToObject(json, name);
    for (; *list; list++)
        cJSON_AddItemToArray(array, cJSON_CreateString(*list));
}

static void add_fd(cJSON *object, int fd, int *fds, size_t *nfds)
{
    if (fd < 0)
        return;
    wh_json_add_int(object, "fd", (int64_t)*nfds);
    fds[(*nfds)++] = fd;
}

static void add_contexts(cJSON *json, const struct wh_build_request *r, int *fds, size_t *nfds)
{
    cJSON *array = cJSON_AddArrayToObject(json, "contexts");
    for (size_t i = 0; i < r->ncontexts; i++) {
        const struct wh_build_context *c = &r->contexts[i];
        cJSON *item = cJSON_CreateObject();
        wh_json_add_string(item, "name", c->name);
        wh_json_add_string(item, "value", c->value);
        wh_json_add_string(item, "ignoreName", c->ignore_name);
        wh_json_add_string(item, "ignore", c->ignore);
        add_fd(item, c->dirfd, fds, nfds);
        cJSON_AddItemToArray(array, item);
    }
}

static void add_secrets(cJSON *json, const struct wh_build_request *r)
{
    cJSON *array = cJSON_AddArrayToObject(json, "secrets");
    for (size_t i = 0; i < r->nsecrets; i++) {
        cJSON *item = cJSON_CreateObject();
        wh_json_add_string(item, "id", r->secrets[i].id);
        char *text = wh_base64(r->secrets[i].value, r->secrets[i].len);
        wh_json_add_string(item, "value", text);
        wh_wipe(text, strlen(text));
        free(text);
        cJSON_AddItemToArray(array, item);
    }
}

static void add_outputs(cJSON *json, const struct wh_build_request *r, int *fds, size_t *nfds)
{
    cJSON *array = cJSON_AddArrayToObject(json, "outputs");
    for (size_t i = 0; i < r->noutputs; i++) {
        cJSON *item = cJSON_CreateObject();
        wh_json_add_string(item, "type", r->outputs[i].type);
        add_list(item, "attrs", r->outputs[i].attrs);
        add_fd(item, r->outputs[i].fd, fds, nfds);
        cJSON_AddItemToArray(array, item);
    }
}

int wh_build_request_send(int channel, const struct wh_build_request *r, struct wh_error *err)
{
    int fds[WH_MAX_FRAME_FDS];
    size_t nfds = 0;
    wh_autojson *json = cJSON_CreateObject();
    wh_json_add_string(json, "type", "build");
    wh_json_add_string(json, "dockerfileName", r->dockerfile_name);
    wh_autofree char *text = r->dockerfile ? wh_base64(r->dockerfile, r->dockerfile_len) : NULL;
    wh_json_add_string(json, "dockerfile", text);
    wh_json_add_string(json, "dockerfilePath", r->dockerfile_path);
    wh_json_add_string(json, "target", r->target);
    wh_json_add_string(json, "platform", r->platform);
    wh_json_add_string(json, "network", r->network);
    wh_json_add_string(json, "call", r->call);
    wh_json_add_string(json, "callFormat", r->call_format);
    cJSON_AddBoolToObject(json, "noCache", r->no_cache);
    cJSON_AddBoolToObject(json, "pull", r->pull);
    cJSON_AddBoolToObject(json, "credentials", r->credentials);
    wh_json_add_int(json, "shmSize", (int64_t)r->shm_size);
    add_list(json, "buildArgs", r->build_args);
    add_list(json, "labels", r->labels);
    add_list(json, "annotations", r->annotations);
    add_list(json, "tags", r->tags);
    add_list(json, "noCacheFilter", r->no_cache_filter);
    add_list(json, "allow", r->allow);
    add_list(json, "addHosts", r->add_hosts);
    add_list(json, "ulimits", r->ulimits);
    add_list(json, "plainHttp", r->plain_http);
    add_list(json, "attests", r->attests);
    add_list(json, "cacheFrom", r->cache_from);
    add_list(json, "cacheTo", r->cache_to);
    add_contexts(json, r, fds, &nfds);
    add_secrets(json, r);
    add_outputs(json, r, fds, &nfds);
    return wh_frame_send(channel, json, fds, nfds, err);
}

/* ---- reading ---- */

static int get_list(const cJSON *json, const char *name, char ***out, struct wh_error *err)
{
    const cJSON *array = wh_json_get(json, name);
    if (!array)
        return 0;
    if (!cJSON_IsArray(array) || cJSON_GetArraySize(array) > WH_MAX_REQUEST_LIST)
        return wh_fail(err, WH_E_PROTOCOL, "build request: %s must be a list of at most %d texts", name,
                       WH_MAX_REQUEST_LIST);
    for (const cJSON *item = array->child; item; item = item->next) {
        if (!cJSON_IsString(item))
            return wh_fail(err, WH_E_PROTOCOL, "build request: %s must hold texts only", name);
        wh_strv_add(out, item->valuestring);
    }
    return 0;
}

/* The descriptor that an object names, taken out of the frame; -1 if it names none. */
static int take_fd(struct wh_frame *frame, const cJSON *object, int *out, struct wh_error *err)
{
    *out = -1;
    if (!wh_json_get(object, "fd"))
        return 0;
    int64_t index = wh_json_int(object, "fd", -1);
    if (index < 0 || (size_t)index >= frame->nfds || frame->fds[index] < 0)
        return wh_fail(err, WH_E_PROTOCOL, "build request: descriptor %lld was not sent", (long long)index);
    *out = wh_steal_fd(&frame->fds[index]);
    return 0;
}

static int get_contexts(struct wh_frame *frame, struct wh_build_request *r, struct wh_error *err)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, wh_json_get(frame->json, "contexts"))
    {
        int fd;
        const char *name = wh_json_need_string(item, "name", "build request: context", err);
        if (!name || take_fd(frame, item, &fd, err) < 0)
            return -1;
        struct wh_build_context *c = wh_build_request_add_context(r, name, fd, wh_json_string(item, "value"));
        if (!c) {
            if (fd >= 0)
                close(fd);
            return wh_fail(err, WH_E_LIMIT, "build request: more than %d contexts", WH_MAX_BUILD_CONTEXTS);
        }
        c->ignore_name = wh_strdup(wh_json_string(item, "ignoreName"));
        c->ignore = wh_strdup(wh_json_string(item, "ignore"));
    }
    return 0;
}

static int get_secrets(const cJSON *json, struct wh_build_request *r, struct wh_error *err)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, wh_json_get(json, "secrets"))
    {
        const char *id = wh_json_need_string(item, "id", "build request: secret", err);
        const char *text = wh_json_string(item, "value");
        struct wh_str value = {0};
        if (!id)
            return -1;
        if (!text || !wh_unbase64(text, strlen(text), &value)) {
            wh_str_wipe(&value);
            return wh_fail(err, WH_E_PROTOCOL, "build request: secret %s has no value", id);
        }
        int status = wh_build_request_add_secret(r, id, wh_str_text(&value), value.len, err);
        wh_str_wipe(&value);
        if (status < 0)
            return -1;
    }
    return 0;
}

static int get_outputs(struct wh_frame *frame, struct wh_build_request *r, struct wh_error *err)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, wh_json_get(frame->json, "outputs"))
    {
        int fd;
        const char *type = wh_json_need_string(item, "type", "build request: output", err);
        if (!type || take_fd(frame, item, &fd, err) < 0)
            return -1;
        struct wh_build_output *o = wh_build_request_add_output(r, type, fd);
        if (!o) {
            if (fd >= 0)
                close(fd);
            return wh_fail(err, WH_E_LIMIT, "build request: more than %d outputs", WH_MAX_BUILD_OUTPUTS);
        }
        if (get_list(item, "attrs", &o->attrs, err) < 0)
            return -1;
    }
    return 0;
}

static int get_dockerfile(const cJSON *json, struct wh_build_request *r, struct wh_error *err)
{
    const char *name = wh_json_need_string(json, "dockerfileName", "build request", err);
    const char *text = wh_json_string(json, "dockerfile");
    wh_autostr bytes = {0};
    if (!name)
        return -1;
    r->dockerfile_name = wh_strdup(name);
    r->dockerfile_path = wh_strdup(wh_json_string(json, "dockerfilePath"));
    if (!text)
        return 0; /* it lies in a context that is fetched */
    if (!wh_unbase64(text, strlen(text), &bytes))
        return wh_fail(err, WH_E_PROTOCOL, "build request: the Dockerfile's text is damaged");
    r->dockerfile_len = bytes.len;
    r->dockerfile = wh_str_steal(&bytes);
    return 0;
}

static int decode(struct wh_frame *frame, struct wh_build_request *r, struct wh_error *err)
{
    const cJSON *json = frame->json;
    if (!wh_streq(wh_json_string(json, "type"), "build"))
        return wh_fail(err, WH_E_PROTOCOL, "build request: the first frame must have the type build");
    struct {
        const char *name;
        char ***list;
    } lists[] = {{"buildArgs", &r->build_args},
                 {"labels", &r->labels},
                 {"annotations", &r->annotations},
                 {"tags", &r->tags},
                 {"noCacheFilter", &r->no_cache_filter},
                 {"allow", &r->allow},
                 {"addHosts", &r->add_hosts},
                 {"ulimits", &r->ulimits},
                 {"plainHttp", &r->plain_http},
                 {"attests", &r->attests},
                 {"cacheFrom", &r->cache_from},
                 {"cacheTo", &r->cache_to}};
    for (size_t i = 0; i < WH_COUNT(lists); i++)
        if (get_list(json, lists[i].name, lists[i].list, err) < 0)
            return -1;
    r->target = wh_strdup(wh_json_string(json, "target"));
    r->platform = wh_strdup(wh_json_string(json, "platform"));
    r->network = wh_strdup(wh_json_string(json, "network"));
    r->call = wh_strdup(wh_json_string(json, "call"));
    r->call_format = wh_strdup(wh_json_string(json, "callFormat"));
    r->no_cache = wh_json_bool(json, "noCache", false);
    r->pull = wh_json_bool(json, "pull", false);
    r->credentials = wh_json_bool(json, "credentials", false);
    int64_t shm = wh_json_int(json, "shmSize", 0);
    r->shm_size = shm > 0 ? (uint64_t)shm : 0;
    if (get_dockerfile(json, r, err) < 0 || get_contexts(frame, r, err) < 0 || get_secrets(json, r, err) < 0)
        return -1;
    return get_outputs(frame, r, err);
}

int wh_build_request_decode(struct wh_frame *frame, struct wh_build_request **out, struct wh_error *err)
{
    wh_autorequest *r = wh_build_request_new();
    if (decode(frame, r, err) < 0)
        return -1;
    *out = wh_steal(&r);
    return 0;
}
