/* Artifacts v4: twirp ArtifactService, for jobs without a results service of their own and where the operator
 * wants them to stay (cache-service.md §6). */
#include "cachesvc/internal.h"

#define MAX_NAME 256
#define WRAPPED "value" /* a wrapper as an object, which some clients write */

static const cJSON *unwrapped(const cJSON *in, const char *name)
{
    const cJSON *value = svc_field(in, name);
    return cJSON_IsObject(value) ? wh_json_get(value, WRAPPED) : value;
}

/* The run that the call names must be the job's own. */
static const struct svc_job *job_of(struct request *r, const cJSON *in)
{
    const struct svc_job *job = svc_job_of(r);
    const char *run = svc_field_text(r, in, "workflow_run_backend_id", MAX_NAME);
    if (!run)
        return NULL;
    if (!job->run || !wh_streq(job->run, run)) {
        svc_refuse(r, "permission_denied", "the run is not this job's");
        return NULL;
    }
    return job;
}

static const char *name_of(struct request *r, const cJSON *in)
{
    const char *name = svc_field_text(r, in, "name", MAX_NAME * 4);
    if (name && strpbrk(name, "\":<>|*?\r\n\\/")) {
        svc_refuse(r, "invalid_argument", "the artifact's name has a character that is not allowed");
        return NULL;
    }
    return name;
}

static void name_request(struct request *r, const struct svc_job *job, const char *name)
{
    r->repository = wh_strdup(job->repository);
    r->scope = wh_strdup(job->run);
    r->version = wh_strdup("");
    r->key = wh_strdup(name);
    r->charge = wh_strdup(job->repository);
}

/* ---- create ---- */

static void run_create(struct request *r)
{
    struct wh_cache_name name = {WH_CACHE_ARTIFACT, r->repository, r->scope, r->version, r->key};
    r->id = wh_upload_reserve(r->svc->writes, &name, r->job, r->mime, r->expires, &r->err);
}

static void done_create(struct request *r)
{
    if (r->id < 0 && r->err.code == WH_E_EXISTS) {
        svc_refuse(r, "already_exists", "an artifact with this name already exists on the workflow run");
    } else if (r->id < 0) {
        svc_trouble(r, &r->err);
    } else {
        wh_autofree char *url = svc_sign(r, "artifact", r->id, 'w');
        cJSON *json = cJSON_CreateObject();
        cJSON_AddBoolToObject(json, "ok", true);
        wh_json_add_string(json, "signed_upload_url", url);
        svc_fields_answer(r, json);
    }
}

static void create(struct request *r, const cJSON *in)
{
    const struct svc_job *job = job_of(r, in);
    const char *name = job ? name_of(r, in) : NULL;
    if (!name)
        return;
    const cJSON *mime = unwrapped(in, "mime_type"), *expires = unwrapped(in, "expires_at");
    if (cJSON_IsString(mime) && strlen(mime->valuestring) <= 200 && !strpbrk(mime->valuestring, "\r\n"))
        r->mime = wh_strdup(mime->valuestring);
    if (cJSON_IsString(expires) && !wh_time_parse_iso(expires->valuestring, &r->expires)) {
        svc_refuse(r, "invalid_argument", "expires_at is no time");
        return;
    }
    name_request(r, job, name);
    svc_work(r, run_create, done_create);
}

/* ---- finalize ---- */

static void answer_id(struct request *r)
{
    wh_autofree char *id = wh_printf("%lld", (long long)r->id);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddBoolToObject(json, "ok", true);
    wh_json_add_string(json, "artifact_id", id);
    svc_fields_answer(r, json);
}

static void done_finalize(struct request *r)
{
    svc_saved_or_refuse(r, "artifact");
    if (r->rc == 0)
        answer_id(r);
}

static void finalize(struct request *r, const cJSON *in)
{
    const struct svc_job *job = job_of(r, in);
    const char *name = job ? name_of(r, in) : NULL;
    if (!name || !svc_field_int(r, in, "size", &r->size))
        return;
    struct wh_cache_name full = {WH_CACHE_ARTIFACT, job->repository, job->run, "", name};
    wh_autouploadrow row = {0};
    wh_autocacheentry e = {0};
    int rc = wh_upload_find_name(r->svc->reads, &full, &row, &r->err);
    if (rc == 1 && wh_streq(row.job, r->job)) {
        const cJSON *hash = unwrapped(in, "hash");
        r->md5_want = cJSON_IsString(hash) && hash->valuestring[0] ? wh_strdup(hash->valuestring) : NULL;
        r->id = row.id;
        name_request(r, job, name);
        r->live = svc_live(r->svc, row.id, &r->err);
        if (r->live)
            svc_save(r, false, done_finalize);
        else
            svc_trouble(r, &r->err);
    } else if (rc >= 0 && wh_cache_find(r->svc->reads, &full, &e, &r->err) == 1 && wh_streq(e.job, r->job) &&
               (int64_t)e.size == r->size) {
        r->id = e.id;
        answer_id(r);
    } else {
        svc_refuse(r, "not_found", "there is no upload of an artifact of that name by this job");
    }
}

/* ---- list, sign, delete ---- */

struct filter {
    struct request *r;
    const struct svc_job *job;
    const char *name;
    int64_t id;
    cJSON *list;
};

static int add_listed(void *arg, const struct wh_cache_entry *e)
{
    struct filter *f = arg;
    char time[40], digest[WH_DIGEST_TEXT];
    if ((f->name && !wh_streq(f->name, e->key)) || (f->id > 0 && f->id != e->id) ||
        (e->expires > 0 && e->expires < wh_now_ns()))
        return 0;
    wh_autofree char *id = wh_printf("%lld", (long long)e->id);
    wh_autofree char *size = wh_printf("%llu", (unsigned long long)e->size);
    cJSON *item = cJSON_CreateObject();
    wh_json_add_string(item, "workflow_run_backend_id", f->job->run);
    wh_json_add_string(item, "workflow_job_run_backend_id", e->job);
    wh_json_add_string(item, "database_id", id);
    wh_json_add_string(item, "name", e->key);
    wh_json_add_string(item, "size", size);
    wh_json_add_string(item, "created_at", wh_time_iso(e->created, 3, time));
    wh_json_add_string(item, "digest", wh_digest_text(&e->digest, digest));
    cJSON_AddItemToArray(f->list, item);
    return 0;
}

static void list(struct request *r, const cJSON *in)
{
    const struct svc_job *job = job_of(r, in);
    if (!job)
        return;
    struct filter f = {.r = r, .job = job};
    const cJSON *name = unwrapped(in, "name_filter"), *id = unwrapped(in, "id_filter");
    f.name = cJSON_IsString(name) && name->valuestring[0] ? name->valuestring : NULL;
    if (id && !cJSON_IsNull(id)) {
        wh_autojson *wrap = cJSON_CreateObject();
        cJSON_AddItemToObject(wrap, "id", cJSON_Duplicate(id, false));
        if (!svc_field_int(r, wrap, "id", &f.id))
            return;
        f.id = f.id ? f.id : INT64_MAX;
    }
    struct wh_cache_name prefix = {WH_CACHE_ARTIFACT, job->repository, job->run, "", f.name ? f.name : ""};
    wh_autojson *json = cJSON_CreateObject();
    f.list = cJSON_AddArrayToObject(json, "artifacts");
    if (wh_cache_list(r->svc->reads, &prefix, WH_MAX_CACHE_ARTIFACTS, add_listed, &f, &r->err) < 0)
        svc_trouble(r, &r->err);
    else
        svc_fields_answer(r, wh_steal(&json));
}

static bool find(struct request *r, const cJSON *in, struct wh_cache_entry *e)
{
    const struct svc_job *job = job_of(r, in);
    const char *name = job ? name_of(r, in) : NULL;
    if (!name)
        return false;
    struct wh_cache_name full = {WH_CACHE_ARTIFACT, job->repository, job->run, "", name};
    int rc = wh_cache_find(r->svc->reads, &full, e, &r->err);
    if (rc < 0)
        svc_trouble(r, &r->err);
    else if (rc == 0)
        svc_refuse(r, "not_found", "there is no artifact of that name in this run");
    return rc == 1;
}

static void sign(struct request *r, const cJSON *in)
{
    wh_autocacheentry e = {0};
    if (!find(r, in, &e))
        return;
    wh_autofree char *url = svc_sign(r, "artifact", e.id, 'r');
    cJSON *json = cJSON_CreateObject();
    wh_json_add_string(json, "signed_url", url);
    svc_fields_answer(r, json);
}

static void run_delete(struct request *r)
{
    r->rc = wh_cache_delete(r->svc->writes, r->id, &r->err);
}

static void done_delete(struct request *r)
{
    if (r->rc < 0)
        svc_trouble(r, &r->err);
    else
        answer_id(r);
}

static void delete (struct request *r, const cJSON *in)
{
    wh_autocacheentry e = {0};
    if (!find(r, in, &e))
        return;
    r->id = e.id;
    svc_work(r, run_delete, done_delete);
}

static const struct call calls[] = {
    {.name = "CreateArtifact", .end = create}, {.name = "FinalizeArtifact", .end = finalize},
    {.name = "ListArtifacts", .end = list},    {.name = "GetSignedArtifactURL", .end = sign},
    {.name = "DeleteArtifact", .end = delete},
};

const struct call *svc_artifact_call(const char *method)
{
    for (size_t i = 0; i < WH_COUNT(calls); i++)
        if (wh_streq(calls[i].name, method))
            return &calls[i];
    return NULL;
}
