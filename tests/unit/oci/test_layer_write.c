/* Layers out: exact tar bytes, the same blob for any number of threads, segments that are used again. */
#include "helpers.h"

#include <pthread.h>
#include <sys/sysmacros.h>

#define EMPTY_TAR "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"

static struct wh_layer_result write_layer(int dir, const struct wh_layer_options *o, struct wh_str *blob)
{
    struct wh_layer_result r;
    struct wh_digest d;
    wh_autoerror err = {0};
    wh_str_clear(blob);
    if (wh_layer_write(dir, o, to_buffer, blob, &r, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
    wh_digest_of(blob->data, blob->len, &d);
    assert_true(wh_digest_eq(&d, &r.digest));
    assert_int_equal(blob->len, r.size);
    return r;
}

static void test_empty(void **state)
{
    (void)state;
    char text[WH_DIGEST_TEXT];
    wh_autoclose int dir = new_folder("empty");
    wh_autostr blob = {0};
    struct wh_layer_options o = WH_LAYER_OPTIONS_INIT;
    struct wh_layer_result r = write_layer(dir, &o, &blob);
    assert_string_equal(wh_digest_text(&r.diff_id, text), EMPTY_TAR);
    assert_memory_equal(blob.data, "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", 10);
    o.compression = WH_COMPRESS_NONE;
    r = write_layer(dir, &o, &blob);
    assert_int_equal(blob.len, 1024);
    assert_string_equal(wh_digest_text(&r.digest, text), EMPTY_TAR);
}

/* Field by field what Go's writer puts there. */
static void test_header_bytes(void **state)
{
    (void)state;
    wh_autoclose int dir = new_folder("header");
    wh_autostr blob = {0};
    struct wh_layer_options o = {.compression = WH_COMPRESS_NONE, .epoch = WH_LAYER_NO_EPOCH};
    put_file(dir, "hello", "hi\n", 3, 04755);
    wh_autofree char *owner = wh_printf("%07o", geteuid());
    write_layer(dir, &o, &blob);
    assert_int_equal(blob.len, 512 + 512 + 1024);
    assert_memory_equal(blob.data, "hello\0", 6);
    assert_memory_equal(blob.data + 100, "0004755\0", 8);
    assert_memory_equal(blob.data + 108, owner, 8);
    assert_memory_equal(blob.data + 124, "00000000003\0", 12);
    assert_memory_equal(blob.data + 136, "14524770400\0", 12);
    assert_memory_equal(blob.data + 156, "0", 1);
    assert_memory_equal(blob.data + 257,
                        "ustar\0"
                        "00",
                        8);
    assert_memory_equal(blob.data + 265, "\0\0\0\0", 4);
    assert_memory_equal(blob.data + 329,
                        "0000000\0"
                        "0000000\0",
                        16);
    assert_memory_equal(blob.data + 512, "hi\n\0", 4);
    unsigned sum = 0;
    char digits[8];
    for (int i = 0; i < 512; i++)
        sum += i >= 148 && i < 156 ? ' ' : (unsigned char)blob.data[i];
    snprintf(digits, sizeof(digits), "%06o", sum);
    assert_memory_equal(blob.data + 148, digits, 7);
    assert_int_equal(blob.data[155], ' ');
}

/* A tree with each kind of object. */
static void make_tree(int dir)
{
    char name[260];
    wh_autofree char *big = wh_malloc(5 << 20);
    for (size_t i = 0; i < 5 << 20; i++)
        big[i] = (char)(i * i >> 7);
    mkdirat(dir, "d", 0755);
    mkdirat(dir, "d/gone", 0755);
    put_text(dir, "d/a", "a");
    put_file(dir, "d/set", "s", 1, 06711);
    linkat(dir, "d/a", dir, "d/b", 0);
    symlinkat("../nowhere", dir, "d/link");
    mkfifoat(dir, "d/fifo", 0640);
    mknodat(dir, "d/.deleted", S_IFCHR, 0);
    wh_autoclose int gone = openat(dir, "d/gone", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fsetxattr(gone, "user.overlay.opaque", "y", 1, 0);
    fsetxattr(gone, "user.overlay.origin", "x", 1, 0);
    fsetxattr(gone, "user.note", "a\0b", 3, 0);
    put_file(dir, "big", big, 5 << 20, 0644);
    put_file(dir, "exact", big, 2 << 20, 0644);
    put_text(dir, "e\xcc\x81", "not normalised");
    memset(name, 'n', sizeof(name));
    name[200] = '\0';
    put_text(dir, name, "long");
    mkdirat(dir, "many", 0755);
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "many/file-%d", i);
        put_file(dir, name, big + i, (size_t)i % 4000, 0644);
    }
}

static void test_members(void **state)
{
    (void)state;
    wh_autoclose int dir = new_folder("members");
    wh_autostr blob = {0};
    struct wh_layer_options o = WH_LAYER_OPTIONS_INIT;
    make_tree(dir);
    write_layer(dir, &o, &blob);
    wh_autofree char *path = temp_path("members.tgz");
    assert_int_equal(wh_write_file(AT_FDCWD, path, blob.data, blob.len, 0600, NULL), 0);
    python("import tarfile\n"
           "t = tarfile.open('members.tgz')\n"
           "names = [m.name for m in t]\n"
           "m = {i.name: i for i in t}\n"
           "plain = [n for n in names if '.wh.' not in n]\n"
           "assert plain == sorted(plain, key=lambda n: n.encode().split(b'/'))\n"
           "i = names.index\n"
           "assert names[i('d') + 1] == 'd/.wh..deleted', names[:9]\n"
           "assert names[i('d/gone') + 1] == 'd/gone/.wh..wh..opq', names[:12]\n"
           "w = m['d/.wh..deleted']\n"
           "assert (w.mode, w.uid, w.gid, w.mtime, w.size, w.isreg()) == (0, 0, 0, 0, 0, True)\n"
           "assert m['d/b'].islnk() and m['d/b'].linkname == 'd/a' and m['d/b'].size == 0\n"
           "assert m['d/link'].issym() and m['d/link'].linkname == '../nowhere'\n"
           "assert m['d/fifo'].isfifo() and m['d/set'].mode == 0o6711\n"
           "assert m['d/gone'].pax_headers == {'SCHILY.xattr.user.note': 'a\\0b'}, m['d/gone'].pax_headers\n"
           "assert m['d/a'].pax_headers == {} and m['d/a'].mtime == 1700000000\n"
           "assert m['e\\u0301'].pax_headers == {'path': 'e\\u0301'}\n"
           "assert m['n' * 200].pax_headers == {'path': 'n' * 200}\n"
           "assert len(t.extractfile('big').read()) == 5 << 20\n"
           "assert m['many'].isdir()\n");
}

static void test_threads_do_not_show(void **state)
{
    (void)state;
    wh_autoclose int dir = new_folder("members");
    const unsigned counts[] = {1, 2, 3, 16};
    for (int c = 0; c < 3; c++) {
        wh_autostr first = {0}, blob = {0};
        struct wh_layer_options o = {
            .compression = (enum wh_compression)c, .threads = 1, .epoch = WH_LAYER_NO_EPOCH};
        write_layer(dir, &o, &first);
        for (size_t i = 0; i < WH_COUNT(counts); i++) {
            o.threads = counts[i];
            write_layer(dir, &o, &blob);
            assert_int_equal(blob.len, first.len);
            assert_memory_equal(blob.data, first.data, blob.len);
        }
    }
}

/* Each level of each format is read by tools that are not ours, and holds the same tar. */
static void test_formats(void **state)
{
    (void)state;
    wh_autoclose int dir = new_folder("members");
    wh_autostr tar = {0}, blob = {0};
    struct wh_layer_options o = {.compression = WH_COMPRESS_NONE, .epoch = WH_LAYER_NO_EPOCH};
    write_layer(dir, &o, &tar);
    wh_autofree char *tar_path = temp_path("plain.tar"), *path = temp_path("blob");
    wh_write_file(AT_FDCWD, tar_path, tar.data, tar.len, 0600, NULL);
    for (int level = 0; level <= 9; level++) {
        o.compression = WH_COMPRESS_GZIP;
        o.level = level;
        write_layer(dir, &o, &blob);
        wh_write_file(AT_FDCWD, path, blob.data, blob.len, 0600, NULL);
        python("import gzip\nassert gzip.open('blob').read() == open('plain.tar', 'rb').read()\n");
    }
    o.compression = WH_COMPRESS_ZSTD;
    o.level = 20;
    struct wh_layer_result r;
    wh_autoerror err = {0};
    assert_int_equal(wh_layer_write(dir, &o, NULL, NULL, &r, &err), -1);
    assert_non_null(strstr(wh_error_text(&err), "zstd takes 0 (its default) to 19"));
}

static void test_epoch(void **state)
{
    (void)state;
    wh_autoclose int dir = new_folder("epoch");
    wh_autostr blob = {0};
    struct wh_layer_options o = {.compression = WH_COMPRESS_NONE, .epoch = 1600000000};
    put_text(dir, "new", "");
    put_text(dir, "old", "");
    struct timespec old[2] = {{1500000000, 5}, {1500000000, 5}};
    utimensat(dir, "old", old, 0);
    write_layer(dir, &o, &blob);
    assert_memory_equal(blob.data + 136, "13727410000\0", 12);
    assert_memory_equal(blob.data + 512 + 136, "13132027400\0", 12);
}

/* ---- the segment cache ---- */

struct cache {
    struct wh_str keys; /* struct known, one after the other */
    const char *path;   /* of the blob they are in */
    unsigned lookups, hits;
    pthread_mutex_t lock;
};
struct known {
    struct wh_digest key;
    struct wh_segment_place place;
};

static bool digest_of_path(void *data, const char *path, const struct stat *st, struct wh_digest *out)
{
    (void)data;
    (void)st;
    wh_autostr content = {0};
    wh_autofree char *root = temp_path("members"), *full = wh_path_join(root, path);
    if (wh_read_file(AT_FDCWD, full, 64 << 20, &content, NULL) < 0)
        return false;
    wh_digest_of(content.data, content.len, out);
    return true;
}

static int find(void *data, const struct wh_digest *key, int *fd, struct wh_segment_place *place)
{
    struct cache *c = data;
    int found = 0;
    pthread_mutex_lock(&c->lock);
    c->lookups++;
    for (size_t at = 0; at + sizeof(struct known) <= c->keys.len; at += sizeof(struct known)) {
        struct known k;
        memcpy(&k, c->keys.data + at, sizeof(k));
        if (!wh_digest_eq(&k.key, key))
            continue;
        *place = k.place;
        *fd = open(c->path, O_RDONLY | O_CLOEXEC);
        found = 1;
        break;
    }
    c->hits += (unsigned)found;
    pthread_mutex_unlock(&c->lock);
    return found;
}

static void remember(void *data, const struct wh_digest *key, const struct wh_segment_place *place)
{
    struct cache *c = data;
    struct known k = {*key, *place};
    pthread_mutex_lock(&c->lock);
    wh_str_addn(&c->keys, &k, sizeof(k));
    pthread_mutex_unlock(&c->lock);
}

static void test_segments(void **state)
{
    (void)state;
    wh_autoclose int dir = new_folder("members");
    wh_autostr first = {0}, second = {0}, third = {0}, plain = {0};
    wh_autofree char *path = temp_path("first.blob");
    struct cache c = {.path = path, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct wh_segment_cache cache = {&c, digest_of_path, find, remember};
    struct wh_layer_options o = WH_LAYER_OPTIONS_INIT;
    write_layer(dir, &o, &plain);
    o.segments = &cache;
    struct wh_layer_result r = write_layer(dir, &o, &first);
    assert_int_equal(r.reused, 0);
    assert_true(r.segments > 5);
    assert_int_equal(first.len, plain.len);
    assert_memory_equal(first.data, plain.data, plain.len);
    wh_write_file(AT_FDCWD, path, first.data, first.len, 0600, NULL);
    r = write_layer(dir, &o, &second);
    assert_int_equal(r.reused, r.segments);
    assert_memory_equal(second.data, first.data, first.len);
    /* A blob that the disk damaged is not copied from. */
    first.data[first.len / 2] ^= 1;
    wh_write_file(AT_FDCWD, path, first.data, first.len, 0600, NULL);
    wh_str_clear(&third);
    r = write_layer(dir, &o, &third);
    assert_int_equal(r.reused, r.segments - 1);
    assert_int_equal(third.len, second.len);
    assert_memory_equal(third.data, second.data, second.len);
    wh_write_file(AT_FDCWD, path, second.data, second.len, 0600, NULL);
    wh_str_clear(&third);
    /* One small file more: a few segments are new, the rest is as it was. */
    put_text(dir, "many/file-1500-new", "new");
    r = write_layer(dir, &o, &third);
    assert_true(r.reused >= r.segments - 3);
    wh_layer_sink_fn sink = to_buffer;
    wh_str_clear(&plain);
    o.segments = NULL;
    struct wh_layer_result honest;
    assert_int_equal(wh_layer_write(dir, &o, sink, &plain, &honest, NULL), 0);
    assert_true(wh_digest_eq(&honest.digest, &r.digest));
    unlinkat(dir, "many/file-1500-new", 0);
    wh_str_free(&c.keys);
}

static int failing_sink(void *data, const void *bytes, size_t len, struct wh_error *err)
{
    size_t *left = data;
    (void)bytes;
    if (len > *left)
        return wh_fail(err, WH_E_NO_SPACE, "the disk is full");
    *left -= len;
    return 0;
}

static void test_failures_end_it(void **state)
{
    (void)state;
    wh_autoclose int dir = new_folder("members");
    struct wh_layer_options o = WH_LAYER_OPTIONS_INIT;
    struct wh_layer_result r;
    const bool cancel = true;
    for (size_t room = 0; room < 3000000; room += 500000) {
        wh_autoerror err = {0};
        size_t left = room;
        assert_int_equal(wh_layer_write(dir, &o, failing_sink, &left, &r, &err), -1);
        assert_int_equal(err.code, WH_E_NO_SPACE);
    }
    o.cancel = &cancel;
    wh_autoerror err = {0};
    assert_int_equal(wh_layer_write(dir, &o, NULL, NULL, &r, &err), -1);
    assert_int_equal(err.code, WH_E_CANCELED);
}

static void test_foreign_marks(void **state)
{
    (void)state;
    wh_autoclose int dir = new_folder("redirect");
    struct wh_layer_options o = WH_LAYER_OPTIONS_INIT;
    struct wh_layer_result r;
    wh_autoerror err = {0};
    mkdirat(dir, "moved", 0755);
    wh_autoclose int moved = openat(dir, "moved", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fsetxattr(moved, "user.overlay.redirect", "/old", 4, 0);
    assert_int_equal(wh_layer_write(dir, &o, NULL, NULL, &r, &err), -1);
    assert_non_null(strstr(wh_error_text(&err), "/moved carries user.overlay.redirect"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),         cmocka_unit_test(test_header_bytes),
        cmocka_unit_test(test_members),       cmocka_unit_test(test_threads_do_not_show),
        cmocka_unit_test(test_formats),       cmocka_unit_test(test_epoch),
        cmocka_unit_test(test_segments),      cmocka_unit_test(test_failures_end_it),
        cmocka_unit_test(test_foreign_marks),
    };
    return cmocka_run_group_tests(tests, make_temp, drop_temp);
}
