/* The service: start, jobs, end. */
#include <ctype.h>
#include <unistd.h>

#include "cachesvc/internal.h"

#define LEAST_FREE ((uint64_t)64 << 20)
#define PER_MINUTE 2000
#define RESERVE_SECONDS 900

static struct wh_store *open_store(const char *state, struct wh_error *err)
{
    struct wh_store_options o = {.dir = state};
    return wh_store_open(&o, err);
}

static int open_all(struct wh_cachesvc *svc, int listener, struct wh_error *err)
{
    svc->writes = open_store(svc->state, err);
    if (!svc->writes || wh_cache_prepare(svc->writes, err) < 0)
        return -1;
    svc->reads = open_store(svc->state, err);
    if (!svc->reads || svc_key_load(svc, err) < 0)
        return -1;
    return svc_http_start(svc, listener, err);
}

static void free_rest(struct wh_cachesvc *svc)
{
    wh_store_close(svc->reads);
    wh_store_close(svc->writes);
    wh_wipe(svc->key, sizeof(svc->key));
    free(svc->touched);
    free(svc->roots);
    free(svc->state);
    free(svc->origin);
    free(svc);
}

struct wh_cachesvc *wh_cachesvc_new(const struct wh_cachesvc_options *o, struct wh_error *err)
{
    struct wh_cachesvc *svc = wh_calloc(1, sizeof(*svc));
    svc->loop = o->loop;
    svc->state = wh_strdup(o->state);
    svc->origin = wh_strdup(o->origin);
    svc->repository_max = o->repository_max;
    svc->least_free = o->least_free ? o->least_free : LEAST_FREE;
    svc->per_minute = o->per_minute ? o->per_minute : PER_MINUTE;
    svc->reserve_seconds = o->reserve_seconds ? o->reserve_seconds : RESERVE_SECONDS;
    if (open_all(svc, o->listener, err) < 0) {
        free_rest(svc);
        return NULL;
    }
    svc->http = wh_http_client_new(svc->loop, NULL);
    svc_upkeep_start(svc);
    return svc;
}

/* ---- the end ---- */

static void job_free(struct svc_job *job)
{
    for (size_t i = 0; i < job->nscopes; i++)
        free(job->scopes[i].name);
    free(job->id);
    free(job->repository);
    free(job->run);
    free(job->backend);
    free(job->results);
    free(job);
}

static void on_closed(uv_handle_t *handle)
{
    struct wh_cachesvc *svc = handle->data;
    if (--svc->handles > 0)
        return;
    free_rest(svc);
}

void wh_cachesvc_free(struct wh_cachesvc *svc)
{
    if (!svc)
        return;
    svc->ending = true;
    wh_http_client_free(wh_steal(&svc->http));
    /* Nothing may sleep when the server stops: their work ends first. */
    while (svc->works > 0)
        uv_run(svc->loop, UV_RUN_ONCE);
    svc_http_stop(svc);
    struct svc_job *job = svc->jobs;
    HASH_CLEAR(hh, svc->jobs);
    while (job) {
        struct svc_job *next = job->hh.next;
        job_free(job);
        job = next;
    }
    struct svc_rate *rate = svc->rates;
    HASH_CLEAR(hh, svc->rates);
    while (rate) {
        struct svc_rate *next = rate->hh.next;
        free(rate->repository);
        free(rate);
        rate = next;
    }
    svc_lives_close(svc, true);
    uv_handle_t *handles[] = {(uv_handle_t *)&svc->poll, (uv_handle_t *)&svc->timer,
                              (uv_handle_t *)&svc->idle, (uv_handle_t *)&svc->upkeep};
    svc->handles = WH_COUNT(handles);
    for (size_t i = 0; i < WH_COUNT(handles); i++)
        uv_close(handles[i], on_closed);
}

/* ---- jobs ---- */

static bool id_ok(const char *id)
{
    size_t len = id ? strlen(id) : 0;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)id[i]) && !strchr("-_.", id[i]))
            return false;
    return len > 0 && len <= 128;
}

/* The one to write comes first; of several the last counts, by which BuildKit names its index. */
static void add_scopes(struct svc_job *job, const struct wh_cachesvc_job *from)
{
    size_t write = from->nscopes;
    for (size_t i = 0; i < from->nscopes; i++)
        if (from->scopes[i].permission & WH_CACHE_WRITE)
            write = i;
    if (write < from->nscopes) {
        job->scopes[0] =
            (struct svc_scope){wh_strdup(from->scopes[write].scope), from->scopes[write].permission};
        job->nscopes = 1;
        job->write = job->scopes[0].name;
    }
    for (size_t i = 0; i < from->nscopes && job->nscopes < WH_MAX_CACHE_SCOPES; i++)
        if (i != write)
            job->scopes[job->nscopes++] =
                (struct svc_scope){wh_strdup(from->scopes[i].scope), from->scopes[i].permission};
}

int wh_cachesvc_add(struct wh_cachesvc *svc, const struct wh_cachesvc_job *from, struct wh_error *err)
{
    if (!id_ok(from->id) || !from->repository || !from->repository[0])
        return wh_fail(err, WH_E_ARGUMENT, "a job without a proper id and repository");
    if (HASH_COUNT(svc->jobs) >= WH_MAX_CACHE_JOBS || from->nscopes > WH_MAX_CACHE_SCOPES)
        return wh_fail(err, WH_E_LIMIT, "more than %d jobs or %d scopes", WH_MAX_CACHE_JOBS,
                       WH_MAX_CACHE_SCOPES);
    struct svc_job *job;
    HASH_FIND_STR(svc->jobs, from->id, job);
    if (job) {
        HASH_DEL(svc->jobs, job);
        job_free(job);
    }
    job = wh_calloc(1, sizeof(*job));
    job->id = wh_strdup(from->id);
    job->token = from->token;
    job->expires = from->expires;
    job->repository = wh_strdup(from->repository);
    wh_ascii_lower(job->repository); /* GitHub's names are the same in any case */
    job->run = wh_strdup(from->run);
    job->backend = wh_strdup(from->backend);
    job->results = wh_strdup(from->results);
    job->artifacts = from->artifacts;
    add_scopes(job, from);
    HASH_ADD_KEYPTR(hh, svc->jobs, job->id, strlen(job->id), job);
    return 0;
}

void wh_cachesvc_end(struct wh_cachesvc *svc, const char *id)
{
    struct svc_job *job;
    HASH_FIND_STR(svc->jobs, id, job);
    if (!job)
        return;
    size_t n = 0;
    wh_autofree int64_t *ids = wh_upload_ids(svc->reads, id, &n, NULL);
    for (size_t i = 0; ids && i < n; i++)
        svc_live_drop(svc, ids[i]);
    HASH_DEL(svc->jobs, job);
    job_free(job);
}

void wh_cachesvc_count(const struct wh_cachesvc *svc, struct wh_cachesvc_counts *out)
{
    *out = svc->counts;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(svc->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    out->connections = info ? info->num_connections : 0;
}
