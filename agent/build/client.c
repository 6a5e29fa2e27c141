/* The client's half: sends the request, shows progress, answers questions for credentials, takes the result.
 */
#include <unistd.h>

#include "wherry/base/digest.h"
#include "wherry/base/secret.h"
#include "wherry/build/request.h"
#include "wherry/oci/registry.h"

void wh_build_result_clear(struct wh_build_result *r)
{
    free(r->error);
    free(r->excerpt);
    free(r->digest);
    free(r->config_digest);
    free(r->name);
    free(r->output);
    cJSON_Delete(r->misses);
    for (size_t i = 0; i < r->nwarnings; i++) {
        free(r->warnings[i].rule);
        free(r->warnings[i].message);
        free(r->warnings[i].url);
    }
    free(r->warnings);
    cJSON_Delete(r->descriptor);
    *r = (struct wh_build_result){0};
}

static void take_warnings(const cJSON *list, struct wh_build_result *out)
{
    const cJSON *item;
    size_t n = WH_MIN((size_t)cJSON_GetArraySize(list), (size_t)WH_MAX_BUILD_WARNINGS);
    if (n == 0)
        return;
    out->warnings = wh_calloc(n, sizeof *out->warnings);
    cJSON_ArrayForEach(item, list)
    {
        if (out->nwarnings == n)
            return;
        const char *rule = wh_json_string(item, "rule"), *message = wh_json_string(item, "message");
        out->warnings[out->nwarnings++] =
            (struct wh_build_warning){.rule = wh_strdup(rule ? rule : ""),
                                      .message = wh_strdup(message ? message : ""),
                                      .url = wh_strdup(wh_json_string(item, "url")),
                                      .line = (int)wh_json_int(item, "line", 0),
                                      .end_line = (int)wh_json_int(item, "endLine", 0)};
    }
}

static void take_result(const cJSON *json, struct wh_build_result *out)
{
    wh_build_result_clear(out);
    out->ok = wh_json_bool(json, "ok", false);
    out->error = wh_strdup(wh_json_string(json, "error"));
    out->excerpt = wh_strdup(wh_json_string(json, "excerpt"));
    out->digest = wh_strdup(wh_json_string(json, "digest"));
    out->config_digest = wh_strdup(wh_json_string(json, "configDigest"));
    out->name = wh_strdup(wh_json_string(json, "name"));
    const cJSON *descriptor = wh_json_get(json, "descriptor");
    out->descriptor = descriptor ? cJSON_Duplicate(descriptor, true) : NULL;
    out->output = wh_strdup(wh_json_string(json, "output"));
    out->exit_code = (int)wh_json_int(json, "exitCode", 0);
    take_warnings(wh_json_get(json, "warnings"), out);
    const cJSON *misses = wh_json_get(json, "misses");
    out->misses = misses ? cJSON_Duplicate(misses, true) : NULL;
    out->steps = (unsigned)wh_json_int(json, "steps", 0);
    out->cached = (unsigned)wh_json_int(json, "cached", 0);
    out->uploaded = (uint64_t)wh_json_int(json, "uploaded", 0);
    out->layers_uploaded = (unsigned)wh_json_int(json, "layersUploaded", 0);
    if (!out->ok && !out->error)
        out->error = wh_strdup("the builder gave no reason");
}

static void add_secret(cJSON *json, const char *name, const struct wh_secret *secret)
{
    if (secret)
        wh_json_add_string(json, name, wh_secret_text(secret));
}

static int answer_credential(int channel, const cJSON *question, const struct wh_build_client *client,
                             struct wh_error *err)
{
    const char *host = wh_json_need_string(question, "host", "credential question", err);
    if (!host)
        return -1;
    struct wh_credential c = {0};
    wh_autoerror cause = {0};
    wh_autojson *answer = cJSON_CreateObject();
    wh_json_add_string(answer, "type", "credential");
    wh_json_add_string(answer, "host", host);
    if (wh_docker_config_credential(client->docker_config, host, &c, &cause) < 0)
        wh_json_add_string(answer, "error", wh_error_text(&cause));
    wh_json_add_string(answer, "user", c.user);
    add_secret(answer, "password", c.password);
    add_secret(answer, "identity", c.identity);
    add_secret(answer, "registry", c.registry);
    wh_credential_clear(&c);
    return wh_frame_send(channel, answer, NULL, 0, err);
}

/* 1: the result is there; 0: go on. */
static int handle(int channel, const cJSON *json, const struct wh_build_client *client,
                  struct wh_build_result *result, struct wh_error *err)
{
    const char *type = wh_json_string(json, "type");
    if (wh_streq(type, "result")) {
        take_result(json, result);
        return 1;
    }
    if (wh_streq(type, "credential"))
        return answer_credential(channel, json, client, err);
    struct wh_progress_event ev = {0};
    int decoded = wh_progress_decode(json, &ev, err);
    if (decoded < 0)
        return -1;
    if (decoded == 1 && client->event)
        client->event(client->data, &ev);
    if (decoded == 1)
        wh_progress_event_clear(&ev);
    return 0; /* frames of a type that we don't know are a newer builder's */
}

int wh_build_client_run(int channel, const struct wh_build_request *request,
                        const struct wh_build_client *client, struct wh_build_result *result,
                        struct wh_error *err)
{
    wh_autoerror sending = {0};
    /* A builder that failed at once has said why before it closed: read on even if the request could not be
     * sent. */
    bool sent = wh_build_request_send(channel, request, &sending) == 0;
    for (;;) {
        wh_autoframe frame = {0};
        int got = wh_frame_recv(channel, &frame, err);
        if (got == 0 && !sent)
            return wh_error_move(err, &sending);
        if (got == 0)
            return wh_fail(err, WH_E_FAILED, "the builder ended without a result");
        if (got < 0)
            return wh_wrap(err, "builder");
        int done = handle(channel, frame.json, client, result, err);
        if (done < 0)
            return wh_wrap(err, "builder");
        if (done == 1)
            return 0;
    }
}

cJSON *wh_build_result_metadata(const struct wh_build_result *r)
{
    cJSON *json = cJSON_CreateObject();
    wh_json_add_string(json, "containerimage.config.digest", r->config_digest);
    if (r->descriptor)
        cJSON_AddItemToObject(json, "containerimage.descriptor", cJSON_Duplicate(r->descriptor, true));
    wh_json_add_string(json, "containerimage.digest", r->digest);
    wh_json_add_string(json, "image.name", r->name);
    return json;
}
