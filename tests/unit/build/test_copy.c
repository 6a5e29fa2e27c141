/* Paths of foreign trees, what COPY takes, and where it goes (builder.md §1.4 "Rules"). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "build/solve.h"
#include "wherry/base/fs.h"

static char top[64];
static bool no_cancel;

static char *at(const char *path)
{
    return wh_printf("%s/%s", top, path);
}

static void put(const char *path, const char *text, mode_t mode)
{
    wh_autofree char *full = at(path), *copy = wh_strdup(full);
    *strrchr(copy, '/') = '\0';
    assert_int_equal(wh_mkdir_p(copy, 0755, NULL), 0);
    assert_int_equal(wh_write_file(AT_FDCWD, full, text, strlen(text), mode, NULL), 0);
}

static void link_to(const char *target, const char *path)
{
    wh_autofree char *full = at(path), *copy = wh_strdup(full);
    *strrchr(copy, '/') = '\0';
    assert_int_equal(wh_mkdir_p(copy, 0755, NULL), 0);
    assert_int_equal(symlink(target, full), 0);
}

static void expect(const char *path, const char *text)
{
    wh_autofree char *full = at(path);
    wh_autostr got = {0};
    wh_autoerror err = {0};
    if (wh_read_file(AT_FDCWD, full, 1000, &got, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
    assert_string_equal(wh_str_text(&got), text);
}

static int open_dir(const char *path)
{
    wh_autofree char *full = at(path);
    assert_int_equal(wh_mkdir_p(full, 0755, NULL), 0);
    int fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static int setup(void **state)
{
    (void)state;
    strcpy(top, "/tmp/wherry-copy.XXXXXX");
    return mkdtemp(top) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return wh_remove_tree(AT_FDCWD, top, NULL);
}

/* Copies pattern of src/ to dest in dst/. */
static int copy(const char *pattern, const char *dest, const struct wh_ignore *ignore, struct wh_error *err)
{
    wh_autoclose int from = open_dir("src"), to = open_dir("dst");
    struct source source = {.root = from, .no_xdev = true, .ignore = ignore};
    struct copy c = {.root = to, .dest = dest, .own_owner = true, .cancel = &no_cancel};
    int status = source_collect(&source, pattern, err);
    if (status == 0)
        status = copy_source(&c, &source, err);
    source_clear(&source);
    return status;
}

static void links_stay_inside(void **state)
{
    (void)state;
    put("src/real/file", "x", 0644);
    link_to("/real", "src/abs");
    link_to("../../../../real", "src/sub/up");
    link_to("loop", "src/loop");
    wh_autoclose int root = open_dir("src");
    static const struct {
        const char *in, *out;
        bool follow;
    } cases[] = {{"abs/file", "real/file", true}, {"sub/up/file", "real/file", true},
                 {"../../etc", "etc", true},      {"abs", "real", true},
                 {"abs", "abs", false},           {"", "", true},
                 {"/a/./b/../c", "a/c", true},    {"abs/../abs/file", "real/file", true}};
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        wh_autofree char *out = NULL;
        assert_int_equal(inroot_resolve(root, cases[i].in, cases[i].follow, true, &out, NULL), 0);
        assert_string_equal(out, cases[i].out);
    }
    wh_autoerror err = {0};
    wh_autofree char *out = NULL;
    assert_int_equal(inroot_resolve(root, "loop", true, true, &out, &err), -1);
    assert_int_equal(err.code, WH_E_LIMIT);
}

static void files_go_where_docker_puts_them(void **state)
{
    (void)state;
    put("src/a", "A", 0640);
    put("src/d/one", "1", 0755);
    put("src/d/sub/two", "2", 0600);
    assert_int_equal(copy("a", "/x/y", NULL, NULL), 0); /* a name */
    expect("dst/x/y", "A");
    assert_int_equal(copy("a", "/x/", NULL, NULL), 0); /* into a folder */
    expect("dst/x/a", "A");
    assert_int_equal(copy("a", "/x", NULL, NULL), 0);   /* an existing folder */
    assert_int_equal(copy("d", "/n/m", NULL, NULL), 0); /* a folder's contents */
    expect("dst/n/m/one", "1");
    expect("dst/n/m/sub/two", "2");
    assert_int_equal(copy("d/*", "/flat/", NULL, NULL), 0); /* wildcards flatten folders */
    expect("dst/flat/one", "1");
    expect("dst/flat/two", "2");
    wh_autofree char *made = at("dst/n"), *kept = at("dst/n/m/sub/two");
    struct stat st;
    assert_int_equal(stat(made, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(stat(kept, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void conflicts_are_named(void **state)
{
    (void)state;
    put("src/f", "F", 0644);
    put("src/d/f/inner", "I", 0644);
    put("dst/t/f/there", "T", 0644);
    put("dst/plain", "P", 0644);
    wh_autoerror err = {0};
    assert_int_equal(copy("f", "/t/", NULL, &err), -1);
    assert_string_equal(wh_error_text(&err), "cannot replace to directory /t/f with file");
    assert_int_equal(copy("d", "/plain", NULL, &err), -1);
    assert_string_equal(wh_error_text(&err), "cannot copy to non-directory: /plain");
    assert_int_equal(copy("nothing", "/t/", NULL, &err), -1);
    assert_string_equal(wh_error_text(&err), "\"/nothing\": not found");
    assert_int_equal(err.code, WH_E_NOT_FOUND);
    assert_int_equal(copy("none*", "/t/", NULL, NULL), 0); /* a wildcard without a match copies nothing */
    expect("dst/t/f/there", "T");
}

static void destinations_follow_links_inside_the_image(void **state)
{
    (void)state;
    put("src/f", "F", 0644);
    link_to("/usr/bin", "dst/bin");
    link_to("/etc/passwd", "dst/dangling");
    assert_int_equal(copy("f", "/bin/", NULL, NULL), 0);
    expect("dst/usr/bin/f", "F");
    assert_int_equal(copy("f", "/dangling", NULL, NULL), 0);
    expect("dst/etc/passwd", "F");
    put("src/tree/link/x", "X", 0644);
    link_to("/elsewhere", "dst/into/link");
    wh_autoerror err = {0};
    assert_int_equal(copy("tree", "/into", NULL, &err), -1); /* below the destination none is followed */
    assert_string_equal(wh_error_text(&err), "cannot copy to non-directory: /into/link");
}

static void sources_never_leave_the_context(void **state)
{
    (void)state;
    put("secret", "S", 0600);
    put("src/d/x", "X", 0644);
    link_to("../secret", "src/out");
    link_to("../secret", "src/d/inner");
    wh_autoerror err = {0};
    assert_int_equal(copy("out", "/o", NULL, &err), -1);
    assert_int_equal(err.code, WH_E_NOT_FOUND);
    assert_int_equal(copy("../secret", "/o", NULL, &err), -1);
    assert_int_equal(copy("d", "/d", NULL, NULL), 0);
    wh_autofree char *inner = at("dst/d/inner");
    struct stat st;
    assert_int_equal(lstat(inner, &st), 0);
    assert_true(S_ISLNK(st.st_mode)); /* a link below the top stays a link */
}

/* A mount that a job made inside its context in a namespace of its own. Run in a child, which alone sees it.
 */
static void mounts_in_the_context_are_refused(void **state)
{
    (void)state;
    put("outside/secret", "S", 0600);
    put("src/d/x", "X", 0644);
    put("src/m/.keep", "", 0644);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        wh_autofree char *from = at("outside"), *to = at("src/m");
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount(from, to, NULL, MS_BIND, NULL) < 0)
            _exit(77);
        wh_autoerror err = {0};
        bool top_refused = copy("m", "/o/", NULL, &err) < 0, walk_refused = copy("", "/all/", NULL, &err) < 0;
        _exit(top_refused && walk_refused ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void ignored_files_stay_out(void **state)
{
    (void)state;
    put("src/a.log", "L", 0644);
    put("src/keep/a.log", "K", 0644);
    put("src/node/x", "N", 0644);
    put("src/b", "B", 0644);
    struct wh_ignore *ignore;
    const char *text = "*.log\nnode\nkeep\n!keep/a.log\n";
    assert_int_equal(wh_ignore_parse(text, strlen(text), ".dockerignore", &ignore, NULL), 0);
    assert_int_equal(copy(".", "/all", ignore, NULL), 0);
    wh_autofree char *log = at("dst/all/a.log"), *node = at("dst/all/node");
    assert_int_equal(access(log, F_OK), -1);
    assert_int_equal(access(node, F_OK), -1);
    expect("dst/all/b", "B");
    expect("dst/all/keep/a.log", "K");
    wh_autoerror err = {0};
    assert_int_equal(copy("node/x", "/y", ignore, &err), -1);
    assert_int_equal(err.code, WH_E_NOT_FOUND);
    wh_ignore_free(ignore);
}

static void second_names_stay_second_names(void **state)
{
    (void)state;
    put("src/d/a", "A", 0644);
    wh_autofree char *a = at("src/d/a"), *b = at("src/d/b"), *out_a = at("dst/o/a"), *out_b = at("dst/o/b");
    assert_int_equal(link(a, b), 0);
    assert_int_equal(copy("d", "/o", NULL, NULL), 0);
    struct stat x, y;
    assert_int_equal(stat(out_a, &x), 0);
    assert_int_equal(stat(out_b, &y), 0);
    assert_int_equal(x.st_ino, y.st_ino);
}

static void key_of(const char *pattern, struct wh_digest *out)
{
    wh_autoclose int from = open_dir("src");
    struct source source = {.root = from, .no_xdev = true};
    assert_int_equal(source_collect(&source, pattern, NULL), 0);
    struct key k;
    key_begin(&k, "test");
    source_key(&source, &k);
    key_end(&k, out);
    source_clear(&source);
}

static void keys_know_names_and_modes_but_no_times(void **state)
{
    (void)state;
    put("src/d/a", "A", 0644);
    struct wh_digest first, touched, renamed, moded;
    key_of("d", &first);
    wh_autofree char *a = at("src/d/a"), *b = at("src/d/b"), *d = at("src/d"), *e = at("src/e");
    struct timespec old[2] = {{1, 0}, {1, 0}};
    assert_int_equal(utimensat(AT_FDCWD, a, old, 0), 0);
    assert_int_equal(rename(d, e), 0); /* a folder's own name doesn't count */
    key_of("e", &touched);
    assert_true(wh_digest_eq(&first, &touched));
    assert_int_equal(rename(e, d), 0);
    assert_int_equal(chmod(a, 0600), 0);
    key_of("d", &moded);
    assert_false(wh_digest_eq(&first, &moded));
    assert_int_equal(chmod(a, 0644), 0);
    assert_int_equal(rename(a, b), 0);
    key_of("d", &renamed);
    assert_false(wh_digest_eq(&first, &renamed));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(links_stay_inside),
        TEST(files_go_where_docker_puts_them),
        TEST(conflicts_are_named),
        TEST(destinations_follow_links_inside_the_image),
        TEST(sources_never_leave_the_context),
        TEST(mounts_in_the_context_are_refused),
        TEST(ignored_files_stay_out),
        TEST(second_names_stay_second_names),
        TEST(keys_know_names_and_modes_but_no_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
