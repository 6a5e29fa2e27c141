#include "store/store_test.h"

#include <sys/stat.h>

static struct wh_digest key_of(const char *text)
{
    struct wh_digest key;
    wh_digest_of(text, strlen(text), &key);
    return key;
}

static void test_scopes(void **state)
{
    (void)state;
    wh_autoscopes pr = {0};
    wh_scopes_make(&pr, "Acme/App", "refs/pull/7/merge", "main", "main");
    assert_string_equal(pr.repository, "repo:acme/app");
    assert_int_equal(pr.nrefs, 2);
    assert_string_equal(pr.refs[0], "repo:acme/app@refs/pull/7/merge");
    assert_string_equal(pr.refs[1], "repo:acme/app@refs/heads/main");
    wh_autoscopes local = {0};
    wh_scopes_make(&local, NULL, "refs/heads/x", NULL, NULL);
    assert_string_equal(local.repository, "local");
    assert_int_equal(local.nrefs, 1);
    wh_autoscopes none = {0};
    wh_scopes_make(&none, "a/b", NULL, NULL, NULL);
    assert_string_not_equal(none.refs[0], none.repository);
}

/* A pull request reads its base's records and its own; the base never reads the pull request's. */
static void test_trust(void **state)
{
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    const char *pr[] = {"r@pr", "r@main"}, *base[] = {"r@main"};
    struct wh_record out = {0};
    struct wh_record r = {.key = key_of("run"), .scope = (char *)"r@pr", .layer = test_layer(s, "pr", NULL)};
    ok(wh_record_put(s, &r, &err));
    assert_int_equal(ok(wh_record_find(s, base, 1, &r.key, &out, &err)), 0);
    assert_int_equal(ok(wh_record_find(s, pr, 2, &r.key, &out, &err)), 1);
    assert_int_equal(out.layer, r.layer);
    wh_record_clear(&out);

    struct wh_record m = {
        .key = key_of("main"), .scope = (char *)"r@main", .empty = true, .meta = (char *)"{\"a\":1}"};
    ok(wh_record_put(s, &m, &err));
    assert_int_equal(ok(wh_record_find(s, pr, 2, &m.key, &out, &err)), 1);
    assert_true(out.empty);
    assert_string_equal(out.scope, "r@main");
    assert_string_equal(out.meta, "{\"a\":1}");
    wh_record_clear(&out);
}

static void test_result_must_be_here(void **state)
{
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    const char *scope[] = {"x"};
    struct wh_record out = {0};
    struct wh_record r = {.key = key_of("k"), .scope = (char *)"x", .layer = test_layer(s, "t", NULL)};
    r.diffid = key_of("diff");
    r.has_diffid = true;
    ok(wh_record_put(s, &r, &err));
    ok(wh_layer_delete(s, r.layer, &err));
    assert_int_equal(ok(wh_record_find(s, scope, 1, &r.key, &out, &err)), 0);
    /* The blob alone is enough. */
    struct wh_layer_blob blob = {.digest = test_put(s, "compressed"), .format = "gzip", .level = 1};
    ok(wh_layer_blob_add(s, &r.diffid, &blob, &err));
    assert_int_equal(ok(wh_record_find(s, scope, 1, &r.key, &out, &err)), 1);
    assert_int_equal(out.layer, 0);
    assert_true(out.has_diffid);
    wh_record_clear(&out);
    assert_true(wh_record_put(s, &r, &err) < 0);
    assert_int_equal(err.code, WH_E_NOT_FOUND);
}

static void test_previous(void **state)
{
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    const char *scopes[] = {"x", "y"};
    struct wh_record out = {0};
    assert_int_equal(ok(wh_record_previous(s, scopes, 2, "slot", &out, &err)), 0);
    for (int i = 0; i < 4; i++) {
        char key[16], meta[16];
        snprintf(key, sizeof(key), "k%d", i);
        snprintf(meta, sizeof(meta), "%d", i);
        struct wh_record r = {.key = key_of(key),
                              .scope = (char *)(i == 2   ? "y"
                                                : i == 3 ? "z"
                                                         : "x"),
                              .slot = (char *)"slot",
                              .meta = meta,
                              .empty = true,
                              .created = 1000 + i};
        ok(wh_record_put(s, &r, &err));
    }
    assert_int_equal(ok(wh_record_previous(s, scopes, 2, "slot", &out, &err)), 1);
    assert_string_equal(out.meta, "2"); /* z is nobody's here */
    wh_record_clear(&out);
}

static void test_meta_limit(void **state)
{
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    wh_autofree char *meta = wh_malloc(WH_MAX_RECORD_META + 2);
    memset(meta, 'x', WH_MAX_RECORD_META + 1);
    meta[WH_MAX_RECORD_META] = '\0';
    struct wh_record r = {.key = key_of("k"), .scope = (char *)"x", .empty = true, .meta = meta};
    ok(wh_record_put(s, &r, &err));
    meta[WH_MAX_RECORD_META] = 'x';
    meta[WH_MAX_RECORD_META + 1] = '\0';
    assert_true(wh_record_put(s, &r, &err) < 0);
    assert_int_equal(err.code, WH_E_LIMIT);
}

static void test_files(void **state)
{
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    enum { N = 5000 };
    struct wh_file_digest *list = wh_calloc(N, sizeof(*list));
    int64_t now = wh_now_ns();
    for (int i = 0; i < N; i++) {
        list[i].stamp =
            (struct wh_file_stamp){.dev = 1, .ino = (uint64_t)i, .size = i, .mtime = 5, .ctime = 6};
        wh_digest_of(&i, sizeof(i), &list[i].digest);
    }
    list[1].stamp.mtime = now - 1000000000; /* changed a second ago */
    list[2].stamp.ctime = now + 1000;
    ok(wh_files_add(s, "x", list, N, now, &err));
    struct wh_digest fifth = list[5].digest;
    for (int i = 0; i < N; i++)
        memset(&list[i].digest, 0, sizeof(list[i].digest));
    list[3].stamp.ctime++;
    assert_int_equal(ok(wh_files_find(s, "x", list, N, &err)), N - 3);
    assert_false(list[1].known || list[2].known || list[3].known);
    assert_true(list[5].known && wh_digest_eq(&list[5].digest, &fifth));
    assert_int_equal(ok(wh_files_find(s, "y", list, N, &err)), 0); /* nobody trusts another scope's */
    free(list);
}

static void test_images(void **state)
{
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    struct wh_image_ref out;
    assert_int_equal(ok(wh_image_ref_find(s, "r/i:1", NULL, &out, &err)), 0);
    struct wh_image_ref mine = {
        .name = (char *)"r/i:1", .visible = (char *)"repo:a/b", .manifest = key_of("m"), .seen = 10};
    ok(wh_image_ref_put(s, &mine, &err));
    assert_int_equal(ok(wh_image_ref_find(s, "r/i:1", NULL, &out, &err)), 0);
    assert_int_equal(ok(wh_image_ref_find(s, "r/i:1", "repo:c/d", &out, &err)), 0);
    assert_int_equal(ok(wh_image_ref_find(s, "r/i:1", "repo:a/b", &out, &err)), 1);
    assert_true(wh_digest_eq(&out.manifest, &mine.manifest));
    wh_image_ref_clear(&out);
    struct wh_image_ref all = {
        .name = (char *)"r/i:1", .manifest = key_of("n"), .media_type = (char *)"t", .seen = 20};
    ok(wh_image_ref_put(s, &all, &err));
    assert_int_equal(ok(wh_image_ref_find(s, "r/i:1", "repo:a/b", &out, &err)), 1);
    assert_string_equal(out.media_type, "t");
    wh_image_ref_clear(&out);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, test_dir_setup, test_dir_teardown)
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scopes),
                                       T(test_trust),
                                       T(test_result_must_be_here),
                                       T(test_previous),
                                       T(test_meta_limit),
                                       T(test_files),
                                       T(test_images)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
