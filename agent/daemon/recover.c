/* Finishing a job whose worker, or whose agent, died: a second worker takes what the first one left (its
 * spool of log lines and, if it came that far, its completion), hands it in and completes the job
 * (runner-protocol.md §4.5, §6). The lock is renewed meanwhile like that of any job. */
#include <stdio.h>

#include "daemon/actions.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define ACQUIRE_WITHIN_S 110 /* of the announcement: the service gives it to others after two minutes */

static const char agent_died[] =
    "The runner was restarted while the job ran: its process ended without notice "
    "(a crash, kill -9, or the machine lost its power).";

static int recover_send(struct jobrun *j, struct wh_error *err)
{
    wh_autojson *frame = cJSON_CreateObject();
    const cJSON *message = wh_json_get(j->kept, "message");
    wh_json_add_string(frame, "type", "recover");
    cJSON_AddItemToObject(frame, "message", cJSON_Duplicate(message, true));
    cJSON_AddItemToObject(frame, "runner", jobrun_runner_object(j));
    cJSON_AddItemToObject(frame, "options", cJSON_CreateObject());
    wh_json_add_string(frame, "conclusion", wh_task_result_text(j->recover_as));
    wh_json_add_string(frame, "reason", j->trouble);
    wh_autoclose int completion = keep_open_completion(j);
    return worker_send_fds(j, frame, &completion, completion >= 0 ? 1 : 0, err);
}

bool recover_worker(struct jobrun *j)
{
    wh_autoerror err = {0};
    if (!j->kept || !wh_json_get(j->kept, "message"))
        return false;
    j->recovering = true;
    builds_kill(j);
    job_user_kill_left(&j->r->user, j->mark);
    if (worker_start(j, &err) || recover_send(j, &err)) {
        wh_log_error("%s", wh_error_text(&err));
        return false;
    }
    wh_log_warning("job %s: handing in what its worker left", j->display_name);
    return true;
}

/* ---- at the agent's start ---- */

static struct jobrun *rebuild(struct runner *r, cJSON *kept)
{
    struct wh_broker_message job = {.type = WH_MESSAGE_JOB,
                                    .request_id = (char *)wh_json_string(kept, "requestId"),
                                    .run_service_url = (char *)wh_json_string(kept, "runServiceUrl"),
                                    .billing_owner_id = (char *)wh_json_string(kept, "billingOwnerId")};
    struct jobrun *j = jobrun_new(r, &job);
    snprintf(j->mark, sizeof j->mark, "%s", wh_json_string(kept, "mark"));
    j->kept = kept;
    return j;
}

/* The agent died before it had the job message: as long as the job waits for us, it is run as if nothing had
 * been. */
static void acquire_again(struct runner *r, cJSON *kept)
{
    int64_t age = wh_now_ns() / 1000000000 - wh_json_int(kept, "announced", 0);
    if (age < 0 || age > ACQUIRE_WITHIN_S || !wh_json_string(kept, "requestId")) {
        cJSON_Delete(kept);
        keep_drop(r);
        return;
    }
    wh_log_info("asking for the job that was announced before the restart");
    struct jobrun *j = rebuild(r, kept);
    runner_know_request(r, j->job.request_id);
    places_force(j);
    jobrun_begin(j);
}

static void finish(struct runner *r, cJSON *kept)
{
    wh_autoerror err = {0};
    struct jobrun *j = rebuild(r, kept);
    const cJSON *message = wh_json_get(kept, "message");
    j->service = wh_github_job_new(r->d->http, message, &err);
    if (!j->service) {
        job_event(j, JOB_ON_UNREADABLE, &err);
        return;
    }
    wh_github_job_completed_perhaps(j->service);
    jobrun_name(j, message);
    j->recovering = true;
    j->recover_as = WH_TASK_FAILED;
    j->trouble = wh_strdup(agent_died);
    wh_log_warning("job %s was cut off by the end of the agent: finishing it", j->display_name);
    places_force(j);
    job_event(j, JOB_ON_FOUND, NULL);
}

void recover_start(struct runner *r)
{
    wh_autoerror err = {0};
    cJSON *kept = keep_read(r, &err);
    if (!kept) {
        if (err.code != WH_E_NOT_FOUND) {
            runner_say_error(r, &err);
            keep_drop(r);
        }
        return;
    }
    job_user_kill_left(&r->user, wh_json_string(kept, "mark"));
    wh_job_cgroup_sweep();
    if (wh_json_get(kept, "message"))
        finish(r, kept);
    else
        acquire_again(r, kept);
}
