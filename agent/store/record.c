/* Build records and the scopes that they are filed under. */
#include "wherry/store/record.h"
#include "store/internal.h"

void wh_record_clear(struct wh_record *r)
{
    free(r->scope);
    free(r->slot);
    free(r->meta);
    memset(r, 0, sizeof(*r));
}

/* ---- scopes ---- */

static void add_ref(struct wh_scopes *out, const char *repository, const char *ref)
{
    if (!ref || ref[0] == '\0' || out->nrefs == WH_MAX_SCOPES)
        return;
    wh_autofree char *scope =
        wh_printf("repo:%s@%s%s", repository, wh_starts_with(ref, "refs/") ? "" : "refs/heads/", ref);
    for (size_t i = 0; i < out->nrefs; i++)
        if (strcmp(out->refs[i], scope) == 0)
            return;
    out->refs[out->nrefs++] = wh_steal(&scope);
}

void wh_scopes_make(struct wh_scopes *out, const char *repository, const char *ref, const char *base_ref,
                    const char *default_ref)
{
    memset(out, 0, sizeof(*out));
    if (!repository || repository[0] == '\0') {
        out->repository = wh_strdup("local");
        out->refs[out->nrefs++] = wh_strdup("local");
        return;
    }
    wh_autofree char *lower = wh_strdup(repository); /* GitHub's names are one in any case */
    wh_ascii_lower(lower);
    out->repository = wh_printf("repo:%s", lower);
    add_ref(out, lower, ref);
    if (out->nrefs == 0)
        out->refs[out->nrefs++] = wh_printf("repo:%s@", lower); /* no ref: shares nothing with any */
    add_ref(out, lower, base_ref);
    add_ref(out, lower, default_ref);
}

void wh_scopes_clear(struct wh_scopes *scopes)
{
    free(scopes->repository);
    for (size_t i = 0; i < scopes->nrefs; i++)
        free(scopes->refs[i]);
    memset(scopes, 0, sizeof(*scopes));
}

/* ---- records ---- */

int wh_record_put(struct wh_store *s, const struct wh_record *r, struct wh_error *err)
{
    if (r->meta && strlen(r->meta) > WH_MAX_RECORD_META)
        return wh_fail(err, WH_E_LIMIT, "the metadata of a build record has more than %zu bytes",
                       WH_MAX_RECORD_META);
    if (!r->scope)
        return wh_fail(err, WH_E_ARGUMENT, "a build record needs a scope");
    wh_autostorelock(s);
    if (store_begin(s, false, err) < 0)
        return -1;
    int64_t there = 1;
    int rc = 0;
    if (r->layer > 0)
        rc = store_number(s, err, 0, &there, "SELECT 1 FROM layers WHERE id = ?", "i", r->layer);
    if (rc >= 0 && !there)
        rc = wh_fail(err, WH_E_NOT_FOUND, "layer %lld of a build record is not in the store",
                     (long long)r->layer);
    int64_t now = wh_now_ns();
    const struct wh_digest *diffid = r->has_diffid ? &r->diffid : NULL;
    if (rc >= 0 && r->layer > 0)
        rc = store_run(
            s, err,
            "INSERT OR REPLACE INTO records(scope, key, layer, empty, diffid, slot, meta, created, used)"
            " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            "tdiidttii", r->scope, &r->key, r->layer, (int64_t)r->empty, diffid, r->slot, r->meta,
            r->created ? r->created : now, now);
    else if (rc >= 0)
        rc = store_run(s, err,
                       "INSERT OR REPLACE INTO records(scope, key, empty, diffid, slot, meta, created, used)"
                       " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                       "tdidttii", r->scope, &r->key, (int64_t)r->empty, diffid, r->slot, r->meta,
                       r->created ? r->created : now, now);
    return store_end(s, rc < 0 ? -1 : 0, err);
}

/* Columns: scope, key, layer, empty, diffid, slot, meta, created. */
static void fill(sqlite3_stmt *q, struct wh_record *out)
{
    memset(out, 0, sizeof(*out));
    out->scope = store_col_text(q, 0);
    store_col_digest(q, 1, &out->key);
    out->layer = sqlite3_column_int64(q, 2);
    out->empty = sqlite3_column_int(q, 3) != 0;
    out->has_diffid = store_col_digest(q, 4, &out->diffid);
    out->slot = store_col_text(q, 5);
    out->meta = store_col_text(q, 6);
    out->created = sqlite3_column_int64(q, 7);
}

static int find_in(struct wh_store *s, const char *scope, const struct wh_digest *key, struct wh_record *out,
                   struct wh_error *err)
{
    wh_autoquery *q = store_query(s, err,
                                  "SELECT scope, key, layer, empty, diffid, slot, meta, created FROM records"
                                  " WHERE scope = ? AND key = ?",
                                  "td", scope, key);
    int rc = q ? store_step(s, q, err) : -1;
    if (rc == 1)
        fill(q, out);
    return rc;
}

static int has_blob(struct wh_store *s, const struct wh_digest *diffid, struct wh_error *err)
{
    int64_t found = 0;
    int rc = store_number(s, err, 0, &found,
                          "SELECT EXISTS(SELECT 1 FROM layer_blobs l JOIN blobs b ON b.digest = l.digest"
                          " WHERE l.diffid = ?)",
                          "d", diffid);
    return rc < 0 ? -1 : found != 0;
}

/* 1: its result is here, the tree leased; 0: collected. */
static int settle(struct wh_store *s, struct wh_record *r, struct wh_error *err)
{
    if (r->layer > 0) {
        int rc = store_layer_usable(s, r->layer, err);
        if (rc != 0)
            return rc;
        r->layer = 0;
    }
    if (r->empty)
        return 1;
    return r->has_diffid ? has_blob(s, &r->diffid, err) : 0;
}

int wh_record_find(struct wh_store *s, const char *const *scopes, size_t nscopes, const struct wh_digest *key,
                   struct wh_record *out, struct wh_error *err)
{
    wh_autostorelock(s);
    for (size_t i = 0; i < nscopes; i++) {
        struct wh_record r = {0};
        int rc = find_in(s, scopes[i], key, &r, err);
        if (rc == 1)
            rc = settle(s, &r, err);
        if (rc == 1) {
            *out = r;
            return 1;
        }
        wh_record_clear(&r);
        if (rc < 0)
            return -1;
    }
    return 0;
}

int wh_record_previous(struct wh_store *s, const char *const *scopes, size_t nscopes, const char *slot,
                       struct wh_record *out, struct wh_error *err)
{
    wh_autostorelock(s);
    struct wh_record best = {0};
    bool found = false;
    for (size_t i = 0; i < nscopes; i++) {
        wh_autoquery *q =
            store_query(s, err,
                        "SELECT scope, key, layer, empty, diffid, slot, meta, created FROM records"
                        " WHERE slot = ? AND scope = ? ORDER BY created DESC LIMIT 1",
                        "tt", slot, scopes[i]);
        int rc = q ? store_step(s, q, err) : -1;
        if (rc < 0) {
            wh_record_clear(&best);
            return -1;
        }
        if (rc == 1 && (!found || sqlite3_column_int64(q, 7) > best.created)) {
            wh_record_clear(&best);
            fill(q, &best);
            found = true;
        }
    }
    if (found)
        *out = best;
    return found;
}
