/* Finishing a job whose worker, or whose agent, died: a second worker takes what the first one left (its
 * spool of log lines and, if it came that far, its completion), hands it in and completes the job
 * (runner-protocol.md §4.5, §6). The lock is renewed meanwhile like that of any job. */
#include <stdio.h>

#include "daemon/daemon.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define ACQUIRE_WITHIN_S 110 /* of the announcement: the service gives it to others after two minutes */

static const char agent_died[] =
    "The runner was restarted while the job ran: its process ended without notice "
    "(a crash, kill -9, or the machine lost its power).";

int recover_send(struct jobrun *j, struct wh_error *err)
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

bool recover_worker(struct jobrun *j, enum wh_task_result conclusion, const char *why)
{
    wh_autoerror err = {0};
    if (j->recovering || !j->kept || !wh_json_get(j->kept, "message"))
        return false; /* it died too: then without it */
    j->recovering = true;
    j->recover_as = conclusion;
    free(j->trouble);
    j->trouble = wh_strdup(why);
    builds_kill(j);
    job_user_kill_left(&j->r->user, j->mark);
    if (worker_start(j, &err) || recover_send(j, &err)) {
        wh_log_error("%s", wh_error_text(&err));
        return false;
    }
    wh_log_warning("%s: job %s: handing in what its worker left", j->r->config->name, j->display_name);
    return true;
}

/* ---- at the agent's start ---- */

static struct jobrun *rebuild(struct runner *r, cJSON *kept)
{
    struct jobrun *j = jobrun_new(r, wh_json_string(kept, "requestId"));
    snprintf(j->mark, sizeof j->mark, "%s", wh_json_string(kept, "mark"));
    j->kept = kept;
    return j;
}

/* The agent died before it had the job message: as long as the job waits for us, it is run as if nothing had
 * been. */
static void acquire_again(struct runner *r, cJSON *kept)
{
    int64_t age = wh_now_ns() / 1000000000 - wh_json_int(kept, "announced", 0);
    struct wh_broker_message job = {.type = WH_MESSAGE_JOB,
                                    .request_id = (char *)wh_json_string(kept, "requestId"),
                                    .run_service_url = (char *)wh_json_string(kept, "runServiceUrl"),
                                    .billing_owner_id = (char *)wh_json_string(kept, "billingOwnerId")};
    if (age < 0 || age > ACQUIRE_WITHIN_S || !job.request_id) {
        cJSON_Delete(kept);
        keep_drop(r);
        return;
    }
    wh_log_info("%s: asking for the job that was announced before the restart", r->config->name);
    struct jobrun *j = rebuild(r, kept);
    runner_know_request(r, job.request_id);
    jobrun_acquire(j, &job);
}

static void finish(struct runner *r, cJSON *kept)
{
    wh_autoerror err = {0};
    struct jobrun *j = rebuild(r, kept);
    const cJSON *message = wh_json_get(kept, "message");
    j->service = wh_github_job_new(r->d->http, message, &err);
    if (!j->service) {
        wh_log_error("%s: a job that was cut off can't be finished: %s", r->config->name,
                     wh_error_text(&err));
        jobrun_end(j);
        return;
    }
    wh_github_job_completed_perhaps(j->service);
    jobrun_name(j, message);
    j->recovering = true;
    j->recover_as = WH_TASK_FAILED;
    j->trouble = wh_strdup(agent_died);
    wh_log_warning("%s: job %s was cut off by the end of the agent: finishing it", r->config->name,
                   j->display_name);
    j->state = JOB_FIRST_RENEW;
    renewal_start(j);
}

void recover_start(struct runner *r)
{
    wh_autoerror err = {0};
    cJSON *kept = keep_read(r, &err);
    if (!kept) {
        if (err.code != WH_E_NOT_FOUND) {
            wh_log_error("%s: %s", r->config->name, wh_error_text(&err));
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
