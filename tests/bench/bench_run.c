/* The start of a RUN against the runtime alone: bench_run [ROUNDS] prints medians, from the call to the end
 * of /bin/true, of a RUN and of `crun run` on the very same bundle, once with the profile as a runtime
 * usually gets it (JSON, compiled for each container) and once with our compiled one. Needs root (or a user
 * with sub-ids), crun and busybox-static. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container/internal.h"
#include "wherry/base/clock.h"
#include "wherry/base/frame.h"
#include "wherry/base/fs.h"
#include "wherry/build/launch.h"
#include "wherry/build/setup.h"
#include "wherry/platform/process.h"
#include "wherry/platform/userns.h"

#define BUSYBOX "/bin/busybox"
#define DEFAULT_ROUNDS 41

/* ---- inside a builder ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *ms, size_t n)
{
    qsort(ms, n, sizeof *ms, by_value);
    return ms[n / 2];
}

static double ms_since(uint64_t start)
{
    return (double)(wh_mono_ns() - start) / 1e6;
}

/* A layer with /bin/true, and an upper on it. */
static int make_root(const struct wh_builder_env *env, struct wh_rootfs *root, struct wh_error *err)
{
    static const char *const folders[] = {"layers",       "layers/1", "layers/1/bin",
                                          "layers/1/etc", "upper",    "work"};
    static const int64_t layer = 1;
    wh_autoclose int state = open(env->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < WH_COUNT(folders); i++)
        if (mkdirat(state, folders[i], 0755) < 0)
            return wh_fail_errno(err, "make %s", folders[i]);
    wh_autoclose int in = open(BUSYBOX, O_RDONLY | O_CLOEXEC);
    wh_autoclose int out = openat(state, "layers/1/bin/true", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    ssize_t n;
    while ((n = copy_file_range(in, NULL, out, NULL, 1 << 24, 0)) > 0)
        ;
    if (n < 0)
        return wh_fail_errno(err, "copy " BUSYBOX);
    wh_autofree char *upper = wh_path_join(env->state, "upper");
    wh_autofree char *work = wh_path_join(env->state, "work");
    int layers = openat(state, "layers", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct wh_rootfs_options options = {layers, &layer, 1, upper, work, NULL};
    int mounted = wh_rootfs_mount(&options, root, err);
    (void)close(layers);
    return mounted;
}

/* `crun run` on a bundle that stays. */
static int run_crun(const struct wh_bundle *b, int id, struct wh_error *err)
{
    wh_autofree char *root = wh_printf("--root=%s/state", b->box);
    wh_autofree char *bundle = wh_printf("--bundle=%s", b->box);
    wh_autofree char *name = wh_printf("bench-%d", id);
    char *argv[] = {
        b->container->runtime, root, (char *)"--cgroup-manager=disabled", (char *)"run", bundle, name, NULL};
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    options.path = argv[0];
    options.argv = argv;
    options.stderr_fd = STDERR_FILENO;
    int code = wh_process_run(&options, 0, NULL, NULL, err);
    return code == 0 ? 0 : code < 0 ? -1 : wh_fail(err, WH_E_FAILED, "crun run: exit code %d", code);
}

static int bench_crun(const struct wh_run_spec *spec, const struct wh_container *container, size_t rounds,
                      double *ms, struct wh_error *err)
{
    static int counter;
    struct wh_bundle b = {.spec = spec, .container = container};
    if (wh_run_user_resolve(spec->rootfs->fd, "", &b.user, err) < 0 ||
        !(b.box = wh_container_box("bench", err)) || wh_bundle_prepare(&b, err) < 0 ||
        wh_bundle_write_config(&b, err) < 0)
        return -1;
    int result = 0;
    for (size_t i = 0; result == 0 && i < rounds; i++) {
        uint64_t start = wh_mono_ns();
        result = run_crun(&b, counter++, err);
        ms[i] = ms_since(start);
    }
    wh_bundle_clean(&b);
    return result;
}

static int bench(const struct wh_builder_env *env, size_t rounds, struct wh_error *err)
{
    struct wh_rootfs root = WH_ROOTFS_NONE;
    wh_autofree double *ms = wh_calloc(rounds, sizeof *ms);
    const char *const argv[] = {"/bin/true", NULL};
    const struct wh_run_spec spec = {.argv = argv, .rootfs = &root, .cancel_fd = -1};
    struct wh_run_result result;
    if (make_root(env, &root, err) < 0 || wh_container_run(&spec, &result, err) < 0)
        return -1;
    for (size_t i = 0; i < rounds; i++) {
        uint64_t start = wh_mono_ns();
        if (wh_container_run(&spec, &result, err) < 0)
            return -1;
        ms[i] = ms_since(start);
    }
    double ours = median(ms, rounds);
    struct wh_container with_json = *wh_container_ready(err);
    struct wh_container with_bpf = with_json;
    with_json.is_crun = false; /* the bundle of a runtime that compiles the profile itself */
    if (bench_crun(&spec, &with_json, rounds, ms, err) < 0)
        return -1;
    double json = median(ms, rounds);
    if (bench_crun(&spec, &with_bpf, rounds, ms, err) < 0)
        return -1;
    double bpf = median(ms, rounds);
    printf("RUN                                     %6.2f ms\n"
           "crun run, profile as JSON               %6.2f ms   RUN / crun %.2f\n"
           "crun run, our compiled profile          %6.2f ms   RUN / crun %.2f\n",
           ours, json, ours / json, bpf, ours / bpf);
    return wh_rootfs_finish(&root, err);
}

static int inside(void)
{
    struct wh_builder_env env;
    wh_autoerror err = {0};
    if (wh_builder_setup(&env, &err) == 0 &&
        bench(&env, (size_t)wh_json_int(env.options, "rounds", DEFAULT_ROUNDS), &err) == 0)
        return 0;
    fprintf(stderr, "%s\n", wh_error_text(&err));
    return 1;
}

/* ---- outside ---- */

static void on_exit_here(struct wh_build_process *p, int exit_code, int signal, void *arg)
{
    (void)p;
    (void)signal;
    *(int *)arg = exit_code;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "builder") == 0)
        return inside();
    char folder[] = "/var/tmp/wherry-bench-XXXXXX";
    int code = 1;
    int pair[2];
    uint64_t rounds = DEFAULT_ROUNDS;
    uv_loop_t loop;
    wh_autoerror err = {0};
    wh_autojson *options = cJSON_CreateObject();
    if ((argc > 1 && !wh_parse_u64(argv[1], 100000, &rounds)) || rounds == 0) {
        fputs("usage: bench_run [ROUNDS]\n", stderr);
        return 2;
    }
    wh_json_add_int(options, "rounds", (int64_t)rounds);
    const struct wh_build_launch_options launch = {
        .state = mkdtemp(folder), .job_uid = WH_NO_ID, .options = options};
    if (!launch.state || uv_loop_init(&loop) != 0 || wh_frame_pair(pair, &err) < 0 ||
        !wh_build_launch(&loop, &launch, pair[1], on_exit_here, &code, &err)) {
        fprintf(stderr, "%s\n", wh_error_text(&err));
        return 1;
    }
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    (void)close(pair[0]);
    (void)uv_loop_close(&loop);
    (void)wh_userns_enter(NULL);
    if (wh_remove_tree(AT_FDCWD, folder, &err) < 0)
        fprintf(stderr, "%s\n", wh_error_text(&err));
    return code;
}
