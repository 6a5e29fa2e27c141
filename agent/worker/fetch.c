/* The worker's side of a fetcher: asks, says what it says, unpacks what it gives (job-execution.md §7.5). */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "wherry/actions/fetch.h"
#include "wherry/base/clock.h"
#include "wherry/base/digest.h"
#include "wherry/base/fs.h"
#include "wherry/oci/layer.h"
#include "worker/job.h"

/* ---- unpacking, on a thread ---- */

struct unpack {
    uv_work_t work;
    int archive;     /* borrowed */
    const char *top; /* the one folder in it; NULL: not known */
    char *staging, *target;
    struct wh_error err;
    bool done;
};

/* The one folder at the archive's top becomes the target. */
static int unpack(struct unpack *u, struct wh_error *err)
{
    const struct wh_archive_options options = {.uid = (int64_t)geteuid(), .gid = (int64_t)getegid()};
    if (wh_mkdir_p(u->staging, 0755, err) < 0)
        return -1;
    wh_autoclose int staging = open(u->staging, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (staging < 0)
        return wh_fail_errno(err, "open %s", u->staging);
    if (lseek(u->archive, 0, SEEK_SET) < 0 || wh_archive_unpack_fd(u->archive, staging, &options, err) < 0)
        return -1;
    wh_autofree char *from = wh_path_join(u->staging, u->top);
    wh_autofree char *parent = wh_strndup(u->target, (size_t)(strrchr(u->target, '/') - u->target));
    if (wh_mkdir_p(parent, 0755, err) < 0 || wh_remove_tree(AT_FDCWD, u->target, err) < 0)
        return -1;
    if (rename(from, u->target) < 0)
        return wh_fail_errno(err, "move %s to %s", from, u->target);
    return wh_remove_tree(AT_FDCWD, u->staging, err);
}

static void unpack_work(uv_work_t *work)
{
    struct unpack *u = work->data;
    (void)unpack(u, &u->err);
}

static void unpack_done(uv_work_t *work, int status)
{
    (void)status;
    ((struct unpack *)work->data)->done = true;
}

static bool is_name(const char *name)
{
    return name && name[0] && !strchr(name, '/') && !wh_streq(name, ".") && !wh_streq(name, "..");
}

static int unpack_to(struct wh_job *j, int archive, const char *top, const char *target, struct wh_error *err)
{
    char guid[37];
    wh_autofree char *staging = wh_printf("%s/_actions/_temp_%s", j->dirs.work, wh_guid(guid));
    wh_autofree char *copy = wh_strdup(target);
    if (!is_name(top))
        return wh_fail(err, WH_E_PROTOCOL, "the fetcher gave an archive without a folder");
    struct unpack u = {.archive = archive, .top = top, .staging = staging, .target = copy};
    u.work.data = &u;
    int failed = uv_queue_work(&j->loop, &u.work, unpack_work, unpack_done);
    if (failed)
        return wh_fail(err, WH_E_FAILED, "unpack an action: %s", uv_strerror(failed));
    while (!u.done)
        wh_job_turn(j);
    return u.err.code == WH_OK ? 0 : wh_error_move(err, &u.err);
}

/* ---- the line ---- */

struct line {
    struct wh_job *job;
    struct wh_frame_conn *conn;
    uv_poll_t poll;
    bool closed, done;
    struct wh_error err; /* of the line, or what the fetcher says */
    int (*take)(struct line *l, struct wh_frame *frame, struct wh_error *err);
    const struct wh_wanted *wanted;
    size_t nwanted, got;
    const char *folder; /* of Node.js */
};

static void say(struct wh_job *j, const cJSON *frame)
{
    const char *text = wh_json_string(frame, "text");
    if (wh_streq(wh_json_string(frame, "level"), "warning"))
        wh_say_warning(j, "%s", text ? text : "");
    else
        wh_say(j, "%s", text ? text : "");
}

/* True: there is more to come. */
static bool handle(struct line *l, struct wh_frame *frame)
{
    const char *type = wh_json_string(frame->json, "type");
    if (wh_streq(type, "say")) {
        say(l->job, frame->json);
        return true;
    }
    if (wh_streq(type, "error")) {
        const char *text = wh_json_string(frame->json, "text");
        wh_fail(&l->err, WH_E_FAILED, "%s", text ? text : "the fetcher failed");
        return false;
    }
    if (wh_streq(type, "done"))
        return false;
    return l->take(l, frame, &l->err) == 0;
}

static void on_frames(uv_poll_t *poll, int status, int events)
{
    struct line *l = poll->data;
    (void)events;
    (void)uv_poll_stop(poll); /* unpacking turns the loop, too */
    for (;;) {
        wh_autoframe frame = {0};
        int n = status < 0 ? -2 : wh_frame_conn_recv(l->conn, &frame, &l->err);
        if (n == 0)
            break;
        if (n == -2)
            wh_fail(&l->err, WH_E_FAILED, "the fetcher of actions ended without an answer");
        if (n < 0 || !handle(l, &frame)) {
            l->done = true;
            return;
        }
    }
    (void)uv_poll_start(poll, UV_READABLE, on_frames);
}

static void on_closed(uv_handle_t *handle)
{
    ((struct line *)handle->data)->closed = true;
}

static int ask(struct wh_job *j, struct line *l, const cJSON *question, struct wh_error *err)
{
    int pair[2];
    if (wh_frame_pair(pair, err) < 0)
        return -1;
    wh_autojson *request = cJSON_CreateObject();
    wh_json_add_string(request, "type", "fetch");
    wh_job_send(j, request, &pair[1], 1);
    (void)close(pair[1]);
    l->job = j;
    l->conn = wh_frame_conn_new(pair[0]);
    l->poll.data = l;
    uv_poll_init(&j->loop, &l->poll, wh_frame_conn_fd(l->conn));
    (void)wh_frame_conn_send(l->conn, question, NULL, 0, &l->err);
    (void)uv_poll_start(&l->poll, UV_READABLE, on_frames);
    while (!l->done && j->cancel == WH_CANCEL_NONE)
        wh_job_turn(j);
    uv_close((uv_handle_t *)&l->poll, on_closed);
    while (!l->closed)
        uv_run(&j->loop, UV_RUN_NOWAIT);
    wh_frame_conn_free(l->conn);
    if (!l->done) {
        wh_error_clear(&l->err);
        return wh_fail(err, WH_E_CANCELED, "The operation was canceled.");
    }
    return l->err.code == WH_OK ? 0 : wh_error_move(err, &l->err);
}

/* ---- actions ---- */

static const struct wh_wanted *find_wanted(const struct line *l, const cJSON *frame)
{
    for (size_t i = 0; i < l->nwanted; i++)
        if (wh_streq(l->wanted[i].name, wh_json_string(frame, "name")) &&
            wh_streq(l->wanted[i].ref, wh_json_string(frame, "ref")))
            return &l->wanted[i];
    return NULL;
}

static void say_download(struct wh_job *j, const struct wh_wanted *w, const cJSON *frame)
{
    const char *sha = wh_json_string(frame, "sha");
    const char *version = wh_json_string(frame, "packageVersion");
    const char *digest = wh_json_string(frame, "packageDigest");
    if (!version) {
        wh_say(j, "Download action repository '%s@%s' (SHA:%s)", w->name, w->ref, sha ? sha : "");
    } else {
        wh_say(j, "##[group]Download immutable action package '%s@%s'", w->name, w->ref);
        wh_say(j, "Version: %s", version);
        wh_say(j, "Digest: %s", digest ? digest : "");
        wh_say(j, "Source commit SHA: %s", sha ? sha : "");
        wh_say(j, "##[endgroup]");
    }
    if (wh_json_bool(frame, "cached", false))
        wh_say_debug(j, "'%s@%s' was fetched before: nothing was downloaded", w->name, w->ref);
}

/* <target>.completed: as the official runner leaves it; its presence says that the action is whole. */
static int mark_completed(const char *target, struct wh_error *err)
{
    char now[40];
    wh_autofree char *mark = wh_printf("%s.completed", target);
    wh_time_iso(wh_now_ns(), 7, now);
    return wh_write_file_quick(AT_FDCWD, mark, now, strlen(now), 0644, err);
}

static char *target_of(const struct wh_job *j, const struct wh_wanted *w)
{
    return wh_printf("%s/_actions/%s/%s", j->dirs.work, w->name, w->ref);
}

static int take_action(struct line *l, struct wh_frame *frame, struct wh_error *err)
{
    const struct wh_wanted *w = find_wanted(l, frame->json);
    if (!w || frame->nfds != 1)
        return wh_fail(err, WH_E_PROTOCOL, "the fetcher gave something that nobody asked for");
    wh_autofree char *target = target_of(l->job, w);
    say_download(l->job, w, frame->json);
    l->got++;
    if (unpack_to(l->job, frame->fds[0], wh_json_string(frame->json, "top"), target, err) < 0)
        return -1;
    return mark_completed(target, err);
}

static bool is_there(const struct wh_job *j, const struct wh_wanted *w)
{
    wh_autofree char *target = target_of(j, w);
    wh_autofree char *mark = wh_printf("%s.completed", target);
    return access(mark, F_OK) == 0;
}

int wh_fetch_actions(struct wh_job *j, const struct wh_wanted *wanted, size_t n, struct wh_error *err)
{
    struct line l = {.take = take_action, .wanted = wanted, .nwanted = n};
    wh_autojson *question = cJSON_CreateObject();
    wh_json_add_string(question, "type", "actions");
    cJSON *list = cJSON_AddArrayToObject(question, "list");
    size_t missing = 0;
    for (size_t i = 0; i < n; i++) {
        if (is_there(j, &wanted[i]))
            continue;
        cJSON *one = cJSON_CreateObject();
        wh_json_add_string(one, "name", wanted[i].name);
        wh_json_add_string(one, "ref", wanted[i].ref);
        wh_json_add_string(one, "path", wanted[i].path);
        cJSON_AddItemToArray(list, one);
        missing++;
    }
    if (missing == 0)
        return 0;
    wh_say(j, "Getting action download info");
    if (ask(j, &l, question, err) < 0)
        return -1;
    return l.got == missing ? 0 : wh_fail(err, WH_E_PROTOCOL, "the fetcher did not give all actions");
}

/* ---- Node.js ---- */

static int take_node(struct line *l, struct wh_frame *frame, struct wh_error *err)
{
    const char *name = wh_json_string(frame->json, "name");
    if (!name || frame->nfds != 1 || !wh_ends_with(name, ".tar.gz"))
        return wh_fail(err, WH_E_PROTOCOL, "the fetcher gave no Node.js");
    wh_autofree char *top = wh_strndup(name, strlen(name) - strlen(".tar.gz"));
    l->got++;
    return unpack_to(l->job, frame->fds[0], top, l->folder, err);
}

int wh_fetch_node(struct wh_job *j, int major, const char *folder, struct wh_error *err)
{
    struct line l = {.take = take_node, .folder = folder};
    wh_autojson *question = cJSON_CreateObject();
    wh_json_add_string(question, "type", "node");
    wh_json_add_int(question, "version", major);
    if (ask(j, &l, question, err) < 0)
        return -1;
    return l.got == 1 ? 0 : wh_fail(err, WH_E_PROTOCOL, "the fetcher gave no Node.js");
}
