/* Who runs a job's steps. */
#include "daemon/job_user.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/base/log.h"

#define WH_MAX_ENVIRON ((size_t)4 << 20)
#define KILL_ROUNDS 50

/* A lock for the whole machine on a user, held until the agent ends: what a job leaves is killed by user, so
 * no two runners may run jobs as the same one. Runners that were told to share a user hold it together
 * (LOCK_SH). Returns a descriptor, or -1 while another has it. */
static int lock_user(uid_t uid, int how)
{
    wh_autofree char *path = wh_printf(WH_JOB_USER_LOCKS "/job-user-%u", uid);
    if (wh_mkdir_p(WH_JOB_USER_LOCKS, 0755, NULL) < 0)
        return -1;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && flock(fd, how | LOCK_NB) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* The number that jobs run as: the one that the work folder belongs to already, else the first that is free.
 */
static int lock_number(size_t slot, const char *work, struct job_user *out, char **number,
                       struct wh_error *err)
{
    struct stat st;
    bool known =
        stat(work, &st) == 0 && st.st_uid >= WH_JOB_USER_BASE && st.st_uid < WH_JOB_USER_BASE + WH_JOB_USERS;
    for (size_t i = known ? 0 : 1; i <= WH_JOB_USERS; i++) {
        unsigned uid = i == 0 ? st.st_uid : (unsigned)(WH_JOB_USER_BASE + (slot + i - 1) % WH_JOB_USERS);
        out->lock = lock_user(uid, LOCK_EX);
        if (out->lock < 0)
            continue;
        *number = wh_printf("%u", uid);
        return 0;
    }
    return wh_fail(err, WH_E_BUSY, "no user number from %d to %d is free for jobs: name one by --job-user",
                   WH_JOB_USER_BASE, WH_JOB_USER_BASE + WH_JOB_USERS - 1);
}

int job_user_choose(const char *name, size_t slot, const char *work, struct job_user *out,
                    struct wh_error *err)
{
    memset(out, 0, sizeof *out);
    out->lock = -1;
    if (geteuid() != 0) {
        wh_autofree char *self = wh_printf("%u", geteuid());
        const struct passwd *entry = getpwuid(geteuid());
        if (name && entry && !wh_streq(name, entry->pw_name) && !wh_streq(name, self))
            return wh_fail(err, WH_E_ARGUMENT,
                           "--job-user %s needs an agent that is root; this one runs as %s", name,
                           entry->pw_name);
        return wh_user_find(self, &out->user, err);
    }
    wh_autofree char *number = NULL;
    const struct passwd *account = name ? NULL : getpwnam(WH_JOB_USER_ACCOUNT);
    if (account)
        out->lock = lock_user(account->pw_uid, LOCK_EX);
    bool use_account = out->lock >= 0;
    if (!name && !use_account && lock_number(slot, work, out, &number, err) < 0)
        return -1;
    const char *chosen = name ? name : use_account ? WH_JOB_USER_ACCOUNT : number;
    if (wh_user_find(chosen, &out->user, err))
        return wh_wrap(err, "--job-user %s", chosen);
    if (name)
        out->lock = lock_user(out->user.uid, LOCK_SH);
    out->alone = !name && out->lock >= 0 && out->user.uid != 0;
    out->change = out->user.uid != 0;
    if (!out->change)
        wh_log_warning("jobs run as root: whatever a workflow does, it does with all rights");
    return 0;
}

void job_user_clear(struct job_user *u)
{
    wh_user_clear(&u->user);
    if (u->lock >= 0)
        close(u->lock);
    u->lock = -1;
}

static bool may_enter(const struct job_user *u, const struct stat *st)
{
    if (st->st_uid == u->user.uid)
        return st->st_mode & S_IXUSR;
    if (st->st_gid == u->user.gid)
        return st->st_mode & S_IXGRP;
    for (size_t i = 0; i < u->user.ngroups; i++)
        if (st->st_gid == u->user.groups[i])
            return st->st_mode & S_IXGRP;
    return st->st_mode & S_IXOTH;
}

/* Every folder on the way must let the user through. */
static int check_way(const struct job_user *u, const char *path, struct wh_error *err)
{
    for (size_t i = 1; path[i - 1]; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        wh_autofree char *part = wh_strndup(path, i);
        struct stat st;
        if (stat(part, &st))
            return wh_fail_errno(err, "work folder %s: %s", path, part);
        if (S_ISDIR(st.st_mode) && !may_enter(u, &st))
            return wh_fail(
                err, WH_E_DENIED,
                "work folder %s: the job user %s may not enter %s. Register with --work DIR at a place "
                "that it can reach, or chmod o+x it",
                path, u->user.name, part);
        if (path[i] == '\0')
            break;
    }
    return 0;
}

int job_user_prepare_work(const struct job_user *u, const char *work, struct wh_error *err)
{
    struct stat st;
    mode_t old = umask(022);
    int code = wh_mkdir_p(work, 0755, err);
    umask(old);
    if (code)
        return -1;
    if (!u->change)
        return 0;
    wh_autoclose int fd = open(work, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st))
        return wh_fail_errno(err, "work folder %s", work);
    if (st.st_uid != u->user.uid && fchown(fd, u->user.uid, u->user.gid))
        return wh_fail_errno(err, "give the work folder %s to %s", work, u->user.name);
    if ((st.st_mode & 07777) != 0700 && fchmod(fd, 0700))
        return wh_fail_errno(err, "close the work folder %s to others than %s", work, u->user.name);
    return check_way(u, work, err);
}

/* Whether a process lives and what its real user is, from its status: a process that is not dumpable shows
 * its files as root's. */
static bool runs_as(const char *pid, uid_t uid)
{
    wh_autofree char *path = wh_printf("/proc/%s/status", pid);
    wh_autostr text = {0};
    unsigned real;
    if (wh_read_file(AT_FDCWD, path, 65536, &text, NULL) < 0)
        return false;
    const char *line = strstr(wh_str_text(&text), "\nUid:");
    return line && !strstr(wh_str_text(&text), "\nState:\tZ") && sscanf(line, "\nUid: %u", &real) == 1 &&
           real == uid;
}

/* environ is a sequence of NUL-terminated entries. */
static bool carries(const char *pid, const char *entry)
{
    wh_autofree char *path = wh_printf("/proc/%s/environ", pid);
    wh_autostr text = {0};
    size_t len = strlen(entry) + 1;
    if (wh_read_file(AT_FDCWD, path, WH_MAX_ENVIRON, &text, NULL) < 0 || text.len < len)
        return false;
    if (memcmp(text.data, entry, len) == 0)
        return true;
    for (size_t i = 0; i + len < text.len; i++)
        if (text.data[i] == '\0' && memcmp(text.data + i + 1, entry, len) == 0)
            return true;
    return false;
}

/* By a pidfd that was opened before the look: a number that went to a stranger meanwhile is the stranger's.
 */
static bool kill_if_left(const struct job_user *u, const char *name, const char *entry)
{
    uint64_t pid;
    if (!wh_parse_u64(name, INT32_MAX, &pid) || pid <= 1)
        return false;
    wh_autoclose int pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    if (pidfd < 0 || !runs_as(name, u->user.uid) || (!u->alone && !carries(name, entry)))
        return false;
    wh_log_debug("killing process %s, left by a job", name);
    return syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0;
}

void job_user_kill_left(const struct job_user *u, const char *mark)
{
    wh_autofree char *entry = wh_printf(WH_JOB_MARK "=%s", mark);
    /* Until a round finds none: a process may have forked while the list was read. */
    bool found = true;
    for (int round = 0; round < KILL_ROUNDS && found; round++) {
        DIR *proc = opendir("/proc");
        const struct dirent *name;
        found = false;
        while (proc && (name = readdir(proc)))
            found |= kill_if_left(u, name->d_name, entry);
        if (proc)
            closedir(proc);
        if (found)
            (void)poll(NULL, 0, 1);
    }
    if (found)
        wh_log_warning("processes of user %s go on forking after their job's end", u->user.name);
}
