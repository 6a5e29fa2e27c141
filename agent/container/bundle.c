/* The bundle's folder: the files that config.json refers to, and the sources of binds as plain paths. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"
#include "wherry/base/fs.h"
#include "wherry/platform/mount.h"

#define UMOUNT_TIMEOUT_MS 2000

/* A new file in the bundle. */
static int put_file(const char *path, const void *data, size_t len, mode_t mode, uid_t uid, gid_t gid,
                    struct wh_error *err)
{
    wh_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return wh_fail_errno(err, "make %s", path);
    if (wh_write_all(fd, data, len, err) < 0)
        return wh_wrap(err, "%s", path);
    if (fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0)
        return wh_fail_errno(err, "set owner and mode of %s", path);
    return 0;
}

static void hosts_text(const struct wh_run_spec *spec, struct wh_str *text)
{
    const bool own = spec->network == WH_RUN_NET_OWN && spec->address;
    wh_str_addf(text, "127.0.0.1\tlocalhost%s%s\n::1\tlocalhost ip6-localhost ip6-loopback\n", own ? "" : " ",
                own ? "" : wh_run_hostname(spec));
    if (own)
        wh_str_addf(text, "%s\t%s\n", spec->address, wh_run_hostname(spec));
    for (size_t i = 0; i < spec->nhosts; i++)
        wh_str_addf(text, "%s\t%s\n", spec->hosts[i].address, spec->hosts[i].name);
}

/* Into the same file, which is mounted already. */
int wh_container_write_hosts(const char *box, const struct wh_run_spec *spec, struct wh_error *err)
{
    wh_autostr text = {0};
    hosts_text(spec, &text);
    wh_autofree char *path = wh_path_join(box, "hosts");
    wh_autoclose int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return wh_fail_errno(err, "open %s", path);
    if (wh_write_all(fd, text.data, text.len, err) < 0)
        return wh_wrap(err, "%s", path);
    return ftruncate(fd, (off_t)text.len) < 0 ? wh_fail_errno(err, "cut %s", path) : 0;
}

static int put_hosts(const struct wh_bundle *b, struct wh_error *err)
{
    wh_autostr text = {0};
    hosts_text(b->spec, &text);
    wh_autofree char *path = wh_path_join(b->box, "hosts");
    return put_file(path, text.data, text.len, 0644, 0, 0, err);
}

static int put_resolv(const struct wh_bundle *b, struct wh_error *err)
{
    wh_autostr text = {0};
    if (wh_resolv_conf(b->spec->network == WH_RUN_NET_HOST, &text, err) < 0)
        return -1;
    wh_autofree char *path = wh_path_join(b->box, "resolv.conf");
    return put_file(path, text.data, text.len, 0644, 0, 0, err);
}

/* Descriptors become mounts of ours, since a runtime takes paths, and a path below an image's tree could lead
 * anywhere. */
static int bind_source(struct wh_bundle *b, size_t i, struct wh_error *err)
{
    struct wh_bundle_mount *m = &b->mounts[i];
    struct stat st;
    if (m->mount->source_fd < 0) {
        m->source = wh_strdup(m->mount->source_path);
        if (!m->source || stat(m->source, &st) < 0)
            return wh_fail_errno(err, "mount %s: its source %s", m->mount->target,
                                 m->source ? m->source : "(none)");
        m->folder = S_ISDIR(st.st_mode);
        return 0;
    }
    if (fstat(m->mount->source_fd, &st) < 0)
        return wh_fail_errno(err, "mount %s: look at its source", m->mount->target);
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode) && !S_ISSOCK(st.st_mode))
        return wh_fail(err, WH_E_ARGUMENT, "mount %s: its source is no folder and no regular file",
                       m->mount->target);
    m->folder = S_ISDIR(st.st_mode);
    m->source = wh_printf("%s/mount-%zu", b->box, i);
    if (m->folder ? mkdir(m->source, 0700) < 0 : mknod(m->source, S_IFREG | 0600, 0) < 0)
        return wh_fail_errno(err, "make %s", m->source);
    if ((m->mount->recursive ? wh_bind_mount_all(m->mount->source_fd, m->source, err)
                             : wh_bind_mount(m->mount->source_fd, m->source, false, err)) < 0)
        return -1;
    m->bound = true;
    return 0;
}

static int put_secret(struct wh_bundle *b, size_t i, struct wh_error *err)
{
    struct wh_bundle_mount *m = &b->mounts[i];
    m->source = wh_printf("%s/secret-%zu", b->box, i);
    return put_file(m->source, m->mount->content, m->mount->content_len, m->mount->mode, m->mount->uid,
                    m->mount->gid, err);
}

static size_t parent_len(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) : 0;
}

/* Files whose targets share a folder lie in one folder, which is mounted once. */
static int put_script(struct wh_bundle *b, size_t i, struct wh_error *err)
{
    struct wh_bundle_mount *m = &b->mounts[i];
    size_t len = parent_len(m->mount->target);
    wh_autofree char *folder = NULL;
    for (size_t j = 0; j < i && !folder; j++)
        if (b->mounts[j].mount->type == WH_RUN_FILE && parent_len(b->mounts[j].mount->target) == len &&
            strncmp(b->mounts[j].mount->target, m->mount->target, len) == 0)
            folder = wh_printf("%s/files-%zu", b->box, j);
    if (!folder) {
        folder = wh_printf("%s/files-%zu", b->box, i);
        if (mkdir(folder, 0755) < 0)
            return wh_fail_errno(err, "make %s", folder);
        m->source = wh_strdup(folder);
        m->folder = true;
    }
    wh_autofree char *path = wh_printf("%s/%s", folder, m->mount->target + len + 1);
    return put_file(path, m->mount->content, m->mount->content_len, m->mount->mode, m->mount->uid,
                    m->mount->gid, err);
}

static int put_mount(struct wh_bundle *b, size_t i, struct wh_error *err)
{
    struct wh_bundle_mount *m = &b->mounts[i];
    m->mount = &b->spec->mounts[i];
    if (!m->mount->target || m->mount->target[0] != '/' || m->mount->target[1] == '\0')
        return wh_fail(err, WH_E_ARGUMENT, "a mount's target must be an absolute path and not /");
    switch (m->mount->type) {
    case WH_RUN_BIND:
    case WH_RUN_CACHE:
    case WH_RUN_SOCKET:
        return bind_source(b, i, err);
    case WH_RUN_SECRET:
        return put_secret(b, i, err);
    case WH_RUN_FILE:
        return put_script(b, i, err);
    case WH_RUN_TMPFS:
        m->folder = true;
        return 0;
    }
    return wh_fail(err, WH_E_ARGUMENT, "mount %s: unknown type", m->mount->target);
}

int wh_bundle_prepare(struct wh_bundle *b, struct wh_error *err)
{
    if (b->spec->nmounts > WH_MAX_RUN_MOUNTS)
        return wh_fail(err, WH_E_LIMIT, "a RUN can have %d mounts, not %zu", WH_MAX_RUN_MOUNTS,
                       b->spec->nmounts);
    b->mounts = wh_calloc(b->spec->nmounts + 1, sizeof *b->mounts);
    for (size_t i = 0; i < b->spec->nmounts; i++)
        if (put_mount(b, i, err) < 0)
            return -1;
    return put_hosts(b, err) < 0 || put_resolv(b, err) < 0 ? -1 : 0;
}

void wh_bundle_clean(struct wh_bundle *b)
{
    for (size_t i = 0; b->mounts && i < b->spec->nmounts; i++) {
        if (b->mounts[i].bound && b->mounts[i].mount->recursive)
            wh_umount_all(b->mounts[i].source);
        else if (b->mounts[i].bound)
            (void)wh_umount(b->mounts[i].source, UMOUNT_TIMEOUT_MS, NULL);
        free(b->mounts[i].source);
    }
    free(b->mounts);
    b->mounts = NULL;
    /* Stops at a mount that could not be undone. */
    if (b->box)
        (void)wh_remove_tree(AT_FDCWD, b->box, NULL);
    free(b->box);
    b->box = NULL;
}
