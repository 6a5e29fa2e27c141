/* Starting processes: identity, descriptors, folders, ends, errors. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "wherry/base/fs.h"
#include "wherry/platform/cgroup.h"
#include "wherry/platform/process.h"

static int run(struct wh_process_options *o, const char *script, struct wh_str *out, struct wh_str *errors)
{
    char *argv[] = {"sh", "-c", (char *)script, NULL};
    o->path = "/bin/sh";
    o->argv = argv;
    wh_autoerror err = {0};
    int code = wh_process_run(o, 65536, out, errors, &err);
    if (code < 0)
        print_error("%s\n", wh_error_text(&err));
    return code;
}

static void test_output_and_exit_code(void **state)
{
    (void)state;
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    wh_autostr out = {0};
    wh_autostr errors = {0};
    assert_int_equal(run(&o, "echo one; echo two >&2; exit 7", &out, &errors), 7);
    assert_string_equal(wh_str_text(&out), "one\n");
    assert_string_equal(wh_str_text(&errors), "two\n");
}

static void test_stdin_is_empty(void **state)
{
    (void)state;
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    wh_autostr out = {0};
    assert_int_equal(run(&o, "cat; echo end", &out, NULL), 0);
    assert_string_equal(wh_str_text(&out), "end\n");
}

static void test_death_by_signal(void **state)
{
    (void)state;
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    assert_int_equal(run(&o, "kill -TERM $$", NULL, NULL), 128 + SIGTERM);
}

static void test_signals_are_default(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); /* as our daemons do */
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    wh_autostr out = {0};
    run(&o, "grep ^SigIgn /proc/self/status; grep ^SigBlk /proc/self/status", &out, NULL);
    signal(SIGPIPE, SIG_DFL);
    assert_string_equal(wh_str_text(&out), "SigIgn:\t0000000000000000\nSigBlk:\t0000000000000000\n");
}

static void test_only_given_descriptors(void **state)
{
    (void)state;
    int leaked = open("/dev/null", O_RDONLY); /* without close-on-exec */
    int given = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    o.fds[o.nfds++] = (struct wh_process_fd){.fd = given, .as = 4};
    wh_autostr out = {0};
    run(&o, "ls -l /proc/$$/fd | sed -n 's/.* \\([0-9]*\\) -> \\(.*\\)/\\1 \\2/p' | grep -v pipe", &out,
        NULL);
    close(leaked);
    close(given);
    assert_string_equal(wh_str_text(&out), "0 /dev/null\n2 /dev/null\n4 /dev/zero\n");
}

static void test_descriptors_that_swap(void **state)
{
    (void)state;
    /* The numbers wanted are the sources of each other. */
    int a = fcntl(open("/dev/zero", O_RDONLY), F_DUPFD_CLOEXEC, 3);
    int b = fcntl(open("/dev/full", O_WRONLY), F_DUPFD_CLOEXEC, 3);
    assert_true(a < 11 && b < 11);
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    o.fds[o.nfds++] = (struct wh_process_fd){.fd = a, .as = b};
    o.fds[o.nfds++] = (struct wh_process_fd){.fd = b, .as = a};
    wh_autofree char *script = wh_printf("readlink /proc/$$/fd/%d /proc/$$/fd/%d", a, b);
    wh_autostr out = {0};
    run(&o, script, &out, NULL);
    close(a);
    close(b);
    assert_string_equal(wh_str_text(&out), "/dev/full\n/dev/zero\n");
}

static void test_environment_folder_group(void **state)
{
    (void)state;
    char *env[] = {"ONLY=this", "PATH=/usr/bin:/bin", NULL};
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    o.env = env;
    o.cwd = "/proc";
    o.new_group = true;
    wh_autostr out = {0};
    run(&o,
        "echo $ONLY; pwd; test \"$(ps -o pgid= -p $$ 2>/dev/null || cut -d' ' -f5 /proc/$$/stat)\" -eq $$ && "
        "echo leader",
        &out, NULL);
    assert_string_equal(wh_str_text(&out), "this\n/proc\nleader\n");
}

static void test_identity(void **state)
{
    (void)state;
    if (getuid() != 0)
        skip();
    gid_t groups[] = {20, 44};
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    o.set_ids = true;
    o.uid = 12345;
    o.gid = 23456;
    o.groups = groups;
    o.ngroups = 2;
    wh_autostr out = {0};
    run(&o, "id -u; id -g; grep -E '^(Groups|Cap(Inh|Prm|Eff|Amb))' /proc/self/status | tr -s ' \\t' ' '",
        &out, NULL);
    assert_string_equal(wh_str_text(&out),
                        "12345\n23456\nGroups: 20 44 \nCapInh: 0000000000000000\n"
                        "CapPrm: 0000000000000000\nCapEff: 0000000000000000\nCapAmb: 0000000000000000\n");
}

static void test_oom_score(void **state)
{
    (void)state;
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    o.set_oom_score = true;
    o.oom_score_adj = 500;
    wh_autostr out = {0};
    run(&o, "sleep 0.05; cat /proc/$$/oom_score_adj", &out, NULL); /* it is set just after the exec */
    assert_string_equal(wh_str_text(&out), "500\n");
}

static void test_errors_name_the_cause(void **state)
{
    (void)state;
    char *argv[] = {"x", NULL};
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    struct wh_process p;
    wh_autoerror err = {0};
    o.path = "/no/such/program";
    o.argv = argv;
    assert_true(wh_process_spawn(&o, &p, &err) < 0);
    assert_int_equal(err.sys_errno, ENOENT);
    assert_non_null(strstr(wh_error_text(&err), "/no/such/program"));
    assert_int_equal(p.pid, 0);
    o.path = "/bin/true";
    o.cwd = "/no/such/folder";
    assert_true(wh_process_spawn(&o, &p, &err) < 0);
    assert_non_null(strstr(wh_error_text(&err), "/no/such/folder"));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing is left to wait for */
    assert_int_equal(errno, ECHILD);
}

static void test_too_many_descriptors(void **state)
{
    (void)state;
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    struct wh_process p;
    wh_autoerror err = {0};
    o.path = "/bin/true";
    o.nfds = WH_MAX_PROCESS_FDS + 1;
    assert_true(wh_process_spawn(&o, &p, &err) < 0);
    assert_int_equal(err.code, WH_E_LIMIT);
}

static int child_main(void *data)
{
    printf("%s %s", (const char *)data, getenv("ONLY")); /* without a newline: stdio is flushed at the end */
    return 9;
}

static void test_fork(void **state)
{
    (void)state;
    int ends[2];
    wh_autoerror err = {0};
    assert_int_equal(wh_pipe(ends, false, &err), 0);
    char *env[] = {"ONLY=here", NULL};
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    o.env = env;
    o.stdout_fd = ends[1];
    struct wh_process p;
    assert_int_equal(wh_process_fork(&o, child_main, "hello", &p, &err), 0);
    close(ends[1]);
    char buffer[64] = "";
    assert_int_equal(read(ends[0], buffer, sizeof buffer), 10);
    assert_memory_equal(buffer, "hello here", 10);
    close(ends[0]);
    struct wh_process_exit ended;
    assert_int_equal(wh_process_wait(&p, &ended, &err), 0);
    assert_int_equal(ended.code, 9);
    assert_int_equal(p.pidfd, -1);
}

static void test_fork_error(void **state)
{
    (void)state;
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    o.cwd = "/no/such/folder";
    struct wh_process p;
    wh_autoerror err = {0};
    assert_true(wh_process_fork(&o, child_main, "x", &p, &err) < 0);
    assert_int_equal(err.sys_errno, ENOENT);
}

static void test_signal_group(void **state)
{
    (void)state;
    int ends[2];
    wh_autoerror err = {0};
    assert_int_equal(wh_pipe(ends, false, &err), 0);
    char *argv[] = {"sh", "-c", "sleep 100 & echo ready; wait", NULL};
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    o.path = "/bin/sh";
    o.argv = argv;
    o.new_group = true;
    o.stdout_fd = ends[1];
    struct wh_process p;
    assert_int_equal(wh_process_spawn(&o, &p, &err), 0);
    close(ends[1]);
    char buffer[16];
    assert_int_equal(read(ends[0], buffer, sizeof buffer), 6);
    struct wh_process_exit ended;
    assert_int_equal(wh_process_reap(&p, &ended, &err), 0); /* it runs */
    wh_process_signal_group(&p, SIGKILL);
    assert_int_equal(read(ends[0], buffer, sizeof buffer), 0); /* the grandchild held the pipe too */
    close(ends[0]);
    assert_int_equal(wh_process_wait(&p, &ended, &err), 0);
    assert_int_equal(ended.signal, SIGKILL);
    assert_int_equal(ended.code, 137);
    wh_process_signal(&p, SIGTERM); /* harmless */
}

struct found {
    pid_t pid;
    char comm[32];
    int count;
};

static void on_found(void *data, pid_t pid, const char *comm)
{
    struct found *f = data;
    f->pid = pid;
    snprintf(f->comm, sizeof f->comm, "%s", comm);
    f->count++;
}

static void test_find_by_environment(void **state)
{
    (void)state;
    char *argv[] = {"sleep", "100", NULL};
    char *env[] = {"A=1", "WH_TEST_TRACK=abc", NULL};
    char *near[] = {"WH_TEST_TRACK=abcd", NULL};
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    o.path = "/bin/sleep";
    o.argv = argv;
    o.env = env;
    struct wh_process p;
    struct wh_process q;
    wh_autoerror err = {0};
    assert_int_equal(wh_process_spawn(&o, &p, &err), 0);
    o.env = near;
    assert_int_equal(wh_process_spawn(&o, &q, &err), 0);
    struct found f = {0};
    int n = wh_process_find_env("WH_TEST_TRACK", "abc", on_found, &f, &err);
    struct wh_process_exit ended;
    wh_process_signal(&p, SIGKILL);
    wh_process_signal(&q, SIGKILL);
    pid_t pid = p.pid;
    wh_process_wait(&p, &ended, &err);
    wh_process_wait(&q, &ended, &err);
    assert_int_equal(n, 1);
    assert_int_equal(f.pid, pid);
    assert_string_equal(f.comm, "sleep");
}

static void test_find_program(void **state)
{
    (void)state;
    wh_autofree char *sh = wh_find_program("sh", "/nowhere::/bin:/usr/bin", false);
    assert_string_equal(sh, "/bin/sh");
    assert_null(wh_find_program("no-such-program-here", "/bin:/usr/bin", false));
    wh_autofree char *absolute = wh_find_program("/bin/sh", "", false);
    assert_string_equal(absolute, "/bin/sh");
    char folder[] = "/tmp/wh_find_XXXXXX";
    assert_non_null(mkdtemp(folder));
    wh_autofree char *plain = wh_printf("%s/tool", folder);
    close(open(plain, O_WRONLY | O_CREAT, 0644));
    assert_null(wh_find_program("tool", folder, false));
    wh_autofree char *found = wh_find_program("tool", folder, true);
    assert_string_equal(found, plain);
    wh_remove_tree(AT_FDCWD, folder, NULL);
}

static int own_group(struct wh_job_cgroup *g)
{
    *g = WH_JOB_CGROUP_NONE;
    return geteuid() == 0 && wh_job_cgroup_create(0, 0, g) ? g->fd : -1;
}

/* Born there, not moved there: its first instruction is in the group already. */
static void test_group(void **state)
{
    (void)state;
    struct wh_job_cgroup g;
    if (own_group(&g) < 0)
        skip();
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    wh_autostr out = {0};
    wh_autostr wanted = {0};
    o.cgroups[o.ncgroups++] = g.fd;
    assert_int_equal(run(&o, "sed -n 's/^0:://p' /proc/self/cgroup", &out, NULL), 0);
    wh_str_addf(&wanted, "/%s\n", g.name);
    assert_non_null(strstr(wh_str_text(&out), wanted.data));
    wh_job_cgroup_destroy(&g);
}

static void test_group_and_the_rest(void **state)
{
    (void)state;
    struct wh_job_cgroup g;
    if (own_group(&g) < 0)
        skip();
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    wh_autostr out = {0};
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    o.cgroups[o.ncgroups++] = g.fd;
    o.fds[o.nfds++] = (struct wh_process_fd){.fd = zero, .as = 3};
    o.set_ids = true;
    o.uid = o.gid = 4242;
    o.cwd = "/tmp";
    o.umask = 077;
    assert_int_equal(
        run(&o, "id -u; pwd; umask; head -c 3 <&3 | wc -c; grep ^CapEff /proc/self/status", &out, NULL), 0);
    assert_string_equal(wh_str_text(&out), "4242\n/tmp\n0077\n3\nCapEff:\t0000000000000000\n");
    (void)close(zero);
    /* What fails in there is told as ever, and leaves nobody in the group. */
    wh_autoerror err = {0};
    char *argv[] = {"nothing", NULL};
    struct wh_process child;
    o.nfds = 0;
    o.path = "/nowhere/nothing";
    o.argv = argv;
    assert_int_equal(wh_process_spawn(&o, &child, &err), -1);
    assert_int_equal(err.sys_errno, ENOENT);
    wh_autostr left = {0};
    assert_true(wh_read_file(g.fd, "cgroup.procs", 4096, &left, NULL) >= 0);
    assert_int_equal(left.len, 0);
    wh_job_cgroup_destroy(&g);
}

/* A group of v1 can't be born into: it is entered, beside the one of v2. */
static void test_group_of_v1(void **state)
{
    (void)state;
    struct wh_job_cgroup g;
    if (mkdir("/sys/fs/cgroup/pids/wherry-test", 0755) < 0 && errno != EEXIST)
        skip();
    wh_autoclose int v1 = open("/sys/fs/cgroup/pids/wherry-test", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    wh_autostr out = {0};
    o.cgroups[o.ncgroups++] = v1;
    if (own_group(&g) >= 0)
        o.cgroups[o.ncgroups++] = g.fd;
    assert_int_equal(run(&o, "cat /proc/self/cgroup", &out, NULL), 0);
    assert_non_null(strstr(wh_str_text(&out), "pids:/wherry-test\n"));
    if (g.fd >= 0)
        assert_non_null(strstr(wh_str_text(&out), g.name));
    wh_job_cgroup_destroy(&g);
    (void)rmdir("/sys/fs/cgroup/pids/wherry-test");
}

static void test_users(void **state)
{
    (void)state;
    struct wh_user user;
    wh_autoerror err = {0};
    assert_int_equal(wh_user_find("root", &user, &err), 0);
    assert_int_equal(user.uid, 0);
    assert_string_equal(user.home, "/root");
    wh_user_clear(&user);
    assert_int_equal(wh_user_find("4000000", &user, &err), 0);
    assert_int_equal(user.gid, 4000000);
    wh_user_clear(&user);
    assert_true(wh_user_find("no such user", &user, &err) < 0);
    assert_int_equal(err.code, WH_E_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output_and_exit_code),
        cmocka_unit_test(test_stdin_is_empty),
        cmocka_unit_test(test_death_by_signal),
        cmocka_unit_test(test_signals_are_default),
        cmocka_unit_test(test_only_given_descriptors),
        cmocka_unit_test(test_descriptors_that_swap),
        cmocka_unit_test(test_environment_folder_group),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_oom_score),
        cmocka_unit_test(test_errors_name_the_cause),
        cmocka_unit_test(test_too_many_descriptors),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_fork_error),
        cmocka_unit_test(test_signal_group),
        cmocka_unit_test(test_find_by_environment),
        cmocka_unit_test(test_find_program),
        cmocka_unit_test(test_group),
        cmocka_unit_test(test_group_and_the_rest),
        cmocka_unit_test(test_group_of_v1),
        cmocka_unit_test(test_users),
    };
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
