/* The service as seen by one running job: endpoint, job token, ids; lock and completion (runner-protocol.md
 * §4.4, §4.5).
 *
 * A struct wh_github_job is made from an acquired job message and lives on the loop of its HTTP client;
 * worker and agent each make their own of the same message. Everything here is asynchronous: callbacks come
 * on the loop, never from within the call. */
#ifndef WH_GITHUB_JOB_H
#define WH_GITHUB_JOB_H

#include "wherry/net/http.h"

struct wh_github_job;

/* Reads plan, jobId, endpoint SystemVssConnection and variables from the message (borrowed for the call).
 * NULL with an error that names the missing field. The client must outlive it. */
struct wh_github_job *wh_github_job_new(struct wh_http_client *http, const cJSON *message,
                                        struct wh_error *err);
/* Ends calls under way without their callbacks. Free results and feed of the job first. */
void wh_github_job_free(struct wh_github_job *job);
void wh_github_job_free_ptr(struct wh_github_job **job);
#define wh_autogithubjob __attribute__((cleanup(wh_github_job_free_ptr))) struct wh_github_job

const char *wh_github_job_id(const struct wh_github_job *job); /* borrowed */

/* V1, plans before version 8: the job ends by the runner's word on its request (wh_session_end_request()),
 * not by an event of the job's own. */
bool wh_github_job_ends_by_request(const struct wh_github_job *job);

/* What another process needs of the message to finish the job in this one's place (wh_github_job_new() of the
 * excerpt gives the same object): ids, plan, endpoint with the job's token, variables that are no secrets.
 * Owned by the caller; still secret because of the token. */
cJSON *wh_github_job_excerpt(const cJSON *message);

/* ---- what is reported ---- */
enum wh_task_result { /* numbers are the service's (§0.1) */
                      WH_TASK_NONE = -1,
                      WH_TASK_SUCCEEDED,
                      WH_TASK_SUCCEEDED_WITH_ISSUES,
                      WH_TASK_FAILED,
                      WH_TASK_CANCELED,
                      WH_TASK_SKIPPED,
                      WH_TASK_ABANDONED
};
const char *wh_task_result_text(enum wh_task_result result); /* "succeeded", ...; NULL for NONE */
enum wh_task_result
wh_task_result_parse(const char *text); /* any case, "cancelled" too; NONE for anything else */

enum wh_step_status { WH_STEP_PENDING, WH_STEP_IN_PROGRESS, WH_STEP_COMPLETED };

enum wh_annotation_level { WH_ANNOTATION_NOTICE, WH_ANNOTATION_WARNING, WH_ANNOTATION_FAILURE };
#define WH_MAX_ANNOTATION_MESSAGE 4096 /* UTF-16 units; longer ones are cut here */
#define WH_MAX_ANNOTATIONS 10          /* a level and step; more are left out here */
struct wh_annotation {                 /* texts masked already; NULL and 0 are left out on the wire */
    enum wh_annotation_level level;
    const char *message;
    const char *title;
    const char *path;
    int64_t start_line, end_line, start_column, end_column;
    int64_t log_line; /* of the step's log, where it stands there; 0: it doesn't */
};
struct wh_step_record {
    const char *id;                       /* GUID; the same one in steps update, logs and feed */
    int number;                           /* rises; gaps are fine */
    const char *name;                     /* masked */
    const char *ref_name;                 /* of V1: the step's name in the workflow; optional */
    const char *action_name, *ref, *type; /* optional; type: "run", "node24", "composite", ... */
    enum wh_step_status status;
    enum wh_task_result conclusion;   /* NONE until completed */
    int64_t started_ns, completed_ns; /* wall clock; 0: not yet */
    bool background;                  /* the steps after it don't wait for it */
    const char *control;              /* "wait", "wait-all", "cancel" of background steps; optional */
    const char *control_ids;          /* of which: GUIDs without dashes, with commas between them; optional */
    const char *parallel_group;       /* optional */
    const struct wh_annotation *annotations;
    size_t nannotations;
};

/* A record as an object with all that it has, for our own files; and back. The names are wherry's own. */
cJSON *wh_step_record_json(const struct wh_step_record *record);
struct wh_step_record *wh_step_record_read(const cJSON *json); /* owned with its texts; NULL: it is none */
void wh_step_record_free(struct wh_step_record *record);       /* only of wh_step_record_read() */

/* ---- calls ---- */
/* err is NULL on success and dies after the callback. */
typedef void (*wh_github_done_fn)(void *data, struct wh_error *err);

struct wh_github_output {
    const char *name;
    const char *value;
};
enum wh_telemetry_type { WH_TELEMETRY_GENERAL, WH_TELEMETRY_ACTION_COMMAND, WH_TELEMETRY_CONNECTIVITY_CHECK };
#define WH_MAX_TELEMETRY 100 /* of a job; more is left out */
struct wh_telemetry {
    enum wh_telemetry_type type;
    const char *message; /* masked */
};
struct wh_github_completion {
    enum wh_task_result conclusion;
    const struct wh_github_output *outputs; /* non-empty, free of secrets */
    size_t noutputs;
    const struct wh_step_record *steps; /* finished ones in the order of completion */
    size_t nsteps;
    const struct wh_annotation *annotations; /* of the job */
    size_t nannotations;
    const char *environment_url; /* optional */
    const struct wh_telemetry *telemetry;
    size_t ntelemetry;
};
/* completejob's body without the ids, owned. */
cJSON *wh_github_completejob_body(const struct wh_github_completion *completion);
/* A completion as JSON, to be kept until it was accepted, and read again (then all texts are owned: clear
 * it). WH_E_CORRUPT: it names no conclusion. */
cJSON *wh_github_completion_json(const struct wh_github_completion *completion);
int wh_github_completion_read(const cJSON *json, struct wh_github_completion *out, struct wh_error *err);
/* To one whose texts are owned; takes step over. */
void wh_github_completion_add_step(struct wh_github_completion *completion, struct wh_step_record *step);
void wh_github_completion_clear(struct wh_github_completion *completion);
/* The process that may have sent it before is dead: a service that knows the job no more has got it then.
 * Call before wh_github_job_complete(). */
void wh_github_job_completed_perhaps(struct wh_github_job *job);
/* completejob, tried again for 15 minutes while the service is away or in trouble (the agent renews the lock
 * meanwhile); any other 4xx ends it; 404/409 after a lost answer is success. The completion is read within
 * the call. */
void wh_github_job_complete(struct wh_github_job *job, const struct wh_github_completion *completion,
                            wh_github_done_fn done, void *data);
/* renewjob, one try. locked_until_ns is 0 where the answer has none. status is the HTTP status (0: no
 * answer). */
typedef void (*wh_github_renewed_fn)(void *data, int status, int64_t locked_until_ns, struct wh_error *err);
void wh_github_job_renew(struct wh_github_job *job, wh_github_renewed_fn done, void *data);

#endif
