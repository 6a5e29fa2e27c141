/* The process: a loop, the cache service, and the line to the agent. Its end is the agent's. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wherry/base/frame.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"
#include "wherry/cachesvc/cachesvc.h"
#include "wherry/platform/mount.h"
#include "wherry/serve/serve.h"

#define STATE_POINT                                                                                          \
    "/run/wherry" /* where the state folder appears to its owner, who may not reach its path */
#define MAX_FRAME ((size_t)256 << 10)

struct serve {
    uv_loop_t loop;
    uv_poll_t poll;
    struct wh_frame_conn *conn;
    struct wh_cachesvc *svc;
    bool local_artifacts;
};

/* ---- rights ---- */

/* As root: the folder at a place that its owner can reach, then its owner for good. */
static int become_owner(int state, char **path, struct wh_error *err)
{
    struct stat st;
    if (geteuid() != 0)
        return 0;
    if (fstat(state, &st) < 0)
        return wh_fail_errno(err, "the state folder");
    if (st.st_uid == 0)
        return wh_fail(err, WH_E_DENIED, "the state folder %s is root's: `wherry serve` does not run as root",
                       *path);
    if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        wh_mkdir_p(STATE_POINT, 0755, err) == 0 && wh_bind_mount(state, STATE_POINT, false, err) == 0) {
        free(*path);
        *path = wh_strdup(STATE_POINT);
    } else {
        wh_error_clear(err);
    }
    if (setgroups(0, NULL) < 0 || setresgid(st.st_gid, st.st_gid, st.st_gid) < 0 ||
        setresuid(st.st_uid, st.st_uid, st.st_uid) < 0)
        return wh_fail_errno(err, "become the owner of %s", *path);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    /* Again: the change of ids cleared it. */
    return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ? wh_fail_errno(err, "end with the agent") : 0;
}

/* ---- frames ---- */

static void add_job(struct serve *s, const cJSON *frame)
{
    struct wh_cachesvc_scope scopes[WH_MAX_CACHE_SCOPES];
    const char *token = wh_json_string(frame, "token");
    struct wh_cachesvc_job job = {.id = wh_json_string(frame, "id"),
                                  .expires = wh_json_int(frame, "expires", 0),
                                  .repository = wh_json_string(frame, "repository"),
                                  .scopes = scopes,
                                  .run = wh_json_string(frame, "run"),
                                  .backend = wh_json_string(frame, "job"),
                                  .results = wh_json_string(frame, "results"),
                                  .artifacts = s->local_artifacts};
    const cJSON *item;
    wh_autoerror err = {0};
    cJSON_ArrayForEach(item, wh_json_get(frame, "scopes"))
    {
        const char *name = wh_json_string(item, "scope");
        if (name && job.nscopes < WH_MAX_CACHE_SCOPES)
            scopes[job.nscopes++] =
                (struct wh_cachesvc_scope){name, (unsigned)wh_json_int(item, "permission", 0)};
    }
    if (!token || !wh_unhex(token, job.token.bytes, sizeof(job.token.bytes)))
        wh_log_error("serve: a job without a token");
    else if (wh_cachesvc_add(s->svc, &job, &err) < 0)
        wh_log_error("serve: %s", wh_error_text(&err));
    else
        wh_log_debug("serve: job %s of %s", job.id, job.repository);
}

static void handle(struct serve *s, const cJSON *frame)
{
    const char *type = wh_json_string(frame, "type");
    const char *id = wh_json_string(frame, "id");
    if (wh_streq(type, "job"))
        add_job(s, frame);
    else if (wh_streq(type, "job-end") && id)
        wh_cachesvc_end(s->svc, id);
    else
        wh_log_debug("serve: a frame of type '%.40s' is not known", type ? type : "");
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct serve *s = poll->data;
    wh_autoerror err = {0};
    for (;;) {
        wh_autoframe frame = {0};
        int n = status < 0 ? -2 : wh_frame_conn_recv(s->conn, &frame, &err);
        if (n == 0)
            return;
        if (n < 0) {
            uv_stop(&s->loop); /* the agent is gone, or wants us to go */
            return;
        }
        handle(s, frame.json);
    }
}

/* ---- the process ---- */

static int open_service(struct serve *s, struct wh_frame *launch, struct wh_error *err)
{
    const char *state = wh_json_need_string(launch->json, "state", "the launcher's message", err);
    const char *origin =
        state ? wh_json_need_string(launch->json, "origin", "the launcher's message", err) : NULL;
    if (!origin)
        return -1;
    if (launch->nfds != 2)
        return wh_fail(err, WH_E_PROTOCOL, "the launcher's message brings %zu descriptors, not 2",
                       launch->nfds);
    wh_autofree char *path = wh_strdup(state);
    if (become_owner(launch->fds[0], &path, err) < 0)
        return -1;
    struct wh_cachesvc_options o = {.loop = &s->loop,
                                    .state = path,
                                    .listener = wh_steal_fd(&launch->fds[1]),
                                    .origin = origin,
                                    .repository_max = (uint64_t)wh_json_int(launch->json, "repositoryMax", 0),
                                    .least_free = (uint64_t)wh_json_int(launch->json, "leastFree", 0),
                                    .per_minute = (unsigned)wh_json_int(launch->json, "perMinute", 0),
                                    .reserve_seconds =
                                        (unsigned)wh_json_int(launch->json, "reserveSeconds", 0)};
    s->local_artifacts = wh_streq(wh_json_string(launch->json, "artifacts"), "local");
    s->svc = wh_cachesvc_new(&o, err);
    const cJSON *job;
    if (s->svc)
        cJSON_ArrayForEach(job, wh_json_get(launch->json, "jobs")) add_job(s, job);
    return s->svc ? 0 : -1;
}

static int serve(struct serve *s, struct wh_error *err)
{
    wh_autoframe launch = {0};
    int n = wh_frame_recv(WH_SERVE_CHANNEL_FD, &launch, err);
    if (n != 1)
        return n < 0 ? -1 : wh_fail(err, WH_E_PROTOCOL, "the launcher said nothing");
    if (open_service(s, &launch, err) < 0)
        return -1;
    s->conn = wh_frame_conn_new(WH_SERVE_CHANNEL_FD);
    wh_frame_conn_limit(s->conn, MAX_FRAME);
    uv_poll_init(&s->loop, &s->poll, wh_frame_conn_fd(s->conn));
    s->poll.data = s;
    uv_poll_start(&s->poll, UV_READABLE, on_readable);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    struct wh_cachesvc_counts counts;
    wh_cachesvc_count(s->svc, &counts);
    wh_log_debug("serve: %llu requests, %llu hits, %llu misses, %llu saved",
                 (unsigned long long)counts.requests, (unsigned long long)counts.hits,
                 (unsigned long long)counts.misses, (unsigned long long)counts.saved);
    uv_close((uv_handle_t *)&s->poll, NULL);
    wh_cachesvc_free(s->svc);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    wh_frame_conn_free(s->conn);
    return 0;
}

int wh_serve_main(void)
{
    struct serve s = {0};
    wh_autoerror err = {0};
    signal(SIGPIPE, SIG_IGN);
    (void)umask(077);
    /* Its threads hash and flush: an arena for each would only grow. */
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    setenv("UV_THREADPOOL_SIZE", "8", 0); /* hashing and flushing of several uploads at once */
    uv_loop_init(&s.loop);
    int n = serve(&s, &err);
    if (n < 0)
        wh_log_error("serve: %s", wh_error_text(&err));
    else
        uv_loop_close(&s.loop);
    return n < 0;
}
