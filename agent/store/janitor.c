/* What a handle does beside its callers: makes trees durable, removes what was discarded, writes last uses. A
 * thread that starts with the first need; with options.foreground wh_store_close() does it all. */
#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "store/internal.h"

/* Rows that carry this boot: their bytes are in place, but perhaps only in the page cache. */
struct pending {
    int64_t last_layer;
    struct wh_digest *blobs;
    size_t nblobs;
};

static int pending_read(struct wh_store *s, struct pending *p, struct wh_error *err)
{
    if (store_number(s, err, 0, &p->last_layer, "SELECT max(id) FROM layers WHERE boot = ?", "t", s->boot) <
        0)
        return -1;
    wh_autoquery *q = store_query(s, err, "SELECT digest FROM blobs WHERE boot = ?", "t", s->boot);
    if (!q)
        return -1;
    int rc;
    while ((rc = store_step(s, q, err)) == 1) {
        p->blobs = wh_reallocarray(p->blobs, p->nblobs + 1, sizeof(*p->blobs));
        if (store_col_digest(q, 0, &p->blobs[p->nblobs]))
            p->nblobs++;
    }
    return rc;
}

/* Ids only grow and a row is committed after its rename, so every row of this boot up to last_layer was on
 * its way to the disk when syncfs() began. */
static int pending_clear(struct wh_store *s, const struct pending *p, struct wh_error *err)
{
    if (store_begin(s, false, err) < 0)
        return -1;
    int rc = store_run(s, err, "UPDATE layers SET boot = NULL WHERE boot = ? AND id <= ?", "ti", s->boot,
                       p->last_layer);
    for (size_t i = 0; i < p->nblobs && rc >= 0; i++)
        rc = store_run(s, err, "UPDATE blobs SET boot = NULL WHERE digest = ? AND boot = ?", "dt",
                       &p->blobs[i], s->boot);
    return store_end(s, rc < 0 ? -1 : 0, err);
}

int wh_store_flush(struct wh_store *s, struct wh_error *err)
{
    struct pending p = {0};
    store_lock(s);
    s->flush_at = 0;
    int rc = pending_read(s, &p, err);
    pthread_mutex_unlock(&s->lock);
    if (rc == 0 && (p.last_layer > 0 || p.nblobs > 0)) {
        rc = syncfs(s->dirfd) < 0 ? wh_fail_errno(err, "%s: syncfs", s->dir) : 0;
        store_lock(s);
        if (rc == 0)
            rc = pending_clear(s, &p, err);
        pthread_mutex_unlock(&s->lock);
    }
    free(p.blobs);
    return rc;
}

int store_drop_other_boots(struct wh_store *s, struct wh_error *err)
{
    int64_t found = 0;
    if (store_number(s, err, 0, &found,
                     "SELECT EXISTS(SELECT 1 FROM layers WHERE boot IS NOT NULL AND boot <> ?1) OR "
                     "EXISTS(SELECT 1 FROM blobs WHERE boot IS NOT NULL AND boot <> ?1)",
                     "t", s->boot) < 0)
        return -1;
    if (!found)
        return 0;
    /* The bytes: first the rows go, for good, then the trees and files, which nothing names any more. */
    struct pending p = {0};
    int64_t *layers = NULL;
    size_t nlayers = 0;
    if (store_begin(s, true, err) < 0)
        return -1;
    int rc;
    {
        wh_autoquery *q =
            store_query(s, err, "SELECT id FROM layers WHERE boot IS NOT NULL AND boot <> ?", "t", s->boot);
        while ((rc = q ? store_step(s, q, err) : -1) == 1) {
            layers = wh_reallocarray(layers, nlayers + 1, sizeof(*layers));
            layers[nlayers++] = sqlite3_column_int64(q, 0);
        }
    }
    if (rc == 0) {
        wh_autoquery *q = store_query(s, err, "SELECT digest FROM blobs WHERE boot IS NOT NULL AND boot <> ?",
                                      "t", s->boot);
        while ((rc = q ? store_step(s, q, err) : -1) == 1) {
            p.blobs = wh_reallocarray(p.blobs, p.nblobs + 1, sizeof(*p.blobs));
            if (store_col_digest(q, 0, &p.blobs[p.nblobs]))
                p.nblobs++;
        }
    }
    if (rc == 0)
        rc = store_run(s, err,
                       "UPDATE records SET layer = NULL WHERE layer IN"
                       " (SELECT id FROM layers WHERE boot IS NOT NULL AND boot <> ?)",
                       "t", s->boot);
    if (rc >= 0)
        rc = store_run(s, err, "DELETE FROM layers WHERE boot IS NOT NULL AND boot <> ?", "t", s->boot);
    if (rc >= 0)
        rc = store_run(s, err, "DELETE FROM blobs WHERE boot IS NOT NULL AND boot <> ?", "t", s->boot);
    rc = store_end(s, rc < 0 ? -1 : 0, err);
    for (size_t i = 0; i < nlayers && rc == 0; i++)
        rc = store_layer_unlink(s, layers[i], err);
    for (size_t i = 0; i < p.nblobs && rc == 0; i++)
        rc = store_blob_unlink(s, &p.blobs[i], err);
    if (rc == 0)
        wh_log_info("%s: %zu layers and %zu blobs that the last power-off caught half-way were dropped",
                    s->dir, nlayers, p.nblobs);
    free(layers);
    free(p.blobs);
    return rc;
}

/* ---- the thread ---- */

static void turn(struct wh_store *s)
{
    bool flush = s->flush_at && wh_machine_ms() >= s->flush_at;
    wh_autoerror err = {0};
    if (s->ntouched > 0 && store_touch_write(s, &err) < 0)
        wh_log_debug("%s: last uses are not written: %s", s->dir, wh_error_text(&err));
    pthread_mutex_unlock(&s->lock);
    store_trash_run(s);
    wh_error_clear(&err);
    if (flush && wh_store_flush(s, &err) < 0)
        wh_log_warning("%s: layers are not durable yet: %s", s->dir, wh_error_text(&err));
    store_lock(s);
}

static void *janitor(void *arg)
{
    struct wh_store *s = arg;
    store_lock(s);
    while (!s->stopping) {
        turn(s);
        if (s->stopping || s->trash)
            continue;
        if (!s->flush_at) {
            pthread_cond_wait(&s->wake, &s->lock);
            continue;
        }
        struct timespec until = {.tv_sec = (time_t)(s->flush_at / 1000),
                                 .tv_nsec = (long)(s->flush_at % 1000) * 1000000};
        pthread_cond_timedwait(&s->wake, &s->lock, &until);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

void store_janitor_wake(struct wh_store *s)
{
    if (s->foreground || s->stopping)
        return;
    if (!s->janitor_runs) {
        /* Signals are for the caller's threads. */
        sigset_t all, old;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        s->janitor_runs = pthread_create(&s->janitor, NULL, janitor, s) == 0;
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        return;
    }
    pthread_cond_signal(&s->wake);
}

void store_flush_soon(struct wh_store *s)
{
    if (!s->flush_at)
        s->flush_at = wh_machine_ms() + STORE_FLUSH_DELAY_MS;
    store_janitor_wake(s);
}

void store_janitor_stop(struct wh_store *s)
{
    store_lock(s);
    s->stopping = true;
    bool runs = s->janitor_runs;
    s->janitor_runs = false;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    if (runs)
        pthread_join(s->janitor, NULL);
}
