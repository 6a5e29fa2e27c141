/* A RUN from its spec to its result: user, working folder, mount points, bundle, runtime, and back. */
#include "wherry/container/run.h"

#include <stdio.h>
#include <unistd.h>

#include "internal.h"

const char *wh_run_hostname(const struct wh_run_spec *spec)
{
    return spec->hostname && *spec->hostname ? spec->hostname : "buildkitsandbox";
}

const char *wh_run_cwd(const struct wh_run_spec *spec)
{
    return spec->cwd && *spec->cwd ? spec->cwd : "/";
}

/* These are mounts of the runtime's own: what is made below them never reaches the image. */
static bool below_system_mount(const char *target)
{
    static const char *const system[] = {"/dev", "/proc", "/sys"};
    for (size_t i = 0; i < WH_COUNT(system); i++) {
        size_t len = strlen(system[i]);
        if (strncmp(target, system[i], len) == 0 && (target[len] == '/' || target[len] == '\0'))
            return true;
    }
    return false;
}

/* Whether a target lies on or below an earlier mount of the spec: then the runtime makes it there, not in the
 * image. */
static bool below_earlier(const struct wh_bundle *b, size_t i)
{
    const char *target = b->spec->mounts[i].target;
    for (size_t j = 0; j < i; j++) {
        const char *earlier = b->spec->mounts[j].target;
        size_t len = strlen(earlier);
        if (b->mounts[j].folder && strncmp(target, earlier, len) == 0 && target[len] == '/')
            return true;
    }
    return false;
}

static int make_stub(const struct wh_bundle *b, size_t i, struct wh_stubs *stubs, struct wh_error *err)
{
    const struct wh_run_mount *mount = &b->spec->mounts[i];
    int root = b->spec->rootfs->fd;
    if (below_system_mount(mount->target) || below_earlier(b, i))
        return 0;
    if (mount->type != WH_RUN_FILE)
        return wh_stubs_add(stubs, root, mount->target, b->mounts[i].folder, b->spec->rootfs->copied, err);
    if (!b->mounts[i].source)
        return 0; /* its folder is mounted already */
    const char *slash = strrchr(mount->target, '/');
    wh_autofree char *folder = wh_strndup(mount->target, (size_t)(slash - mount->target));
    return wh_stubs_add(stubs, root, folder, true, b->spec->rootfs->copied, err);
}

static int make_stubs(const struct wh_bundle *b, struct wh_stubs *stubs, struct wh_error *err)
{
    int root = b->spec->rootfs->fd;
    /* These stay in the layer, 0755 (crun would make them 01755). */
    if (wh_make_cwd(root, "/dev", 0, 0, err) < 0 || wh_make_cwd(root, "/proc", 0, 0, err) < 0 ||
        wh_make_cwd(root, "/sys", 0, 0, err) < 0)
        return -1;
    if (wh_stubs_add(stubs, root, "/etc/resolv.conf", false, b->spec->rootfs->copied, err) < 0 ||
        wh_stubs_add(stubs, root, "/etc/hosts", false, b->spec->rootfs->copied, err) < 0)
        return -1;
    for (size_t i = 0; i < b->spec->nmounts; i++)
        if (make_stub(b, i, stubs, err) < 0)
            return -1;
    return 0;
}

/* The working folder is the image's own unless it lies on a mount. */
static int make_cwd(const struct wh_bundle *b, struct wh_error *err)
{
    const char *cwd = wh_run_cwd(b->spec);
    if (below_system_mount(cwd))
        return 0;
    for (size_t i = 0; i < b->spec->nmounts; i++) {
        const char *target = b->spec->mounts[i].target;
        size_t len = strlen(target);
        if (strncmp(cwd, target, len) == 0 && (cwd[len] == '/' || cwd[len] == '\0'))
            return 0;
    }
    return wh_make_cwd(b->spec->rootfs->fd, cwd, b->user.uid, b->user.gid, err);
}

static int run(struct wh_bundle *b, struct wh_stubs *stubs, struct wh_run_result *result,
               struct wh_error *err)
{
    const struct wh_run_spec *spec = b->spec;
    if (!spec->argv || !spec->argv[0])
        return wh_fail(err, WH_E_ARGUMENT, "no program to run");
    if (wh_run_user_resolve(spec->rootfs->fd, spec->user, &b->user, err) < 0)
        return -1;
    b->box = wh_container_box("run", err);
    if (!b->box || wh_bundle_prepare(b, err) < 0)
        return -1;
    if (!spec->readonly_rootfs && (make_cwd(b, err) < 0 || make_stubs(b, stubs, err) < 0))
        return -1;
    if (wh_bundle_write_config(b, err) < 0)
        return -1;
    if (spec->on_box)
        spec->on_box(spec->arg, b->box);
    return wh_runtime_run(b, result, err);
}

int wh_container_run(const struct wh_run_spec *spec, struct wh_run_result *result, struct wh_error *err)
{
    struct wh_bundle bundle = {.spec = spec, .container = wh_container_ready(err)};
    struct wh_stubs stubs = {0};
    if (!bundle.container)
        return -1;
    int done = run(&bundle, &stubs, result, err);
    wh_stubs_clean(&stubs, spec->rootfs->fd);
    wh_bundle_clean(&bundle);
    return done;
}

/* ---- what the user reads ---- */

/* As Go's %q writes it. */
static void add_quoted(struct wh_str *out, const char *text)
{
    for (const char *c = text; *c; c++) {
        switch (*c) {
        case '\n':
            wh_str_add(out, "\\n");
            break;
        case '\t':
            wh_str_add(out, "\\t");
            break;
        case '\r':
            wh_str_add(out, "\\r");
            break;
        case '"':
        case '\\':
            wh_str_addc(out, '\\');
            wh_str_addc(out, *c);
            break;
        default:
            if ((unsigned char)*c < 0x20 || *c == 0x7f)
                wh_str_addf(out, "\\x%02x", (unsigned char)*c);
            else
                wh_str_addc(out, *c);
        }
    }
}

char *wh_run_failure_text(const struct wh_run_spec *spec, const struct wh_run_result *result)
{
    wh_autostr text = {0};
    wh_str_add(&text, "process \"");
    for (size_t i = 0; spec->argv[i]; i++) {
        if (i > 0)
            wh_str_addc(&text, ' ');
        add_quoted(&text, spec->argv[i]);
    }
    wh_str_addf(&text, "\" did not complete successfully: exit code: %d", result->exit_code);
    if (result->oom)
        wh_str_add(&text, " (out of memory: the kernel killed a process of it)");
    return wh_str_steal(&text);
}
