/* Entries that are in: look-ups, last uses. */
#include "store/cache_internal.h"

#define FEW 256 /* so many entries with a prefix are looked at one by one; of more the newest is searched */
#define ENTRY_COLUMNS "id, seq, scope, version, key, job, mime, digest, size, created, expires"

void wh_cache_entry_clear(struct wh_cache_entry *e)
{
    free(e->scope);
    free(e->version);
    free(e->key);
    free(e->job);
    free(e->mime);
    memset(e, 0, sizeof(*e));
}

static void read_entry(sqlite3_stmt *q, struct wh_cache_entry *out)
{
    wh_cache_entry_clear(out);
    out->id = sqlite3_column_int64(q, 0);
    out->seq = sqlite3_column_int64(q, 1);
    out->scope = store_col_text(q, 2);
    out->version = store_col_text(q, 3);
    out->key = store_col_text(q, 4);
    out->job = store_col_text(q, 5);
    out->mime = store_col_text(q, 6);
    (void)store_col_digest(q, 7, &out->digest);
    out->size = (uint64_t)sqlite3_column_int64(q, 8);
    out->created = sqlite3_column_int64(q, 9);
    out->expires = sqlite3_column_int64(q, 10);
}

int wh_cache_find(struct wh_store *s, const struct wh_cache_name *name, struct wh_cache_entry *out,
                  struct wh_error *err)
{
    wh_autostorelock(s);
    wh_autoquery *q =
        store_query(s, err,
                    "SELECT " ENTRY_COLUMNS
                    " FROM cache_entries WHERE kind = ? AND repo = ? AND scope = ? AND version = ? "
                    "AND key = ?",
                    "itttt", (int64_t)name->kind, name->repository, name->scope, name->version, name->key);
    int rc = q ? store_step(s, q, err) : -1;
    if (rc == 1)
        read_entry(q, out);
    return rc;
}

int wh_cache_find_id(struct wh_store *s, int64_t id, struct wh_cache_entry *out, char **repository,
                     struct wh_error *err)
{
    wh_autostorelock(s);
    wh_autoquery *q =
        store_query(s, err, "SELECT " ENTRY_COLUMNS ", repo FROM cache_entries WHERE id = ?", "i", id);
    int rc = q ? store_step(s, q, err) : -1;
    if (rc == 1) {
        read_entry(q, out);
        if (repository)
            *repository = store_col_text(q, 11);
    }
    return rc;
}

/* The smallest text that no text with this prefix reaches. NULL: there is none; a blob is more than any text.
 */
static char *after_prefix(const char *prefix)
{
    size_t len = strlen(prefix);
    while (len > 0 && (unsigned char)prefix[len - 1] == 0xff)
        len--;
    if (len == 0)
        return NULL;
    char *after = wh_strndup(prefix, len);
    after[len - 1] = (char)((unsigned char)after[len - 1] + 1);
    return after;
}

/* Of few the newest by its seq; INT64_MAX: there are too many to look at each. */
static int newest_of_few(struct wh_store *s, const struct wh_cache_name *name, const char *after,
                         int64_t *seq, struct wh_error *err)
{
    wh_autoquery *q = store_query(s, err,
                                  "SELECT seq FROM cache_entries WHERE kind = ?1 AND repo = ?2 AND scope = "
                                  "?3 AND version = ?4 AND key >= "
                                  "?5 AND key < coalesce(?6, x'00') LIMIT ?7",
                                  "ittttti", (int64_t)name->kind, name->repository, name->scope,
                                  name->version, name->key, after, (int64_t)FEW + 1);
    int rc, n = 0;
    *seq = 0;
    while ((rc = q ? store_step(s, q, err) : -1) == 1) {
        *seq = WH_MAX(*seq, sqlite3_column_int64(q, 0));
        n++;
    }
    if (n > FEW)
        *seq = INT64_MAX;
    return rc;
}

int wh_cache_find_prefix(struct wh_store *s, const struct wh_cache_name *name, struct wh_cache_entry *out,
                         struct wh_error *err)
{
    wh_autostorelock(s);
    wh_autofree char *after = after_prefix(name->key);
    int64_t seq;
    if (newest_of_few(s, name, after, &seq, err) < 0)
        return -1;
    if (seq == 0)
        return 0;
    /* Unary pluses keep the planner at the index by seq: backwards from the newest. */
    wh_autoquery *q = store_query(
        s, err,
        "SELECT " ENTRY_COLUMNS
        " FROM cache_entries INDEXED BY cache_entries_seq WHERE kind = ?1 AND repo = ?2 AND scope = ?3 AND "
        "version = ?4 AND seq <= ?7 AND +key >= ?5 AND +key < coalesce(?6, x'00') ORDER BY seq DESC LIMIT 1",
        "ittttti", (int64_t)name->kind, name->repository, name->scope, name->version, name->key, after, seq);
    int rc = q ? store_step(s, q, err) : -1;
    if (rc == 1)
        read_entry(q, out);
    return rc;
}

int wh_cache_list(struct wh_store *s, const struct wh_cache_name *name, size_t max,
                  int (*each)(void *arg, const struct wh_cache_entry *e), void *arg, struct wh_error *err)
{
    wh_autostorelock(s);
    wh_autofree char *after = after_prefix(name->key);
    wh_autoquery *q =
        store_query(s, err,
                    "SELECT " ENTRY_COLUMNS " FROM cache_entries WHERE kind = ?1 AND repo = ?2 AND scope = "
                    "?3 AND (?4 IS NULL OR version = ?4) AND "
                    "key >= ?5 AND key < coalesce(?6, x'00') ORDER BY seq DESC LIMIT ?7",
                    "ittttti", (int64_t)name->kind, name->repository, name->scope, name->version, name->key,
                    after, (int64_t)max);
    int rc;
    while ((rc = q ? store_step(s, q, err) : -1) == 1) {
        wh_autocacheentry e = {0};
        read_entry(q, &e);
        rc = each(arg, &e);
        if (rc != 0)
            return rc;
    }
    return rc;
}

int wh_cache_touch(struct wh_store *s, const int64_t *ids, size_t n, struct wh_error *err)
{
    wh_autostorelock(s);
    int64_t now = wh_now_ns();
    if (store_begin(s, false, err) < 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; i < n && rc >= 0; i++)
        if ((rc = store_run(s, err, "UPDATE cache_entries SET used = ?2 WHERE id = ?1", "ii", ids[i], now)) >
            0)
            rc = store_run(
                s, err,
                "UPDATE blobs SET used = ?2 WHERE digest = (SELECT digest FROM cache_entries WHERE id "
                "= ?1)",
                "ii", ids[i], now);
    return store_end(s, rc < 0 ? -1 : 0, err);
}
