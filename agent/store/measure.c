/* How large a tree is. */
#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#include "store/internal.h"

#define MAX_MEASURE_DEPTH 200 /* one descriptor a level; what lies deeper is not counted */

struct inode {
    uint64_t key[2]; /* device, inode */
    UT_hash_handle hh;
};

struct measure {
    uint64_t bytes, entries;
    struct inode *seen; /* of more than one name */
};

static bool first_name(struct measure *m, const struct stat *st)
{
    if (st->st_nlink < 2 || S_ISDIR(st->st_mode))
        return true;
    struct inode *found;
    uint64_t probe[2] = {st->st_dev, st->st_ino};
    /* The analyzer loses track of the eight bytes in uthash's hash function. */
    /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
    HASH_FIND(hh, m->seen, probe, sizeof(probe), found);
    if (found)
        return false;
    found = wh_calloc(1, sizeof(*found));
    memcpy(found->key, probe, sizeof(probe));
    HASH_ADD(hh, m->seen, key, sizeof(found->key), found);
    return true;
}

static int walk(struct measure *m, int dirfd, const char *name, int depth, struct wh_error *err)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT && depth > 0 ? 0 : wh_fail_errno(err, "measuring %s", name);
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return wh_fail_errno(err, "measuring %s", name);
    }
    int rc = 0;
    for (struct dirent *e; rc == 0 && (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        struct stat st;
        if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue; /* of a mount or mirror in use */
        m->entries++;
        if (S_ISDIR(st.st_mode))
            rc = depth < MAX_MEASURE_DEPTH ? walk(m, fd, e->d_name, depth + 1, err) : 0;
        else if (first_name(m, &st))
            m->bytes += (uint64_t)st.st_size;
    }
    closedir(dir);
    return rc;
}

int store_measure(int dirfd, const char *name, uint64_t *bytes, uint64_t *entries, struct wh_error *err)
{
    struct measure m = {0};
    int rc = walk(&m, dirfd, name, 0, err);
    struct inode *i = m.seen;
    HASH_CLEAR(hh, m.seen);
    while (i) {
        struct inode *next = i->hh.next;
        free(i);
        i = next;
    }
    *bytes = m.bytes;
    if (entries)
        *entries = m.entries;
    return rc;
}

/* One row without a size: its number and folder, or 0. */
static int64_t next_layer(struct wh_store *s, int64_t after, struct wh_error *err)
{
    wh_autostorelock(s);
    int64_t id = 0;
    return store_number(s, err, 0, &id,
                        "SELECT id FROM layers WHERE files < 0 AND id > ? ORDER BY id LIMIT 1", "i",
                        after) < 0
               ? -1
               : id;
}

static int measure_layers(struct wh_store *s, struct wh_error *err)
{
    for (int64_t id = 0;;) {
        id = next_layer(s, id, err);
        if (id <= 0)
            return (int)id;
        wh_autofree char *name = wh_printf("%lld", (long long)id);
        uint64_t bytes, entries;
        wh_autoerror gone = {0};
        if (store_measure(s->layersfd, name, &bytes, &entries, &gone) < 0) {
            if (gone.code == WH_E_NOT_FOUND)
                continue;
            return wh_error_move(err, &gone);
        }
        wh_autostorelock(s);
        if (store_run(s, err, "UPDATE layers SET size = ?, files = ? WHERE id = ?", "iii", (int64_t)bytes,
                      (int64_t)entries, id) < 0)
            return -1;
    }
}

static int measure_folder(struct wh_store *s, const char *folder, int64_t *size, struct wh_error *err)
{
    uint64_t bytes = 0;
    wh_autoerror gone = {0};
    if (store_measure(s->dirfd, folder, &bytes, NULL, &gone) < 0 && gone.code != WH_E_NOT_FOUND)
        return wh_error_move(err, &gone);
    *size = (int64_t)bytes;
    return 0;
}

static int measure_mounts(struct wh_store *s, struct wh_error *err)
{
    for (int64_t id = 0;;) {
        wh_autofree char *folder = NULL;
        {
            wh_autostorelock(s);
            wh_autoquery *q =
                store_query(s, err,
                            "SELECT id, scope, name, instance FROM mounts WHERE size < 0 AND id > ?"
                            " ORDER BY id LIMIT 1",
                            "i", id);
            int rc = q ? store_step(s, q, err) : -1;
            if (rc <= 0)
                return rc;
            id = sqlite3_column_int64(q, 0);
            folder = store_mount_folder((const char *)sqlite3_column_text(q, 1),
                                        (const char *)sqlite3_column_text(q, 2), sqlite3_column_int64(q, 3));
        }
        int64_t size = 0;
        if (measure_folder(s, folder, &size, err) < 0)
            return -1;
        wh_autostorelock(s);
        if (store_run(s, err, "UPDATE mounts SET size = ? WHERE id = ?", "ii", size, id) < 0)
            return -1;
    }
}

static int measure_folders(struct wh_store *s, struct wh_error *err)
{
    wh_autofree char *name = wh_strdup("");
    for (;;) {
        {
            wh_autostorelock(s);
            wh_autoquery *q = store_query(
                s, err, "SELECT name FROM folders WHERE size < 0 AND name > ? ORDER BY name LIMIT 1", "t",
                name);
            int rc = q ? store_step(s, q, err) : -1;
            if (rc <= 0)
                return rc;
            free(name);
            name = store_col_text(q, 0);
        }
        int64_t size = 0;
        if (measure_folder(s, name, &size, err) < 0)
            return -1;
        wh_autostorelock(s);
        if (store_run(s, err, "UPDATE folders SET size = ? WHERE name = ?", "it", size, name) < 0)
            return -1;
    }
}

int store_measure_all(struct wh_store *s, struct wh_error *err)
{
    if (measure_layers(s, err) < 0 || measure_mounts(s, err) < 0)
        return -1;
    return measure_folders(s, err);
}
