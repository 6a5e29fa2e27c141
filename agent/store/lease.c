/* Leases and last uses. A lease is a row that names a session; the session's lock file, held by flock, says
 * whether it still counts, so that a killed process leaves none behind. */
#include "store/internal.h"

struct store_key store_key_number(enum wh_store_kind kind, int64_t number)
{
    struct store_key key = {.kind = kind};
    memcpy(key.id, &number, sizeof(number));
    return key;
}

struct store_key store_key_digest(enum wh_store_kind kind, const struct wh_digest *digest)
{
    struct store_key key = {.kind = kind};
    memcpy(key.id, digest->bytes, sizeof(key.id));
    return key;
}

static int64_t key_number(const struct store_key *key)
{
    int64_t number;
    memcpy(&number, key->id, sizeof(number));
    return number;
}

static bool key_is_digest(const struct store_key *key)
{
    return key->kind == WH_STORE_BLOB || key->kind == WH_STORE_FOLDER;
}

/* The same statement with the object as a digest or a number. */
static int run_keyed(struct wh_store *s, struct wh_error *err, const char *sql, const struct store_key *key)
{
    if (!key_is_digest(key))
        return store_run(s, err, sql, "tii", s->session, key->kind, key_number(key));
    struct wh_digest digest;
    memcpy(digest.bytes, key->id, sizeof(digest.bytes));
    return store_run(s, err, sql, "tid", s->session, key->kind, &digest);
}

int store_lease(struct wh_store *s, const struct store_key *key, struct wh_error *err)
{
    struct store_use *held;
    HASH_FIND(hh, s->leases, key, sizeof(*key), held);
    if (held)
        return 1;
    if (store_session(s, err) < 0)
        return -1;
    /* One statement, so that the collector either sees the lease or has dropped the row before. */
    static const char *const sql[] = {
        [WH_STORE_BLOB] = "INSERT OR REPLACE INTO leases SELECT ?1, ?2, digest FROM blobs WHERE digest = ?3",
        [WH_STORE_LAYER] = "INSERT OR REPLACE INTO leases SELECT ?1, ?2, id FROM layers WHERE id = ?3",
        [WH_STORE_MOUNT] = "INSERT OR REPLACE INTO leases SELECT ?1, ?2, id FROM mounts WHERE id = ?3",
        [WH_STORE_FOLDER] = "INSERT OR REPLACE INTO leases SELECT ?1, ?2, hash FROM folders WHERE hash = ?3",
    };
    int rc = run_keyed(s, err, sql[key->kind], key);
    if (rc <= 0)
        return rc;
    held = wh_calloc(1, sizeof(*held));
    held->key = *key;
    HASH_ADD(hh, s->leases, key, sizeof(held->key), held);
    store_touch(s, key);
    return 1;
}

void store_touch(struct wh_store *s, const struct store_key *key)
{
    struct store_use *use;
    HASH_FIND(hh, s->touched, key, sizeof(*key), use);
    if (use)
        return;
    use = wh_calloc(1, sizeof(*use));
    use->key = *key;
    HASH_ADD(hh, s->touched, key, sizeof(use->key), use);
    if (++s->ntouched >= STORE_TOUCH_BATCH)
        store_janitor_wake(s);
}

static int touch_one(struct wh_store *s, const struct store_key *key, int64_t now, struct wh_error *err)
{
    static const char *const sql[] = {
        [WH_STORE_BLOB] = "UPDATE blobs SET used = ?1 WHERE digest = ?2",
        [WH_STORE_LAYER] = "UPDATE layers SET used = ?1 WHERE id = ?2",
        [WH_STORE_MOUNT] = "UPDATE mounts SET used = ?1 WHERE id = ?2",
        [WH_STORE_FOLDER] = "UPDATE folders SET used = ?1 WHERE hash = ?2",
    };
    if (!key_is_digest(key))
        return store_run(s, err, sql[key->kind], "ii", now, key_number(key));
    struct wh_digest digest;
    memcpy(digest.bytes, key->id, sizeof(digest.bytes));
    return store_run(s, err, sql[key->kind], "id", now, &digest);
}

int store_touch_write(struct wh_store *s, struct wh_error *err)
{
    if (s->ntouched == 0)
        return 0;
    if (store_begin(s, false, err) < 0)
        return -1;
    int64_t now = wh_now_ns();
    int rc = 0;
    for (struct store_use *use = s->touched; use && rc >= 0; use = use->hh.next)
        rc = touch_one(s, &use->key, now, err);
    store_uses_free(&s->touched);
    s->ntouched = 0;
    return store_end(s, rc < 0 ? -1 : 0, err);
}

/* HASH_CLEAR drops the table; its members stay linked. */
void store_uses_free(struct store_use **list)
{
    struct store_use *use = *list;
    HASH_CLEAR(hh, *list);
    while (use) {
        struct store_use *next = use->hh.next;
        free(use);
        use = next;
    }
}

void store_forget_leases(struct wh_store *s)
{
    store_uses_free(&s->leases);
}

int wh_store_lease_layer(struct wh_store *s, int64_t layer, struct wh_error *err)
{
    wh_autostorelock(s);
    struct store_key key = store_key_number(WH_STORE_LAYER, layer);
    return store_lease(s, &key, err);
}

int wh_store_lease_blob(struct wh_store *s, const struct wh_digest *digest, struct wh_error *err)
{
    wh_autostorelock(s);
    struct store_key key = store_key_digest(WH_STORE_BLOB, digest);
    return store_lease(s, &key, err);
}

int wh_store_unlease(struct wh_store *s, struct wh_error *err)
{
    wh_autostorelock(s);
    store_forget_leases(s);
    if (!s->session)
        return 0;
    return store_run(s, err, "DELETE FROM leases WHERE session = ?", "t", s->session) < 0 ? -1 : 0;
}

int store_lease_sweep(struct wh_store *s, struct wh_error *err)
{
    wh_autostrv char **sessions = NULL;
    {
        wh_autoquery *q = store_query(s, err, "SELECT DISTINCT session FROM leases", "");
        int rc;
        while ((rc = q ? store_step(s, q, err) : -1) == 1)
            wh_strv_take(&sessions, store_col_text(q, 0));
        if (rc < 0)
            return -1;
    }
    for (char **n = sessions; n && *n; n++)
        if (!store_session_lives(s, *n) &&
            store_run(s, err, "DELETE FROM leases WHERE session = ?", "t", *n) < 0)
            return -1;
    return 0;
}

int store_leased(struct wh_store *s, const struct store_key *key, bool others, struct wh_error *err)
{
    static const char sql[] =
        "SELECT EXISTS(SELECT 1 FROM leases WHERE kind = ?1 AND object = ?2 AND session <> ?3)";
    const char *mine = others && s->session ? s->session : "";
    int64_t leased = 0;
    struct wh_digest digest;
    memcpy(digest.bytes, key->id, sizeof(digest.bytes));
    int rc = key_is_digest(key)
                 ? store_number(s, err, 0, &leased, sql, "idt", key->kind, &digest, mine)
                 : store_number(s, err, 0, &leased, sql, "iit", key->kind, key_number(key), mine);
    return rc < 0 ? -1 : leased != 0;
}
