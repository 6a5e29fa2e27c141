/* Layers of the store as blobs of the store: made once, with segments of earlier ones used again. */
#include "helpers.h"

#include "wherry/base/secret.h"
#include "wherry/oci/blob.h"

static struct wh_store *store;
static char *state_dir;

static int start(void **state)
{
    wh_secrets_init();
    if (make_temp(state) < 0)
        return -1;
    state_dir = temp_path("state");
    struct wh_store_options o = {.dir = state_dir};
    store = wh_store_open(&o, NULL);
    return store ? 0 : -1;
}

static int stop(void **state)
{
    wh_store_close(store);
    free(state_dir);
    return drop_temp(state);
}

/* A layer of n files; one of them may differ. */
static int64_t make_layer(int n, const char *special)
{
    wh_autofree char *data = wh_malloc(40000);
    struct wh_tree *tree = wh_tree_begin(store, NULL);
    assert_non_null(tree);
    for (int i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof(name), "file-%04d", i);
        for (size_t b = 0; b < 40000; b++)
            data[b] = (char)((b * (size_t)(i + 3)) >> 5);
        put_file(wh_tree_fd(tree), name, data, 40000, 0644);
    }
    if (special)
        put_text(wh_tree_fd(tree), "file-0100", special);
    struct wh_layer_info info = {.size = -1};
    int64_t id = wh_tree_commit(tree, &info, NULL);
    assert_true(id > 0);
    return id;
}

static void test_made_once(void **state)
{
    (void)state;
    int64_t layer = make_layer(10, NULL);
    struct wh_layer_options o = WH_LAYER_OPTIONS_INIT;
    struct wh_layer_blob first, second, zstd;
    struct wh_digest diff_id, known;
    wh_autoerror err = {0};
    if (wh_oci_layer_blob(store, layer, &o, NULL, &first, &diff_id, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
    assert_string_equal(first.format, "gzip");
    assert_int_equal(wh_layer_diffid(store, layer, &known, NULL), 1);
    assert_true(wh_digest_eq(&known, &diff_id));
    /* The tree is not looked at again: the blob stands for it. */
    wh_autofree char *path = wh_layer_path(store, layer), *moved = wh_printf("%s-moved", path);
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(wh_oci_layer_blob(store, layer, &o, NULL, &second, &diff_id, NULL), 0);
    assert_true(wh_digest_eq(&first.digest, &second.digest));
    o.compression = WH_COMPRESS_ZSTD;
    assert_int_equal(wh_oci_layer_blob(store, layer, &o, NULL, &zstd, &diff_id, NULL), -1);
    assert_int_equal(rename(moved, path), 0);
    assert_int_equal(wh_oci_layer_blob(store, layer, &o, NULL, &zstd, &diff_id, NULL), 0);
    assert_true(wh_digest_eq(&known, &diff_id));
    /* What the store holds is what the digest says. */
    wh_autostr bytes = {0};
    struct wh_digest digest;
    assert_int_equal(wh_blob_read(store, &first.digest, 64 << 20, &bytes, NULL) < 0, 0);
    wh_digest_of(bytes.data, bytes.len, &digest);
    assert_true(wh_digest_eq(&digest, &first.digest));
}

static int64_t digest_layer;

static bool file_digest(void *data, const char *path, const struct stat *st, struct wh_digest *out)
{
    (void)data;
    (void)st;
    wh_autostr content = {0};
    wh_autofree char *root = wh_layer_path(store, digest_layer), *full = wh_path_join(root, path);
    if (wh_read_file(AT_FDCWD, full, 1 << 20, &content, NULL) < 0)
        return false;
    wh_digest_of(content.data, content.len, out);
    return true;
}

static void export_with(struct wh_blob_segments *segments, int64_t layer, struct wh_layer_blob *blob,
                        struct wh_layer_result *r)
{
    struct wh_layer_options o = WH_LAYER_OPTIONS_INIT;
    struct wh_digest diff_id;
    digest_layer = layer;
    o.segments = wh_blob_segments_cache(segments);
    assert_int_equal(wh_oci_layer_blob(store, layer, &o, NULL, blob, &diff_id, NULL), 0);
    assert_int_equal(wh_blob_segments_save(segments, &blob->digest, NULL), 0);
    wh_autoclose int fd = wh_layer_open(store, layer, NULL);
    struct wh_layer_options again = o;
    assert_int_equal(wh_layer_write(fd, &again, NULL, NULL, r, NULL), 0);
    assert_true(wh_digest_eq(&r->digest, &blob->digest));
}

static void test_segments(void **state)
{
    (void)state;
    struct wh_blob_segments *segments = wh_blob_segments_new(store, file_digest, NULL);
    struct wh_layer_blob first, second;
    struct wh_layer_result r;
    export_with(segments, make_layer(200, NULL), &first, &r);
    assert_true(r.segments > 5);
    assert_int_equal(r.reused, r.segments);
    wh_blob_segments_free(segments);
    /* A layer with one file changed: most of it comes from the first one's blob. */
    segments = wh_blob_segments_new(store, file_digest, NULL);
    int64_t changed = make_layer(200, "changed");
    wh_autoclose int fd = wh_layer_open(store, changed, NULL);
    struct wh_layer_options o = WH_LAYER_OPTIONS_INIT;
    digest_layer = changed;
    o.segments = wh_blob_segments_cache(segments);
    assert_int_equal(wh_layer_write(fd, &o, NULL, NULL, &r, NULL), 0);
    assert_true(r.reused >= r.segments - 2 && r.reused < r.segments);
    wh_blob_segments_free(segments);
    segments = wh_blob_segments_new(store, file_digest, NULL);
    export_with(segments, changed, &second, &r);
    assert_false(wh_digest_eq(&first.digest, &second.digest));
    wh_blob_segments_free(segments);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_made_once), cmocka_unit_test(test_segments)};
    return cmocka_run_group_tests(tests, start, stop);
}
