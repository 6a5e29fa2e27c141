/* From an upload to an entry: on a thread, as it flushes. */
#include "cachesvc/internal.h"

#define BUILDKIT_BLOB "buildkit-blob-1-"
#define GENERATION_NS (INT64_C(3600) * 1000000000) /* how long an older index of BuildKit's stays */

/* BuildKit checks its layers' digests, but not before it has trusted the key. */
static bool digest_fits(const char *key, const struct wh_digest *digest)
{
    struct wh_digest named;
    if (!wh_starts_with(key, BUILDKIT_BLOB) || wh_digest_parse(key + strlen(BUILDKIT_BLOB), &named, NULL) < 0)
        return true;
    return wh_digest_eq(&named, digest);
}

/* "index-NAME#7": all but its newest two go after an hour; a build that began with one still finds it. */
static void drop_generations(struct request *r)
{
    const char *hash = strrchr(r->key, '#');
    if (!hash || !wh_starts_with(r->key, "index-"))
        return;
    wh_autofree char *prefix = wh_strndup(r->key, (size_t)(hash - r->key) + 1);
    struct wh_cache_name name = {WH_CACHE_ENTRY, r->repository, r->scope, r->version, prefix};
    wh_autoerror err = {0};
    if (wh_cache_drop_generations(r->svc->writes, &name, wh_now_ns() - GENERATION_NS, &err) < 0)
        wh_log_debug("cache service: %s", wh_error_text(&err));
}

static int save(struct request *r)
{
    struct wh_upload *upload = r->live->upload;
    uint64_t size = 0;
    struct wh_digest digest;
    if (!wh_upload_complete(upload, &size, &digest))
        return wh_fail(&r->err, WH_E_ARGUMENT, "nothing was uploaded");
    if ((uint64_t)r->size != size)
        return wh_fail(&r->err, WH_E_ARGUMENT, "%lld bytes are committed, %llu were uploaded",
                       (long long)r->size, (unsigned long long)size);
    if (!digest_fits(r->key, &digest))
        return wh_fail(&r->err, WH_E_ARGUMENT, "the bytes do not have the digest that the key names");
    if (r->md5_want) { /* an artifact's "sha256:..." */
        char text[WH_DIGEST_TEXT];
        if (!wh_streq(wh_digest_text(&digest, text), r->md5_want))
            return wh_fail(&r->err, WH_E_ARGUMENT, "the bytes have the digest %s, not %.80s", text,
                           r->md5_want);
    }
    return wh_upload_commit(upload, r->charge, &r->err);
}

static void run_save(struct request *r)
{
    r->rc = save(r);
    if (r->rc < 0)
        return;
    drop_generations(r);
    wh_autoerror err = {0};
    if (r->svc->repository_max > 0 &&
        wh_cache_evict(r->svc->writes, r->repository, r->svc->repository_max, &err) < 0)
        wh_log_warning("cache service: keeping %s within its bound: %s", r->repository, wh_error_text(&err));
}

static void run_ranges(struct request *r)
{
    r->rc = wh_upload_arrange(r->live->upload, &r->err);
    if (r->rc == 0)
        run_save(r);
}

void svc_save(struct request *r, bool ranges, void (*done)(struct request *))
{
    if (ranges && wh_upload_active(r->live->upload) == 0 && !r->live->finishing &&
        wh_upload_order(r->live->upload, NULL, 0, r->size, &r->err) < 0) {
        r->err.code = WH_E_ARGUMENT;
        r->rc = -1;
        done(r);
        return;
    }
    svc_live_finish(r, ranges ? run_ranges : run_save, done);
}

void svc_saved_or_refuse(struct request *r, const char *what)
{
    r->live->finishing = false;
    if (r->rc == 0) {
        r->svc->counts.saved++;
        wh_log_debug("cache service: %s %s of %s (%s) saved, %lld bytes", what, r->key, r->repository,
                     r->scope, (long long)r->size);
        r->live->dropped = true; /* its row is gone already */
        return;
    }
    if (r->err.code == WH_E_ARGUMENT)
        svc_refuse(r, "invalid_argument", "%s", wh_error_text(&r->err));
    else if (r->err.code == WH_E_NOT_FOUND)
        svc_refuse(r, "not_found", "%s", wh_error_text(&r->err));
    else
        svc_trouble(r, &r->err);
    svc_live_drop(r->svc, r->id); /* the name is free for another try */
}
