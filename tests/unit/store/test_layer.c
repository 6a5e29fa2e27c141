#include "store/store_test.h"

#include <sqlite3.h>
#include <sys/stat.h>

static void test_commit_and_look_up(void **state)
{
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    struct wh_digest diffid, chainid, unknown;
    wh_digest_of("diff", 4, &diffid);
    wh_digest_of("chain", 5, &chainid);
    wh_digest_of("?", 1, &unknown);

    struct wh_tree *t = wh_tree_begin(s, &err);
    assert_non_null(t);
    struct stat st;
    assert_int_equal(fstat(wh_tree_fd(t), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(access(wh_tree_work(t), F_OK), 0);
    ok(wh_write_file(wh_tree_fd(t), "hello", "x", 1, 0644, &err));
    wh_autofree char *work = wh_strdup(wh_tree_work(t));
    int64_t id = ok(wh_tree_commit(t, &(struct wh_layer_info){.diffid = &diffid, .size = 1}, &err));
    assert_true(id > 0);
    assert_int_equal(access(work, F_OK), -1);

    wh_autofree char *path = wh_layer_path(s, id);
    wh_autofree char *file = wh_path_join(path, "hello");
    assert_int_equal(access(file, F_OK), 0);
    wh_autoclose int fd = (int)ok(wh_layer_open(s, id, &err));
    assert_int_equal(faccessat(fd, "hello", F_OK, 0), 0);

    assert_int_equal(ok(wh_layer_by_diffid(s, &diffid, &err)), id);
    assert_int_equal(ok(wh_layer_by_diffid(s, &unknown, &err)), 0);
    assert_int_equal(ok(wh_layer_by_chainid(s, &chainid, &err)), 0);

    /* A tree that is right on its chain only must not be found by its diffID. */
    t = wh_tree_begin(s, &err);
    int64_t chained = ok(wh_tree_commit(
        t, &(struct wh_layer_info){.diffid = &unknown, .chainid = &chainid, .size = -1}, &err));
    assert_int_not_equal(chained, id);
    assert_int_equal(ok(wh_layer_by_diffid(s, &unknown, &err)), 0);
    assert_int_equal(ok(wh_layer_by_chainid(s, &chainid, &err)), chained);

    struct wh_digest got;
    assert_int_equal(ok(wh_layer_diffid(s, id, &got, &err)), 1);
    assert_true(wh_digest_eq(&got, &diffid));
}

static void test_abort_leaves_nothing(void **state)
{
    wh_autoerror err = {0};
    struct wh_store *s = test_open(*state);
    struct wh_tree *t = wh_tree_begin(s, &err);
    wh_autofree char *path = wh_strdup(wh_tree_path(t));
    ok(wh_write_file(wh_tree_fd(t), "f", "x", 1, 0, &err));
    wh_tree_abort(t);
    assert_int_equal(access(path, F_OK), -1);
    wh_store_close(s);
    wh_autofree char *ingest = wh_path_join(*state, "ingest");
    assert_int_equal(rmdir(ingest), 0); /* empty */
}

static void test_diffid_later_and_blobs(void **state)
{
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    int64_t id = test_layer(s, "content", NULL);
    struct wh_digest diffid, got;
    assert_int_equal(ok(wh_layer_diffid(s, id, &got, &err)), 0);
    wh_digest_of("later", 5, &diffid);
    ok(wh_layer_set_diffid(s, id, &diffid, &err));
    assert_int_equal(ok(wh_layer_by_diffid(s, &diffid, &err)), id);
    assert_true(wh_layer_set_diffid(s, 4711, &diffid, &err) < 0);

    struct wh_layer_blob gzip = {.digest = test_put(s, "gzip bytes"), .format = "gzip", .level = 2};
    struct wh_layer_blob zstd = {.digest = test_put(s, "zstd bytes"), .format = "zstd", .level = 3};
    struct wh_layer_blob pulled = {.digest = test_put(s, "pulled bytes"), .format = "gzip", .level = -1};
    struct wh_layer_blob out;
    assert_int_equal(ok(wh_layer_blob(s, &diffid, NULL, -2, &out, &err)), 0);
    ok(wh_layer_blob_add(s, &diffid, &gzip, &err));
    ok(wh_layer_blob_add(s, &diffid, &zstd, &err));
    assert_int_equal(ok(wh_layer_blob(s, &diffid, "zstd", -2, &out, &err)), 1);
    assert_true(wh_digest_eq(&out.digest, &zstd.digest));
    assert_int_equal(out.size, 10);
    assert_int_equal(ok(wh_layer_blob(s, &diffid, "zstd", 7, &out, &err)), 0);
    ok(wh_layer_blob_add(s, &diffid, &pulled, &err));
    assert_int_equal(ok(wh_layer_blob(s, &diffid, "gzip", -2, &out, &err)), 1);
    assert_int_equal(out.level, -1); /* pulled ones first */
    assert_int_equal(ok(wh_layer_blob_diffid(s, &gzip.digest, &got, &err)), 1);
    assert_true(wh_digest_eq(&got, &diffid));
    ok(wh_blob_delete(s, &zstd.digest, &err));
    assert_int_equal(ok(wh_layer_blob(s, &diffid, "zstd", -2, &out, &err)), 0);
}

static void test_delete_and_lost_tree(void **state)
{
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    struct wh_digest d1, d2;
    wh_digest_of("1", 1, &d1);
    wh_digest_of("2", 1, &d2);
    int64_t a = test_layer(s, "a", &d1), b = test_layer(s, "b", &d2);
    ok(wh_layer_delete(s, a, &err));
    assert_int_equal(ok(wh_layer_by_diffid(s, &d1, &err)), 0);
    wh_autofree char *path = wh_layer_path(s, a);
    assert_int_equal(access(path, F_OK), -1);
    wh_autofree char *lost = wh_layer_path(s, b);
    ok(wh_remove_tree(AT_FDCWD, lost, &err));
    assert_int_equal(ok(wh_layer_by_diffid(s, &d2, &err)), 0);
    assert_true(test_layer(s, "c", NULL) > b); /* numbers are never used twice */
}

static void run_sql(const char *dir, const char *sql)
{
    wh_autofree char *path = wh_path_join(dir, "index.db");
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* What a power cut leaves: rows whose bytes were never flushed, and a tree under the number of a row that is
 * gone. */
static void test_rows_of_another_boot(void **state)
{
    wh_autoerror err = {0};
    struct wh_digest d1, d2, blob;
    wh_digest_of("1", 1, &d1);
    wh_digest_of("2", 1, &d2);
    struct wh_store *s = test_open(*state);
    int64_t kept = test_layer(s, "kept", &d1);
    ok(wh_store_flush(s, &err));
    int64_t lost = test_layer(s, "lost", &d2);
    ok(wh_blob_put(s, "lazy", 4, WH_BLOB_LATER, &blob, &err));
    wh_store_close(s);
    char sql[200];
    snprintf(sql, sizeof(sql),
             "UPDATE layers SET boot = 'another' WHERE id = %lld; UPDATE blobs SET boot = 'another'",
             (long long)lost);
    run_sql(*state, sql);

    wh_autostore *again = test_open(*state);
    assert_int_equal(ok(wh_layer_by_diffid(again, &d1, &err)), kept);
    assert_int_equal(ok(wh_layer_by_diffid(again, &d2, &err)), 0);
    assert_int_equal(ok(wh_blob_has(again, &blob, NULL, &err)), 0);
    wh_autofree char *path = wh_layer_path(again, lost);
    assert_int_equal(access(path, F_OK), -1);
    wh_autofree char *bytes = wh_blob_path(again, &blob);
    assert_int_equal(access(bytes, F_OK), -1);
}

static void test_tree_without_row_in_the_way(void **state)
{
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    wh_autofree char *orphan = wh_path_join(*state, "layers/1/old");
    ok(wh_mkdir_p(orphan, 0755, &err));
    int64_t id = test_layer(s, "new", NULL);
    assert_int_equal(id, 1);
    assert_true(test_exists(*state, "layers/1/file"));
    assert_false(test_exists(*state, "layers/1/old"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, test_dir_setup, test_dir_teardown)
    const struct CMUnitTest tests[] = {T(test_commit_and_look_up),     T(test_abort_leaves_nothing),
                                       T(test_diffid_later_and_blobs), T(test_delete_and_lost_tree),
                                       T(test_rows_of_another_boot),   T(test_tree_without_row_in_the_way)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
