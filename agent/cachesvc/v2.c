/* Actions cache v2: twirp CacheService (cache-service.md §2). */
#include "cachesvc/internal.h"

static const struct field create_in[] = {{"key", 2, 's'}, {"version", 3, 's'}};
static const struct field create_out[] = {{"ok", 1, 'b'}, {"signed_upload_url", 2, 's'}, {"message", 3, 's'}};
static const struct field finalize_in[] = {{"key", 2, 's'}, {"size_bytes", 3, 'i'}, {"version", 4, 's'}};
static const struct field finalize_out[] = {{"ok", 1, 'b'}, {"entry_id", 2, 'i'}, {"message", 3, 's'}};
static const struct field get_in[] = {{"key", 2, 's'}, {"restore_keys", 3, 'S'}, {"version", 4, 's'}};
static const struct field get_out[] = {
    {"ok", 1, 'b'}, {"signed_download_url", 2, 's'}, {"matched_key", 3, 's'}};

/* ---- Create ---- */

static void run_create(struct request *r)
{
    struct wh_cache_name name = {WH_CACHE_ENTRY, r->repository, r->scope, r->version, r->key};
    r->id = wh_upload_reserve(r->svc->writes, &name, r->job, NULL, 0, &r->err);
}

static void done_create(struct request *r)
{
    if (r->id < 0 && r->err.code == WH_E_EXISTS) {
        svc_refuse(r, "already_exists", "cache entry already exists");
    } else if (r->id < 0) {
        svc_trouble(r, &r->err);
    } else {
        wh_autofree char *url = svc_sign(r, "cache", r->id, 'w');
        cJSON *json = cJSON_CreateObject();
        cJSON_AddBoolToObject(json, "ok", true);
        wh_json_add_string(json, "signed_upload_url", url);
        svc_fields_answer(r, json);
    }
}

static void create(struct request *r, const cJSON *in)
{
    const char *key = svc_field_text(r, in, "key", WH_MAX_CACHE_NAME);
    const char *version = key ? svc_field_text(r, in, "version", WH_MAX_CACHE_VERSION) : NULL;
    if (version && svc_reserve(r, key, version, -1))
        svc_work(r, run_create, done_create);
}

/* ---- Finalize ---- */

static void answer_entry(struct request *r)
{
    wh_autofree char *id = wh_printf("%lld", (long long)r->id);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddBoolToObject(json, "ok", true);
    wh_json_add_string(json, "entry_id", id);
    svc_fields_answer(r, json);
}

static void done_finalize(struct request *r)
{
    svc_saved_or_refuse(r, "entry");
    if (r->rc == 0)
        answer_entry(r);
}

/* Said twice: the first answer may have been lost. */
static void finalize_again(struct request *r, const struct wh_cache_name *name)
{
    wh_autocacheentry e = {0};
    int rc = wh_cache_find(r->svc->reads, name, &e, &r->err);
    if (rc < 0) {
        svc_trouble(r, &r->err);
    } else if (rc == 1 && (int64_t)e.size == r->size && wh_streq(e.job, r->job)) {
        r->id = e.id;
        answer_entry(r);
    } else {
        svc_refuse(r, "not_found", "there is no upload of that key and version by this job");
    }
}

static void finalize(struct request *r, const cJSON *in)
{
    const struct svc_job *job = svc_job_of(r);
    const char *key = svc_field_text(r, in, "key", WH_MAX_CACHE_NAME);
    const char *version = key ? svc_field_text(r, in, "version", WH_MAX_CACHE_VERSION) : NULL;
    if (!version || !svc_field_int(r, in, "size_bytes", &r->size))
        return;
    if (!job->write) {
        svc_refuse(r, "permission_denied", "cache write denied: this job's token may not write caches");
        return;
    }
    struct wh_cache_name name = {WH_CACHE_ENTRY, job->repository, job->write, version, key};
    wh_autouploadrow row = {0};
    int rc = wh_upload_find_name(r->svc->reads, &name, &row, &r->err);
    if (rc < 0) {
        svc_trouble(r, &r->err);
        return;
    }
    if (rc == 0 || !wh_streq(row.job, r->job)) {
        finalize_again(r, &name);
        return;
    }
    r->id = row.id;
    r->live = svc_live(r->svc, row.id, &r->err);
    if (!r->live) {
        svc_trouble(r, &r->err);
        return;
    }
    bool pull = wh_starts_with(job->write, "refs/pull/");
    r->repository = wh_strdup(job->repository);
    r->scope = wh_strdup(job->write);
    r->version = wh_strdup(version);
    r->key = wh_strdup(key);
    r->charge = pull ? wh_printf("%s@pulls", job->repository) : wh_strdup(job->repository);
    svc_save(r, false, done_finalize);
}

/* ---- Get ---- */

static char **keys_of(struct request *r, const cJSON *in)
{
    const char *key = svc_field_text(r, in, "key", WH_MAX_CACHE_NAME);
    if (!key || !svc_check_key(r, key))
        return NULL;
    wh_autostrv char **keys = NULL;
    wh_strv_add(&keys, key);
    const cJSON *item;
    cJSON_ArrayForEach(item, svc_field(in, "restore_keys"))
    {
        if (wh_strv_len(keys) == WH_MAX_CACHE_KEYS) {
            svc_refuse(r, "invalid_argument", "more than %d keys", WH_MAX_CACHE_KEYS);
            return NULL;
        }
        if (!cJSON_IsString(item)) {
            svc_refuse(r, "invalid_argument", "restore_keys holds what is no text");
            return NULL;
        }
        if (!svc_check_key(r, item->valuestring))
            return NULL;
        wh_strv_add(&keys, item->valuestring);
    }
    return wh_steal(&keys);
}

static void get(struct request *r, const cJSON *in)
{
    wh_autostrv char **keys = keys_of(r, in);
    const char *version = keys ? svc_field_text(r, in, "version", WH_MAX_CACHE_VERSION) : NULL;
    if (!version)
        return;
    wh_autocacheentry e = {0};
    int rc = svc_match(r, svc_job_of(r), keys, version, &e);
    if (rc < 0)
        return;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddBoolToObject(json, "ok", rc == 1);
    if (rc == 1) {
        wh_autofree char *url = svc_sign(r, "cache", e.id, 'r');
        wh_json_add_string(json, "signed_download_url", url);
        wh_json_add_string(json, "matched_key", e.key);
    }
    svc_fields_answer(r, json);
}

static const struct call calls[] = {
    {"CreateCacheEntry", create, create_in, create_out, WH_COUNT(create_in), WH_COUNT(create_out)},
    {"FinalizeCacheEntryUpload", finalize, finalize_in, finalize_out, WH_COUNT(finalize_in),
     WH_COUNT(finalize_out)},
    {"GetCacheEntryDownloadURL", get, get_in, get_out, WH_COUNT(get_in), WH_COUNT(get_out)},
};

const struct call *svc_cache_call(const char *method)
{
    for (size_t i = 0; i < WH_COUNT(calls); i++)
        if (wh_streq(calls[i].name, method))
            return &calls[i];
    return NULL;
}
