/* Overlays, binds and umounts in a mount namespace of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/platform/mount.h"

static char folder[] = "/var/tmp/wherry-mount-XXXXXX";
static int top = -1;
static char *target;

static void put(const char *path, const char *text)
{
    wh_autoclose int fd = openat(top, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static char *content(const char *name)
{
    wh_autofree char *path = wh_path_join(target, name);
    wh_autostr text = {0};
    return wh_read_file(AT_FDCWD, path, 4096, &text, NULL) < 0 ? NULL : wh_str_steal(&text);
}

/* n lowers, all the same folder but the two on top. */
static int mount_n(size_t n, int upper, int work, struct wh_error *err)
{
    wh_autofree const char **lowers = wh_calloc(n, sizeof *lowers);
    wh_autostrv char **names = NULL;
    for (size_t i = 0; i < n; i++) {
        wh_autofree char *name = wh_printf("l%zu", i);
        (void)mkdirat(top, name, 0755);
        wh_strv_add(&names, name);
        lowers[i] = names[i];
    }
    const struct wh_overlay overlay = {top, lowers, n, upper, work};
    return wh_overlay_mount(&overlay, target, err);
}

static void test_order(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    assert_int_equal(mkdirat(top, "l0", 0755), 0);
    assert_int_equal(mkdirat(top, "l1", 0755), 0);
    put("l0/f", "newest");
    put("l1/f", "older");
    put("l1/g", "older");
    if (mount_n(3, -1, -1, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
    wh_autofree char *f = content("f");
    wh_autofree char *g = content("g");
    assert_string_equal(f, "newest");
    assert_string_equal(g, "older");
    wh_autofree char *made = wh_path_join(target, "made");
    assert_int_equal(open(made, O_WRONLY | O_CREAT, 0644), -1);
    assert_int_equal(errno, EROFS);
    assert_int_equal(wh_umount(target, 0, &err), 0);
}

static void test_limit(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    /* Before Linux 6.5 the names must fit in a page. */
    int mounted = mount_n(WH_MAX_OVERLAY_LOWERS, -1, -1, &err);
    if (mounted == 0)
        assert_int_equal(wh_umount(target, 0, &err), 0);
    else
        fail_msg("%s", wh_error_text(&err));
    assert_int_equal(mount_n(WH_MAX_OVERLAY_LOWERS + 1, -1, -1, &err), -1);
    assert_int_equal(err.code, WH_E_LIMIT);
    assert_int_equal(mount_n(0, -1, -1, &err), -1);
    const char *const odd[] = {"a:b"};
    const struct wh_overlay overlay = {top, odd, 1, -1, -1};
    assert_int_equal(wh_overlay_mount(&overlay, target, &err), -1);
    assert_int_equal(err.code, WH_E_ARGUMENT);
}

static void test_upper(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    assert_int_equal(mkdirat(top, "upper", 0755), 0);
    assert_int_equal(mkdirat(top, "work", 0755), 0);
    wh_autoclose int upper = openat(top, "upper", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    wh_autoclose int work = openat(top, "work", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (mount_n(2, upper, work, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
    wh_autofree char *f = wh_path_join(target, "f");
    wh_autofree char *held = wh_path_join(target, "held");
    assert_int_equal(unlink(f), 0);
    int fd = open(held, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(wh_umount(target, 20, &err), -1); /* never lazily */
    assert_int_equal(err.code, WH_E_BUSY);
    (void)close(fd);
    assert_int_equal(wh_umount(target, 1000, &err), 0);
    struct stat st;
    assert_int_equal(fstatat(upper, "f", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
    assert_int_equal(fstatat(upper, "held", &st, 0), 0);
}

static void test_bind(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autoclose int source = openat(top, "l1", O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(wh_bind_mount(source, target, true, &err), 0);
    wh_autofree char *g = content("g");
    assert_string_equal(g, "older");
    wh_autofree char *path = wh_path_join(target, "g");
    assert_int_equal(open(path, O_WRONLY), -1);
    assert_int_equal(errno, EROFS);
    assert_int_equal(wh_umount(target, 0, &err), 0);
    assert_int_equal(wh_umount(target, 0, &err), -1);
}

/* A folder of the same file system that is mounted into a tree outlives the tree's removal. */
static void test_remove_stops_at_mounts(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    assert_int_equal(mkdirat(top, "precious", 0755), 0);
    put("precious/file", "kept");
    assert_int_equal(mkdirat(top, "tree", 0755), 0);
    assert_int_equal(mkdirat(top, "tree/below", 0755), 0);
    wh_autoclose int source = openat(top, "precious", O_PATH | O_DIRECTORY | O_CLOEXEC);
    wh_autofree char *point = wh_path_join(folder, "tree/below");
    wh_autofree char *tree = wh_path_join(folder, "tree");
    assert_int_equal(wh_bind_mount(source, point, false, &err), 0);
    assert_int_equal(wh_remove_tree(AT_FDCWD, tree, &err), -1);
    assert_int_equal(err.code, WH_E_BUSY);
    assert_int_equal(wh_remove_tree(AT_FDCWD, point, &err), -1);
    assert_int_equal(wh_remove_contents(AT_FDCWD, tree, &err), -1);
    assert_int_equal(faccessat(source, "file", F_OK, 0), 0);
    assert_int_equal(wh_umount(point, 0, &err), 0);
    assert_int_equal(wh_remove_tree(AT_FDCWD, tree, &err), 0);
    assert_int_equal(faccessat(source, "file", F_OK, 0), 0);
}

int main(void)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        !mkdtemp(folder)) {
        fprintf(stderr, "skipped: needs root: %s\n", strerror(errno));
        return 77;
    }
    top = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    target = wh_path_join(folder, "target");
    if (top < 0 || mkdir(target, 0755) < 0)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order), cmocka_unit_test(test_limit),
                                       cmocka_unit_test(test_upper), cmocka_unit_test(test_bind),
                                       cmocka_unit_test(test_remove_stops_at_mounts)};
    int failed = cmocka_run_group_tests_name("mount", tests, NULL, NULL);
    (void)close(top);
    (void)wh_remove_tree(AT_FDCWD, folder, NULL);
    free(target);
    return failed;
}
