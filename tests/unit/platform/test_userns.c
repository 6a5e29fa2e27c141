/* Which ids a build gets, by files that this test puts over /etc/subuid and /etc/subgid in a mount namespace
 * of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/platform/userns.h"

static char file[] = "/tmp/wherry-subid-XXXXXX";

static void set_file(const char *text)
{
    int fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
}

static struct wh_userns_map choose(const char *text, uid_t job)
{
    struct wh_userns_map map;
    wh_autoerror err = {0};
    set_file(text);
    if (wh_userns_map_choose(job, job, &map, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
    return map;
}

static void test_root(void **state)
{
    (void)state;
    assert_int_equal(choose("", 1000).first_uid, WH_USERNS_ROOT_FIRST);
    assert_int_equal(choose("root:200000:65536\n", 1000).first_uid, 200000);
    assert_int_equal(choose("root:200000:65536\nwherry:300000:65536\n", 1000).first_uid, 300000);
    assert_int_equal(choose("0:400000:65536", 1000).first_gid, 400000);
    assert_int_equal(choose("root:200000:65535\n", 1000).first_uid, WH_USERNS_ROOT_FIRST); /* too few */
    assert_int_equal(choose("garbage\nroot:x:y\nroot:0:65536\n::::\n", 1000).first_uid, WH_USERNS_ROOT_FIRST);
    /* Somebody else's range is never taken. */
    assert_int_equal(choose("a:524288:65536\nb:589824:1\n", 1000).first_uid,
                     WH_USERNS_ROOT_FIRST + 2 * 65536);
    assert_int_equal(choose("a:500000:65536\n", 1000).first_uid, WH_USERNS_ROOT_FIRST + 65536);
}

static void test_job(void **state)
{
    (void)state;
    assert_int_equal(choose("", 1000).job_uid, 1000);
    assert_int_equal(choose("", 0).job_uid, WH_NO_ID); /* never root */
    assert_int_equal(choose("", WH_NO_ID).job_uid, WH_NO_ID);
    struct wh_userns_map map = choose("", 1000);
    assert_int_equal(map.root_uid, map.first_uid);
}

/* In a child, since there is no way back. */
static int as_user(void)
{
    struct wh_userns_map map;
    wh_autoerror err = {0};
    if (setresgid(4242, 4242, 4242) < 0 || setresuid(4242, 4242, 4242) < 0)
        return 1;
    if (wh_userns_map_choose(1, 1, &map, &err) < 0)
        return err.code == WH_E_DENIED && strstr(wh_error_text(&err), "usermod --add-subuids") ? 42 : 2;
    return map.root_uid == 4242 && map.first_uid == 100000 && map.job_uid == WH_NO_ID ? 43 : 3;
}

static int exit_as_user(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(as_user());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_user(void **state)
{
    (void)state;
    set_file("root:200000:65536\n");
    assert_int_equal(exit_as_user(), 42);
    set_file("4242:100000:65536\n");
    assert_int_equal(exit_as_user(), 43);
}

int main(void)
{
    int fd = geteuid() == 0 ? mkstemp(file) : -1;
    if (fd < 0 || fchmod(fd, 0644) < 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount(file, "/etc/subuid", NULL, MS_BIND, NULL) < 0 ||
        mount(file, "/etc/subgid", NULL, MS_BIND, NULL) < 0) {
        fprintf(stderr, "skipped: needs root: %s\n", strerror(errno));
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_root), cmocka_unit_test(test_job),
                                       cmocka_unit_test(test_user)};
    int failed = cmocka_run_group_tests_name("userns", tests, NULL, NULL);
    (void)unlink(file);
    return failed;
}
