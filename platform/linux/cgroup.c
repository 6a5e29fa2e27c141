/* The control groups of a build: made, entered, removed. */
#include "wherry/platform/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup_internal.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"
#include "wherry/platform/process.h"

#define MAX_CONTROL_BYTES ((size_t)1 << 20)
#define PREFIX "wherry-build-"
#define LEAF "builder"
#define RUN_PREFIX "run-"
#define REMOVE_TIMEOUT_MS 500

enum parent { PARENT_V2, PARENT_PIDS, PARENT_MEMORY, PARENT_DEVICES };

/* What a build may open by device number, on v1 (in a user namespace no node can be made in the first place).
 */
static const char *const allowed_devices[] = {
    "c *:* m",   "b *:* m",   "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm",   "c 1:8 rwm",
    "c 1:9 rwm", "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm",
};

int wh_cgroup_write(int dir, const char *file, const char *text)
{
    wh_autoclose int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    return write(fd, text, strlen(text)) < 0 ? -1 : 0;
}

bool wh_cgroup_read(int dir, const char *file, struct wh_str *out)
{
    return wh_read_file(dir, file, MAX_CONTROL_BYTES, out, NULL) >= 0;
}

static bool has_word(int dir, const char *file, const char *word)
{
    wh_autostr text = {0};
    if (!wh_cgroup_read(dir, file, &text))
        return false;
    wh_autostrv char **words = NULL;
    while (text.len > 0 && text.data[text.len - 1] == '\n')
        wh_str_truncate(&text, text.len - 1);
    words = wh_strv_split(wh_str_text(&text), ' ');
    return wh_strv_has(words, word);
}

/* Names of the groups below dir that start with prefix; owned, NULL if there are none. */
static char **children(int dir, const char *prefix)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    if (!entries) {
        if (fd >= 0)
            (void)close(fd);
        return NULL;
    }
    char **names = NULL;
    for (const struct dirent *entry; (entry = readdir(entries));)
        if (wh_starts_with(entry->d_name, prefix))
            wh_strv_add(&names, entry->d_name);
    (void)closedir(entries);
    return names;
}

/* A group whose last process was just reaped can stay busy for an instant. */
static void remove_group(int parent, const char *name, uint64_t deadline)
{
    while (parent >= 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno == EBUSY &&
           wh_machine_ms() < deadline)
        (void)poll(NULL, 0, 2);
}

/* The leaves of a build's v2 group: the builder's and those of RUNs that it did not live to remove. */
static void remove_leaves(int group, uint64_t deadline)
{
    wh_autostrv char **runs = children(group, RUN_PREFIX);
    for (size_t i = 0; runs && runs[i]; i++)
        remove_group(group, runs[i], deadline);
    remove_group(group, LEAF, deadline);
}

/* Groups that a killed launcher left behind: their name has its pid. A group that is in use can't be removed
 * anyway. */
static void sweep(int parent)
{
    wh_autostrv char **names = children(parent, PREFIX);
    for (size_t i = 0; names && names[i]; i++) {
        long pid = strtol(names[i] + strlen(PREFIX), NULL, 10);
        if (pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
            continue;
        wh_autoclose int group = openat(parent, names[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (group >= 0)
            remove_leaves(group, 0);
        (void)unlinkat(parent, names[i], AT_REMOVEDIR);
    }
}

void wh_build_cgroup_sweep(void)
{
    static const char *const controllers[] = {NULL, "pids", "memory", "devices"};
    for (size_t i = 0; i < WH_COUNT(controllers); i++) {
        wh_autofree char *path = wh_cgroup_own_dir(controllers[i]);
        wh_autoclose int dir = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        if (dir >= 0)
            sweep(dir);
    }
}

/* Makes `name` below path; the directory of the new group, with its parent in *parent; -1. */
static int make_group(const char *path, const char *name, int *parent)
{
    wh_autoclose int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -1;
    sweep(dir);
    if (mkdirat(dir, name, 0755) < 0)
        return -1;
    int group = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (group < 0) {
        (void)unlinkat(dir, name, AT_REMOVEDIR);
        return -1;
    }
    *parent = wh_steal_fd(&dir);
    return group;
}

static int make_v1(const char *controller, struct wh_build_cgroup *g, enum parent which)
{
    wh_autofree char *path = wh_cgroup_own_dir(controller);
    return path ? make_group(path, g->name, &g->parents[which]) : -1;
}

static void drop_group(struct wh_build_cgroup *g, int *group, enum parent which)
{
    if (*group < 0)
        return;
    (void)close(wh_steal_fd(group));
    (void)unlinkat(g->parents[which], g->name, AT_REMOVEDIR);
    (void)close(wh_steal_fd(&g->parents[which]));
}

/* ---- v2 ---- */

/* A group that holds processes itself can't hand controllers on to children that hold some, too. (With pids
 * alone, which is a threaded one, the kernel would take the order, and make the children useless.) The root
 * group is free of that rule. */
static bool may_hand_on(int dir)
{
    wh_autostr processes = {0};
    if (faccessat(dir, "cgroup.type", F_OK, 0) < 0)
        return true;
    return wh_cgroup_read(dir, "cgroup.procs", &processes) && processes.len == 0;
}

static void hand_on(int dir, const char *controller, const char *order)
{
    /* Refused where another owner rules: then what is on already counts. */
    if (has_word(dir, "cgroup.controllers", controller) &&
        !has_word(dir, "cgroup.subtree_control", controller))
        (void)wh_cgroup_write(dir, "cgroup.subtree_control", order);
}

/* A group below path whose controllers include pids, if that can be had there (bare: any group will do); else
 * false. */
static bool try_v2(struct wh_build_cgroup *g, const char *path, bool bare)
{
    wh_autoclose int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return false;
    if (may_hand_on(dir)) {
        hand_on(dir, "pids", "+pids");
        hand_on(dir, "memory", "+memory");
    }
    if (!bare && !has_word(dir, "cgroup.subtree_control", "pids"))
        return false;
    g->v2 = make_group(path, g->name, &g->parents[PARENT_V2]);
    if (g->v2 >= 0 && !has_word(g->v2, "cgroup.type", "domain"))
        drop_group(g, &g->v2, PARENT_V2);
    return g->v2 >= 0;
}

static void give(int dir, const char *file, uid_t owner, gid_t group)
{
    if (fchownat(dir, file, owner, group, AT_EMPTY_PATH) < 0 && errno != ENOENT)
        wh_log_debug("cgroup: hand %s to the builder: %s", *file ? file : "the group", strerror(errno));
}

static void make_v2(const struct wh_build_cgroup_limits *limits, uid_t owner, gid_t group, bool have_v1,
                    struct wh_build_cgroup *g)
{
    wh_autofree char *own = wh_cgroup_own_dir(NULL);
    if (!own)
        return;
    wh_autofree char *above = wh_strdup(own);
    char *slash = strrchr(above, '/');
    if (slash)
        *slash = '\0';
    wh_autofree char *type = wh_printf("%s/cgroup.type", own); /* the root group has none */
    bool root_group = access(type, F_OK) < 0;
    if (!try_v2(g, own, false) && (root_group || !try_v2(g, above, false)) &&
        (have_v1 || !try_v2(g, own, true)))
        return;
    char text[32];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)limits->pids_max);
    (void)wh_cgroup_write(g->v2, "pids.max", text);
    if (limits->memory_max > 0) {
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)limits->memory_max);
        (void)wh_cgroup_write(g->v2, "memory.max", text);
        (void)wh_cgroup_write(g->v2, "memory.swap.max", "0");
    }
    (void)wh_cgroup_write(g->v2, "cgroup.subtree_control", "+pids");
    (void)wh_cgroup_write(g->v2, "cgroup.subtree_control", "+memory");
    if (mkdirat(g->v2, LEAF, 0755) == 0)
        g->v2_leaf = openat(g->v2, LEAF, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (geteuid() != 0)
        return;
    give(g->v2, "", owner, group);
    give(g->v2, "cgroup.procs", owner, group);
    give(g->v2, "cgroup.threads", owner, group);
    give(g->v2, "cgroup.subtree_control", owner, group);
    give(g->v2_leaf, "cgroup.procs", owner, group);
}

/* ---- v1 ---- */

static void make_all_v1(const struct wh_build_cgroup_limits *limits, struct wh_build_cgroup *g)
{
    char text[32];
    g->v1_pids = make_v1("pids", g, PARENT_PIDS);
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)limits->pids_max);
    if (g->v1_pids >= 0 && wh_cgroup_write(g->v1_pids, "pids.max", text) < 0)
        drop_group(g, &g->v1_pids, PARENT_PIDS);
    g->v1_memory = make_v1("memory", g, PARENT_MEMORY);
    if (g->v1_memory >= 0 && limits->memory_max > 0) {
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)limits->memory_max);
        (void)wh_cgroup_write(g->v1_memory, "memory.limit_in_bytes", text);
        (void)wh_cgroup_write(g->v1_memory, "memory.memsw.limit_in_bytes", text);
    }
    g->v1_devices = make_v1("devices", g, PARENT_DEVICES);
    if (g->v1_devices < 0)
        return;
    if (wh_cgroup_write(g->v1_devices, "devices.deny", "a") < 0) {
        drop_group(g, &g->v1_devices, PARENT_DEVICES);
        return;
    }
    for (size_t i = 0; i < WH_COUNT(allowed_devices); i++)
        (void)wh_cgroup_write(g->v1_devices, "devices.allow", allowed_devices[i]);
}

/* ---- all ---- */

int wh_build_cgroup_create(const struct wh_build_cgroup_limits *limits, uid_t owner, gid_t group,
                           struct wh_build_cgroup *out, struct wh_error *err)
{
    static atomic_uint counter;
    *out = (struct wh_build_cgroup)WH_BUILD_CGROUP_NONE;
    (void)snprintf(out->name, sizeof out->name, PREFIX "%d-%u", (int)getpid(), atomic_fetch_add(&counter, 1));
    struct wh_build_cgroup_limits bounds = *limits;
    if (bounds.pids_max == 0)
        bounds.pids_max = WH_CGROUP_PIDS_DEFAULT;
    make_all_v1(&bounds, out);
    make_v2(&bounds, owner, group, out->v1_pids >= 0, out);
    if (geteuid() == 0 && out->v1_pids < 0 && out->v2 < 0)
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "no control group could be made for the build, so nothing would bound it: is "
                       "/sys/fs/cgroup mounted and "
                       "writable? Run the agent as a systemd service with Delegate=yes");
    return 0;
}

int wh_build_cgroup_enter(const struct wh_build_cgroup *g, pid_t pid, bool with_v2, struct wh_error *err)
{
    char text[16];
    (void)snprintf(text, sizeof text, "%d", (int)pid);
    const int dirs[] = {g->v1_pids, g->v1_memory, g->v1_devices, with_v2 ? g->v2_leaf : -1};
    for (size_t i = 0; i < WH_COUNT(dirs); i++)
        if (dirs[i] >= 0 && wh_cgroup_write(dirs[i], "cgroup.procs", text) < 0)
            return wh_fail_errno(err, "put process %d into the build's control group", (int)pid);
    return 0;
}

void wh_build_cgroup_close(struct wh_build_cgroup *g)
{
    int *const fds[] = {&g->v2,         &g->v2_leaf,    &g->v1_pids,    &g->v1_memory, &g->v1_devices,
                        &g->parents[0], &g->parents[1], &g->parents[2], &g->parents[3]};
    for (size_t i = 0; i < WH_COUNT(fds); i++)
        if (*fds[i] >= 0)
            (void)close(wh_steal_fd(fds[i]));
}

void wh_build_cgroup_destroy(struct wh_build_cgroup *g)
{
    uint64_t deadline = wh_machine_ms() + REMOVE_TIMEOUT_MS;
    if (g->v2 >= 0)
        remove_leaves(g->v2, deadline);
    for (size_t i = 0; i < WH_COUNT(g->parents); i++)
        remove_group(g->parents[i], g->name, deadline);
    wh_build_cgroup_close(g);
}

int wh_cgroup_leaf_create(int v2, const char *name, struct wh_error *err)
{
    if (mkdirat(v2, name, 0755) < 0 && errno != EEXIST)
        return wh_fail_errno(err, "make the control group %s", name);
    int leaf = openat(v2, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (leaf < 0)
        return wh_fail_errno(err, "open the control group %s", name);
    return leaf;
}

void wh_cgroup_leaf_destroy(int v2, const char *name, int leaf)
{
    (void)wh_cgroup_kill(leaf, NULL);
    (void)close(leaf);
    remove_group(v2, name, wh_machine_ms() + REMOVE_TIMEOUT_MS);
}

/* The number after `key ` on a line of its own. */
static int64_t keyed_number(int dir, const char *file, const char *key)
{
    wh_autostr text = {0};
    if (dir < 0 || !wh_cgroup_read(dir, file, &text))
        return -1;
    struct wh_reader reader = wh_reader_of(text.data, text.len);
    struct wh_view line;
    while (wh_reader_line(&reader, &line)) {
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

int64_t wh_cgroup_oom_kills(int v2_dir, int v1_memory_dir)
{
    int64_t kills = keyed_number(v2_dir, "memory.events", "oom_kill");
    return kills >= 0 ? kills : keyed_number(v1_memory_dir, "memory.oom_control", "oom_kill");
}
