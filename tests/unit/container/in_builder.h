/* Tests that run inside a real builder: the test program launches itself as `wherry builder` does, and the
 * inner process runs the cmocka group as root of the build's user namespace. */
#ifndef TEST_CONTAINER_IN_BUILDER_H
#define TEST_CONTAINER_IN_BUILDER_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "wherry/base/frame.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"
#include "wherry/base/secret.h"
#include "wherry/build/launch.h"
#include "wherry/build/setup.h"
#include "wherry/container/run.h"
#include "wherry/platform/userns.h"

#define SKIPPED 77
#define BUSYBOX "/bin/busybox"

#pragma GCC diagnostic ignored "-Wunused-function" /* each program uses its part */

static struct wh_builder_env env; /* inside only */

/* ---- outside ---- */

struct outside {
    int exit_code;
    bool ended;
};

static void on_builder_exit(struct wh_build_process *p, int exit_code, int signal, void *arg)
{
    struct outside *o = arg;
    (void)p;
    o->ended = true;
    o->exit_code = exit_code;
    if (signal != 0)
        fprintf(stderr, "the inner process was killed by signal %d\n", signal);
}

/* A scratch folder that only root can walk through, so that the builder needs its state folder brought to it.
 */
static char *scratch_folder(void)
{
    static char path[] = "/var/tmp/wherry-test-XXXXXX";
    return mkdtemp(path);
}

/* Root, or a user with a range of sub-ids. */
static bool can_test(void)
{
    struct wh_userns_map map;
    wh_autoerror err = {0};
    if (access(BUSYBOX, X_OK) < 0) {
        fputs("skipped: needs busybox-static\n", stderr);
        return false;
    }
    if (wh_userns_map_choose(WH_NO_ID, WH_NO_ID, &map, &err) < 0) {
        fprintf(stderr, "skipped: %s\n", wh_error_text(&err));
        return false;
    }
    return true;
}

/* Launches this program as a builder and waits for its end. options->state is set here. */
static int launch_inside(const char *scratch, struct wh_build_launch_options *options)
{
    struct outside o = {.exit_code = -1};
    wh_autofree char *state = wh_path_join(scratch, "state");
    wh_autoerror err = {0};
    uv_loop_t loop;
    int pair[2];
    options->state = state;
    if (uv_loop_init(&loop) != 0 || wh_frame_pair(pair, &err) < 0)
        return 1;
    if (!wh_build_launch(&loop, options, pair[1], on_builder_exit, &o, &err)) {
        fprintf(stderr, "%s\n", wh_error_text(&err));
        return 1;
    }
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    (void)close(pair[0]);
    (void)uv_loop_close(&loop);
    return o.ended ? o.exit_code : 1;
}

/* ---- inside ---- */

static int layers_fd = -1;

static void must(int result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static void put(int dir, const char *path, const char *text, mode_t mode)
{
    wh_autoclose int fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(fd, path);
    must((int)write(fd, text, strlen(text)), path);
    must(fchmod(fd, mode), path);
}

static void copy_busybox(int root)
{
    static const char *const applets[] = {"sh",    "cat",     "echo", "ls",    "id",       "mknod", "mount",
                                          "sleep", "touch",   "stat", "env",   "rm",       "mkdir", "chmod",
                                          "chown", "ps",      "kill", "umask", "hostname", "ip",    "true",
                                          "false", "setsid",  "dd",   "grep",  "wc",       "test",  "pwd",
                                          "seq",   "unshare", "nc",   "find",  "ln",       "su"};
    wh_autoclose int in = open(BUSYBOX, O_RDONLY | O_CLOEXEC);
    must(mkdirat(root, "bin", 0755), "bin");
    wh_autoclose int out = openat(root, "bin/busybox", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    must(out, "bin/busybox");
    for (ssize_t n = 1; n > 0;)
        must((int)(n = copy_file_range(in, NULL, out, NULL, 1 << 24, 0)), "copy busybox");
    for (size_t i = 0; i < WH_COUNT(applets); i++) {
        wh_autofree char *path = wh_printf("bin/%s", applets[i]);
        must(symlinkat("busybox", root, path), path);
    }
}

/* Layer 1: a small system. */
static void make_base(void)
{
    wh_autoclose int state = open(env.state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(state, env.state);
    must(mkdirat(state, "layers", 0700), "layers");
    must(mkdirat(state, "ingest", 0700), "ingest");
    layers_fd = openat(state, "layers", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(mkdirat(layers_fd, "1", 0755), "layer 1");
    wh_autoclose int root = openat(layers_fd, "1", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    copy_busybox(root);
    must(mkdirat(root, "etc", 0755), "etc");
    must(mkdirat(root, "tmp", 0755), "tmp");
    must(fchmodat(root, "tmp", 01777, 0), "tmp");
    put(root, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1001:A:/home/alice:/bin/sh\n", 0644);
    put(root, "etc/group", "root:x:0:\nalice:x:1001:\nstaff:x:50:alice\nwheel:x:10:root,alice\n", 0644);
}

struct build {
    struct wh_rootfs root;
    char *upper;
    char *work;
};

static void begin_layers(struct build *b, const int64_t *layers, size_t n)
{
    static int counter;
    wh_autoerror err = {0};
    counter++;
    b->upper = wh_printf("%s/ingest/%d", env.state, counter);
    b->work = wh_printf("%s/ingest/%d.work", env.state, counter);
    must(mkdir(b->upper, 0755), b->upper);
    must(mkdir(b->work, 0755), b->work);
    const struct wh_rootfs_options options = {layers_fd, layers, n, b->upper, b->work, NULL};
    if (wh_rootfs_mount(&options, &b->root, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
}

static void begin(struct build *b)
{
    const int64_t layers[] = {1};
    begin_layers(b, layers, 1);
}

static void free_build(struct build *b)
{
    free(b->work);
    free(b->upper);
}

/* The upper stays, to be looked at; free_build() after. */
static void finish_only(struct build *b)
{
    wh_autoerror err = {0};
    if (wh_rootfs_finish(&b->root, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
}

static void finish(struct build *b)
{
    finish_only(b);
    free_build(b);
}

struct output {
    struct wh_str text[2];
};

static void on_output(void *arg, int stream, const char *data, size_t len)
{
    struct output *o = arg;
    wh_str_addn(&o->text[stream - 1], data, len);
}

static void free_output(struct output *o)
{
    wh_str_free(&o->text[0]);
    wh_str_free(&o->text[1]);
}
#define auto_output __attribute__((cleanup(free_output))) struct output

static struct wh_run_spec spec_of(const struct build *b, const char *const *argv, struct output *o)
{
    return (struct wh_run_spec){.argv = argv,
                                .rootfs = &b->root,
                                .on_output = on_output,
                                .arg = o,
                                .cancel_fd = -1,
                                .network = WH_RUN_NET_HOST};
}

static struct wh_run_result run_spec(const struct wh_run_spec *spec)
{
    struct wh_run_result result = {0};
    wh_autoerror err = {0};
    if (wh_container_run(spec, &result, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
    return result;
}

/* Runs a shell script in a fresh layer on the base and expects its exit code. */
static void expect_script(const char *script, int code, struct output *o)
{
    struct build b;
    begin(&b);
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    struct wh_run_spec spec = spec_of(&b, argv, o);
    struct wh_run_result result = run_spec(&spec);
    if (result.exit_code != code)
        fail_msg("`%s`: exit code %d, not %d; it said: %s%s", script, result.exit_code, code,
                 wh_str_text(&o->text[0]), wh_str_text(&o->text[1]));
    finish(&b);
}

/* The two halves of main. inner_tests() runs the cmocka group. */
static int inside(int (*inner_tests)(void))
{
    wh_autoerror err = {0};
    wh_secrets_init();
    if (wh_builder_setup(&env, &err) < 0) {
        fprintf(stderr, "builder: %s\n", wh_error_text(&err));
        return 1;
    }
    make_base();
    return inner_tests();
}

static bool is_inside(int argc, char **argv)
{
    return argc == 2 && strcmp(argv[1], "builder") == 0;
}

#endif
