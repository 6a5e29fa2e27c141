/* Actions cache v1: the REST API (cache-service.md §1). */
#include "cachesvc/internal.h"

#define MAX_LISTED 100

static cJSON *describe(struct request *r, const struct wh_cache_entry *e)
{
    char time[40];
    cJSON *json = cJSON_CreateObject();
    wh_autofree char *url = svc_sign(r, "cache", e->id, 'r');
    wh_json_add_string(json, "cacheKey", e->key);
    wh_json_add_string(json, "scope", e->scope);
    wh_json_add_string(json, "cacheVersion", e->version);
    wh_json_add_string(json, "creationTime", wh_time_iso(e->created, 7, time));
    wh_json_add_string(json, "archiveLocation", url);
    return json;
}

static const struct svc_job *need_job(struct request *r)
{
    const struct svc_job *job = svc_job_of(r);
    if (!job)
        svc_refuse(r, "unauthenticated", "the job has ended");
    return job;
}

static bool need_argument(struct request *r, const char *name, size_t max, const char **out)
{
    if (!svc_argument(r, name, out) || !*out || !**out || strlen(*out) > max) {
        svc_refuse(r, "invalid_argument", "%s is missing, too long or holds a NUL byte", name);
        return false;
    }
    return true;
}

static void lookup(struct request *r)
{
    const char *list, *version;
    const struct svc_job *job = need_job(r);
    if (!job || !need_argument(r, "keys", (size_t)WH_MAX_CACHE_NAME * (WH_MAX_CACHE_KEYS + 1), &list) ||
        !need_argument(r, "version", WH_MAX_CACHE_VERSION, &version))
        return;
    wh_autostrv char **keys = svc_split_keys(r, list);
    if (!keys)
        return;
    wh_autocacheentry e = {0};
    int rc = svc_match(r, job, keys, version, &e);
    if (rc == 1)
        svc_answer_json(r, 200, describe(r, &e));
    else if (rc == 0)
        svc_answer_empty(r, 204);
}

struct listing {
    struct request *r;
    cJSON *list;
};

static int add_listed(void *arg, const struct wh_cache_entry *e)
{
    struct listing *l = arg;
    if (cJSON_GetArraySize(l->list) < MAX_LISTED)
        cJSON_AddItemToArray(l->list, describe(l->r, e));
    return 0;
}

static void list(struct request *r)
{
    const struct svc_job *job = need_job(r);
    const char *key;
    if (!job || !need_argument(r, "key", WH_MAX_CACHE_NAME, &key))
        return;
    wh_autojson *json = cJSON_CreateObject();
    cJSON *entries = cJSON_CreateArray();
    struct listing l = {r, entries};
    for (size_t i = 0; i < job->nscopes; i++) {
        struct wh_cache_name name = {WH_CACHE_ENTRY, job->repository, job->scopes[i].name, NULL, key};
        if ((job->scopes[i].permission & WH_CACHE_READ) &&
            wh_cache_list(r->svc->reads, &name, MAX_LISTED, add_listed, &l, &r->err) < 0) {
            cJSON_Delete(entries);
            svc_trouble(r, &r->err);
            return;
        }
    }
    wh_json_add_int(json, "totalCount", cJSON_GetArraySize(entries));
    cJSON_AddItemToObject(json, "artifactCaches", entries);
    svc_answer_json(r, 200, wh_steal(&json));
}

/* ---- reserve ---- */

static void run_reserve(struct request *r)
{
    struct wh_cache_name name = {WH_CACHE_ENTRY, r->repository, r->scope, r->version, r->key};
    r->id = wh_upload_reserve(r->svc->writes, &name, r->job, NULL, 0, &r->err);
}

static void done_reserve(struct request *r)
{
    if (r->id < 0 && r->err.code == WH_E_EXISTS) {
        svc_refuse(r, "already_exists", "Cache already exists. Scope: %s, Key: %s, Version: %s", r->scope,
                   r->key, r->version);
    } else if (r->id < 0) {
        svc_trouble(r, &r->err);
    } else {
        cJSON *json = cJSON_CreateObject();
        wh_json_add_int(json, "cacheId", r->id);
        svc_answer_json(r, 201, json);
    }
}

static void reserve(struct request *r)
{
    wh_autojson *in = svc_fields_read(r);
    const char *key = in ? svc_field_text(r, in, "key", WH_MAX_CACHE_NAME) : NULL;
    const char *version = key ? svc_field_text(r, in, "version", WH_MAX_CACHE_VERSION) : NULL;
    int64_t size = -1;
    if (!version)
        return;
    if (need_job(r) && (!svc_field(in, "cacheSize") || svc_field_int(r, in, "cacheSize", &size)) &&
        svc_reserve(r, key, version, size))
        svc_work(r, run_reserve, done_reserve);
}

/* ---- upload and commit ---- */

/* The upload of this job's that the path names; refuses, and 409 where it is an entry already. */
static bool open_upload(struct request *r, const char *text)
{
    wh_autouploadrow row = {0};
    if (!wh_parse_i64(text, 1, INT64_C(1) << 53, &r->id)) {
        svc_refuse(r, "not_found", "there is no cache of that id");
        return false;
    }
    int rc = wh_upload_find(r->svc->reads, r->id, &row, &r->err);
    if (rc == 0 || (rc == 1 && (row.kind != WH_CACHE_ENTRY || !wh_streq(row.job, r->job)))) {
        wh_autocacheentry e = {0};
        bool mine =
            rc == 0 && wh_cache_find_id(r->svc->reads, r->id, &e, NULL, NULL) == 1 && wh_streq(e.job, r->job);
        if (mine)
            svc_refuse(r, "already_exists", "cache %lld is committed; it already exists", (long long)r->id);
        else
            svc_refuse(r, "not_found", "there is no cache of that id");
        return false;
    }
    if (rc == 1) {
        bool pull = wh_starts_with(row.scope, "refs/pull/");
        r->charge = pull ? wh_printf("%s@pulls", row.repository) : wh_strdup(row.repository);
        r->repository = wh_steal(&row.repository);
        r->scope = wh_steal(&row.scope);
        r->version = wh_steal(&row.version);
        r->key = wh_steal(&row.key);
        r->live = svc_live(r->svc, r->id, &r->err);
    }
    if (!r->live)
        svc_trouble(r, &r->err);
    return r->live != NULL;
}

static void take_bytes(struct request *r, const char *data, size_t len)
{
    if (wh_upload_part_write(r->part, data, len, &r->err) == 0) {
        svc_live_follow(r->live);
        return;
    }
    wh_upload_part_abort(wh_steal(&r->part));
    if (r->err.code == WH_E_LIMIT) {
        svc_refuse(r, "invalid_argument", "%s", wh_error_text(&r->err));
        return;
    }
    svc_trouble(r, &r->err);
    svc_live_drop(r->svc, r->id);
}

static void end_patch(struct request *r)
{
    if (wh_upload_part_end(wh_steal(&r->part), &r->err) == 0) {
        svc_live_follow(r->live);
        svc_answer_empty(r, 204);
    } else if (r->err.code == WH_E_LIMIT || r->err.code == WH_E_EXISTS) {
        svc_refuse(r, "invalid_argument", "%s", wh_error_text(&r->err));
    } else {
        svc_trouble(r, &r->err);
    }
}

static void patch(struct request *r, const char *id)
{
    uint64_t start, end;
    if (!open_upload(r, id))
        return;
    if (!svc_content_range(svc_header(r, "Content-Range"), &start, &end) ||
        end >= (uint64_t)WH_MAX_UPLOAD_BYTES) {
        svc_refuse(r, "invalid_argument", "Content-Range is missing or not \"bytes FIRST-LAST/*\"");
        return;
    }
    if (r->live->finishing) {
        svc_refuse(r, "already_exists", "the cache is being committed; it already exists");
        return;
    }
    r->part = wh_upload_range(r->live->upload, start, (int64_t)(end - start + 1), &r->err);
    if (!r->part) {
        if (r->err.code == WH_E_IO || r->err.code == WH_E_NO_SPACE)
            svc_trouble(r, &r->err);
        else
            svc_refuse(r, "invalid_argument", "%s", wh_error_text(&r->err));
        return;
    }
    r->take = take_bytes;
    r->end = end_patch;
}

static void done_commit(struct request *r)
{
    svc_saved_or_refuse(r, "entry");
    if (r->rc == 0)
        svc_answer_empty(r, 204);
}

static void end_commit(struct request *r)
{
    wh_autojson *in = svc_fields_read(r);
    if (in && svc_field_int(r, in, "size", &r->size))
        svc_save(r, true, done_commit);
}

void svc_v1(struct request *r, const char *rest)
{
    bool get = wh_streq(r->method, "GET"), post = wh_streq(r->method, "POST");
    const char *id = wh_starts_with(rest, "caches/") ? rest + strlen("caches/") : NULL;
    if (get && wh_streq(rest, "cache"))
        r->end = lookup;
    else if (get && wh_streq(rest, "caches"))
        r->end = list;
    else if (post && wh_streq(rest, "caches"))
        r->end = reserve;
    else if (id && wh_streq(r->method, "PATCH"))
        patch(r, id);
    else if (id && post && open_upload(r, id))
        r->end = end_commit;
    else if (!id || !post)
        svc_refuse(r, "bad_route", "there is no such call");
}
