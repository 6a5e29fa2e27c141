/* What a running agent says of itself. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"

static int64_t own_memory(void)
{
    wh_autostr text = {0};
    long long kb = 0;
    if (wh_read_file(AT_FDCWD, "/proc/self/status", 65536, &text, NULL) < 0)
        return 0;
    const char *line = strstr(wh_str_text(&text), "\nVmRSS:");
    return line && sscanf(line, "\nVmRSS: %lld", &kb) == 1 ? kb * 1024 : 0;
}

static int64_t seconds_since(uint64_t mono_ms)
{
    return (int64_t)((wh_mono_ms() - mono_ms) / 1000);
}

/* Left out where it has not been. */
static void add_time(cJSON *json, const char *name, int64_t ns)
{
    char stamp[40];
    if (ns)
        wh_json_add_string(json, name, wh_time_iso(ns, 3, stamp));
}

static cJSON *describe_job(const struct jobrun *j)
{
    cJSON *job = cJSON_CreateObject();
    wh_json_add_string(job, "name", j->display_name);
    if (j->service)
        wh_json_add_string(job, "id", wh_github_job_id(j->service));
    wh_json_add_string(job, "state", job_state_name(j->state));
    wh_json_add_string(job, "step", j->step);
    if (j->step)
        wh_json_add_int(job, "stepNumber", j->step_number);
    wh_json_add_int(job, "seconds", seconds_since(j->announced_ms));
    wh_json_add_string(job, "cancelled", j->cancel_reason);
    add_time(job, "lockedUntil", j->service ? j->renewal.locked_until_ns : 0);
    wh_json_add_int(job, "renewErrors", j->renewal.errors);
    if (worker_runs(j))
        wh_json_add_int(job, "workerPid", j->worker.process.pid);
    return job;
}

static cJSON *describe_counts(const struct runner_counts *c)
{
    cJSON *json = cJSON_CreateObject();
    wh_json_add_int(json, "jobs", (int64_t)c->jobs);
    wh_json_add_int(json, "succeeded", (int64_t)c->succeeded);
    wh_json_add_int(json, "failed", (int64_t)c->failed);
    wh_json_add_int(json, "canceled", (int64_t)c->canceled);
    wh_json_add_int(json, "lost", (int64_t)c->lost);
    wh_json_add_string(json, "lastJob", c->last_job);
    wh_json_add_string(json, "lastResult", c->last_result);
    add_time(json, "lastEnd", c->last_end_ns);
    return json;
}

static cJSON *describe_runner(const struct runner *r)
{
    cJSON *json = cJSON_CreateObject();
    wh_json_add_string(json, "name", r->name);
    wh_json_add_int(json, "agent", getpid());
    wh_json_add_string(json, "state", runner_state_name(r->state));
    wh_json_add_int(json, "seconds", seconds_since(r->since_ms));
    if (r->config) {
        wh_json_add_string(json, "url", r->config->url);
        wh_json_add_string(json, "group", r->config->group);
        cJSON *labels = cJSON_AddArrayToObject(json, "labels");
        for (char **label = r->config->labels; label && *label; label++)
            cJSON_AddItemToArray(labels, cJSON_CreateString(*label));
        cJSON_AddBoolToObject(json, "ephemeral", r->config->ephemeral);
        wh_json_add_string(json, "jobUser", r->user.user.name);
    }
    wh_json_add_string(json, "runnerVersion", r->session_version);
    cJSON_AddBoolToObject(json, "draining", r->drained || r->end_wanted);
    add_time(json, "lastContact", r->contact_ns);
    wh_json_add_int(json, "pollErrors", r->errors);
    if (r->error) {
        cJSON *error = cJSON_AddObjectToObject(json, "lastError");
        wh_json_add_string(error, "text", r->error);
        add_time(error, "at", r->error_ns);
    }
    cJSON_AddItemToObject(json, "lifetime", describe_counts(&r->counts));
    if (r->job)
        cJSON_AddItemToObject(json, "job", describe_job(r->job));
    return json;
}

cJSON *status_describe(const struct daemon *d)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *agent = cJSON_AddObjectToObject(json, "agent");
    wh_json_add_string(agent, "version", WH_VERSION);
    wh_json_add_int(agent, "pid", getpid());
    wh_json_add_int(agent, "upSeconds", seconds_since(d->started_ms));
    wh_json_add_int(agent, "memoryBytes", own_memory());
    cJSON_AddBoolToObject(agent, "draining", d->draining);
    wh_json_add_int(agent, "jobs", d->places.taken);
    wh_json_add_int(agent, "maxJobs", d->places.limit);
    wh_json_add_int(agent, "clockSkewSeconds", wh_http_client_clock_skew(d->http));
    cJSON *list = cJSON_AddArrayToObject(json, "runners");
    for (size_t i = 0; i < d->nrunners; i++)
        cJSON_AddItemToArray(list, describe_runner(d->runners[i]));
    return json;
}
