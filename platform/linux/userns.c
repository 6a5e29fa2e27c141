/* Which ids a builder's user namespace gets, and the writing of its maps. */
#include "wherry/platform/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wherry/base/fs.h"

#define MAX_SUBID_BYTES ((size_t)1 << 20)

struct range {
    uint64_t first;
    uint64_t count;
};

/* One line of /etc/subuid: name-or-uid:first:count. */
static bool parse_line(struct wh_view line, struct wh_view *owner, struct range *out)
{
    struct wh_view rest;
    struct wh_view first;
    struct wh_view count;
    if (!wh_view_split(wh_view_trim(line), ':', owner, &rest) || !wh_view_split(rest, ':', &first, &count))
        return false;
    wh_autofree char *first_text = wh_view_dup(first);
    wh_autofree char *count_text = wh_view_dup(count);
    return wh_parse_u64(first_text, UINT32_MAX, &out->first) &&
           wh_parse_u64(count_text, UINT32_MAX, &out->count);
}

/* The first range of at least WH_USERNS_SIZE ids that name (or number) has. */
static bool find_range(const struct wh_str *file, const char *name, uid_t id, uint64_t *first)
{
    char number[24];
    (void)snprintf(number, sizeof number, "%u", id);
    struct wh_reader reader = wh_reader_of(file->data, file->len);
    struct wh_view line;
    struct wh_view owner;
    struct range range;
    while (wh_reader_line(&reader, &line)) {
        if (!parse_line(line, &owner, &range) || range.count < WH_USERNS_SIZE || range.first == 0)
            continue;
        if ((name && wh_view_eq(owner, name)) || (id != WH_NO_ID && wh_view_eq(owner, number))) {
            *first = range.first;
            return true;
        }
    }
    return false;
}

/* Root's default: the first block from WH_USERNS_ROOT_FIRST on that no line of the file touches. */
static uint64_t free_block(const struct wh_str *file)
{
    uint64_t first = WH_USERNS_ROOT_FIRST;
    for (bool moved = true; moved;) {
        moved = false;
        struct wh_reader reader = wh_reader_of(file->data, file->len);
        struct wh_view line;
        struct wh_view owner;
        struct range range;
        while (wh_reader_line(&reader, &line))
            if (parse_line(line, &owner, &range) && range.first < first + WH_USERNS_SIZE &&
                first < range.first + range.count) {
                first += WH_USERNS_SIZE;
                moved = true;
            }
    }
    return first;
}

static int choose(const char *path, uid_t self, const char *name, uint64_t *first, struct wh_error *err)
{
    wh_autostr file = {0};
    wh_autoerror ignored = {0};
    if (wh_read_file(AT_FDCWD, path, MAX_SUBID_BYTES, &file, &ignored) < 0 && ignored.code != WH_E_NOT_FOUND)
        return wh_error_move(err, &ignored);
    if (self == 0) {
        if (!find_range(&file, "wherry", WH_NO_ID, first) && !find_range(&file, "root", 0, first))
            *first = free_block(&file);
        return 0;
    }
    if (find_range(&file, name, self, first))
        return 0;
    return wh_fail(
        err, WH_E_DENIED,
        "user %s has no range of %u ids in %s, which a build needs; as root: usermod --add-subuids "
        "100000-165535 --add-subgids 100000-165535 %s",
        name, WH_USERNS_SIZE, path, name);
}

int wh_userns_map_choose(uid_t job_uid, gid_t job_gid, struct wh_userns_map *out, struct wh_error *err)
{
    uid_t self = geteuid();
    const struct passwd *account = self == 0 ? NULL : getpwuid(self);
    wh_autofree char *name = account ? wh_strdup(account->pw_name) : wh_printf("%u", self);
    uint64_t uid = 0;
    uint64_t gid = 0;
    if (choose("/etc/subuid", self, name, &uid, err) < 0 || choose("/etc/subgid", self, name, &gid, err) < 0)
        return -1;
    *out = (struct wh_userns_map){
        .root_uid = self == 0 ? (uid_t)uid : self,
        .root_gid = self == 0 ? (gid_t)gid : getegid(),
        .first_uid = (uid_t)uid,
        .first_gid = (gid_t)gid,
        .job_uid = self == 0 ? job_uid : WH_NO_ID,
        .job_gid = self == 0 ? job_gid : WH_NO_ID,
    };
    if (out->job_uid == 0 || out->job_gid == 0) {
        out->job_uid = WH_NO_ID;
        out->job_gid = WH_NO_ID;
    }
    return 0;
}

static int write_direct(pid_t pid, const char *file, uint32_t first, uint32_t job, struct wh_error *err)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    char text[96];
    int len = snprintf(text, sizeof text, "0 %u %u\n", first, WH_USERNS_SIZE);
    if (job != WH_NO_ID)
        len += snprintf(text + len, sizeof text - (size_t)len, "%u %u 1\n", WH_USERNS_JOB_ID, job);
    wh_autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return wh_fail_errno(err, "open %s", path);
    /* The kernel takes a map in one write only. */
    if (write(fd, text, (size_t)len) != len)
        return wh_fail_errno(err, "write the map of the build's user namespace (ids %u to %u) to %s", first,
                             first + WH_USERNS_SIZE - 1, path);
    return 0;
}

const char *wh_userns_helper_name(enum wh_userns_helper kind)
{
    return kind == WH_USERNS_NEWGIDMAP ? "newgidmap" : "newuidmap";
}

int wh_userns_helper_start(enum wh_userns_helper kind, pid_t pid, const struct wh_userns_map *map,
                           struct wh_process *helper, struct wh_error *err)
{
    const char *name = wh_userns_helper_name(kind);
    bool groups = kind == WH_USERNS_NEWGIDMAP;
    char text[4][16];
    (void)snprintf(text[0], sizeof text[0], "%d", (int)pid);
    (void)snprintf(text[1], sizeof text[1], "%u", groups ? map->root_gid : map->root_uid);
    (void)snprintf(text[2], sizeof text[2], "%u", groups ? map->first_gid : map->first_uid);
    (void)snprintf(text[3], sizeof text[3], "%u", WH_USERNS_SIZE - 1);
    char zero[] = "0";
    char one[] = "1";
    char *argv[] = {(char *)name, text[0], zero, text[1], one, one, text[2], text[3], NULL};
    wh_autofree char *path = wh_find_program(name, getenv("PATH"), false);
    if (!path)
        return wh_fail(err, WH_E_NOT_FOUND,
                       "%s is not there, which writes an ordinary user's id maps (package uidmap)", name);
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    o.path = path;
    o.argv = argv;
    o.stdout_fd = o.stderr_fd = STDERR_FILENO;
    return wh_process_spawn(&o, helper, err) < 0 ? wh_wrap(err, "package uidmap") : 0;
}

int wh_userns_helper_result(enum wh_userns_helper kind, const struct wh_process_exit *ended,
                            const struct wh_userns_map *map, struct wh_error *err)
{
    uint32_t first = kind == WH_USERNS_NEWGIDMAP ? map->first_gid : map->first_uid;
    if (ended->code == 0)
        return 0;
    return wh_fail(err, WH_E_DENIED,
                   "%s could not write the map of the build's user namespace (ids %u to %u)",
                   wh_userns_helper_name(kind), first, first + WH_USERNS_SIZE - 1);
}

static int write_by_helper(enum wh_userns_helper kind, pid_t pid, const struct wh_userns_map *map,
                           struct wh_error *err)
{
    struct wh_process helper = WH_PROCESS_NONE;
    struct wh_process_exit ended;
    return wh_userns_helper_start(kind, pid, map, &helper, err) < 0 ||
                   wh_process_wait(&helper, &ended, err) < 0 ||
                   wh_userns_helper_result(kind, &ended, map, err) < 0
               ? -1
               : 0;
}

int wh_userns_write_maps(pid_t pid, const struct wh_userns_map *map, struct wh_error *err)
{
    bool written = geteuid() == 0 ? write_direct(pid, "gid_map", map->root_gid, map->job_gid, err) == 0 &&
                                        write_direct(pid, "uid_map", map->root_uid, map->job_uid, err) == 0
                                  : write_by_helper(WH_USERNS_NEWGIDMAP, pid, map, err) == 0 &&
                                        write_by_helper(WH_USERNS_NEWUIDMAP, pid, map, err) == 0;
    return written ? 0 : -1;
}

/* The helper half of wh_userns_enter(): stays outside, waits for the namespace, writes the maps. */
static int write_from_outside(pid_t pid, int ready, const struct wh_userns_map *map)
{
    char byte;
    wh_autoerror err = {0};
    if (read(ready, &byte, 1) != 1)
        return 1;
    if (wh_userns_write_maps(pid, map, &err) == 0)
        return 0;
    (void)fprintf(stderr, "wherry: %s\n", wh_error_text(&err));
    return 1;
}

int wh_userns_enter(struct wh_error *err)
{
    struct wh_userns_map map;
    int ends[2];
    int status = 0;
    if (geteuid() == 0)
        return 0;
    if (wh_userns_map_choose(WH_NO_ID, WH_NO_ID, &map, err) < 0)
        return -1;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return wh_fail_errno(err, "make a pipe");
    pid_t self = getpid();
    pid_t helper = fork();
    if (helper == 0) {
        (void)close(ends[1]);
        _exit(write_from_outside(self, ends[0], &map));
    }
    /* newuidmap wants a /proc entry that is its caller's. */
    int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    bool made = helper > 0 && unshare(CLONE_NEWUSER) == 0;
    int why = errno;
    (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    if (made)
        (void)!write(ends[1], "r", 1);
    (void)close(ends[0]);
    (void)close(ends[1]);
    if (helper > 0)
        while (waitpid(helper, &status, 0) < 0 && errno == EINTR)
            ;
    (void)prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0);
    errno = why;
    if (!made)
        return wh_fail_errno(err, "make a user namespace");
    if (status != 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        return wh_fail(err, WH_E_DENIED, "could not become root of a user namespace");
    return 1;
}
