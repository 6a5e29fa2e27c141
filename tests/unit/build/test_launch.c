/* The start of a builder, from both sides: the outer process launches this program, the inner one does what
 * its options say. */
#include "container/in_builder.h"

#include <dirent.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "wherry/base/clock.h"

#define CGROUP2_MAGIC 0x63677270
#define PIDS_MAX 64

/* ---- inside ---- */

#define EXPECT(what)                                                                                         \
    do {                                                                                                     \
        if (!(what)) {                                                                                       \
            fprintf(stderr, "inside: %s is not so (%s)\n", #what, strerror(errno));                          \
            return 1;                                                                                        \
        }                                                                                                    \
    } while (0)

static int count_fds(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    for (const struct dirent *entry; dir && (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    if (dir)
        (void)closedir(dir);
    return n - 1; /* the folder's own */
}

static int do_who(void)
{
    struct statfs fs;
    EXPECT(getuid() == 0 && getgid() == 0 && getpid() == 1);
    EXPECT(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
    EXPECT(open("/etc/shadow", O_RDONLY) < 0 && errno == EACCES);
    EXPECT(mknod("/dev/shm/x", S_IFBLK | 0600, 0xfe00) < 0);
    EXPECT(getenv("WHERRY_TEST_SECRET") == NULL);
    EXPECT(getenv("PATH") != NULL);
    EXPECT(statfs("/sys/fs/cgroup", &fs) == 0 && (unsigned long)fs.f_type == CGROUP2_MAGIC);
    EXPECT(access(env.state, W_OK) == 0 && access(env.run_dir, W_OK) == 0);
    EXPECT(statfs(env.run_dir, &fs) == 0 && fs.f_type == 0x01021994);
    EXPECT(env.scope && wh_streq(wh_json_string(env.scope, "repository"), "o/r"));
    /* 0 to 2, the channel, the launcher, the event, and at most two groups */
    EXPECT(count_fds() <= 8);
    return 42;
}

static int do_bomb(void)
{
    struct pollfd pfd = {.fd = env.bounded, .events = POLLIN};
    EXPECT(poll(&pfd, 1, 10000) == 1);
    int n = 0;
    for (; n < 10 * PIDS_MAX; n++) {
        pid_t pid = fork();
        if (pid < 0)
            break;
        if (pid == 0) {
            (void)pause();
            _exit(0);
        }
    }
    _exit(n < PIDS_MAX ? 42 : 1); /* without what a sanitizer does at the end: it needs a thread */
}

/* A daemon that tries to outlive its builder. */
static int do_daemon(void)
{
    wh_autofree char *path = wh_path_join(env.state, "alive");
    if (fork() == 0) {
        (void)setsid();
        (void)signal(SIGTERM, SIG_IGN);
        for (;;) {
            wh_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
            (void)!write(fd, "x", 1);
            (void)usleep(2000);
        }
    }
    (void)pause();
    return 1;
}

static int do_shared(void)
{
    wh_autoframe frame = {0};
    wh_autostr text = {0};
    wh_autoerror err = {0};
    struct stat st;
    EXPECT(wh_frame_recv(env.channel, &frame, &err) == 1 && frame.nfds == 1);
    EXPECT(fstatat(frame.fds[0], "private", &st, 0) == 0 && st.st_uid == 0);
    EXPECT(wh_read_file(frame.fds[0], "private", 100, &text, &err) >= 0);
    EXPECT(wh_streq(wh_str_text(&text), "root's"));
    int fd = wh_open_in_root(frame.fds[0], "/private", O_RDONLY | O_CLOEXEC, 0, true, &err);
    EXPECT(fd >= 0);
    EXPECT(wh_open_in_root(frame.fds[0], "../../etc/shadow", O_RDONLY | O_CLOEXEC, 0, true, NULL) < 0);
    /* What was made here would be root's on the machine. */
    EXPECT(openat(frame.fds[0], "made", O_WRONLY | O_CREAT | O_CLOEXEC, 04755) < 0 && errno == EROFS);
    return 42;
}

static int inner(void)
{
    const char *what = wh_json_string(env.options, "do");
    if (wh_streq(what, "who"))
        return do_who();
    if (wh_streq(what, "bomb"))
        return do_bomb();
    if (wh_streq(what, "daemon"))
        return do_daemon();
    return do_shared();
}

static int inside_launch(void)
{
    wh_autoerror err = {0};
    wh_secrets_init();
    if (wh_builder_setup(&env, &err) < 0) {
        fprintf(stderr, "builder: %s\n", wh_error_text(&err));
        return 1;
    }
    return inner();
}

/* ---- outside ---- */

static char *scratch;

struct launched {
    uv_loop_t loop;
    struct wh_build_process *process;
    struct outside outside;
    int signal;
    int channel;
    cJSON *options;
    cJSON *scope;
};

static void on_exit_here(struct wh_build_process *p, int exit_code, int signal, void *arg)
{
    struct launched *l = arg;
    (void)p;
    l->outside = (struct outside){exit_code, true};
    l->signal = signal;
}

static void launch(struct launched *l, const char *what, uint64_t pids_max)
{
    wh_autoerror err = {0};
    wh_autofree char *state = wh_path_join(scratch, "state");
    int pair[2];
    memset(l, 0, sizeof *l);
    assert_int_equal(uv_loop_init(&l->loop), 0);
    assert_int_equal(wh_frame_pair(pair, &err), 0);
    l->channel = pair[0];
    l->options = cJSON_CreateObject();
    l->scope = cJSON_CreateObject();
    wh_json_add_string(l->options, "do", what);
    wh_json_add_string(l->scope, "repository", "o/r");
    const struct wh_build_launch_options options = {
        .state = state, .job_uid = WH_NO_ID, .scope = l->scope, .options = l->options, .pids_max = pids_max};
    l->process = wh_build_launch(&l->loop, &options, pair[1], on_exit_here, l, &err);
    if (!l->process)
        fail_msg("%s", wh_error_text(&err));
}

static void wait_end(struct launched *l)
{
    (void)uv_run(&l->loop, UV_RUN_DEFAULT);
    (void)close(l->channel);
    (void)uv_loop_close(&l->loop);
    cJSON_Delete(l->options);
    cJSON_Delete(l->scope);
    assert_true(l->outside.ended);
}

static void test_who(void **state)
{
    (void)state;
    struct launched l;
    assert_int_equal(setenv("WHERRY_TEST_SECRET", "x", 1), 0);
    launch(&l, "who", 0);
    wait_end(&l);
    assert_int_equal(l.outside.exit_code, 42);
    wh_autofree char *path = wh_path_join(scratch, "state");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true(geteuid() == 0 ? st.st_uid >= 65536 : st.st_uid == geteuid());
    assert_int_equal(st.st_mode & 07777, 0700);
}

static void test_bomb(void **state)
{
    (void)state;
    struct launched l;
    if (geteuid() != 0)
        skip(); /* a user has groups only where systemd delegates some */
    launch(&l, "bomb", PIDS_MAX);
    wait_end(&l);
    assert_int_equal(l.outside.exit_code, 42);
}

static void test_kill(void **state)
{
    (void)state;
    struct launched l;
    struct stat before = {0};
    struct stat after;
    wh_autofree char *path = wh_path_join(scratch, "state/alive");
    launch(&l, "daemon", 0);
    for (uint64_t end = wh_mono_ms() + 20000; before.st_size < 2 && wh_mono_ms() < end; (void)usleep(10000))
        (void)stat(path, &before);
    assert_true(before.st_size >= 2);
    wh_build_kill(l.process);
    wait_end(&l);
    assert_int_equal(l.outside.exit_code, -1);
    assert_int_equal(l.signal, SIGKILL);
    assert_int_equal(stat(path, &before), 0);
    (void)usleep(100000);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_size, after.st_size);
}

static void test_share(void **state)
{
    (void)state;
    struct launched l;
    wh_autoerror err = {0};
    if (geteuid() != 0)
        skip(); /* nothing to map: the files are the job's */
    wh_autofree char *folder = wh_path_join(scratch, "context");
    must(mkdir(folder, 0700), folder);
    wh_autoclose int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    put(dir, "private", "root's", 0600);
    launch(&l, "shared", 0);
    int shared = wh_build_share_dir(l.process, dir, &err);
    if (shared < 0)
        fail_msg("%s", wh_error_text(&err));
    wh_autojson *json = cJSON_CreateObject();
    assert_int_equal(wh_frame_send(l.channel, json, &shared, 1, &err), 0);
    (void)close(shared);
    wait_end(&l);
    assert_int_equal(l.outside.exit_code, 42);
}

/* In a chroot the kernel makes no user namespaces: the builder is made from outside of it, and lives in it.
 */
static int who_in_chroot(void)
{
    wh_autofree char *root = wh_path_join(scratch, "root");
    if (mkdir(root, 0755) < 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("/", root, NULL, MS_BIND | MS_REC, NULL) < 0 || chroot(root) < 0 || chdir("/") < 0)
        return 1;
    struct launched l;
    launch(&l, "who", 0);
    wait_end(&l);
    return l.outside.exit_code;
}

static void test_chroot(void **state)
{
    (void)state;
    int status;
    if (geteuid() != 0)
        skip();
    pid_t pid = fork();
    if (pid == 0)
        _exit(who_in_chroot());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

/* A folder that a user owns is not for root's builds: its owner could swap what root's build reads. */
static void test_foreign_state(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autofree char *folder = wh_path_join(scratch, "foreign");
    int pair[2];
    uv_loop_t loop;
    if (geteuid() != 0)
        skip();
    must(mkdir(folder, 0700), folder);
    must(chown(folder, 1000, 1000), folder);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(wh_frame_pair(pair, &err), 0);
    const struct wh_build_launch_options options = {.state = folder, .job_uid = WH_NO_ID};
    assert_null(wh_build_launch(&loop, &options, pair[1], on_exit_here, NULL, &err));
    assert_non_null(strstr(wh_error_text(&err), "belongs to user 1000"));
    (void)close(pair[0]);
    /* And a folder with the machine's things in it is nobody's to take over. */
    struct stat before;
    struct stat after;
    wh_autoerror other = {0};
    wh_autofree char *srv = wh_path_join(scratch, "srv");
    wh_autofree char *www = wh_path_join(srv, "www");
    must(mkdir(srv, 0755), srv);
    must(mkdir(www, 0755), www);
    must(stat(srv, &before), srv);
    assert_int_equal(wh_frame_pair(pair, &err), 0);
    const struct wh_build_launch_options machine = {.state = srv, .job_uid = WH_NO_ID};
    assert_null(wh_build_launch(&loop, &machine, pair[1], on_exit_here, NULL, &other));
    assert_non_null(strstr(wh_error_text(&other), "holds other things than a store"));
    must(stat(srv, &after), srv);
    assert_true(before.st_uid == after.st_uid && before.st_mode == after.st_mode);
    (void)close(pair[0]);
    (void)uv_loop_close(&loop);
}

/* What a builder mounts stays in its own namespace, also where the machine's mounts are shared (systemd makes
 * them so). */
static void test_no_mount_left(void **state)
{
    (void)state;
    wh_autostr mounts = {0};
    assert_true(wh_read_file(AT_FDCWD, "/proc/self/mountinfo", 4 << 20, &mounts, NULL) >= 0);
    assert_null(strstr(wh_str_text(&mounts), scratch));
    assert_null(strstr(wh_str_text(&mounts), " /run/wherry"));
}

/* No group of ours is left in any hierarchy. */
static void test_groups_gone(void **state)
{
    (void)state;
    wh_autofree char *mine = wh_printf("wherry-build-%d-", (int)getpid());
    wh_autofree char *command = wh_printf("find /sys/fs/cgroup -maxdepth 6 -name '%s*' | grep -q .", mine);
    assert_int_not_equal(system(command), 0);
}

int main(int argc, char **argv)
{
    if (is_inside(argc, argv))
        return inside_launch();
    if (!can_test())
        return SKIPPED;
    if (geteuid() == 0 &&
        (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) < 0)) {
        perror("shared mounts of our own");
        return 1;
    }
    scratch = scratch_folder();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who),         cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_kill),        cmocka_unit_test(test_share),
        cmocka_unit_test(test_chroot),      cmocka_unit_test(test_foreign_state),
        cmocka_unit_test(test_groups_gone), cmocka_unit_test(test_no_mount_left),
    };
    int failed = cmocka_run_group_tests_name("launch", tests, NULL, NULL);
    (void)wh_userns_enter(NULL);
    (void)wh_remove_tree(AT_FDCWD, scratch, NULL);
    return failed;
}
