/* RUN in a real container on a real kernel. */
#include "in_builder.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "wherry/base/clock.h"

#define JOB_UID 12345

/* ---- how it ends ---- */

static void test_output_and_exit(void **state)
{
    (void)state;
    auto_output o = {0};
    expect_script("echo out; echo err >&2; exit 3", 3, &o);
    assert_string_equal(wh_str_text(&o.text[0]), "out\n");
    assert_string_equal(wh_str_text(&o.text[1]), "err\n");
}

static void test_signal(void **state)
{
    (void)state;
    auto_output o = {0};
    expect_script("sh -c 'kill -9 $$; true'; exit $?", 137,
                  &o); /* the first process itself is immune, as in every pid namespace */
}

static void test_missing_program(void **state)
{
    (void)state;
    auto_output o = {0};
    struct build b;
    begin(&b);
    const char *const argv[] = {"no-such-program", "x", NULL};
    struct wh_run_spec spec = spec_of(&b, argv, &o);
    struct wh_run_result result = run_spec(&spec);
    assert_int_equal(result.exit_code, 1);
    assert_non_null(strstr(wh_str_text(&o.text[1]), "no-such-program"));
    wh_autofree char *text = wh_run_failure_text(&spec, &result);
    assert_string_equal(text, "process \"no-such-program x\" did not complete successfully: exit code: 1");
    finish(&b);
}

/* What can't be run says so once, as text. */
static void test_no_program(void **state)
{
    (void)state;
    auto_output o = {0};
    struct build b;
    begin(&b);
    const char *const argv[] = {"/etc/passwd", NULL};
    struct wh_run_spec spec = spec_of(&b, argv, &o);
    struct wh_run_result result = run_spec(&spec);
    assert_int_not_equal(result.exit_code, 0);
    const char *said = wh_str_text(&o.text[1]);
    /* crun says the one until 1.8, the other in 1.21. */
    if ((!strstr(said, "ermission denied") && !strstr(said, "is not executable")) || strchr(said, '{'))
        fail_msg("said: %s", said);
    finish(&b);
}

static void test_much_output(void **state)
{
    (void)state;
    auto_output o = {0};
    expect_script("dd if=/dev/zero bs=65536 count=100 2>/dev/null", 0, &o);
    assert_int_equal(o.text[0].len, 6553600);
}

/* ---- what it sees ---- */

static void test_environment(void **state)
{
    (void)state;
    auto_output o = {0};
    expect_script("umask; hostname; echo $HOME; echo $PATH; cat /etc/hosts; pwd; echo $$", 0, &o);
    assert_string_equal(
        wh_str_text(&o.text[0]),
        "0022\nbuildkitsandbox\n/root\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
        "127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n/\n1\n");
}

static void test_user(void **state)
{
    (void)state;
    auto_output o = {0};
    struct build b;
    begin(&b);
    const char *const argv[] = {"/bin/sh", "-c", "id; pwd; stat -c %u:%g:%a .; echo $HOME", NULL};
    struct wh_run_spec spec = spec_of(&b, argv, &o);
    spec.user = "alice";
    spec.cwd = "/home/alice/w";
    assert_int_equal(run_spec(&spec).exit_code, 0);
    assert_string_equal(wh_str_text(&o.text[0]),
                        "uid=1000(alice) gid=1001(alice) "
                        "groups=10(wheel),50(staff),1001(alice)\n/home/alice/w\n1000:1001:755\n"
                        "/home/alice\n");
    wh_autofree char *made = wh_printf("%s/home/alice/w", b.upper);
    struct stat st;
    assert_int_equal(stat(made, &st), 0);
    assert_int_equal(st.st_uid, 1000);
    finish(&b);

    begin(&b);
    spec = spec_of(&b, argv, &o);
    spec.user = "bob";
    wh_autoerror err = {0};
    struct wh_run_result result;
    assert_int_equal(wh_container_run(&spec, &result, &err), -1);
    assert_string_equal(wh_error_text(&err), "unable to find user bob: no matching entries in passwd file");
    finish(&b);
}

static void test_network_none(void **state)
{
    (void)state;
    auto_output o = {0};
    struct build b;
    begin(&b);
    const char *const argv[] = {
        "/bin/sh", "-c", "ip -o link | wc -l; ip -o addr show lo | grep -c 127.0.0.1; ls /sys/class/net",
        NULL};
    struct wh_run_spec spec = spec_of(&b, argv, &o);
    spec.network = WH_RUN_NET_NONE;
    assert_int_equal(run_spec(&spec).exit_code, 0);
    assert_string_equal(wh_str_text(&o.text[0]), "1\n1\nlo\n");
    finish(&b);
}

/* ---- mounts ---- */

static void test_mounts(void **state)
{
    (void)state;
    auto_output o = {0};
    struct build b;
    wh_autofree char *cache = wh_printf("%s/cache", env.state);
    wh_autofree char *shared = wh_printf("%s/shared", env.state);
    must(mkdir(cache, 0755), cache);
    must(mkdir(shared, 0755), shared);
    wh_autoclose int cache_fd = open(cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    wh_autoclose int shared_fd = open(shared, O_PATH | O_DIRECTORY | O_CLOEXEC);
    put(shared_fd, "file", "shared\n", 0644);
    wh_autoclose int file_fd = openat(shared_fd, "file", O_PATH | O_CLOEXEC);
    begin(&b);
    const struct wh_run_mount mounts[] = {
        {.type = WH_RUN_BIND, .target = "/in", .source_fd = shared_fd, .readonly = true},
        {.type = WH_RUN_BIND, .target = "/one/file", .source_fd = file_fd, .readonly = true},
        {.type = WH_RUN_CACHE, .target = "/var/cache/x", .source_fd = cache_fd},
        {.type = WH_RUN_TMPFS, .target = "/scratch", .source_fd = -1, .size = 1 << 20},
        {.type = WH_RUN_SECRET,
         .target = "/run/secrets/key",
         .content = "s3cret",
         .content_len = 6,
         .mode = 0400,
         .uid = 5},
        {.type = WH_RUN_FILE,
         .target = "/dev/pipes/EOF",
         .content = "#!/bin/sh\necho script\n",
         .content_len = 22,
         .mode = 0755},
    };
    const char *const argv[] = {
        "/bin/sh", "-c",
        "cat /in/file /one/file /run/secrets/key; echo; stat -c %u:%a /run/secrets/key; /dev/pipes/EOF\n"
        "touch /in/x && exit 1; touch /one/file && exit 2; echo a >>/run/secrets/key && exit 3\n"
        "touch /dev/pipes/x && exit 4\n"
        "echo kept >/var/cache/x/kept; echo y >/scratch/y\n"
        "dd if=/dev/zero of=/scratch/big bs=1M count=2 2>/dev/null && exit 5; exit 0",
        NULL};
    struct wh_run_spec spec = spec_of(&b, argv, &o);
    spec.mounts = mounts;
    spec.nmounts = WH_COUNT(mounts);
    struct wh_run_result result = run_spec(&spec);
    if (result.exit_code != 0)
        fail_msg("exit code %d: %s", result.exit_code, wh_str_text(&o.text[1]));
    assert_string_equal(wh_str_text(&o.text[0]), "shared\nshared\ns3cret\n5:400\nscript\n");
    assert_int_equal(faccessat(cache_fd, "kept", F_OK, 0), 0);
    /* Nothing of it is in the layer: not even the mount points. */
    static const char *const gone[] = {"in", "one", "var", "scratch", "run", "etc/hosts", "etc/resolv.conf"};
    for (size_t i = 0; i < WH_COUNT(gone); i++) {
        wh_autofree char *path = wh_printf("%s/%s", b.upper, gone[i]);
        if (access(path, F_OK) == 0)
            fail_msg("%s is still in the layer", gone[i]);
    }
    finish(&b);
}

/* What a layer has at its top, sorted. */
static void expect_names(const char *upper, const char *want)
{
    wh_autofree char *command = wh_printf(
        "test \"$(ls -A %s | tr '\\n' ' ')\" = \"%s \" || { ls -lR %s; false; }", upper, want, upper);
    assert_int_equal(system(command), 0);
}

/* Parents of stubs look as before, unless the RUN itself changed them. */
static void test_stub_times(void **state)
{
    (void)state;
    auto_output o = {0};
    struct stat base;
    struct stat after;
    struct build b;
    assert_int_equal(fstatat(layers_fd, "1/etc", &base, 0), 0);
    const char *const argv[] = {"/bin/sh", "-c", "test -s /etc/hosts", NULL};
    begin(&b);
    struct wh_run_spec spec = spec_of(&b, argv, &o);
    assert_int_equal(run_spec(&spec).exit_code, 0);
    assert_int_equal(fstatat(b.root.fd, "etc", &after, 0), 0);
    assert_int_equal(after.st_mtim.tv_sec, base.st_mtim.tv_sec);
    assert_int_equal(after.st_mtim.tv_nsec, base.st_mtim.tv_nsec);
    assert_int_equal(faccessat(b.root.fd, "etc/hosts", F_OK, 0), -1);
    finish_only(&b);
    expect_names(b.upper, "dev proc sys"); /* /etc itself was only copied up */
    free_build(&b);

    const char *const changes[] = {"/bin/sh", "-c", "echo x >/etc/new; mkdir /etc/kept", NULL};
    begin(&b);
    spec = spec_of(&b, changes, &o);
    assert_int_equal(run_spec(&spec).exit_code, 0);
    assert_int_equal(fstatat(b.root.fd, "etc", &after, 0), 0);
    assert_int_equal(faccessat(b.root.upper, "etc/kept", F_OK, 0), 0);
    assert_true(after.st_mtim.tv_sec >= base.st_mtim.tv_sec);
    assert_false(after.st_mtim.tv_sec == base.st_mtim.tv_sec &&
                 after.st_mtim.tv_nsec == base.st_mtim.tv_nsec);
    assert_int_equal(faccessat(b.root.fd, "etc/new", F_OK, 0), 0);
    finish(&b);
}

/* An image whose resolv.conf is a link to nowhere, as Debian's may be. */
static void test_stub_through_link(void **state)
{
    (void)state;
    auto_output o = {0};
    struct build b;
    must(mkdirat(layers_fd, "2", 0755), "layer 2");
    must(mkdirat(layers_fd, "2/etc", 0755), "layer 2");
    must(symlinkat("../run/systemd/resolve/stub.conf", layers_fd, "2/etc/resolv.conf"), "link");
    const int64_t layers[] = {2, 1};
    begin_layers(&b, layers, 2);
    const char *const argv[] = {"/bin/sh", "-c",
                                "grep -c nameserver /etc/resolv.conf >/dev/null && touch /made", NULL};
    struct wh_run_spec spec = spec_of(&b, argv, &o);
    assert_int_equal(run_spec(&spec).exit_code, 0);
    assert_int_equal(faccessat(b.root.fd, "run", F_OK, 0), -1);
    assert_int_equal(faccessat(b.root.fd, "made", F_OK, 0), 0);
    finish(&b);
}

static void test_from_scratch(void **state)
{
    (void)state;
    auto_output o = {0};
    struct build b;
    begin_layers(&b, NULL, 0);
    copy_busybox(b.root.upper);
    const char *const argv[] = {"/bin/sh", "-c", "echo scratch", NULL};
    struct wh_run_spec spec = spec_of(&b, argv, &o);
    assert_int_equal(run_spec(&spec).exit_code, 0);
    static const char *const stay[] = {"dev", "proc", "sys"};
    for (size_t i = 0; i < WH_COUNT(stay); i++) {
        struct stat st;
        assert_int_equal(fstatat(b.root.upper, stay[i], &st, 0), 0);
        assert_int_equal(st.st_mode & 07777, 0755);
    }
    assert_int_equal(faccessat(b.root.upper, "etc", F_OK, 0), -1);
    finish(&b);
}

/* ---- what it must not do ---- */

static void test_no_device(void **state)
{
    (void)state;
    auto_output o = {0};
    expect_script("mknod /tmp/disk b 254 0 && exit 9; mknod /tmp/mem c 1 1 && exit 8; ls /dev/[vsx]d* "
                  "2>/dev/null && exit 7; exit 0",
                  0, &o);
}

static void test_no_host_file(void **state)
{
    (void)state;
    auto_output o = {0};
    struct build b;
    wh_autoclose int etc = open("/etc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    begin(&b);
    const struct wh_run_mount mounts[] = {{.type = WH_RUN_BIND, .target = "/host", .source_fd = etc}};
    const char *const argv[] = {"/bin/sh", "-c",
                                "cat /host/hostname >/dev/null || exit 1; cat /host/shadow && exit 2; touch "
                                "/host/x && exit 3; exit 0",
                                NULL};
    struct wh_run_spec spec = spec_of(&b, argv, &o);
    spec.mounts = mounts;
    spec.nmounts = 1;
    struct wh_run_result result = run_spec(&spec);
    if (result.exit_code != 0)
        fail_msg("exit code %d: %s", result.exit_code, wh_str_text(&o.text[1]));
    assert_int_equal(open("/etc/shadow", O_RDONLY), -1);
    finish(&b);
}

static void test_refused_calls(void **state)
{
    (void)state;
    auto_output o = {0};
    expect_script("unshare -U true && exit 1; unshare -n true && exit 2; mount -t tmpfs x /tmp && exit 3; "
                  "echo 1 >/proc/sys/kernel/panic && "
                  "exit 4; cat /proc/kcore | wc -c | grep -q '^0$' || exit 5; ls /sys/firmware/* 2>/dev/null "
                  "&& exit 6; mkdir /sys/fs/cgroup/x && exit 7; exit 0",
                  0, &o);
}

/* A setuid program works inside, and is nobody's outside. */
static void test_setuid(void **state)
{
    (void)state;
    auto_output o = {0};
    struct build b;
    begin(&b);
    const char *const root[] = {"/bin/sh", "-c",
                                "echo 'alice::1:0:::::' >/etc/shadow; chmod 4755 /bin/busybox", NULL};
    struct wh_run_spec spec = spec_of(&b, root, &o);
    assert_int_equal(run_spec(&spec).exit_code, 0);
    const char *const user[] = {"/bin/su", "-c", "id -u", NULL};
    spec = spec_of(&b, user, &o);
    spec.user = "1000:1001";
    (void)run_spec(&spec);
    finish(&b);
}

/* The network is the machine's, and so are abstract sockets: their owners see who asks. The test outside says
 * who it was. */
static void test_abstract_socket(void **state)
{
    (void)state;
    auto_output o = {0};
    struct build b;
    if (access("/usr/bin/python3", X_OK) < 0)
        skip();
    must(mkdirat(layers_fd, "3", 0755), "layer 3");
    must(symlinkat("usr/lib", layers_fd, "3/lib"), "lib");
    must(symlinkat("usr/lib64", layers_fd, "3/lib64"), "lib64");
    wh_autoclose int usr = open("/usr", O_PATH | O_DIRECTORY | O_CLOEXEC);
    const int64_t layers[] = {3};
    begin_layers(&b, layers, 1);
    const struct wh_run_mount mounts[] = {
        {.type = WH_RUN_BIND, .target = "/usr", .source_fd = usr, .readonly = true}};
    const char *const argv[] = {"/usr/bin/python3", "-c",
                                "import "
                                "socket\ns=socket.socket(socket.AF_UNIX)\ns.connect('\\0wherry-test-abstract'"
                                ")\nprint(s.recv(99).decode())\n"
                                "for f,want in ((38,1),(40,1)):\n"
                                "  try: socket.socket(f, socket.SOCK_STREAM); print('family', f, 'open')\n"
                                "  except PermissionError: pass\n",
                                NULL};
    struct wh_run_spec spec = spec_of(&b, argv, &o);
    spec.mounts = mounts;
    spec.nmounts = 1;
    struct wh_run_result result = run_spec(&spec);
    if (result.exit_code != 0)
        fail_msg("exit code %d: %s", result.exit_code, wh_str_text(&o.text[1]));
    uint64_t uid = 0;
    wh_str_truncate(&o.text[0], o.text[0].len - 1);
    if (!wh_parse_u64(wh_str_text(&o.text[0]), UINT32_MAX, &uid))
        fail_msg("said: %s", wh_str_text(&o.text[0]));
    assert_true(uid != 0); /* root's builds: of the range; a user's: the user */
    finish(&b);
}

/* ---- end of everything ---- */

static void test_leftovers_die(void **state)
{
    (void)state;
    auto_output o = {0};
    struct build b;
    begin(&b);
    const char *const argv[] = {
        "/bin/sh", "-c",
        "setsid sh -c 'while :; do echo x >>/tmp/late; sleep 0.01; done' >/dev/null 2>&1 & sleep 0.1", NULL};
    struct wh_run_spec spec = spec_of(&b, argv, &o);
    assert_int_equal(run_spec(&spec).exit_code, 0);
    wh_autofree char *late = wh_printf("%s/tmp/late", b.upper);
    wh_autoerror err = {0};
    struct stat before;
    struct stat after;
    assert_int_equal(wh_rootfs_finish(&b.root, &err), 0);
    assert_int_equal(stat(late, &before), 0);
    (void)usleep(100000);
    assert_int_equal(stat(late, &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    free_build(&b);
}

struct cancel_on_output {
    struct output o;
    int fd;
};

/* The cancel comes when the container runs. */
static void cancel_now(void *arg, int stream, const char *data, size_t len)
{
    struct cancel_on_output *c = arg;
    on_output(&c->o, stream, data, len);
    if (c->fd >= 0)
        (void)close(wh_steal_fd(&c->fd));
}

static void test_cancel(void **state)
{
    (void)state;
    struct build b;
    int ends[2];
    begin(&b);
    must(pipe2(ends, O_CLOEXEC), "pipe");
    struct cancel_on_output c = {.fd = ends[1]};
    const char *const argv[] = {"/bin/sh", "-c",
                                "setsid sleep 1000 & trap '' TERM INT; echo started; sleep 1000", NULL};
    struct wh_run_spec spec = spec_of(&b, argv, &c.o);
    spec.on_output = cancel_now;
    spec.arg = &c;
    spec.cancel_fd = ends[0];
    uint64_t began = wh_mono_ms();
    struct wh_run_result result;
    wh_autoerror err = {0};
    assert_int_equal(wh_container_run(&spec, &result, &err), -1);
    assert_int_equal(err.code, WH_E_CANCELED);
    assert_true(wh_mono_ms() - began < 60000);
    assert_string_equal(wh_str_text(&c.o.text[0]), "started\n");
    free_output(&c.o);
    (void)close(ends[0]);
    finish(&b); /* a true umount: nothing holds it */
}

/* A cancel that was there before the start. */
static void test_cancel_early(void **state)
{
    (void)state;
    auto_output o = {0};
    struct build b;
    int ends[2];
    begin(&b);
    must(pipe2(ends, O_CLOEXEC), "pipe");
    (void)close(ends[1]);
    const char *const argv[] = {"/bin/sleep", "1000", NULL};
    struct wh_run_spec spec = spec_of(&b, argv, &o);
    spec.cancel_fd = ends[0];
    struct wh_run_result result;
    wh_autoerror err = {0};
    assert_int_equal(wh_container_run(&spec, &result, &err), -1);
    assert_int_equal(err.code, WH_E_CANCELED);
    (void)close(ends[0]);
    finish(&b);
}

static void test_no_zombies(void **state)
{
    (void)state;
    auto_output o = {0};
    expect_script("true", 0, &o);
    siginfo_t info = {0};
    int more = waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT);
    if (more == 0 && info.si_pid != 0)
        fail_msg("process %d waits to be reaped", (int)info.si_pid);
}

static void test_many_layers(void **state)
{
    (void)state;
    auto_output o = {0};
    enum { LAYERS = 300 };
    int64_t layers[LAYERS];
    for (int i = 0; i < LAYERS - 1; i++) {
        wh_autofree char *name = wh_printf("%d", 1000 + i);
        wh_autofree char *file = wh_printf("%d/f%d", 1000 + i, i);
        must(mkdirat(layers_fd, name, 0755), name);
        put(layers_fd, file, "x", 0644);
        layers[i] = 1000 + i;
    }
    layers[LAYERS - 1] = 1;
    struct build b;
    begin_layers(&b, layers, LAYERS);
    const char *const argv[] = {"/bin/sh", "-c", "ls / | grep -c '^f[0-9]'; rm /f7; echo new >/f8", NULL};
    struct wh_run_spec spec = spec_of(&b, argv, &o);
    assert_int_equal(run_spec(&spec).exit_code, 0);
    assert_string_equal(wh_str_text(&o.text[0]), "299\n");
    struct stat st;
    assert_int_equal(fstatat(b.root.upper, "f7", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
    finish(&b);
}

/* The job's own private file can be read, by its descriptor's path. */
static void test_job_file(void **state)
{
    (void)state;
    const char *path = wh_json_string(env.options, "job-file");
    wh_autostr text = {0};
    wh_autoerror err = {0};
    if (wh_read_file(AT_FDCWD, path, 100, &text, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
    assert_string_equal(wh_str_text(&text), "job's");
}

/* Only in a builder with little memory. */
static void test_out_of_memory(void **state)
{
    (void)state;
    auto_output o = {0};
    struct build b;
    begin(&b);
    const char *const argv[] = {"/bin/sh", "-c", "dd if=/dev/zero of=/dev/null bs=400M count=1; exit $?",
                                NULL};
    struct wh_run_spec spec = spec_of(&b, argv, &o);
    struct wh_run_result result = run_spec(&spec);
    assert_int_equal(result.exit_code, 137);
    assert_true(result.oom);
    wh_autofree char *text = wh_run_failure_text(&spec, &result);
    assert_non_null(strstr(text, "exit code: 137 (out of memory"));
    finish(&b);
}

static int inner_tests(void)
{
    if (wh_json_bool(env.options, "small", false)) {
        const struct CMUnitTest small[] = {cmocka_unit_test(test_out_of_memory)};
        return cmocka_run_group_tests_name("run with little memory", small, NULL, NULL);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_output_and_exit),
        cmocka_unit_test(test_signal),
        cmocka_unit_test(test_missing_program),
        cmocka_unit_test(test_no_program),
        cmocka_unit_test(test_much_output),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_user),
        cmocka_unit_test(test_network_none),
        cmocka_unit_test(test_mounts),
        cmocka_unit_test(test_stub_times),
        cmocka_unit_test(test_stub_through_link),
        cmocka_unit_test(test_from_scratch),
        cmocka_unit_test(test_no_device),
        cmocka_unit_test(test_no_host_file),
        cmocka_unit_test(test_refused_calls),
        cmocka_unit_test(test_setuid),
        cmocka_unit_test(test_abstract_socket),
        cmocka_unit_test(test_no_zombies),
        cmocka_unit_test(test_leftovers_die),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_cancel_early),
        cmocka_unit_test(test_many_layers),
        cmocka_unit_test(test_job_file),
    };
    return cmocka_run_group_tests_name("run", tests, NULL, NULL);
}

/* ---- outside ---- */

/* Tells everyone who connects which uid the kernel says that they have. */
static pid_t serve_abstract(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "\0wherry-test-abstract"};
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0 || bind(sock, (struct sockaddr *)&address, sizeof(sa_family_t) + 21) < 0 ||
        listen(sock, 5) < 0)
        return -1;
    pid_t pid = fork();
    if (pid != 0) {
        (void)close(sock);
        return pid;
    }
    for (int peer; (peer = accept(sock, NULL, NULL)) >= 0; (void)close(peer)) {
        struct ucred who;
        socklen_t len = sizeof who;
        if (getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0)
            (void)dprintf(peer, "%u", who.uid);
    }
    _exit(0);
}

/* Another builder with one option more, on a new state folder. */
static int again(const char *scratch, cJSON *options, const char *name, cJSON *value,
                 struct wh_build_launch_options *launch)
{
    wh_autofree char *used = wh_path_join(scratch, "state");
    wh_autoerror err = {0};
    cJSON_AddItemToObject(options, name, value);
    if (wh_remove_tree(AT_FDCWD, used, &err) < 0) {
        fprintf(stderr, "%s\n", wh_error_text(&err));
        return 1;
    }
    return launch_inside(scratch, launch);
}

int main(int argc, char **argv)
{
    if (is_inside(argc, argv))
        return inside(inner_tests);
    if (!can_test())
        return SKIPPED;
    char *scratch = scratch_folder();
    pid_t server = serve_abstract();
    wh_autofree char *job_file = wh_printf("/var/tmp/wherry-test-job-%d", (int)getpid());
    put(AT_FDCWD, job_file, "job's", 0600);
    if (geteuid() == 0) /* a user's job is the user */
        must(chown(job_file, JOB_UID, JOB_UID), job_file);
    wh_autojson *options = cJSON_CreateObject();
    wh_json_add_string(options, "job-file", job_file);
    struct wh_build_launch_options launch = {.job_uid = JOB_UID, .job_gid = JOB_UID, .options = options};
    int result = launch_inside(scratch, &launch);
    if (result == 0 && geteuid() == 0) {
        launch.memory_max = (uint64_t)200 << 20;
        result = again(scratch, options, "small", cJSON_CreateTrue(), &launch);
        cJSON_DeleteItemFromObject(options, "small");
    }
    /* The other runtime, with the profile in its own form. */
    if (result == 0 && geteuid() == 0 && access("/usr/sbin/runc", X_OK) == 0) {
        launch.memory_max = 0;
        result = again(scratch, options, "runtime", cJSON_CreateString("runc"), &launch);
    }
    (void)kill(server, SIGKILL);
    (void)unlink(job_file);
    /* A user's layers hold files of sub-ids. */
    wh_autoerror err = {0};
    if (wh_userns_enter(&err) < 0 || wh_remove_tree(AT_FDCWD, scratch, &err) < 0) {
        fprintf(stderr, "%s\n", wh_error_text(&err));
        return 1;
    }
    return result;
}
