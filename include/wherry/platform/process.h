/* Starting child processes: the identity, folder, environment, descriptors and limits that a step, a worker
 * or a builder gets, in one call. uv_spawn() is not used for them: it drops supplementary groups and knows no
 * cgroups, pidfds or oom scores (job-execution.md §9).
 *
 * A child always gets: default signal dispositions, an empty signal mask, only the descriptors that it is
 * given (every other one is close-on-exec here, and 0-2 that are not given are /dev/null). Its exit is seen
 * on the pidfd, which polls readable; nobody needs SIGCHLD. */
#ifndef WH_PLATFORM_PROCESS_H
#define WH_PLATFORM_PROCESS_H

#include <signal.h>
#include <sys/types.h>

#include "wherry/base/err.h"

#define WH_MAX_PROCESS_FDS 8
#define WH_MAX_PROCESS_CGROUPS 4

struct wh_process_fd {
    int fd; /* borrowed: the caller closes it after the start */
    int as; /* its number in the child; >= 3 */
};

struct wh_process_options {
    const char *path;  /* the program, no search; not used by wh_process_fork() */
    char *const *argv; /* NULL-terminated */
    char *const *env;  /* NULL-terminated "NAME=value"; NULL: the caller's own */
    const char *cwd;   /* NULL: the caller's */

    /* Borrowed; a number below 0 is /dev/null. Zeroed options would give descriptor 0: start from
     * WH_PROCESS_OPTIONS. */
    int stdin_fd, stdout_fd, stderr_fd;
    struct wh_process_fd fds[WH_MAX_PROCESS_FDS];
    size_t nfds;

    bool new_group;   /* leads a process group of its own */
    bool new_session; /* setsid() instead */

    /* Identity. Without set_ids the child stays who the caller is. The capability sets end empty unless uid
     * is 0. */
    bool set_ids;
    uid_t uid;
    gid_t gid;
    const gid_t *groups; /* supplementary ones, all of them; NULL: none */
    size_t ngroups;

    /* Folders of cgroups (v2: one, v1: one a controller) that the child enters before it drops its identity.
     * Borrowed. */
    int cgroups[WH_MAX_PROCESS_CGROUPS];
    size_t ncgroups;

    bool set_oom_score; /* best effort: lowering it needs a right that is mostly absent */
    int oom_score_adj;  /* -1000...1000 */
    int death_signal;   /* sent to the child when the calling thread ends; 0: none */
    int umask;          /* below 0: the caller's */
};
/* Everything default; nothing on 0-2 but /dev/null. */
#define WH_PROCESS_OPTIONS                                                                                   \
    ((struct wh_process_options){.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .umask = -1})

struct wh_process {
    pid_t pid; /* 0: none */
    int pidfd; /* owned, close-on-exec; -1: none */
};
#define WH_PROCESS_NONE ((struct wh_process){.pid = 0, .pidfd = -1})

/* Starts a program. It returns when the program runs (exec done) or failed: the error names the step that
 * failed, with its errno in sys_errno ("start /usr/bin/git in /w: No such file or directory"). The caller is
 * blocked meanwhile, for the time of an exec (the memory is shared until then, nothing is copied). */
int wh_process_spawn(const struct wh_process_options *options, struct wh_process *out, struct wh_error *err);

/* Starts a child that goes on in this program: run(data) is its whole life, its return value the exit code
 * (stdio is flushed, atexit handlers do not run). argv and path are not used, except that argv[0] becomes the
 * thread's name. env is installed as `environ`. Only the calling thread exists in the child: it must not
 * touch the parent's loop or HTTP client. All descriptors above 2 that are not in fds are closed in the
 * child. */
int wh_process_fork(const struct wh_process_options *options, int (*run)(void *data), void *data,
                    struct wh_process *out, struct wh_error *err);

/* How it ended. */
struct wh_process_exit {
    int code;   /* exit code; 128 + signal where a signal ended it */
    int signal; /* 0: none */
};
/* Blocks. Closes the pidfd and clears *process. */
int wh_process_wait(struct wh_process *process, struct wh_process_exit *out, struct wh_error *err);
/* 1: it ended, out is set, *process is cleared; 0: it runs; negative: error. */
int wh_process_reap(struct wh_process *process, struct wh_process_exit *out, struct wh_error *err);
/* By pidfd, so never to a stranger who got the number. Harmless after the end. */
void wh_process_signal(const struct wh_process *process, int signal);
/* To its process group (needs new_group or new_session). */
void wh_process_signal_group(const struct wh_process *process, int signal);
/* Closes the pidfd without waiting. */
void wh_process_forget(struct wh_process *process);

/* A close-on-exec pipe: ends[0] to read (non-blocking if asked), ends[1] to write. */
int wh_pipe(int ends[2], bool nonblocking_read, struct wh_error *err);

/* For short helper programs (git, id): runs it to its end with stdin at /dev/null and collects at most max
 * bytes of standard output and of standard error each (NULL: as options say; more is drained and dropped).
 * Returns the exit code (128 + signal), negative if it could not be started. Blocks. */
struct wh_str;
int wh_process_run(const struct wh_process_options *options, size_t max, struct wh_str *out,
                   struct wh_str *errors, struct wh_error *err);

/* First regular file `name` in the folders of a PATH value (the execute bit counts unless any_file); a name
 * with a slash is taken as it is. Owned by the caller; NULL if there is none. */
char *wh_find_program(const char *name, const char *path, bool any_file);

/* Where this is the first process of its pid namespace (of a container): whatever loses its parent there
 * becomes its child, and stays a zombie unless it is waited for. So it stays behind as that waiter, which
 * passes signals on and ends as the other does, and the program goes on in a child: returns 0 there, and
 * where it is not the first. Call it before there are threads. */
int wh_init_split(struct wh_error *err);

/* ---- users ---- */
#define WH_MAX_USER_GROUPS 256
struct wh_user {
    uid_t uid;
    gid_t gid;
    char *name; /* owned */
    char *home; /* owned */
    gid_t groups[WH_MAX_USER_GROUPS];
    size_t ngroups;
};
/* By name, or by number where no such name exists (then without groups, and home "/"). */
int wh_user_find(const char *name_or_uid, struct wh_user *out, struct wh_error *err);
void wh_user_clear(struct wh_user *user);

/* ---- leftovers of a job (job-execution.md §9) ---- */
/* Called for each process of this user (not the caller, not its ancestors) whose environment has exactly
 * NAME=value. */
typedef void (*wh_process_found_fn)(void *data, pid_t pid, const char *comm);
int wh_process_find_env(const char *name, const char *value, wh_process_found_fn found, void *data,
                        struct wh_error *err);
/* SIGKILL to every process in the cgroup folder and in those below (cgroup.kill where there is one). */
int wh_cgroup_kill(int cgroup, struct wh_error *err);

/* A group of the unified hierarchy for one job, made by its starter below its own group and handed to the
 * job's user, who may make leaves in it. Best effort: where none can be made (v1 alone, no delegation), fd is
 * -1 and everything goes on without. */
struct wh_job_cgroup {
    int fd, parent; /* owned */
    char name[64];
};
#define WH_JOB_CGROUP_NONE ((struct wh_job_cgroup){.fd = -1, .parent = -1})
/* Put fd into wh_process_options.cgroups of the job's first process. */
bool wh_job_cgroup_create(uid_t owner, gid_t group, struct wh_job_cgroup *out);
/* Kills everything in it, removes it, closes it. Harmless for WH_JOB_CGROUP_NONE. */
void wh_job_cgroup_destroy(struct wh_job_cgroup *g);
/* Kills and removes the groups of jobs whose starter is dead (below the caller's own group). */
void wh_job_cgroup_sweep(void);
/* Inside the job: how many processes the kernel killed for want of memory so far; -1: not known. own_group:
 * in the job's group; else (no memory controller there) on the whole machine. */
int64_t wh_job_oom_kills(bool *own_group);
/* Inside the job: a leaf for one step in the job's group; its descriptor (owned by the caller), or -1. */
int wh_job_cgroup_leaf(const char *name);

#endif
