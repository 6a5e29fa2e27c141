/* du, list, prune, verify. */
#include "store/store_test.h"

#include <sqlite3.h>
#include <sys/stat.h>

static void set_used(const char *dir, const char *sql)
{
    wh_autofree char *path = wh_path_join(dir, "index.db");
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* Blobs of 1000 bytes, "1"... of repository a and then of b, used in that order. */
static struct wh_digest blob_of(struct wh_store *s, const char *repo, int n)
{
    wh_autoerror err = {0};
    char data[1000] = "";
    snprintf(data, sizeof(data), "%s %d", repo, n);
    wh_store_charge(s, repo);
    struct wh_digest d;
    ok(wh_blob_put(s, data, sizeof(data), WH_BLOB_LATER, &d, &err));
    return d;
}

static void test_quota_and_fair_share(void **state)
{
    wh_autoerror err = {0};
    struct wh_digest a[10], b[2];
    struct wh_store *s = test_open(*state);
    for (int i = 0; i < 2; i++)
        b[i] = blob_of(s, "small/one", i);
    for (int i = 0; i < 10; i++)
        a[i] = blob_of(s, "big/one", i);
    wh_store_close(s);
    set_used(*state, "UPDATE blobs SET used = created");

    wh_autostore *p = test_open(*state);
    struct wh_prune_result r;
    ok(wh_store_prune(p, &(struct wh_prune){.max_bytes = 6000, .dry_run = true}, &r, &err));
    assert_int_equal(r.items, 6);
    assert_int_equal(r.left, 6000);
    assert_int_equal(ok(wh_blob_has(p, &a[0], NULL, &err)), 1);
    ok(wh_store_prune(p, &(struct wh_prune){.max_bytes = 6000}, &r, &err));
    assert_int_equal(r.items, 6);
    assert_int_equal(r.bytes, 6000);
    /* The small one's are older, but it has less than its share. */
    for (int i = 0; i < 2; i++)
        assert_int_equal(ok(wh_blob_has(p, &b[i], NULL, &err)), 1);
    for (int i = 0; i < 10; i++)
        assert_int_equal(ok(wh_blob_has(p, &a[i], NULL, &err)), i >= 6);
    /* Own leases count too. */
    ok(wh_store_lease_blob(p, &a[9], &err));
    ok(wh_store_prune(p, &(struct wh_prune){.all = true}, &r, &err));
    assert_int_equal(ok(wh_blob_has(p, &a[9], NULL, &err)), 1);
    assert_int_equal(r.left, 1000);
    ok(wh_store_unlease(p, &err));
    ok(wh_store_prune(p, &(struct wh_prune){.all = true}, &r, &err));
    assert_int_equal(r.left, 0);
}

static void test_age_and_kinds(void **state)
{
    wh_autoerror err = {0};
    struct wh_store *s = test_open(*state);
    int64_t old = test_layer(s, "old layer", NULL), young = test_layer(s, "young layer", NULL);
    const char *scope[] = {"r@main"};
    wh_cache_mount_release(
        wh_cache_mount_acquire(s, scope, 1, "c", WH_SHARING_SHARED, false, NULL, NULL, &err));
    wh_autofree char *mirror = wh_store_place(s, "git", "host/o/r.git", &err);
    assert_non_null(mirror);
    ok(wh_mkdir_p(mirror, 0700, &err));
    assert_null(wh_store_place(s, "git", "host/../r.git", &err));
    struct wh_record r = {.scope = (char *)"x", .layer = old};
    ok(wh_record_put(s, &r, &err));
    wh_store_close(s);
    char sql[300];
    snprintf(
        sql, sizeof(sql),
        "UPDATE layers SET used = 1 WHERE id = %lld; UPDATE mounts SET used = 1; UPDATE folders SET used = 1",
        (long long)old);
    set_used(*state, sql);
    wh_autofree char *orphan = wh_path_join(*state, "layers/77/x");
    ok(wh_mkdir_p(orphan, 0755, &err));
    wh_autofree char *stray = wh_path_join(*state, "blobs/sha256/ab");
    ok(wh_mkdir_p(stray, 0755, &err));
    wh_autofree char *file =
        wh_path_join(stray, "cdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcdabcd");
    ok(wh_write_file(AT_FDCWD, file, "x", 1, 0644, &err));

    wh_autostore *p = test_open(*state);
    struct wh_prune_result out;
    ok(wh_store_prune(p, &(struct wh_prune){.max_age = 3600000000000LL}, &out, &err));
    assert_int_equal(out.items, 3);
    assert_int_equal(out.orphans, 2);
    assert_int_equal(access(mirror, F_OK), -1);
    assert_int_equal(access(file, F_OK), -1);
    assert_false(test_exists(*state, "layers/77"));
    wh_autoclose int fd = (int)ok(wh_layer_open(p, young, &err));
    assert_true(wh_layer_open(p, old, &err) < 0);
    struct wh_record found;
    assert_int_equal(ok(wh_record_find(p, (const char *const[]){"x"}, 1, &r.key, &found, &err)), 0);
    struct wh_store_usage u;
    ok(wh_store_du(p, &u, &err));
    assert_int_equal(u.layers, 1);
    assert_int_equal(u.layer_bytes, strlen("young layer"));
    assert_int_equal(u.mounts + u.folders, 0);
}

static int count_leased(void *arg, const struct wh_store_item *item)
{
    *(int *)arg += item->leased;
    return 0;
}

static void test_list(void **state)
{
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    test_put(s, "x");
    test_layer(s, "y", NULL);
    int leased = 0;
    ok(wh_store_list(s, count_leased, &leased, &err));
    assert_int_equal(leased, 2);
}

struct complaints {
    int n;
    char last[300];
};

static void complain(void *arg, const struct wh_verify_progress *p)
{
    struct complaints *c = arg;
    if (!p->bad)
        return;
    c->n++;
    snprintf(c->last, sizeof(c->last), "%s", p->bad);
}

static void test_verify_finds_damage(void **state)
{
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    struct wh_digest good = test_put(s, "good"), bad = test_put(s, "to be damaged"),
                     gone = test_put(s, "to be lost");
    struct wh_digest d1, d2;
    wh_digest_of("1", 1, &d1);
    wh_digest_of("2", 1, &d2);
    int64_t layer = test_layer(s, "changed later", &d1);
    test_layer(s, "stays", &d2);
    struct wh_verify_result r;
    struct complaints c = {0};
    ok(wh_store_verify(s, complain, &c, &r, &err));
    assert_int_equal(r.damaged, 0);
    assert_int_equal(r.blobs, 3);
    assert_int_equal(r.layers, 2);

    wh_autofree char *path = wh_blob_path(s, &bad);
    chmod(path, 0644);
    ok(wh_write_file(AT_FDCWD, path, "TO BE DAMAGED", 13, 0444, &err));
    wh_autofree char *lost = wh_blob_path(s, &gone);
    unlink(lost);
    wh_autofree char *tree = wh_layer_path(s, layer);
    wh_autofree char *more = wh_path_join(tree, "more");
    ok(wh_write_file(AT_FDCWD, more, "x", 1, 0644, &err));
    ok(wh_store_verify(s, complain, &c, &r, &err));
    assert_int_equal(r.damaged, 3);
    assert_int_equal(c.n, 3);
    assert_int_equal(ok(wh_blob_has(s, &good, NULL, &err)), 1);
    assert_int_equal(ok(wh_blob_has(s, &bad, NULL, &err)), 0);
    assert_int_equal(ok(wh_layer_by_diffid(s, &d1, &err)), 0);
    assert_true(ok(wh_layer_by_diffid(s, &d2, &err)) > 0);
    test_put(s, "to be damaged"); /* made anew */
    ok(wh_store_verify(s, complain, &c, &r, &err));
    assert_int_equal(r.damaged, 0);
    assert_true(test_exists(*state, "quarantine"));
}

static void test_verify_finds_a_damaged_index(void **state)
{
    wh_autoerror err = {0};
    struct wh_store *s = test_open(*state);
    for (int i = 0; i < 300; i++)
        blob_of(s, "r", i);
    wh_store_close(s);
    wh_autofree char *path = wh_path_join(*state, "index.db");
    set_used(*state, "PRAGMA wal_checkpoint(TRUNCATE)");
    wh_autoclose int fd = open(path, O_RDWR);
    char rubbish[4096];
    memset(rubbish, 0xa5, sizeof(rubbish));
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    for (off_t at = 8192; at + 4096 <= st.st_size; at += 4096)
        assert_int_equal(pwrite(fd, rubbish, sizeof(rubbish), at), 4096);
    s = wh_store_open(&(struct wh_store_options){.dir = *state}, &err);
    if (s) {
        struct wh_verify_result r;
        assert_true(wh_store_verify(s, NULL, NULL, &r, &err) < 0);
        wh_store_close(s);
    }
    assert_int_equal(err.code, WH_E_CORRUPT);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, test_dir_setup, test_dir_teardown)
    const struct CMUnitTest tests[] = {T(test_quota_and_fair_share), T(test_age_and_kinds), T(test_list),
                                       T(test_verify_finds_damage), T(test_verify_finds_a_damaged_index)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
