/* The compiled profile, put on a process of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container/internal.h"
#include "wherry/base/fs.h"

static struct wh_str program;

/* errno of one call under the filter; 0: it was done. */
static int errno_of(long nr, long a, long b, long c, long d)
{
    int ends[2];
    int result = -1;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        const struct sock_fprog filter = {(unsigned short)(program.len / sizeof(struct sock_filter)),
                                          (struct sock_filter *)(void *)program.data};
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0)
            _exit(1);
        int said = syscall(nr, a, b, c, d, 0, 0) < 0 ? errno : 0;
        _exit(write(ends[1], &said, sizeof said) == sizeof said ? 0 : 1);
    }
    (void)close(ends[1]);
    if (read(ends[0], &result, sizeof result) != sizeof result)
        result = -1;
    (void)close(ends[0]);
    int status;
    (void)waitpid(pid, &status, 0);
    return result;
}

static void test_calls(void **state)
{
    (void)state;
    assert_int_equal(errno_of(SYS_getpid, 0, 0, 0, 0), 0);
    assert_int_equal(errno_of(SYS_openat, AT_FDCWD, (long)"/", O_RDONLY, 0), 0);
    assert_int_equal(errno_of(SYS_keyctl, 0, 0, 0, 0), EPERM);
    assert_int_equal(errno_of(SYS_unshare, CLONE_NEWUSER, 0, 0, 0), EPERM);
    assert_int_equal(errno_of(SYS_mount, 0, 0, 0, 0), EPERM);
    assert_int_equal(errno_of(SYS_bpf, 0, 0, 0, 0), EPERM);
    assert_int_equal(errno_of(425 /* io_uring_setup */, 0, 0, 0, 0), EPERM);
    assert_int_equal(errno_of(SYS_clone3, 0, 0, 0, 0), ENOSYS);
    assert_int_equal(errno_of(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0), EPERM);
}

static void test_arguments(void **state)
{
    (void)state;
    assert_int_equal(errno_of(SYS_personality, 0xffffffff, 0, 0, 0), 0);
    assert_int_equal(errno_of(SYS_personality, ADDR_NO_RANDOMIZE, 0, 0, 0), EPERM);
    assert_int_equal(errno_of(SYS_socket, AF_UNIX, SOCK_STREAM, 0, 0), 0);
    assert_int_equal(errno_of(SYS_socket, 38 /* AF_ALG */, SOCK_SEQPACKET, 0, 0), EPERM);
    assert_int_equal(errno_of(SYS_socket, 40 /* AF_VSOCK */, SOCK_STREAM, 0, 0), EPERM);
    assert_int_not_equal(errno_of(SYS_socket, 39 /* AF_NFC */, SOCK_STREAM, 0, 0), EPERM);
}

/* Known by number alone, and unknown to us: a C library must be able to fall back. */
static void test_new_calls(void **state)
{
    (void)state;
    assert_int_not_equal(errno_of(452 /* fchmodat2 */, -1, (long)"x", 0644, 0), EPERM);
    assert_int_not_equal(errno_of(462 /* mseal */, 1, 0, 0, 0), EPERM);
    assert_int_equal(errno_of(459 /* lsm_get_self_attr */, 0, 0, 0, 0), EPERM);
    assert_int_equal(errno_of(467, 0, 0, 0, 0), ENOSYS);
    assert_int_equal(errno_of(600, 0, 0, 0, 0), ENOSYS);
}

/* Kept, used again, and made anew when damaged. */
static void test_kept(void **state)
{
    (void)state;
    char path[] = "/tmp/wherry-seccomp-XXXXXX";
    wh_autostr first = {0};
    wh_autostr second = {0};
    wh_autostr third = {0};
    wh_autoerror err = {0};
    assert_non_null(mkdtemp(path));
    assert_int_equal(wh_seccomp_load(path, &first, &err), 0);
    assert_int_equal(wh_seccomp_load(path, &second, &err), 0);
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.data, second.data, first.len);
    wh_autofree char *damage =
        wh_printf("for f in %s/*; do printf x | dd of=$f bs=1 seek=100 conv=notrunc 2>/dev/null; done", path);
    assert_int_equal(system(damage), 0);
    assert_int_equal(wh_seccomp_load(path, &third, &err), 0);
    assert_int_equal(first.len, third.len);
    assert_memory_equal(first.data, third.data, first.len);
    (void)wh_remove_tree(AT_FDCWD, path, NULL);
}

static void test_json(void **state)
{
    (void)state;
    cJSON *json = wh_seccomp_json();
    assert_non_null(cJSON_GetObjectItem(json, "syscalls"));
    assert_true(cJSON_GetArraySize(cJSON_GetObjectItem(json, "syscalls")) > 8);
    cJSON_Delete(json);
}

int main(void)
{
    wh_autoerror err = {0};
    if (wh_seccomp_compile(&program, &err) < 0) {
        fprintf(stderr, "%s\n", wh_error_text(&err));
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls), cmocka_unit_test(test_arguments), cmocka_unit_test(test_new_calls),
        cmocka_unit_test(test_kept),  cmocka_unit_test(test_json),
    };
    int failed = cmocka_run_group_tests_name("seccomp", tests, NULL, NULL);
    wh_str_free(&program);
    return failed;
}
