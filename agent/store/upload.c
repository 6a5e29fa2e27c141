/* An upload's bytes on their way in. Blocks lie in one file in the order in which they began, which mostly is
 * the order of the final list too: then nothing is copied, and the digest follows while they arrive. */
#include <errno.h>
#include <unistd.h>

#include "store/upload_internal.h"
#include "wherry/base/log.h"

/* One that was being committed when its process was killed is read-only already. */
static int open_data(int folder, const char *name)
{
    const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(folder, name, flags, 0600);
    if (fd < 0 && errno == EACCES && fchmodat(folder, name, 0600, 0) == 0)
        fd = openat(folder, name, flags, 0600);
    return fd;
}

struct wh_upload *wh_upload_open(struct wh_store *s, int64_t id, struct wh_error *err)
{
    char data[48], log[48];
    store_upload_name(id, "data", data);
    store_upload_name(id, "log", log);
    struct wh_upload *u = wh_calloc(1, sizeof(*u));
    u->s = s;
    u->id = id;
    u->hash = wh_sha256_new();
    u->data = u->log = -1;
    u->folder = store_uploads_folder(s, err);
    if (u->folder >= 0)
        u->data = open_data(u->folder, data);
    if (u->data >= 0)
        u->log = openat(u->folder, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (u->folder >= 0 && u->log < 0)
        wh_fail_errno(err, "%s/" STORE_UPLOADS "/%s", s->dir, data);
    if (u->log < 0 || store_own(s, u->folder, data, err) < 0 || store_own(s, u->folder, log, err) < 0 ||
        upload_log_read(u, err) < 0) {
        wh_upload_close(u);
        return NULL;
    }
    upload_ready(u);
    return u;
}

void upload_forget(struct wh_upload *u)
{
    for (size_t i = 0; i < u->nextents; i++)
        free(u->extents[i].id);
    free(u->extents);
    free(u->order);
    u->extents = u->order = NULL;
    u->nextents = u->norder = u->room = 0;
    u->end = 0;
    u->complete = false;
    u->ready = 0;
    u->restart = true;
}

void wh_upload_close(struct wh_upload *u)
{
    if (!u)
        return;
    upload_forget(u);
    wh_close_fd(&u->folder);
    wh_close_fd(&u->data);
    wh_close_fd(&u->log);
    wh_sha256_free(u->hash);
    free(u);
}

void wh_upload_reset(struct wh_upload *u)
{
    upload_forget(u);
    if (ftruncate(u->data, 0) < 0 || ftruncate(u->log, 0) < 0)
        wh_log_warning("emptying an upload: %s", strerror(errno));
}

size_t wh_upload_active(const struct wh_upload *u)
{
    return u->active;
}

void upload_add(struct wh_upload *u, struct upload_extent e)
{
    u->end = WH_MAX(u->end, e.offset + e.length);
    for (size_t i = 0; i < u->nextents && e.id; i++)
        if (wh_streq(u->extents[i].id, e.id)) {
            free(u->extents[i].id);
            u->extents[i] = e;
            return;
        }
    if (u->nextents == u->room)
        u->extents = wh_reallocarray(u->extents, u->room = u->room * 2 + 8, sizeof(*u->extents));
    u->extents[u->nextents++] = e;
}

/* Extents that follow each other from what was ready on; any order of them in the table. */
void upload_ready(struct wh_upload *u)
{
    uint64_t at = u->ready;
    for (bool more = true; more;) {
        more = false;
        for (size_t i = u->nextents; i-- > 0;)
            if (u->extents[i].offset == at && u->extents[i].length > 0) {
                at += u->extents[i].length;
                more = true;
                break;
            }
    }
    u->ready = at;
}

/* ---- parts ---- */

static struct wh_upload_part *part_new(struct wh_upload *u, const char *id, uint64_t offset, int64_t length)
{
    struct wh_upload_part *p = wh_calloc(1, sizeof(*p));
    *p = (struct wh_upload_part){.u = u, .id = wh_strdup(id), .offset = offset, .length = length};
    u->active++;
    u->complete = false;
    return p;
}

struct wh_upload_part *wh_upload_block(struct wh_upload *u, const char *id, uint64_t length,
                                       struct wh_error *err)
{
    if (u->nextents + u->active >= 2 * WH_MAX_UPLOAD_PARTS ||
        length > (uint64_t)WH_MAX_UPLOAD_BYTES - u->end) {
        wh_fail(err, WH_E_LIMIT, "an upload of more than %d blocks or %lld bytes", WH_MAX_UPLOAD_PARTS,
                (long long)WH_MAX_UPLOAD_BYTES);
        return NULL;
    }
    struct wh_upload_part *p = part_new(u, id, u->end, (int64_t)length);
    u->end += length;
    return p;
}

/* The same range again takes the place of the first; part of one doesn't. */
static int make_way(struct wh_upload *u, uint64_t offset, int64_t length, struct wh_error *err)
{
    uint64_t end = offset + (uint64_t)WH_MAX(length, (int64_t)1);
    for (size_t i = 0; i < u->nextents; i++) {
        const struct upload_extent *e = &u->extents[i];
        if (e->id)
            return wh_fail(err, WH_E_EXISTS, "ranges and blocks don't mix in one upload");
        if (e->offset == offset && (length < 0 || e->length == (uint64_t)length)) {
            if (upload_log_drop(u, offset, err) < 0)
                return -1;
            u->extents[i] = u->extents[--u->nextents];
            u->restart = true;
            u->ready = WH_MIN(u->ready, offset);
            return 0;
        }
        if (e->offset < end && offset < e->offset + e->length)
            return wh_fail(err, WH_E_EXISTS, "bytes from %llu on were sent before, in another range",
                           (unsigned long long)WH_MAX(offset, e->offset));
    }
    return 0;
}

struct wh_upload_part *wh_upload_range(struct wh_upload *u, uint64_t offset, int64_t length,
                                       struct wh_error *err)
{
    if (u->nextents + u->active >= WH_MAX_UPLOAD_PARTS || offset > (uint64_t)WH_MAX_UPLOAD_BYTES ||
        length > WH_MAX_UPLOAD_BYTES - (int64_t)offset) {
        wh_fail(err, WH_E_LIMIT, "an upload of more than %d ranges or %lld bytes", WH_MAX_UPLOAD_PARTS,
                (long long)WH_MAX_UPLOAD_BYTES);
        return NULL;
    }
    return make_way(u, offset, length, err) < 0 ? NULL : part_new(u, NULL, offset, length);
}

int wh_upload_part_write(struct wh_upload_part *p, const void *data, size_t len, struct wh_error *err)
{
    uint64_t most = p->length >= 0 ? (uint64_t)p->length : (uint64_t)WH_MAX_UPLOAD_BYTES - p->offset;
    if (len > most - p->written)
        return wh_fail(err, WH_E_LIMIT, "more bytes than the %llu that were announced",
                       (unsigned long long)most);
    const char *at = data;
    while (len > 0) {
        ssize_t n = pwrite(p->u->data, at, len, (off_t)(p->offset + p->written));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return wh_fail_errno(err, "%s: upload %lld", p->u->s->dir, (long long)p->u->id);
        at += n;
        len -= (size_t)n;
        p->written += (uint64_t)n;
    }
    return 0;
}

static void part_free(struct wh_upload_part *p)
{
    p->u->active--;
    free(p->id);
    free(p);
}

int wh_upload_part_end(struct wh_upload_part *p, struct wh_error *err)
{
    struct wh_upload *u = p->u;
    struct upload_extent e = {p->offset, p->written, p->id};
    int rc = 0;
    if (p->length >= 0 && p->written != (uint64_t)p->length)
        rc = wh_fail(err, WH_E_LIMIT, "%llu bytes came, %lld were announced", (unsigned long long)p->written,
                     (long long)p->length);
    /* Two of one range at once, or a range whose length was not known. */
    if (rc == 0 && !e.id && e.length > 0)
        rc = make_way(u, e.offset, (int64_t)e.length, err);
    if (rc == 0 && (e.id || e.length > 0))
        rc = upload_log_extent(u, &e, err);
    if (rc == 0 && (e.id || e.length > 0)) {
        p->id = NULL;
        upload_add(u, e);
        upload_ready(u);
    }
    part_free(p);
    return rc;
}

void wh_upload_part_abort(struct wh_upload_part *p)
{
    if (!p)
        return;
    struct wh_upload *u = p->u;
    /* The place of the last one is used again, so that a cut doesn't leave a hole. */
    if (p->id && p->offset + (uint64_t)p->length == u->end)
        u->end = p->offset;
    part_free(p);
}

/* ---- the digest ---- */

uint64_t wh_upload_unfollowed(const struct wh_upload *u)
{
    uint64_t ready = u->ready, seen = u->seen;
    return ready > seen ? ready - seen : 0;
}

bool wh_upload_complete(const struct wh_upload *u, uint64_t *size, struct wh_digest *digest)
{
    if (u->complete && size)
        *size = u->size;
    if (u->complete && digest)
        *digest = u->digest;
    return u->complete;
}

int wh_upload_order(struct wh_upload *u, char *const *ids, size_t n, int64_t size, struct wh_error *err)
{
    free(wh_steal(&u->order));
    u->norder = 0;
    u->order = wh_calloc(WH_MAX(n, u->nextents) + 1, sizeof(*u->order));
    for (size_t i = 0; i < n; i++) {
        const struct upload_extent *found = NULL;
        /* Mostly in the order of their coming: look at the next one first. */
        for (size_t k = 0; k < u->nextents && !found; k++) {
            const struct upload_extent *e = &u->extents[(i + k) % u->nextents];
            if (e->id && wh_streq(e->id, ids[i]))
                found = e;
        }
        if (!found)
            return wh_fail(err, WH_E_NOT_FOUND, "block %zu of the list was not sent", i + 1);
        u->order[u->norder++] = *found;
    }
    if (ids || size < 0)
        return 0;
    u->ready = 0;
    upload_ready(u);
    uint64_t sum = 0;
    for (size_t k = 0; k < u->nextents; k++)
        sum += u->extents[k].length;
    if (u->ready != (uint64_t)size || sum != (uint64_t)size)
        return wh_fail(err, WH_E_LIMIT,
                       "%llu bytes were received, %llu of them without a hole; %lld are committed",
                       (unsigned long long)sum, (unsigned long long)u->ready, (long long)size);
    u->order[u->norder++] = (struct upload_extent){0, (uint64_t)size, NULL};
    return 0;
}
