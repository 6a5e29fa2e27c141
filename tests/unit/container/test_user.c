/* USER and --chown against passwd and group texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "container/passwd.h"
#include "wherry/base/fs.h"

static const char passwd[] = "# comment\n\n"
                             "root:x:0:0:root:/root:/bin/sh\n"
                             "broken:x:abc:0::/:/bin/sh\n"
                             "  alice:x:1000:1001:Alice:/home/alice:/bin/bash  \n"
                             "twin:x:1000:7::/twin:/bin/sh\n"
                             "short:x:1002:1002\n"
                             "1234:x:55:56::/number:/bin/sh";
static const char group[] = "root:x:0:\n"
                            "alice:x:1001:\n"
                            "staff:x:50:bob,alice\n"
                            "wheel:x:10:root, alice\n"
                            "primary:x:1001:alice\n"
                            "bad\n"
                            "users:x:100";

static struct wh_run_user user_of(const char *text)
{
    struct wh_run_user user;
    wh_autoerror err = {0};
    if (wh_run_user_from_text(wh_view_of(passwd), wh_view_of(group), text, &user, &err) < 0)
        fail_msg("%s: %s", text, wh_error_text(&err));
    return user;
}

static void expect_user(const char *text, uid_t uid, gid_t gid, const char *groups, const char *home)
{
    struct wh_run_user user = user_of(text);
    wh_autostr list = {0};
    for (size_t i = 0; i < user.ngroups; i++)
        wh_str_addf(&list, "%s%u", i > 0 ? "," : "", user.groups[i]);
    assert_int_equal(user.uid, uid);
    assert_int_equal(user.gid, gid);
    assert_string_equal(wh_str_text(&list), groups);
    assert_string_equal(user.home, home);
}

static void expect_error(const char *text, const char *message)
{
    struct wh_run_user user;
    wh_autoerror err = {0};
    assert_int_equal(wh_run_user_from_text(wh_view_of(passwd), wh_view_of(group), text, &user, &err), -1);
    assert_string_equal(wh_error_text(&err), message);
}

static void test_users(void **state)
{
    (void)state;
    expect_user("", 0, 0, "0,10", "/root");
    expect_user("root", 0, 0, "0,10", "/root");
    expect_user("0", 0, 0, "0,10", "/root");
    expect_user("alice", 1000, 1001, "1001,50,10", "/home/alice");
    expect_user("1000", 1000, 1001, "1001,50,10", "/home/alice"); /* the first line with the number */
    expect_user("twin", 1000, 7, "7", "/home/alice");
    expect_user("short", 1002, 1002, "1002", "/");
    expect_user("4321", 4321, 0, "0", "/"); /* a number that is nobody's */
    expect_user("1234", 1234, 0, "0", "/"); /* digits are a number, whatever names there are */
    expect_user("1000:1000", 1000, 1000, "1000", "/home/alice");
    expect_user("alice:staff", 1000, 50, "50", "/home/alice");
    expect_user("alice:77", 1000, 77, "77", "/home/alice");
    expect_user(":staff", 0, 50, "50", "/root");
    expect_user("2147483647", 2147483647u, 0, "0", "/");
}

static void test_errors(void **state)
{
    (void)state;
    expect_error("bob", "unable to find user bob: no matching entries in passwd file");
    expect_error("alice:nogroup", "unable to find group nogroup: no matching entries in group file");
    expect_error("broken", "unable to find user broken: no matching entries in passwd file");
    expect_error("2147483648", "uids and gids must be in range 0-2147483647");
    expect_error("0:4294967296", "uids and gids must be in range 0-2147483647");
}

static void expect_owner(const char *text, uid_t uid, gid_t gid, bool unknown)
{
    uid_t u;
    gid_t g;
    bool missing;
    wh_autoerror err = {0};
    assert_int_equal(
        wh_run_owner_from_text(wh_view_of(passwd), wh_view_of(group), text, &u, &g, &missing, &err), 0);
    assert_int_equal(u, uid);
    assert_int_equal(g, gid);
    assert_int_equal(missing, unknown);
}

static void test_owners(void **state)
{
    (void)state;
    expect_owner("5", 5, 5, false);
    expect_owner("5:6", 5, 6, false);
    expect_owner("alice", 1000, 1001, false);
    expect_owner("alice:staff", 1000, 50, false);
    expect_owner("5:staff", 5, 50, false);
    expect_owner("bob", 0, 0, true);
    expect_owner("bob:staff", 0, 50, true);
    expect_owner("alice:nogroup", 1000, 1001, true);
}

/* The real files: a missing one, a link out of the root, a fifo, and an empty root. */
static void test_files(void **state)
{
    (void)state;
    char path[] = "/tmp/wherry-user-XXXXXX";
    struct wh_run_user user;
    uid_t uid;
    gid_t gid;
    bool unknown;
    wh_autoerror err = {0};
    assert_non_null(mkdtemp(path));
    wh_autoclose int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(wh_run_user_resolve(root, "", &user, &err), 0);
    assert_string_equal(user.home, "/");
    assert_int_equal(wh_run_user_resolve(root, "root", &user, &err), -1);
    assert_int_equal(mkdirat(root, "etc", 0755), 0);
    assert_int_equal(symlinkat("/etc/../../../../etc/passwd", root, "etc/passwd"), 0); /* to itself */
    assert_int_equal(wh_run_user_resolve(root, "root", &user, &err), -1);
    assert_int_equal(unlinkat(root, "etc/passwd", 0), 0);
    assert_int_equal(mknodat(root, "etc/passwd", S_IFIFO | 0644, 0), 0);
    assert_int_equal(wh_run_user_resolve(root, "root", &user, &err), -1);
    assert_int_equal(wh_run_owner_resolve(root, "bob", &uid, &gid, &unknown, &err), 0);
    assert_true(unknown);
    assert_int_equal(wh_run_owner_resolve(-1, "bob", &uid, &gid, &unknown, &err), -1);
    assert_string_equal(wh_error_text(&err), "invalid user index: -1");
    assert_int_equal(wh_run_owner_resolve(-1, "7:8", &uid, &gid, &unknown, &err), 0);
    (void)wh_remove_tree(AT_FDCWD, path, NULL);
}

static void test_too_big(void **state)
{
    (void)state;
    char path[] = "/tmp/wherry-user-XXXXXX";
    struct wh_run_user user;
    wh_autoerror err = {0};
    assert_non_null(mkdtemp(path));
    wh_autoclose int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mkdirat(root, "etc", 0755), 0);
    wh_autoclose int fd = openat(root, "etc/passwd", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_int_equal(write(fd, "root:x:0:0::/:\n", 15), 15);
    assert_int_equal(ftruncate(fd, (off_t)WH_MAX_PASSWD_BYTES), 0);
    assert_int_equal(wh_run_user_resolve(root, "root", &user, &err), 0);
    assert_int_equal(ftruncate(fd, (off_t)WH_MAX_PASSWD_BYTES + 1), 0);
    assert_int_equal(wh_run_user_resolve(root, "root", &user, &err), -1);
    assert_int_equal(err.code, WH_E_LIMIT);
    (void)wh_remove_tree(AT_FDCWD, path, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_users), cmocka_unit_test(test_errors),  cmocka_unit_test(test_owners),
        cmocka_unit_test(test_files), cmocka_unit_test(test_too_big),
    };
    return cmocka_run_group_tests_name("user", tests, NULL, NULL);
}
