/* Digests of a layer's files, kept with the layer: one value of the index a layer, `length of the path (2
 * bytes, little endian) path digest` again and again. */
#include "store/internal.h"
#include "wherry/store/layer.h"

struct file {
    struct wh_digest digest;
    UT_hash_handle hh;
    char path[]; /* NUL-terminated */
};

struct wh_layer_files {
    struct file *list;
};

struct wh_layer_files *wh_layer_files_new(void)
{
    return wh_calloc(1, sizeof(struct wh_layer_files));
}

void wh_layer_files_clear(struct wh_layer_files *f)
{
    struct file *file = f->list;
    HASH_CLEAR(hh, f->list);
    while (file) {
        struct file *next = file->hh.next;
        free(file);
        file = next;
    }
}

void wh_layer_files_free(struct wh_layer_files *f)
{
    if (!f)
        return;
    wh_layer_files_clear(f);
    free(f);
}

void wh_layer_files_free_ptr(struct wh_layer_files **f)
{
    wh_layer_files_free(*f);
}

static struct file *find(const struct wh_layer_files *f, const char *path, size_t len)
{
    struct file *found;
    /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): as in measure.c */
    HASH_FIND(hh, f->list, path, len, found);
    return found;
}

static void put(struct wh_layer_files *f, const char *path, size_t len, const struct wh_digest *digest)
{
    struct file *file = find(f, path, len);
    if (!file) {
        file = wh_calloc(1, sizeof(*file) + len + 1);
        memcpy(file->path, path, len);
        HASH_ADD_KEYPTR(hh, f->list, file->path, len, file);
    }
    file->digest = *digest;
}

void wh_layer_files_put(struct wh_layer_files *f, const char *path, const struct wh_digest *digest)
{
    size_t len = strlen(path);
    if (len > 0 && len <= UINT16_MAX)
        put(f, path, len, digest);
}

void wh_layer_files_drop(struct wh_layer_files *f, const char *path)
{
    struct file *file = find(f, path, strlen(path));
    if (!file)
        return;
    HASH_DEL(f->list, file);
    free(file);
}

const struct wh_digest *wh_layer_files_get(const struct wh_layer_files *f, const char *path)
{
    const struct file *file = find(f, path, strlen(path));
    return file ? &file->digest : NULL;
}

static void print(const struct wh_layer_files *f, struct wh_str *out)
{
    for (const struct file *file = f->list; file; file = file->hh.next) {
        size_t len = strlen(file->path);
        wh_str_addc(out, (char)(len & 0xff));
        wh_str_addc(out, (char)(len >> 8));
        wh_str_addn(out, file->path, len);
        wh_str_addn(out, (const char *)file->digest.bytes, sizeof(file->digest.bytes));
    }
}

int wh_layer_files_save(struct wh_store *s, int64_t layer, const struct wh_layer_files *f,
                        struct wh_error *err)
{
    wh_autostr list = {0};
    print(f, &list);
    if (list.len == 0 || list.len > WH_MAX_LAYER_FILES)
        return 0;
    wh_autostorelock(s);
    if (store_begin(s, false, err) < 0)
        return -1;
    wh_autoquery *q = store_query(
        s, err, "INSERT OR REPLACE INTO layer_files(layer, list) SELECT id, ?2 FROM layers WHERE id = ?1",
        "i", layer);
    int rc = q ? 0 : -1;
    if (q) {
        sqlite3_bind_blob(q, 2, list.data, (int)list.len, SQLITE_STATIC);
        rc = store_step(s, q, err);
        sqlite3_bind_null(q, 2); /* the statement is kept, the bytes are not */
    }
    return store_end(s, rc < 0 ? -1 : 0, err);
}

/* What was written is whole, or the index is damaged: then nothing is known. */
static bool parse(const unsigned char *data, size_t size, struct wh_layer_files *f)
{
    for (size_t at = 0; at < size;) {
        struct wh_digest digest;
        if (size - at < 2)
            return false;
        size_t len = data[at] | (size_t)data[at + 1] << 8;
        at += 2;
        if (len == 0 || size - at < len + sizeof(digest.bytes) || memchr(data + at, 0, len))
            return false;
        memcpy(digest.bytes, data + at + len, sizeof(digest.bytes));
        put(f, (const char *)data + at, len, &digest);
        at += len + sizeof(digest.bytes);
    }
    return true;
}

struct wh_layer_files *wh_layer_files_load(struct wh_store *s, int64_t layer)
{
    wh_autostorelock(s);
    wh_autoquery *q = store_query(s, NULL, "SELECT list FROM layer_files WHERE layer = ?", "i", layer);
    if (!q || store_step(s, q, NULL) != 1)
        return NULL;
    struct wh_layer_files *f = wh_layer_files_new();
    if (!parse(sqlite3_column_blob(q, 0), (size_t)sqlite3_column_bytes(q, 0), f))
        wh_layer_files_clear(f);
    return f;
}
