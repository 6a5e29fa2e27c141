/* Uploads under way: open files, and the digest that follows the bytes on a thread. */
#include "cachesvc/internal.h"

#define FOLLOW_FROM ((uint64_t)4 << 20) /* less is not worth a thread's turn */
#define IDLE_MS 30000                   /* then its files are closed */

struct svc_live *svc_live(struct wh_cachesvc *svc, int64_t id, struct wh_error *err)
{
    struct svc_live *live;
    HASH_FIND(hh, svc->lives, &id, sizeof(id), live);
    if (live && live->dropped) {
        wh_fail(err, WH_E_NOT_FOUND, "the upload is gone");
        return NULL;
    }
    if (!live) {
        struct wh_upload *upload = wh_upload_open(svc->writes, id, err);
        if (!upload)
            return NULL;
        live = wh_calloc(1, sizeof(*live));
        *live = (struct svc_live){.id = id, .svc = svc, .upload = upload};
        live->work.data = live;
        HASH_ADD(hh, svc->lives, id, sizeof(live->id), live);
    }
    live->users++;
    live->last_ms = wh_mono_ms();
    return live;
}

static void live_free(struct svc_live *live)
{
    HASH_DEL(live->svc->lives, live);
    wh_upload_close(live->upload);
    free(live);
}

static bool is_free(const struct svc_live *live)
{
    return live->users == 0 && !live->following && !live->finishing;
}

static void drop_row(struct wh_cachesvc *svc, int64_t id)
{
    wh_autoerror err = {0};
    if (wh_upload_drop(svc->writes, id, &err) < 0)
        wh_log_warning("cache service: dropping an upload: %s", wh_error_text(&err));
}

static void close_if_dropped(struct svc_live *live)
{
    if (!live->dropped || !is_free(live))
        return;
    drop_row(live->svc, live->id);
    live_free(live);
}

void svc_live_leave(struct svc_live *live)
{
    live->users--;
    live->last_ms = wh_mono_ms();
    close_if_dropped(live);
}

void svc_live_drop(struct wh_cachesvc *svc, int64_t id)
{
    struct svc_live *live;
    HASH_FIND(hh, svc->lives, &id, sizeof(id), live);
    if (!live) {
        drop_row(svc, id);
        return;
    }
    live->dropped = true;
    if (!live->finishing && wh_upload_active(live->upload) == 0)
        wh_upload_reset(live->upload); /* gives its room back now: its file is open still */
    if (!live->finishing)
        drop_row(svc, id); /* the name is free at once; the open files go with their last user */
    close_if_dropped(live);
}

void svc_lives_close(struct wh_cachesvc *svc, bool all)
{
    struct svc_live *live, *next;
    uint64_t now = wh_mono_ms();
    HASH_ITER(hh, svc->lives, live, next)
    {
        if (all || (is_free(live) && now - live->last_ms > IDLE_MS))
            live_free(live);
    }
}

/* ---- the digest ---- */

static void on_follow(uv_work_t *work)
{
    struct svc_live *live = work->data;
    wh_upload_follow(live->upload);
}

static void after_follow(uv_work_t *work, int status)
{
    (void)status;
    struct svc_live *live = work->data;
    live->svc->works--;
    live->following = false;
    struct request *r = wh_steal(&live->waiter);
    if (r)
        svc_work(r, r->run, r->done);
    else if (live->users > 0)
        svc_live_follow(live);
    else
        close_if_dropped(live);
}

void svc_live_follow(struct svc_live *live)
{
    if (live->following || live->finishing || live->dropped ||
        wh_upload_unfollowed(live->upload) < FOLLOW_FROM)
        return;
    live->following = true;
    live->svc->works++;
    (void)uv_queue_work(live->svc->loop, &live->work, on_follow, after_follow);
}

void svc_live_finish(struct request *r, void (*run)(struct request *), void (*done)(struct request *))
{
    struct svc_live *live = r->live;
    if (live->finishing || wh_upload_active(live->upload) > 0) {
        svc_refuse(r, "already_exists", "other requests of this upload are still under way");
        return;
    }
    live->finishing = true;
    r->run = run;
    r->done = done;
    if (!live->following) {
        svc_work(r, run, done);
        return;
    }
    live->waiter = r;
    svc_sleep(r);
}
