/* Keys, and which entries a job may see and make (cache-service.md §4). */
#include <sys/statvfs.h>

#include "cachesvc/internal.h"

static size_t characters(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

bool svc_check_key(struct request *r, const char *key)
{
    if (key[0] == '\0')
        svc_refuse(r, "invalid_argument", "a key is empty");
    else if (characters(key) > WH_MAX_CACHE_KEY)
        svc_refuse(r, "invalid_argument", "a key has more than %d characters", WH_MAX_CACHE_KEY);
    else
        return true;
    return false;
}

char **svc_split_keys(struct request *r, const char *text)
{
    wh_autostrv char **keys = wh_strv_split(text, ',');
    if (wh_strv_len(keys) > WH_MAX_CACHE_KEYS) {
        svc_refuse(r, "invalid_argument", "more than %d keys", WH_MAX_CACHE_KEYS);
        return NULL;
    }
    for (size_t i = 0; keys[i]; i++)
        if (!svc_check_key(r, keys[i]))
            return NULL;
    return wh_steal(&keys);
}

static int match_key(struct wh_cachesvc *svc, struct wh_cache_name *name, struct wh_cache_entry *out,
                     struct wh_error *err)
{
    int rc = wh_cache_find(svc->reads, name, out, err);
    return rc == 0 ? wh_cache_find_prefix(svc->reads, name, out, err) : rc;
}

int svc_match(struct request *r, const struct svc_job *job, char *const *keys, const char *version,
              struct wh_cache_entry *out)
{
    bool may = false;
    wh_autoerror err = {0};
    for (size_t i = 0; i < job->nscopes; i++) {
        if (!(job->scopes[i].permission & WH_CACHE_READ))
            continue;
        may = true;
        for (size_t k = 0; keys[k]; k++) {
            struct wh_cache_name name = {WH_CACHE_ENTRY, job->repository, job->scopes[i].name, version,
                                         keys[k]};
            int rc = match_key(r->svc, &name, out, &err);
            if (rc < 0) {
                svc_trouble(r, &err);
                return -1;
            }
            if (rc == 1) {
                r->svc->counts.hits++;
                svc_used(r->svc, out);
                return 1;
            }
        }
    }
    if (!may) {
        svc_refuse(r, "permission_denied", "cache read denied: this job's token may not read caches");
        return -1;
    }
    r->svc->counts.misses++;
    return 0;
}

void svc_used(struct wh_cachesvc *svc, const struct wh_cache_entry *e)
{
    if (svc->ntouched < 4096) {
        svc->touched = wh_reallocarray(svc->touched, svc->ntouched + 1, sizeof(*svc->touched));
        svc->touched[svc->ntouched++] = e->id;
    }
    if (wh_starts_with(e->key, "index-") && svc->nroots < 64) {
        svc->roots = wh_reallocarray(svc->roots, svc->nroots + 1, sizeof(*svc->roots));
        svc->roots[svc->nroots++] = e->id;
    }
}

/* ---- making one ---- */

static bool within_rate(struct request *r, const char *repository)
{
    struct wh_cachesvc *svc = r->svc;
    struct svc_rate *rate;
    uint64_t now = wh_mono_ms();
    HASH_FIND_STR(svc->rates, repository, rate);
    if (!rate) {
        rate = wh_calloc(1, sizeof(*rate));
        rate->repository = wh_strdup(repository);
        rate->tokens = svc->per_minute;
        rate->at_ms = now;
        HASH_ADD_KEYPTR(hh, svc->rates, rate->repository, strlen(rate->repository), rate);
    }
    rate->tokens += (double)(now - rate->at_ms) * svc->per_minute / 60000;
    rate->tokens = WH_MIN(rate->tokens, (double)svc->per_minute);
    rate->at_ms = now;
    if (rate->tokens < 1) {
        svc_refuse(r, "resource_exhausted", "more than %u new entries a minute of one repository",
                   svc->per_minute);
        return false;
    }
    rate->tokens -= 1;
    return true;
}

static bool has_room(const struct request *r, int64_t hint)
{
    struct statvfs fs;
    if (statvfs(wh_store_dir(r->svc->reads), &fs) < 0)
        return true;
    uint64_t left = (uint64_t)fs.f_bavail * fs.f_frsize;
    return left >= r->svc->least_free && (hint < 0 || (uint64_t)hint <= left - r->svc->least_free);
}

/* A policy's no: 200 in v2, since clients show the text only then; 403 in v1. */
static void deny(struct request *r, unsigned v1_status, const char *text)
{
    if (r->api == API_V1) {
        svc_refuse_status(r, v1_status, v1_status == 403 ? "permission_denied" : "invalid_argument", "%s",
                          text);
        return;
    }
    r->svc->counts.refused++;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddBoolToObject(json, "ok", false);
    wh_json_add_string(json, "message", text);
    svc_fields_answer(r, json);
}

bool svc_reserve(struct request *r, const char *key, const char *version, int64_t hint)
{
    const struct svc_job *job = svc_job_of(r);
    if (!svc_check_key(r, key))
        return false;
    if (!job->write) {
        deny(r, 403, "cache write denied: this job's token may not write caches");
        return false;
    }
    if (!within_rate(r, job->repository))
        return false;
    if (!has_room(r, hint)) {
        deny(r, 400, "no space left for the cache on this runner's disk");
        return false;
    }
    bool pull = wh_starts_with(job->write, "refs/pull/");
    r->repository = wh_strdup(job->repository);
    r->scope = wh_strdup(job->write);
    r->version = wh_strdup(version);
    r->key = wh_strdup(key);
    /* So that what pull requests fill the store with goes before what the others made. */
    r->charge = pull ? wh_printf("%s@pulls", job->repository) : wh_strdup(job->repository);
    return true;
}
