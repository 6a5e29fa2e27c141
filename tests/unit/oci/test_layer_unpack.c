/* Layers in: what a tar may do to a tree and what it may not (builder.md §8). */
#include "helpers.h"

#include <sys/mount.h>

struct run {
    struct wh_unpack_options options;
    struct wh_unpack_result result;
    struct wh_error error;
    struct wh_str warnings;
    int status;
};

static void warned(void *data, const char *line)
{
    struct wh_str *all = data;
    wh_str_addf(all, "%s\n", line);
}

static void done(struct run *r)
{
    wh_error_clear(&r->error);
    wh_str_free(&r->warnings);
}
#define autorun __attribute__((cleanup(done))) struct run
#define RUN_INIT                                                                                             \
    {                                                                                                        \
        .options = {.size = -1 }                                                                             \
    }

static void unpack_blob(struct run *r, int root, const char *name)
{
    wh_autofree char *path = temp_path(name);
    wh_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    r->options.warn = warned;
    r->options.warn_data = &r->warnings;
    r->status = wh_layer_unpack_fd(fd, root, &r->options, &r->result, &r->error);
}

static void must_unpack(struct run *r, int root, const char *name)
{
    unpack_blob(r, root, name);
    if (r->status < 0)
        fail_msg("%s: %s", name, wh_error_text(&r->error));
}

/* A tar from a list of Python statements; t is the TarFile, add(name, type, data, **fields) adds a member. */
static void make_tar(const char *name, const char *statements)
{
    wh_autofree char *code = wh_printf(
        "import tarfile, io\n"
        "t = tarfile.open('%s', 'w:gz' if '%s'.endswith('gz') else 'w', format=tarfile.PAX_FORMAT)\n"
        "def add(name, type=tarfile.REGTYPE, data=b'', **fields):\n"
        "    i = tarfile.TarInfo(name)\n"
        "    i.type, i.size, i.mtime = type, len(data), 1700000000\n"
        "    i.mode = 0o755 if type == tarfile.DIRTYPE else 0o644\n"
        "    i.uid, i.gid = %u, %u\n"
        "    for k, v in fields.items(): setattr(i, k, v)\n"
        "    t.addfile(i, io.BytesIO(data))\n"
        "D, L, S, C, B, F = tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, "
        "tarfile.BLKTYPE, tarfile.FIFOTYPE\n"
        "%s\nt.close()\n",
        name, name, geteuid(), getegid(), statements);
    python(code);
}

static void test_kinds(void **state)
{
    (void)state;
    autorun r = RUN_INIT;
    wh_autoclose int root = new_folder("kinds");
    make_tar(
        "kinds.tar.gz",
        "add('./')\nadd('./d/', D, mode=0o1777)\nadd('d/f', data=b'content')\nadd('d/hard', L, "
        "linkname='d/f')\n"
        "add('d/sym', S, linkname='/etc/passwd')\nadd('d/set', data=b'x', mode=0o6755)\nadd('d/fifo', F)\n"
        "add('x', data=b'', pax_headers={'SCHILY.xattr.user.k': 'v', 'SCHILY.xattr.trusted.overlay.opaque': "
        "'y',"
        " 'SCHILY.xattr.user.overlay.opaque': 'y'})\n"
        "add('e\\u0301')\nadd('n' * 180 + '/' + 'm' * 180)\nadd('zero', mtime=0)\n");
    must_unpack(&r, root, "kinds.tar.gz");
    assert_true(text_is(root, "d/f", "content"));
    assert_int_equal(stat_of(root, "d/f").st_ino, stat_of(root, "d/hard").st_ino);
    assert_int_equal(stat_of(root, "d").st_mode & 07777, 01777);
    assert_int_equal(stat_of(root, "d").st_mtime, 1700000000);
    assert_int_equal(stat_of(root, "d/set").st_mode & 07777, 06755);
    assert_true(S_ISFIFO(stat_of(root, "d/fifo").st_mode));
    assert_true(S_ISLNK(stat_of(root, "d/sym").st_mode));
    assert_int_equal(stat_of(root, "zero").st_mtime, 0);
    assert_true(exists(root, "e\xcc\x81"));
    char value[8];
    wh_autoclose int x = openat(root, "x", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fgetxattr(x, "user.k", value, sizeof(value)), 1);
    assert_true(fgetxattr(x, "user.overlay.opaque", value, sizeof(value)) < 0);
    assert_true(fgetxattr(x, "trusted.overlay.opaque", value, sizeof(value)) < 0);
    assert_non_null(strstr(wh_str_text(&r.warnings), "trusted.overlay.opaque is the host's own"));
    assert_false(r.result.used_lowers);
}

static void test_whiteouts(void **state)
{
    (void)state;
    autorun r = RUN_INIT;
    wh_autoclose int root = new_folder("whiteouts");
    make_tar("whiteouts.tar",
             "add('d/', D)\nadd('d/.wh.gone')\nadd('d/.wh..wh.plnk')\nadd('o/', "
             "D)\nadd('o/.wh..wh..opq')\nadd('o/f')\n"
             "add('before/', D)\nadd('before/f')\nadd('.wh.before')\nadd('.wh.after')\nadd('after/', "
             "D)\nadd('after/f')\n"
             "add('file')\nadd('.wh.file')\nadd('.wh.deep')\nadd('deep/down/f', data=b'1')\n");
    must_unpack(&r, root, "whiteouts.tar");
    assert_true(is_whiteout(root, "d/gone"));
    assert_false(exists(root, "d/.wh..wh.plnk"));
    assert_true(is_opaque(root, "o"));
    assert_true(exists(root, "o/f"));
    assert_false(is_opaque(root, "d"));
    /* A mark hides what is below the layer, wherever it stands; what the layer has itself stays. */
    assert_true(is_opaque(root, "before"));
    assert_true(exists(root, "before/f"));
    assert_true(is_opaque(root, "after"));
    assert_true(exists(root, "after/f"));
    assert_true(S_ISREG(stat_of(root, "file").st_mode));
    assert_true(is_opaque(root, "deep"));
}

static void refuse(const char *what, const char *statements, const char *why)
{
    autorun r = RUN_INIT;
    wh_autofree char *folder = wh_printf("refuse-%s", what), *tar = wh_printf("refuse-%s.tar", what);
    wh_autoclose int root = new_folder(folder);
    make_tar(tar, statements);
    unpack_blob(&r, root, tar);
    if (r.status >= 0)
        fail_msg("%s was unpacked", what);
    if (!strstr(wh_error_text(&r.error), why))
        fail_msg("%s: \"%s\" lacks \"%s\"", what, wh_error_text(&r.error), why);
}

static void test_hostile_names(void **state)
{
    (void)state;
    refuse("dotdot", "add('a/../../evil', data=b'x')", "\"a/../../evil\" leads out of the layer");
    refuse("dotdot-end", "add('a/..', D)", "leads out");
    refuse("hardlink-dotdot", "add('l', L, linkname='../../../etc/passwd')", "leads out");
    refuse("hardlink-missing", "add('l', L, linkname='etc/passwd')",
           "member \"l\": it is a hard link to /etc/passwd, which is not there");
    refuse("hardlink-root", "add('l', L, linkname='/')", "root");
    refuse("hardlink-folder", "add('d/', D)\nadd('l', L, linkname='d')", "no file");
    refuse("whiteout-dot", "add('.wh..')", "invalid whiteout name");
    refuse("whiteout-empty", "add('.wh.')", "invalid whiteout name");
    refuse("through-file", "add('f')\nadd('f/x')", "no folder");
    refuse("component", "add('c' * 256)", "255 bytes");
    refuse("long", "add('c/' * 2049)", "4096");
    refuse("deep", "add('c/' * 513)", "512 components");
}

/* Names that look as if they led out end below the root. */
static void test_links_stay_inside(void **state)
{
    (void)state;
    autorun r = RUN_INIT;
    wh_autoclose int root = new_folder("inside");
    wh_autofree char *outside = temp_path("outside");
    wh_mkdir_p(outside, 0755, NULL);
    wh_autofree char *statements = wh_printf(
        "add('abs', S, linkname='%s')\nadd('abs/x', data=b'1')\nadd('up', S, "
        "linkname='../../../../../..%s')\nadd('up/y', data=b'2')\n"
        "add('/absolute', data=b'3')\nadd('loop1', S, linkname='loop2')\nadd('loop2', S, linkname='loop1')\n"
        "add('f', S, linkname='%s/z')\nadd('f', data=b'4')\nadd('g', S, linkname='%s')\nadd('g/', "
        "D)\nadd('g/w')\n",
        outside, outside, outside, outside);
    make_tar("inside.tar", statements);
    must_unpack(&r, root, "inside.tar");
    wh_autoclose int out = open(outside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_false(exists(out, "x") || exists(out, "y") || exists(out, "z") || exists(out, "w"));
    wh_autofree char *x = wh_printf("%s/x", outside + 1), *y = wh_printf("%s/y", outside + 1);
    assert_true(text_is(root, x, "1"));
    assert_true(text_is(root, y, "2"));
    assert_true(text_is(root, "absolute", "3"));
    assert_true(text_is(root, "f", "4"));
    assert_true(S_ISDIR(stat_of(root, "g").st_mode));
    assert_non_null(strstr(wh_str_text(&r.warnings), "\"/absolute\" is an absolute name"));
    refuse("loop", "add('a', S, linkname='b')\nadd('b', S, linkname='a')\nadd('a/x')", "more than 255 links");
}

/* A file that replaces a hard link must not write into the shared inode. */
static void test_shared_inode(void **state)
{
    (void)state;
    autorun r = RUN_INIT;
    wh_autoclose int root = new_folder("shared");
    make_tar("shared.tar", "add('a', data=b'old')\nadd('b', L, linkname='a')\nadd('a', data=b'new')\n"
                           "add('d/', D)\nadd('d/x')\nadd('d', data=b'file')\nadd('n')\nadd('n/', D)\n");
    must_unpack(&r, root, "shared.tar");
    assert_true(text_is(root, "a", "new"));
    assert_true(text_is(root, "b", "old"));
    assert_true(text_is(root, "d", "file"));
    assert_true(S_ISDIR(stat_of(root, "n").st_mode));
}

static void test_devices_are_skipped(void **state)
{
    (void)state;
    autorun r = RUN_INIT;
    wh_autoclose int root = new_folder("devices");
    make_tar("devices.tar", "add('dev/', D)\nadd('dev/sda', B, devmajor=8, devminor=0)\nadd('dev/null', C, "
                            "devmajor=1, devminor=3)\nadd('f')");
    must_unpack(&r, root, "devices.tar");
    assert_false(exists(root, "dev/sda") || exists(root, "dev/null"));
    assert_true(exists(root, "f"));
    assert_non_null(strstr(wh_str_text(&r.warnings), "/dev/sda: device node is skipped"));
    assert_non_null(strstr(wh_str_text(&r.warnings), "/dev/null"));
}

/* ---- lower layers ---- */

struct lowers {
    int fds[2];
    size_t n;
    unsigned asked;
};

static int get_lowers(void *data, const int **fds, size_t *n, struct wh_error *err)
{
    struct lowers *l = data;
    (void)err;
    l->asked++;
    *fds = l->fds;
    *n = l->n;
    return 0;
}

static void test_lower_layers(void **state)
{
    (void)state;
    autorun r = RUN_INIT;
    wh_autoclose int bottom = new_folder("bottom");
    wh_autoclose int middle = new_folder("middle");
    wh_autoclose int root = new_folder("top");
    struct lowers l = {{middle, bottom}, 2, 0};
    mkdirat(bottom, "tmp", 0755);
    fchmodat(bottom, "tmp", 01777, 0);
    mkdirat(bottom, "usr", 0755);
    mkdirat(bottom, "usr/lib", 0750);
    put_text(bottom, "usr/lib/libc", "libc");
    symlinkat("usr/lib", bottom, "lib");
    mkdirat(bottom, "hidden", 0700);
    mkdirat(bottom, "opaque", 0755);
    mkdirat(bottom, "opaque/in", 0700);
    mknodat(middle, "hidden", S_IFCHR, 0);
    mkdirat(middle, "opaque", 0711);
    wh_autoclose int opaque = openat(middle, "opaque", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fsetxattr(opaque, "user.overlay.opaque", "y", 1, 0);
    make_tar("top.tar", "add('tmp/x')\nadd('lib/new')\nadd('hidden/x')\nadd('opaque/in/x')\nadd('copy', L, "
                        "linkname='lib/libc')\n");
    r.options.lowers = get_lowers;
    r.options.lowers_data = &l;
    must_unpack(&r, root, "top.tar");
    assert_int_equal(stat_of(root, "tmp").st_mode & 07777, 01777);
    assert_true(exists(root, "usr/lib/new"));
    assert_false(exists(root, "lib"));
    assert_int_equal(stat_of(root, "usr/lib").st_mode & 07777, 0750);
    assert_int_equal(stat_of(root, "hidden").st_mode & 07777, 0755);
    assert_int_equal(stat_of(root, "opaque").st_mode & 07777, 0711);
    assert_int_equal(stat_of(root, "opaque/in").st_mode & 07777, 0755);
    assert_true(text_is(root, "copy", "libc"));
    assert_int_equal(stat_of(root, "copy").st_ino, stat_of(root, "usr/lib/libc").st_ino);
    assert_int_equal(stat_of(root, "copy").st_mtime, 1700000000);
    assert_int_equal(l.asked, 1);
    assert_true(r.result.used_lowers);
}

/* ---- verification and limits ---- */

static void test_digests(void **state)
{
    (void)state;
    wh_autofree char *path = temp_path("digest.tar.gz");
    wh_autostr blob = {0};
    struct wh_digest digest, other;
    make_tar("digest.tar.gz", "add('f', data=b'x' * 100000)");
    assert_int_equal(wh_read_file(AT_FDCWD, path, 1 << 20, &blob, NULL) < 0, 0);
    wh_digest_of(blob.data, blob.len, &digest);
    wh_digest_of("other", 5, &other);
    const struct {
        const struct wh_digest *digest, *diff_id;
        int64_t size;
        const char *why;
    } cases[] = {
        {&digest, NULL, (int64_t)blob.len, NULL},
        {&other, NULL, -1, "the layer's digest is sha256:"},
        {NULL, &other, -1, "the layer's diffID is sha256:"},
        {NULL, NULL, (int64_t)blob.len + 1, "bytes, but should have"},
    };
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        autorun r = RUN_INIT;
        wh_autofree char *folder = wh_printf("digest-%zu", i);
        wh_autoclose int root = new_folder(folder);
        r.options.digest = cases[i].digest;
        r.options.diff_id = cases[i].diff_id;
        r.options.size = cases[i].size;
        unpack_blob(&r, root, "digest.tar.gz");
        assert_int_equal(r.status, cases[i].why ? -1 : 0);
        if (cases[i].why && (r.error.code != WH_E_DIGEST || !strstr(wh_error_text(&r.error), cases[i].why)))
            fail_msg("\"%s\" lacks \"%s\"", wh_error_text(&r.error), cases[i].why);
    }
    /* One flipped bit in the middle: told as a wrong digest, whatever the decoder says of it. */
    autorun r = RUN_INIT;
    wh_autoclose int root = new_folder("digest-flipped");
    blob.data[blob.len / 2] ^= 0x10;
    wh_write_file(AT_FDCWD, path, blob.data, blob.len, 0600, NULL);
    r.options.digest = &digest;
    r.options.size = (int64_t)blob.len;
    unpack_blob(&r, root, "digest.tar.gz");
    assert_int_equal(r.status, -1);
    assert_int_equal(r.error.code, WH_E_DIGEST);
}

static void test_truncated(void **state)
{
    (void)state;
    autorun plain = RUN_INIT, packed = RUN_INIT;
    wh_autoclose int root = new_folder("truncated");
    make_tar("t.tar", "add('f', data=b'x' * 10000)");
    make_tar("t.tar.gz", "import os\nadd('f', data=os.urandom(10000))");
    python("import os\nos.truncate('t.tar', 5000)\nos.truncate('t.tar.gz', 5000)\n");
    unpack_blob(&plain, root, "t.tar");
    assert_int_equal(plain.status, -1);
    assert_non_null(strstr(wh_error_text(&plain.error), "member \"f\""));
    unpack_blob(&packed, root, "t.tar.gz");
    assert_int_equal(packed.status, -1);
    assert_non_null(strstr(wh_error_text(&packed.error), "ends in the middle"));
}

static void test_not_a_tar(void **state)
{
    (void)state;
    autorun r = RUN_INIT;
    wh_autoclose int root = new_folder("html");
    python("open('page', 'w').write('<html>' * 500)");
    unpack_blob(&r, root, "page");
    assert_int_equal(r.status, -1);
    assert_int_equal(r.error.code, WH_E_PARSE);
}

static void test_bombs(void **state)
{
    (void)state;
    wh_autoclose int root = new_folder("bomb");
    autorun ratio = RUN_INIT, total = RUN_INIT, at_limit = RUN_INIT, over = RUN_INIT, size = RUN_INIT;
    /* 200 MiB of zeros in 200 KiB: as dense as deflate gets; the limit of this test is lower. */
    python("import gzip, tarfile\nz = gzip.open('bomb.gz', 'wb', 9)\ni = tarfile.TarInfo('zeros'); i.size = "
           "200 << 20\n"
           "z.write(i.tobuf())\nfor _ in range(200): z.write(bytes(1 << 20))\nz.write(bytes(1024)); "
           "z.close()\n");
    ratio.options.limits.ratio = 500;
    ratio.options.limits.ratio_free = 64 << 20;
    unpack_blob(&ratio, root, "bomb.gz");
    assert_int_equal(ratio.status, -1);
    assert_int_equal(ratio.error.code, WH_E_LIMIT);
    assert_non_null(
        strstr(wh_error_text(&ratio.error), "member \"zeros\": the layer unpacks to more than 500 times"));
    total.options.limits.tar = 100 << 20;
    unpack_blob(&total, root, "bomb.gz");
    assert_int_equal(total.status, -1);
    assert_non_null(strstr(wh_error_text(&total.error), "104857600 bytes"));
    make_tar("entries.tar", "for n in range(10): add('f%d' % n)\n");
    at_limit.options.limits.entries = 10;
    must_unpack(&at_limit, root, "entries.tar");
    over.options.limits.entries = 9;
    unpack_blob(&over, root, "entries.tar");
    assert_int_equal(over.status, -1);
    assert_non_null(strstr(wh_error_text(&over.error), "member \"f9\" is one more than the 9"));
    python("import tarfile\ni = tarfile.TarInfo('huge'); i.size = 1 << 60\nopen('huge.tar', "
           "'wb').write(i.tobuf(tarfile.GNU_FORMAT) + bytes(4096))\n");
    unpack_blob(&size, root, "huge.tar");
    assert_int_equal(size.status, -1);
    assert_int_equal(size.error.code, WH_E_LIMIT);
}

/* A disk that is full is told as such, with the member that did not fit. */
static void test_full_disk(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    autorun r = RUN_INIT;
    wh_autofree char *path = temp_path("small");
    wh_autoclose int before = new_folder("small");
    if (mount("tmpfs", path, "tmpfs", 0, "size=1m") < 0) {
        print_message("no tmpfs can be mounted here: %s\n", strerror(errno));
        return;
    }
    wh_autoclose int root = new_folder("small");
    make_tar("full.tar", "add('fits', data=b'x' * 100000)\nadd('too/large', data=b'x' * 3000000)");
    unpack_blob(&r, root, "full.tar");
    close(wh_steal_fd(&root));
    umount2(path, MNT_DETACH);
    assert_int_equal(r.status, -1);
    assert_int_equal(r.error.code, WH_E_NO_SPACE);
    assert_non_null(strstr(wh_error_text(&r.error), "member \"too/large\""));
}

/* ---- formats ---- */

static void test_formats(void **state)
{
    (void)state;
    static const char *const names[] = {"many.tar",     "many.tar.gz",     "many.members.gz",
                                        "many.tar.zst", "many.frames.zst", "many.sparse.tar"};
    python("import subprocess, os, gzip\nos.mkdir('many-src')\n"
           "for n in range(300): open('many-src/f%d' % n, 'wb').write(os.urandom(n * 37) + bytes(n * 11))\n"
           "f = open('many-src/holes', 'wb'); f.seek(3 << 20); f.write(b'end'); f.close()\n"
           "run = lambda *a: subprocess.run(a, check=True)\n"
           "run('tar', '--sort=name', '-C', 'many-src', '-cf', 'many.tar', '.')\n"
           "run('tar', '--sparse', '--sort=name', '-C', 'many-src', '-cf', 'many.sparse.tar', '.')\n"
           "d = open('many.tar', 'rb').read()\ngzip.open('many.tar.gz', 'wb').write(d)\n"
           "open('many.members.gz', 'wb').write(b''.join(gzip.compress(d[i:i + 100000]) for i in range(0, "
           "len(d), 100000)))\n"
           "run('zstd', '-q', 'many.tar', '-o', 'many.tar.zst')\n"
           "z = b''.join(subprocess.run(['zstd', '-c'], input=d[i:i + 100000], capture_output=True).stdout "
           "for i in range(0, len(d), 100000))\n"
           "open('many.frames.zst', 'wb').write(z)\n");
    for (size_t i = 0; i < WH_COUNT(names); i++) {
        autorun r = RUN_INIT;
        wh_autofree char *folder = wh_printf("many-%zu", i);
        wh_autoclose int root = new_folder(folder);
        must_unpack(&r, root, names[i]);
        wh_autofree char *code = wh_printf("import filecmp, os\nc = filecmp.cmpfiles('many-src', '%s', "
                                           "os.listdir('many-src'), shallow=False)\n"
                                           "assert len(c[0]) == 301 and not c[1] and not c[2], c\n",
                                           folder);
        python(code);
    }
}

/* What is written and unpacked again is written as the same bytes. */
static void test_round_trip(void **state)
{
    (void)state;
    wh_autoclose int first = new_folder("round-1");
    wh_autoclose int second = new_folder("round-2");
    autorun r = RUN_INIT;
    mkdirat(first, "d", 0711);
    put_file(first, "d/f", "12345", 5, 04750);
    linkat(first, "d/f", first, "hard", 0);
    symlinkat("x", first, "sym");
    linkat(first, "sym", first, "sym-again", 0);
    mkfifoat(first, "fifo", 0600);
    linkat(first, "fifo", first, "fifo-again", 0);
    mknodat(first, "gone-too", S_IFCHR, 0);
    linkat(first, "gone-too", first, "gone-three", 0);
    mknodat(first, "gone", S_IFCHR, 0);
    mkdirat(first, "opaque", 0755);
    wh_autoclose int opaque = openat(first, "opaque", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fsetxattr(opaque, "user.overlay.opaque", "y", 1, 0);
    for (int c = 0; c < 3; c++) {
        wh_autostr blob = {0};
        struct wh_layer_options o = {.compression = (enum wh_compression)c, .epoch = WH_LAYER_NO_EPOCH};
        struct wh_layer_result written, again;
        wh_autofree char *folder = wh_printf("round-2/%d", c);
        wh_autoclose int root = new_folder(folder);
        assert_int_equal(wh_layer_write(first, &o, to_buffer, &blob, &written, NULL), 0);
        struct bytes_source source = {blob.data, blob.len, 0, 7};
        r.options.digest = &written.digest;
        r.options.diff_id = &written.diff_id;
        r.options.size = (int64_t)written.size;
        assert_int_equal(wh_layer_unpack(from_bytes, &source, root, &r.options, &r.result, &r.error), 0);
        assert_int_equal(wh_layer_write(root, &o, NULL, NULL, &again, NULL), 0);
        assert_true(wh_digest_eq(&again.digest, &written.digest));
        assert_int_equal(stat_of(root, "sym").st_ino, stat_of(root, "sym-again").st_ino);
        assert_int_equal(stat_of(root, "fifo").st_nlink, 2);
        assert_true(is_whiteout(root, "gone-three"));
    }
}

static void test_archive(void **state)
{
    (void)state;
    wh_autoclose int root = new_folder("archive");
    wh_autoerror err = {0};
    struct wh_archive_options o = {.uid = -1, .gid = -1};
    make_tar(
        "a.tar",
        "add('d/f', data=b'1')\nadd('.wh.x', data=b'2')\nadd('s', S, linkname='/d')\nadd('s/g', data=b'3')");
    python("import lzma, bz2\nd = open('a.tar', 'rb').read()\nopen('a.xz', "
           "'wb').write(lzma.compress(d))\nopen('a.bz2', 'wb').write(bz2.compress(d))\n"
           "open('text', 'w').write('plain text')\nopen('empty', 'w')\n");
    static const char *const names[] = {"a.tar", "a.xz", "a.bz2"};
    for (size_t i = 0; i < WH_COUNT(names); i++) {
        wh_autofree char *path = temp_path(names[i]);
        wh_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(wh_archive_is(fd));
        if (wh_archive_unpack_fd(fd, root, &o, &err) < 0)
            fail_msg("%s", wh_error_text(&err));
        assert_true(text_is(root, "d/f", "1"));
        assert_true(text_is(root, "d/g", "3"));
        assert_true(text_is(root, ".wh.x", "2"));
    }
    static const char *const others[] = {"text", "empty"};
    for (size_t i = 0; i < WH_COUNT(others); i++) {
        wh_autofree char *path = temp_path(others[i]);
        wh_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_false(wh_archive_is(fd));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),         cmocka_unit_test(test_whiteouts),
        cmocka_unit_test(test_hostile_names), cmocka_unit_test(test_links_stay_inside),
        cmocka_unit_test(test_shared_inode),  cmocka_unit_test(test_devices_are_skipped),
        cmocka_unit_test(test_lower_layers),  cmocka_unit_test(test_digests),
        cmocka_unit_test(test_truncated),     cmocka_unit_test(test_not_a_tar),
        cmocka_unit_test(test_bombs),         cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_formats),       cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_archive),
    };
    return cmocka_run_group_tests(tests, make_temp, drop_temp);
}
