/* Finding things: programs on a PATH, users, and the processes that a job left behind. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/platform/process.h"

#define MAX_ENVIRON ((size_t)4 << 20)

static bool usable(const char *path, bool any_file)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (any_file || access(path, X_OK) == 0);
}

char *wh_find_program(const char *name, const char *path, bool any_file)
{
    if (strchr(name, '/'))
        return usable(name, any_file) ? wh_strdup(name) : NULL;
    wh_autostrv char **folders = wh_strv_split(path ? path : "/usr/local/bin:/usr/bin:/bin", ':');
    for (size_t i = 0; folders && folders[i]; i++) {
        if (folders[i][0] == '\0')
            continue;
        wh_autofree char *full = wh_path_join(folders[i], name);
        if (usable(full, any_file))
            return wh_steal(&full);
    }
    return NULL;
}

int wh_user_find(const char *name_or_uid, struct wh_user *out, struct wh_error *err)
{
    *out = (struct wh_user){0};
    uint64_t number;
    bool numeric = wh_parse_u64(name_or_uid, UINT32_MAX - 1, &number);
    errno = 0;
    const struct passwd *pw = numeric ? getpwuid((uid_t)number) : getpwnam(name_or_uid);
    if (!pw && numeric) {
        out->uid = (uid_t)number;
        out->gid = (gid_t)number;
        out->name = wh_strdup(name_or_uid);
        out->home = wh_strdup("/");
        return 0;
    }
    if (!pw)
        return wh_fail(err, WH_E_NOT_FOUND, "there is no user '%s' on this machine", name_or_uid);
    out->uid = pw->pw_uid;
    out->gid = pw->pw_gid;
    out->name = wh_strdup(pw->pw_name);
    out->home = wh_strdup(pw->pw_dir && pw->pw_dir[0] ? pw->pw_dir : "/");
    int n = WH_MAX_USER_GROUPS;
    if (getgrouplist(out->name, out->gid, out->groups, &n) < 0)
        n = WH_MAX_USER_GROUPS; /* it has more: these are the first ones */
    out->ngroups = (size_t)n;
    return 0;
}

void wh_user_clear(struct wh_user *user)
{
    wh_free_ptr(&user->name);
    wh_free_ptr(&user->home);
    *user = (struct wh_user){0};
}

/* True if one of the NUL-separated entries is `wanted` as a whole. */
static bool environ_has(const struct wh_str *env, const char *wanted)
{
    size_t len = strlen(wanted);
    for (size_t at = 0; at < env->len;) {
        const char *entry = env->data + at;
        size_t n = strnlen(entry, env->len - at);
        if (n == len && memcmp(entry, wanted, n) == 0)
            return true;
        at += n + 1;
    }
    return false;
}

static void read_comm(int proc, const char *pid, char comm[32])
{
    wh_autofree char *path = wh_printf("%s/comm", pid);
    wh_autostr text = {0};
    comm[0] = '\0';
    if (wh_read_file(proc, path, 4096, &text, NULL) < 0)
        return;
    while (text.len > 0 && text.data[text.len - 1] == '\n')
        wh_str_truncate(&text, text.len - 1);
    snprintf(comm, 32, "%s", wh_str_text(&text));
}

int wh_process_find_env(const char *name, const char *value, wh_process_found_fn found, void *data,
                        struct wh_error *err)
{
    DIR *dir = opendir("/proc");
    if (!dir)
        return wh_fail_errno(err, "read /proc");
    wh_autofree char *wanted = wh_printf("%s=%s", name, value);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        uint64_t pid;
        if (!wh_parse_u64(entry->d_name, INT32_MAX, &pid) || (pid_t)pid == getpid() ||
            (pid_t)pid == getppid())
            continue;
        wh_autofree char *path = wh_printf("%s/environ", entry->d_name);
        wh_autostr env = {0};
        /* Others' processes, and those that end just now, can't be read: they are not ours to find. */
        if (wh_read_file(dirfd(dir), path, MAX_ENVIRON, &env, NULL) < 0 || !environ_has(&env, wanted))
            continue;
        char comm[32];
        read_comm(dirfd(dir), entry->d_name, comm);
        found(data, (pid_t)pid, comm);
        count++;
    }
    closedir(dir);
    return count;
}

/* One folder without cgroup.kill: each process by its number. Returns how many were signalled. */
static int kill_members(int cgroup)
{
    wh_autostr procs = {0};
    if (wh_read_file(cgroup, "cgroup.procs", MAX_ENVIRON, &procs, NULL) < 0)
        return 0;
    int count = 0;
    struct wh_reader r = wh_reader_of(procs.data, procs.len);
    for (struct wh_view line; wh_reader_line(&r, &line);) {
        wh_autofree char *text = wh_view_dup(line);
        uint64_t pid;
        if (wh_parse_u64(text, INT32_MAX, &pid) && pid > 1 && (pid_t)pid != getpid() &&
            kill((pid_t)pid, SIGKILL) == 0)
            count++;
    }
    return count;
}

static int kill_tree(int cgroup, int depth)
{
    if (depth > 16)
        return 0;
    int count = kill_members(cgroup);
    int copy = openat(cgroup, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    if (!dir) {
        if (copy >= 0)
            close(copy);
        return count;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.' || entry->d_type != DT_DIR)
            continue;
        wh_autoclose int below = openat(cgroup, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (below >= 0)
            count += kill_tree(below, depth + 1);
    }
    closedir(dir);
    return count;
}

int wh_cgroup_kill(int cgroup, struct wh_error *err)
{
    wh_autoclose int fd = openat(cgroup, "cgroup.kill", O_WRONLY | O_CLOEXEC);
    if (fd >= 0)
        return wh_write_all(fd, "1", 1, err);
    /* cgroup v1, or a kernel before 5.14: whoever forks while we look is found in the next round. */
    for (int round = 0; round < 100 && kill_tree(cgroup, 0) > 0; round++)
        usleep(1000);
    return 0;
}
