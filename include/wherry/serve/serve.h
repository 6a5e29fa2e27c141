/* The services of jobs, from the agent's side: one `wherry serve` process while jobs run, which is told of
 * each what it may do. It is the store's owner, holds no runner's key, and learns of a job's token the hash
 * alone. A process that dies is started again and told the same; the port stays, so jobs don't notice but by
 * a call that failed. */
#ifndef WH_SERVE_SERVE_H
#define WH_SERVE_SERVE_H

#include <sys/types.h>
#include <uv.h>

#include "wherry/base/json.h"

#define WH_SERVE_CHANNEL_FD 3
#define WH_MAX_SERVE_TOKEN ((size_t)64 << 10) /* of a job's token, which is parsed */
#define WH_SERVE_IDLE_MS 10000                /* it stays that long after the last job */

enum wh_serve_artifacts {
    WH_ARTIFACTS_AUTO, /* GitHub's where the job has a results service, else here */
    WH_ARTIFACTS_LOCAL,
    WH_ARTIFACTS_GITHUB
};

struct wh_serve_options {
    const char *state; /* the state folder; as for builds */
    uid_t job_uid;
    gid_t job_gid;
    enum wh_serve_artifacts artifacts;
    uint64_t repository_max; /* bytes of one repository's entries; 0: the store's bounds alone */
};

struct wh_serve;
/* Opens the port; the process comes with the first job. Texts are copied. */
struct wh_serve *wh_serve_new(uv_loop_t *loop, const struct wh_serve_options *options, struct wh_error *err);
/* Ends it. The loop must run until its handles are closed. NULL is fine. */
void wh_serve_free(struct wh_serve *s);

/* Tells it of a job, by its message: repository, event, the token's rights. run: of a job without a
 * service of GitHub's (`wherry exec`) the id that the jobs of one run share, and a token is made for it; else
 * NULL. Returns what the worker's job frame needs in
 * options.services, {"url": ..., "token": ...?}, owned by the caller; NULL with err where that failed: the
 * job runs without. */
cJSON *wh_serve_job(struct wh_serve *s, const char *id, const cJSON *message, const char *run,
                    struct wh_error *err);
void wh_serve_job_end(struct wh_serve *s, const char *id); /* unknown, or s NULL: fine */
pid_t wh_serve_pid(const struct wh_serve *s);              /* 0: none runs */

/* What a job's message and token say of its rights, as the frame for the process: "id", "token" (hex of its
 * SHA-256), "expires", "repository", "scopes", "run", "job", "results". Owned by the caller. */
cJSON *wh_serve_rights(const char *id, const cJSON *message, const char *token, bool local);
/* A token of the form that cache clients want to see (cache-service.md §3), worth nothing elsewhere. Owned.
 */
char *wh_serve_make_token(const cJSON *message, const char *run);

/* The process itself: an exit code. */
int wh_serve_main(void);

#endif
