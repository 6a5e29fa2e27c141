#include "store/store_test.h"

#include <sys/stat.h>

static void test_write_and_read(void **state)
{
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    struct wh_blob_writer *w = wh_blob_begin(s, 0, &err);
    assert_non_null(w);
    ok(wh_blob_write(w, "hello ", 6, &err));
    ok(wh_blob_write(w, "world", 5, &err));
    assert_int_equal(wh_blob_written(w), 11);
    struct wh_digest want, got;
    wh_digest_of("hello world", 11, &want);
    uint64_t size = 0;
    ok(wh_blob_commit(w, (struct wh_blob_expect){&want, 11}, &got, &size, &err));
    assert_true(wh_digest_eq(&want, &got));
    assert_int_equal(size, 11);

    assert_int_equal(ok(wh_blob_has(s, &want, &size, &err)), 1);
    wh_autostr text = {0};
    ok(wh_blob_read(s, &want, 100, &text, &err));
    assert_string_equal(wh_str_text(&text), "hello world");
    wh_autofree char *path = wh_blob_path(s, &want);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0444);
}

static void test_wrong_digest_or_size_keeps_nothing(void **state)
{
    wh_autostore *s = test_open(*state);
    struct wh_digest other, real;
    wh_digest_of("x", 1, &other);
    wh_digest_of("data", 4, &real);
    for (int round = 0; round < 2; round++) {
        wh_autoerror err = {0};
        struct wh_blob_writer *w = wh_blob_begin(s, 0, &err);
        ok(wh_blob_write(w, "data", 4, &err));
        struct wh_blob_expect expect =
            round == 0 ? (struct wh_blob_expect){&other, -1} : (struct wh_blob_expect){&real, 5};
        assert_true(wh_blob_commit(w, expect, NULL, NULL, &err) < 0);
        assert_int_equal(err.code, WH_E_DIGEST);
        assert_int_equal(wh_blob_has(s, &real, NULL, &err), 0);
        assert_int_equal(wh_blob_has(s, &other, NULL, &err), 0);
    }
}

static void test_raw_descriptor(void **state)
{
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    struct wh_digest want, got;
    wh_digest_of("parallel", 8, &want);

    /* The store hashes what was written behind its back. */
    struct wh_blob_writer *w = wh_blob_begin(s, WH_BLOB_LATER, &err);
    assert_int_equal(pwrite(wh_blob_fd(w), "parallel", 8, 0), 8);
    ok(wh_blob_commit(w, WH_BLOB_ANY, &got, NULL, &err));
    assert_true(wh_digest_eq(&want, &got));
    ok(wh_blob_delete(s, &want, &err));

    /* A running hash of the caller's. */
    wh_autosha256 *hash = wh_sha256_new();
    w = wh_blob_begin(s, 0, &err);
    assert_int_equal(pwrite(wh_blob_fd(w), "parallel", 8, 0), 8);
    wh_sha256_update(hash, "parallel", 8);
    ok(wh_blob_commit_hashed(w, hash, 8, (struct wh_blob_expect){&want, 8}, NULL, NULL, &err));
    assert_int_equal(wh_blob_has(s, &want, NULL, &err), 1);

    /* One that did not see all of the file. */
    w = wh_blob_begin(s, 0, &err);
    assert_int_equal(pwrite(wh_blob_fd(w), "parallel and more", 17, 0), 17);
    wh_sha256_update(hash, "parallel", 8);
    assert_true(wh_blob_commit_hashed(w, hash, 8, WH_BLOB_ANY, NULL, NULL, &err) < 0);
    assert_int_equal(err.code, WH_E_DIGEST);
}

static void test_twice_and_delete(void **state)
{
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    struct wh_digest a = test_put(s, "same"), b = test_put(s, "same");
    assert_true(wh_digest_eq(&a, &b));
    wh_autoclose int fd = (int)ok(wh_blob_open(s, &a, NULL, &err));
    ok(wh_blob_delete(s, &a, &err));
    assert_int_equal(wh_blob_has(s, &a, NULL, &err), 0);
    wh_autofree char *path = wh_blob_path(s, &a);
    assert_int_equal(access(path, F_OK), -1);
    char text[5] = "";
    assert_int_equal(read(fd, text, 4), 4); /* readers keep what they opened */
    assert_string_equal(text, "same");
    ok(wh_blob_delete(s, &a, &err));
    assert_true(wh_blob_open(s, &a, NULL, &err) < 0);
    assert_int_equal(err.code, WH_E_NOT_FOUND);
}

static void test_a_lost_file_is_a_miss(void **state)
{
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    struct wh_digest a = test_put(s, "lost");
    wh_autofree char *path = wh_blob_path(s, &a);
    unlink(path);
    assert_int_equal(ok(wh_blob_has(s, &a, NULL, &err)), 0);
    test_put(s, "lost");
    assert_int_equal(ok(wh_blob_has(s, &a, NULL, &err)), 1);
}

static void test_lazy_blob_becomes_durable(void **state)
{
    wh_autoerror err = {0};
    struct wh_digest a;
    wh_autostore *s = test_open(*state);
    ok(wh_blob_put(s, "lazy", 4, WH_BLOB_LATER, &a, &err));
    ok(wh_store_flush(s, &err));
    assert_int_equal(ok(wh_blob_has(s, &a, NULL, &err)), 1);
}

static void test_segments(void **state)
{
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    struct wh_digest blob = test_put(s, "0123456789");
    struct wh_segment list[3] = {{.blob = blob, .offset = 2, .length = 3, .raw = 30},
                                 {.blob = blob, .offset = 8, .length = 3, .raw = 30}, /* past the end */
                                 {.blob = blob, .offset = 5, .length = 5, .raw = 50}};
    for (int i = 0; i < 3; i++)
        wh_digest_of(&i, sizeof(i), &list[i].key);
    ok(wh_segments_add(s, list, 3, &err));
    struct wh_segment find[3] = {{.key = list[0].key}, {.key = list[1].key}, {.key = list[2].key}};
    assert_int_equal(ok(wh_segments_find(s, find, 3, &err)), 2);
    assert_int_equal(find[0].offset, 2);
    assert_int_equal(find[1].length, 0);
    assert_int_equal(find[2].raw, 50);
    assert_true(wh_digest_eq(&find[2].blob, &blob));
    ok(wh_blob_delete(s, &blob, &err));
    assert_int_equal(ok(wh_segments_find(s, find, 3, &err)), 0);
}

static void test_places(void **state)
{
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    struct wh_digest blob = test_put(s, "layer");
    ok(wh_blob_seen_at(s, &blob, "reg:5000", "a/b", &err));
    ok(wh_blob_seen_at(s, &blob, "other", "c/d", &err));
    wh_autofree char *where = wh_blob_seen_where(s, &blob, "reg:5000", "x/y");
    assert_string_equal(where, "a/b");
    assert_null(wh_blob_seen_where(s, &blob, "reg:5000", "a/b"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, test_dir_setup, test_dir_teardown)
    const struct CMUnitTest tests[] = {T(test_write_and_read),
                                       T(test_wrong_digest_or_size_keeps_nothing),
                                       T(test_raw_descriptor),
                                       T(test_twice_and_delete),
                                       T(test_a_lost_file_is_a_miss),
                                       T(test_lazy_blob_becomes_durable),
                                       T(test_segments),
                                       T(test_places)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
