/* A control group for the processes of one job, so that nothing of it can hide by leaving its process group
 * or its environment. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup_internal.h"
#include "wherry/base/fs.h"
#include "wherry/platform/process.h"

static int open_dir(int at, const char *path)
{
    return openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

static void remove_below(int dir, int depth)
{
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    if (!list) {
        wh_close_fd(&copy);
        return;
    }
    for (struct dirent *entry; (entry = readdir(list));) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        wh_autoclose int below = open_dir(dir, entry->d_name);
        if (below >= 0 && depth < 16)
            remove_below(below, depth + 1);
        unlinkat(dir, entry->d_name, AT_REMOVEDIR);
    }
    closedir(list);
}

/* Groups whose maker was killed: the empty ones go; in the others something still ends by itself. */
static void sweep(int parent, bool kill_left)
{
    int copy = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    if (!list) {
        wh_close_fd(&copy);
        return;
    }
    for (struct dirent *entry; (entry = readdir(list));) {
        int pid;
        if (sscanf(entry->d_name, "wherry-job-%d-", &pid) != 1 || pid <= 1 || kill(pid, 0) == 0 ||
            errno != ESRCH)
            continue;
        wh_autoclose int dir = open_dir(parent, entry->d_name);
        if (dir >= 0 && kill_left)
            wh_cgroup_kill(dir, NULL);
        if (dir >= 0)
            remove_below(dir, 0);
        unlinkat(parent, entry->d_name, AT_REMOVEDIR);
    }
    closedir(list);
}

/* Where groups of jobs are made: beside the agent's own leaf, where it has one (wh_cgroup_delegate_self()),
 * as that has no controllers to hand on. A descriptor, or -1. */
static int open_parent(void)
{
    wh_autofree char *own = wh_cgroup_own_dir(NULL);
    if (own && wh_ends_with(own, "/" WH_CGROUP_AGENT_LEAF))
        own[strlen(own) - strlen("/" WH_CGROUP_AGENT_LEAF)] = '\0';
    return own ? open_dir(AT_FDCWD, own) : -1;
}

void wh_job_cgroup_sweep(void)
{
    wh_autoclose int parent = open_parent();
    if (parent >= 0)
        sweep(parent, true);
}

bool wh_job_cgroup_create(uid_t owner, gid_t group, struct wh_job_cgroup *out)
{
    static unsigned count;
    *out = WH_JOB_CGROUP_NONE;
    wh_autoclose int parent = open_parent();
    if (parent < 0)
        return false;
    sweep(parent, false);
    snprintf(out->name, sizeof out->name, "wherry-job-%d-%u", (int)getpid(), ++count);
    if (mkdirat(parent, out->name, 0755) < 0)
        return false;
    out->fd = open_dir(parent, out->name);
    if (out->fd < 0 || (owner != geteuid() && (fchown(out->fd, owner, group) < 0 ||
                                               fchownat(out->fd, "cgroup.procs", owner, group, 0) < 0))) {
        wh_close_fd(&out->fd);
        unlinkat(parent, out->name, AT_REMOVEDIR);
        *out = WH_JOB_CGROUP_NONE;
        return false;
    }
    out->parent = wh_steal_fd(&parent);
    return true;
}

int wh_job_cgroup_leaf(const char *name)
{
    wh_autofree char *own = wh_cgroup_own_dir(NULL);
    /* Only in a group that was made for this job: anywhere else the leaf would be a stranger's neighbour. */
    if (!own || !strstr(own, "/wherry-job-"))
        return -1;
    wh_autoclose int parent = open_dir(AT_FDCWD, own);
    if (parent < 0 || (mkdirat(parent, name, 0755) < 0 && errno != EEXIST))
        return -1;
    return open_dir(parent, name);
}

/* The number on the line of a key. */
static int64_t number_of(const struct wh_str *text, const char *key)
{
    struct wh_reader r = wh_reader_of(text->data, text->len);
    for (struct wh_view line; wh_reader_line(&r, &line);) {
        struct wh_view name;
        struct wh_view value;
        uint64_t number;
        if (!wh_view_split(line, ' ', &name, &value) || !wh_view_eq(name, key))
            continue;
        wh_autofree char *digits = wh_view_dup(value);
        return wh_parse_u64(digits, INT64_MAX, &number) ? (int64_t)number : -1;
    }
    return -1;
}

int64_t wh_job_oom_kills(bool *own_group)
{
    wh_autofree char *own = wh_cgroup_own_dir(NULL);
    wh_autostr text = {0};
    char *job = own ? strstr(own, "/wherry-job-") : NULL;
    char *below = job ? strchr(job + 1, '/') : NULL;
    if (below)
        *below = '\0';
    wh_autoclose int group = job ? open_dir(AT_FDCWD, own) : -1;
    *own_group = group >= 0 && wh_cgroup_read(group, "memory.events", &text);
    if (*own_group)
        return number_of(&text, "oom_kill");
    return wh_read_file(AT_FDCWD, "/proc/vmstat", 1 << 20, &text, NULL) < 0 ? -1
                                                                            : number_of(&text, "oom_kill");
}

void wh_job_cgroup_destroy(struct wh_job_cgroup *g)
{
    if (g->fd >= 0) {
        wh_cgroup_kill(g->fd, NULL);
        /* Killed processes leave the group a moment later. */
        for (int i = 0; i < 20; i++) {
            remove_below(g->fd, 0);
            if (unlinkat(g->parent, g->name, AT_REMOVEDIR) == 0 || errno == ENOENT)
                break;
            usleep(1000);
        }
    }
    wh_close_fd(&g->fd);
    wh_close_fd(&g->parent);
    *g = WH_JOB_CGROUP_NONE;
}
