/* Which request is whose. */
#include <sodium.h>

#include "cachesvc/internal.h"

#define V1 "/_apis/artifactcache/"
#define TWIRP "/twirp/"
#define CACHE_SERVICE TWIRP "github.actions.results.api.v1.CacheService/"
#define ARTIFACT_SERVICE TWIRP "github.actions.results.api.v1.ArtifactService/"
#define BLOB "/_blob/"

struct svc_job *svc_job_of(const struct request *r)
{
    struct svc_job *job = NULL;
    if (r->job)
        HASH_FIND_STR(r->svc->jobs, r->job, job);
    return job;
}

bool svc_authenticate(struct request *r)
{
    const char *given = svc_header(r, "Authorization");
    struct svc_job *found = NULL;
    if (given && wh_starts_with_ci(given, "bearer ")) {
        struct wh_digest token;
        const char *text = given + strlen("bearer ");
        wh_digest_of(text, strlen(text), &token);
        for (struct svc_job *job = r->svc->jobs; job; job = job->hh.next)
            if (sodium_memcmp(job->token.bytes, token.bytes, sizeof(token.bytes)) == 0)
                found = job;
    }
    if (found && found->expires > 0 && found->expires < wh_now_ns() / 1000000000)
        found = NULL;
    if (!found) {
        svc_refuse(r, "unauthenticated", "the token is not that of a job that runs here");
        return false;
    }
    r->job = wh_strdup(found->id);
    return true;
}

static void end_call(struct request *r)
{
    wh_autojson *in = svc_fields_read(r);
    if (in && svc_job_of(r))
        r->call->end(r, in);
    else if (in)
        svc_refuse(r, "unauthenticated", "the job has ended");
}

static void take_call(struct request *r, const struct call *call)
{
    const char *type = svc_header(r, "Content-Type");
    r->call = call;
    r->protobuf = type && wh_starts_with_ci(type, "application/protobuf");
    if (!call || !wh_streq(r->method, "POST"))
        svc_refuse(r, "bad_route", "there is no such call");
    else
        r->end = end_call;
}

/* Anything else of the results service is the job's own business. */
static bool is_local(const struct request *r, const struct svc_job *job)
{
    if (wh_starts_with(r->path, CACHE_SERVICE))
        return true;
    return wh_starts_with(r->path, ARTIFACT_SERVICE) && (job->artifacts || !job->results);
}

static void route_twirp(struct request *r)
{
    if (!svc_authenticate(r))
        return;
    if (!is_local(r, svc_job_of(r)))
        r->end = svc_proxy;
    else if (wh_starts_with(r->path, CACHE_SERVICE))
        take_call(r, svc_cache_call(r->path + strlen(CACHE_SERVICE)));
    else
        take_call(r, svc_artifact_call(r->path + strlen(ARTIFACT_SERVICE)));
}

static void route_blob(struct request *r)
{
    wh_autostrv char **parts = wh_strv_split(r->path + strlen(BLOB), '/');
    if (wh_strv_len(parts) == 2 && (wh_streq(parts[0], "cache") || wh_streq(parts[0], "artifact")))
        svc_blob(r, parts[0][0] == 'c' ? "cache" : "artifact", parts[1]);
    else
        svc_refuse(r, "not_found", "there is no such blob");
}

void svc_route(struct request *r)
{
    if (wh_starts_with(r->path, BLOB)) {
        r->api = API_BLOB;
        route_blob(r);
    } else if (wh_starts_with(r->path, V1)) {
        r->api = API_V1;
        if (svc_authenticate(r))
            svc_v1(r, r->path + strlen(V1));
    } else if (wh_starts_with(r->path, TWIRP)) {
        r->api = API_TWIRP;
        route_twirp(r);
    } else {
        svc_refuse(r, "bad_route", "there is nothing here");
    }
}
