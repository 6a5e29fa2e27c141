/* What the store remembers of things outside it: digests of files that were hashed before, and what image
 * names meant. */
#include <sys/stat.h>

#include "store/internal.h"
#include "wherry/store/record.h"

#define DISTRUST_NS ((int64_t)2 * 1000 * 1000 * 1000)

void wh_file_stamp(const struct stat *st, struct wh_file_stamp *out)
{
    *out = (struct wh_file_stamp){
        .dev = st->st_dev,
        .ino = st->st_ino,
        .size = st->st_size,
        .mtime = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
        .ctime = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec,
    };
}

/* Scopes are long texts and the rows are many: eight bytes of the text's hash stand for it. */
static int64_t scope_number(const char *scope)
{
    struct wh_digest digest;
    wh_digest_of(scope, strlen(scope), &digest);
    int64_t number;
    memcpy(&number, digest.bytes, sizeof(number));
    return number;
}

int wh_files_find(struct wh_store *s, const char *scope, struct wh_file_digest *list, size_t n,
                  struct wh_error *err)
{
    if (n == 0)
        return 0;
    wh_autostorelock(s);
    int64_t number = scope_number(scope);
    if (store_run(s, err, "BEGIN", "") < 0)
        return -1;
    int known = 0;
    int rc = 0;
    for (size_t i = 0; i < n && rc >= 0; i++) {
        const struct wh_file_stamp *f = &list[i].stamp;
        wh_autoquery *q =
            store_query(s, err,
                        "SELECT digest FROM files WHERE scope = ? AND dev = ? AND ino = ? AND size = ?"
                        " AND mtime = ? AND ctime = ?",
                        "iiiiii", number, (int64_t)f->dev, (int64_t)f->ino, f->size, f->mtime, f->ctime);
        rc = q ? store_step(s, q, err) : -1;
        list[i].known = rc == 1 && store_col_digest(q, 0, &list[i].digest);
        known += list[i].known;
    }
    if (store_run(s, err, "COMMIT", "") < 0 || rc < 0)
        return -1;
    return known;
}

int wh_files_add(struct wh_store *s, const char *scope, const struct wh_file_digest *list, size_t n,
                 int64_t hashed_at, struct wh_error *err)
{
    if (n == 0)
        return 0;
    wh_autostorelock(s);
    int64_t number = scope_number(scope);
    int64_t now = wh_now_ns();
    if (store_begin(s, false, err) < 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; i < n && rc >= 0; i++) {
        const struct wh_file_stamp *f = &list[i].stamp;
        if (f->mtime > hashed_at - DISTRUST_NS || f->ctime > hashed_at - DISTRUST_NS)
            continue;
        rc = store_run(s, err,
                       "INSERT OR REPLACE INTO files(scope, dev, ino, size, mtime, ctime, digest, used)"
                       " VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
                       "iiiiiidi", number, (int64_t)f->dev, (int64_t)f->ino, f->size, f->mtime, f->ctime,
                       &list[i].digest, now);
    }
    return store_end(s, rc < 0 ? -1 : 0, err);
}

/* ---- image references ---- */

void wh_image_ref_clear(struct wh_image_ref *ref)
{
    free(ref->name);
    free(ref->visible);
    free(ref->media_type);
    memset(ref, 0, sizeof(*ref));
}

int wh_image_ref_put(struct wh_store *s, const struct wh_image_ref *ref, struct wh_error *err)
{
    wh_autostorelock(s);
    int rc = store_run(s, err,
                       "INSERT OR REPLACE INTO images(name, visible, manifest, media_type, seen)"
                       " VALUES(?, ?, ?, ?, ?)",
                       "ttdti", ref->name, ref->visible ? ref->visible : "", &ref->manifest, ref->media_type,
                       ref->seen ? ref->seen : wh_now_ns());
    return rc < 0 ? -1 : 0;
}

int wh_image_ref_find(struct wh_store *s, const char *name, const char *scope, struct wh_image_ref *out,
                      struct wh_error *err)
{
    wh_autostorelock(s);
    wh_autoquery *q =
        store_query(s, err,
                    "SELECT name, visible, manifest, media_type, seen FROM images WHERE name = ?1"
                    " AND (visible = '' OR visible = ?2) ORDER BY seen DESC LIMIT 1",
                    "tt", name, scope);
    int rc = q ? store_step(s, q, err) : -1;
    if (rc != 1)
        return rc;
    memset(out, 0, sizeof(*out));
    if (!store_col_digest(q, 2, &out->manifest))
        return 0;
    out->name = store_col_text(q, 0);
    out->visible = store_col_text(q, 1);
    out->media_type = store_col_text(q, 3);
    out->seen = sqlite3_column_int64(q, 4);
    return 1;
}
