/* `wherry fetcher`: one question of a worker, answered. */
#include <ctype.h>
#include <signal.h>
#include <unistd.h>

#include "actions/fetch_impl.h"
#include "wherry/base/log.h"

#define MAX_REF 1024

int fetcher_send(struct fetcher *f, cJSON *frame_taken, int fd, struct wh_error *err)
{
    wh_autojson *frame = frame_taken;
    return wh_frame_send(f->channel, frame, &fd, fd >= 0 ? 1 : 0, err);
}

void fetcher_say(void *fetcher, const char *level, const char *text)
{
    cJSON *frame = cJSON_CreateObject();
    wh_json_add_string(frame, "type", "say");
    wh_json_add_string(frame, "level", level);
    wh_json_add_string(frame, "text", text);
    (void)fetcher_send(fetcher, frame, -1, NULL);
}

/* ---- actions ---- */

/* "owner/repo" of plain characters: it becomes a part of URLs and of paths. */
static bool is_repository(const char *name)
{
    int slashes = 0;
    if (!name || name[0] == '\0' || strlen(name) > 200 || strstr(name, ".."))
        return false;
    for (const char *p = name; *p; p++) {
        slashes += *p == '/';
        if (!isalnum((unsigned char)*p) && !strchr("._-/", *p))
            return false;
    }
    return slashes == 1 && name[0] != '/' && !wh_ends_with(name, "/");
}

static bool is_ref(const char *ref)
{
    if (!ref || ref[0] == '\0' || strlen(ref) > MAX_REF || strstr(ref, "..") || ref[0] == '/')
        return false;
    for (const char *p = ref; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f || strchr("?#%\\~^:*[", *p))
            return false;
    return true;
}

static int read_list(const cJSON *list, struct wh_action_download *out, size_t *n, struct wh_error *err)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        const char *name = wh_json_string(item, "name");
        const char *ref = wh_json_string(item, "ref");
        const char *path = wh_json_string(item, "path");
        if (*n == WH_MAX_ACTION_DOWNLOADS)
            return wh_fail(err, WH_E_LIMIT, "more than %d actions", WH_MAX_ACTION_DOWNLOADS);
        if (!is_repository(name) || !is_ref(ref))
            return wh_fail(err, WH_E_ARGUMENT,
                           "Unable to resolve action `%.200s@%.200s`: it is no name of a "
                           "repository with a ref",
                           name ? name : "", ref ? ref : "");
        out[(*n)++] = (struct wh_action_download){
            .name = wh_strdup(name), .ref = wh_strdup(ref), .path = wh_strdup(path ? path : "")};
    }
    return 0;
}

static int deliver(struct fetcher *f, const struct wh_action_download *d, struct wh_error *err)
{
    wh_autofree char *top = NULL;
    bool cached = false;
    wh_autoclose int archive = fetcher_archive(f, d, &top, &cached, err);
    if (archive < 0)
        return -1;
    cJSON *frame = cJSON_CreateObject();
    wh_json_add_string(frame, "type", "action");
    wh_json_add_string(frame, "name", d->name);
    wh_json_add_string(frame, "ref", d->ref);
    wh_json_add_string(frame, "sha", d->sha);
    wh_json_add_string(frame, "top", top);
    cJSON_AddBoolToObject(frame, "cached", cached);
    wh_json_add_string(frame, "packageVersion", d->package_version);
    wh_json_add_string(frame, "packageDigest", d->package_digest);
    return fetcher_send(f, frame, archive, err);
}

static int answer_actions(struct fetcher *f, const cJSON *question, struct wh_error *err)
{
    struct wh_action_download *list = wh_calloc(WH_MAX_ACTION_DOWNLOADS, sizeof *list);
    size_t n = 0;
    int code = read_list(wh_json_get(question, "list"), list, &n, err);
    if (code == 0 && n > 0)
        code = wh_github_actions_resolve(f->http, f->facts, list, n, fetcher_say, f, err);
    for (size_t i = 0; i < n && code == 0; i++)
        code = deliver(f, &list[i], err);
    for (size_t i = 0; i < n; i++)
        wh_action_download_clear(&list[i]);
    free(list);
    return code;
}

/* ---- Node.js ---- */

static int answer_node(struct fetcher *f, const cJSON *question, struct wh_error *err)
{
    wh_autofree char *name = NULL;
    wh_autoclose int archive = fetcher_node(f, (int)wh_json_int(question, "version", 20), &name, err);
    if (archive < 0)
        return -1;
    cJSON *frame = cJSON_CreateObject();
    wh_json_add_string(frame, "type", "node");
    wh_json_add_string(frame, "name", name);
    return fetcher_send(f, frame, archive, err);
}

/* ---- the process ---- */

static int answer(struct fetcher *f, struct wh_error *err)
{
    wh_autoframe question = {0};
    int n = wh_frame_recv(f->channel, &question, err);
    if (n <= 0)
        return n < 0 ? -1 : wh_fail(err, WH_E_PROTOCOL, "the worker went away");
    f->http = wh_http_client_new_private(NULL, err);
    if (!f->http)
        return -1;
    const char *type = wh_json_string(question.json, "type");
    if (wh_streq(type, "actions"))
        return answer_actions(f, question.json, err);
    if (wh_streq(type, "node"))
        return answer_node(f, question.json, err);
    return wh_fail(err, WH_E_PROTOCOL, "a question of type '%.40s' is not known", type ? type : "");
}

int wh_fetcher_main(void)
{
    wh_autoerror err = {0};
    wh_autoframe launch = {0};
    signal(SIGPIPE, SIG_IGN);
    if (wh_frame_recv(WH_FETCHER_LAUNCH_FD, &launch, &err) != 1 || launch.nfds != 1) {
        wh_log_error("fetcher: the launcher said nothing: %s", wh_error_text(&err));
        return 1;
    }
    struct fetcher f = {
        .channel = WH_FETCHER_CHANNEL_FD, .state = launch.fds[0], .facts = wh_json_get(launch.json, "facts")};
    int code = answer(&f, &err);
    cJSON *last = cJSON_CreateObject();
    wh_json_add_string(last, "type", code < 0 ? "error" : "done");
    if (code < 0)
        wh_json_add_string(last, "text", wh_error_text(&err));
    (void)fetcher_send(&f, last, -1, NULL);
    wh_http_client_free(f.http);
    return code < 0;
}
