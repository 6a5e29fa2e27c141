/* One RUN: a process tree in a container of its own, by crun (or runc) and an OCI bundle. builder.md §1.3,
 * §4. Runs in the builder's user namespace; call wh_container_init() once per builder, then
 * wh_container_run() from any thread. */
#ifndef WH_CONTAINER_RUN_H
#define WH_CONTAINER_RUN_H

#include <sys/types.h>

#include "wherry/base/err.h"
#include "wherry/container/rootfs.h"

#define WH_MAX_RUN_MOUNTS 256
#define WH_RUN_SHM_DEFAULT ((uint64_t)64 << 20)

struct wh_container_options {
    const char *run_dir;   /* the builder's private tmpfs: bundles, mount points, secrets */
    const char *state_dir; /* where the compiled seccomp profile is kept */
    const char *runtime;   /* path or name; NULL: crun, else runc, on PATH */
    int bounded_fd; /* readable once this process is in its control groups: no RUN starts before; -1: it is.
                       Borrowed */
    int cgroup_v2;  /* the build's v2 group (see platform/cgroup.h); -1. Borrowed for ever, as the next */
    int cgroup_v1_memory; /* -1 */
};
/* Only remembers them: the runtime is looked for, and the seccomp profile loaded or compiled, by the first
 * RUN. Not thread-safe; once per process. */
int wh_container_init(const struct wh_container_options *options, struct wh_error *err);

enum wh_run_mount_type {
    WH_RUN_BIND,   /* source_fd (a folder or a file), ro unless rw */
    WH_RUN_TMPFS,  /* size bytes, 0: no limit */
    WH_RUN_CACHE,  /* source_fd: the cache folder; rw unless ro */
    WH_RUN_SECRET, /* content: a file on a private tmpfs; mode, uid, gid */
    WH_RUN_FILE,   /* content: a file on a read-only folder mounted at the target's parent (heredoc script) */
    WH_RUN_SOCKET, /* source_path: a socket to bind (ssh agent); mode, uid, gid of the caller's own making */
};

struct wh_run_mount {
    enum wh_run_mount_type type;
    const char *target; /* absolute, cleaned, not "/" */
    bool readonly;
    /* BIND, CACHE; borrowed; may be O_PATH. It lies in a mount of the builder's own namespace (the store, a
     * rootfs): a client's descriptor does not, so a context is copied into a tree first. */
    int source_fd;
    bool recursive;          /* BIND by source_fd: with the mounts below it */
    const char *source_path; /* SOCKET, or BIND where source_fd is -1 */
    const void *content;     /* SECRET, FILE; borrowed */
    size_t content_len;
    mode_t mode; /* SECRET, FILE */
    uid_t uid;
    gid_t gid;
    uint64_t size; /* TMPFS */
};

struct wh_run_ulimit {
    const char *name;    /* "nofile" */
    uint64_t soft, hard; /* UINT64_MAX: unlimited */
};

struct wh_run_host {
    const char *name;
    const char *address;
};

enum wh_run_network {
    WH_RUN_NET_HOST,
    WH_RUN_NET_NONE,
    WH_RUN_NET_OWN /* the namespace `netns`, made ready by the caller (container/network.h) */
};

struct wh_run_spec {
    const char *const *argv; /* NULL-terminated */
    const char *const *
        env; /* "NAME=value", NULL-terminated; PATH is added where it lacks, HOME by the user's passwd line */
    const char *cwd;  /* absolute; "" is "/"; made if missing, with the user as owner */
    const char *user; /* as in USER; NULL or "": 0 */
    const struct wh_rootfs *rootfs;
    bool readonly_rootfs;
    const struct wh_run_mount *mounts; /* in order: later ones on top */
    size_t nmounts;
    enum wh_run_network network;
    int netns;            /* WH_RUN_NET_OWN: borrowed */
    const char *address;  /* WH_RUN_NET_OWN: its own, which its hostname means; NULL: 127.0.0.1 */
    const char *hostname; /* NULL: buildkitsandbox */
    const struct wh_run_host *hosts;
    size_t nhosts;
    uint64_t shm_size; /* bytes; 0: WH_RUN_SHM_DEFAULT */
    const struct wh_run_ulimit *ulimits;
    size_t nulimits;
    bool insecure; /* --security=insecure, already allowed by the caller: all capabilities of the namespace,
                      no seccomp, no masks */

    /* Output as it arrives, from the calling thread; stream 1 or 2. NULL: dropped. */
    void (*on_output)(void *arg, int stream, const char *data, size_t len);
    void *arg;
    /* Called when all is ready, before it starts: the container's folder, by which wh_container_exec() finds
     * it while it runs. NULL: nobody asks. */
    void (*on_box)(void *arg, const char *box);
    int cancel_fd; /* readable (or closed by the peer): kill all and return WH_E_CANCELED; -1: none */
};

struct wh_run_result {
    int exit_code; /* 0..255; 128 + signal if killed */
    bool oom;      /* the kernel killed something in it for want of memory */
};

/* Writes /etc/hosts of a container that runs anew, from the spec's address, hostname and hosts. box: as
 * on_box gave it. */
int wh_container_write_hosts(const char *box, const struct wh_run_spec *spec, struct wh_error *err);

/* Blocks until all processes of it are gone. 0: the process ran and result tells how it ended (also a missing
 * program: exit code 1 with the runtime's sentence on stream 2, or 127/126 if the shell says so); negative:
 * it could not be run, or was canceled. In both cases nothing of it runs any more, and mount stubs are out of
 * the upper. */
int wh_container_run(const struct wh_run_spec *spec, struct wh_run_result *result, struct wh_error *err);

/* A further process in a container that runs (wh_run_spec.on_box gave its folder): spec's argv, env, cwd,
 * user and rootfs count. Blocks until it ended. fds: standard input, output and error; borrowed; below 0:
 * /dev/null. control is readable when somebody wants something: then on_control is called with the process'
 * number, and a negative answer kills it. *code: as wh_run_result.exit_code. */
struct wh_exec_io {
    int fds[3];
    int control; /* -1: none */
    int (*on_control)(void *arg, pid_t pid);
    void *arg;
};
int wh_container_exec(const char *box, const struct wh_run_spec *spec, const struct wh_exec_io *io, int *code,
                      struct wh_error *err);

/* `process "/bin/sh -c false" did not complete successfully: exit code: 1`, with what killed it. Owned. */
char *wh_run_failure_text(const struct wh_run_spec *spec, const struct wh_run_result *result);

#endif
