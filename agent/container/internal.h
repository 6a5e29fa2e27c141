/* Private to the container room: what is set up once, and the parts of a RUN. */
#ifndef WH_CONTAINER_INTERNAL_H
#define WH_CONTAINER_INTERNAL_H

#include <cjson/cJSON.h>
#include <time.h>

#include "wherry/base/str.h"

#include "wherry/container/run.h"
#include "wherry/container/user.h"

/* Set once by wh_container_init() and wh_container_ready(); read by all threads after. */
struct wh_container {
    char *run_dir;
    char *state_dir;
    char *runtime_name; /* as configured; NULL: find one */
    char *runtime;      /* the program */
    bool is_crun;
    int bounded_fd;
    int cgroup_v2;
    int cgroup_v1_memory;
    char *seccomp; /* the compiled profile in base64; crun only */
};
/* What wh_container_init() was told; NULL before it. */
const struct wh_container *wh_container_get(void);
/* Finds the runtime and readies the profile, once; NULL with err if there is no runtime. */
const struct wh_container *wh_container_ready(struct wh_error *err);
/* A fresh private folder below the run folder, 0700. Owned; NULL on error. */
char *wh_container_box(const char *hint, struct wh_error *err);

/* ---- the spec's defaults ---- */
const char *wh_run_hostname(const struct wh_run_spec *spec);
const char *wh_run_cwd(const struct wh_run_spec *spec);

/* ---- seccomp ---- */
/* The profile in the OCI form, for a runtime that takes no BPF (runc). */
cJSON *wh_seccomp_json(void);
/* The profile as a BPF program. */
int wh_seccomp_compile(struct wh_str *out, struct wh_error *err);
/* The same from a file in the state folder, made if missing or damaged. */
int wh_seccomp_load(const char *state_dir, struct wh_str *out, struct wh_error *err);

/* ---- mount stubs and cwd (builder.md §4 "Stubs", "cwd") ---- */
struct wh_stub;
struct wh_stubs {
    struct wh_stub *items; /* owned, in the order they were made */
    size_t n;
    size_t cap;
};
/* Folders of the layers below that a stub made overlayfs copy up: notes for the end, where those that nothing
 * changed are taken out of the upper again. */
struct wh_copied;
struct wh_copied *wh_copied_new(void);
/* Notes the folder at path as it is now. */
void wh_copied_note(struct wh_copied *c, int root_fd, const char *path);
void wh_copied_free(struct wh_copied *c);
/* After the umount. */
void wh_copied_drop(const struct wh_copied *c, int upper);
/* Makes the mount point (a folder or an empty file) in the root file system unless it exists, and notes what
 * it made. */
int wh_stubs_add(struct wh_stubs *s, int root_fd, const char *target, bool folder, struct wh_copied *copied,
                 struct wh_error *err);
/* Removes what is still an empty stub, gives the parents their times back. Frees. */
void wh_stubs_clean(struct wh_stubs *s, int root_fd);
/* The folder with its parents, 0755, new ones owned by the user. They stay. */
int wh_make_cwd(int root_fd, const char *cwd, uid_t uid, gid_t gid, struct wh_error *err);

/* ---- the bundle ---- */
/* A mount as the runtime gets it: a plain path on our side. */
struct wh_bundle_mount {
    const struct wh_run_mount *mount;
    char *source; /* owned; NULL for a tmpfs */
    bool folder;
    bool bound; /* source is a mount of ours, to be undone */
};
struct wh_bundle {
    const struct wh_run_spec *spec;
    const struct wh_container *container;
    char *box; /* owned: the bundle's folder */
    struct wh_run_user user;
    struct wh_bundle_mount *mounts; /* owned */
};
/* hosts, resolv.conf, secrets, scripts, binds: all that config.json refers to. */
int wh_bundle_prepare(struct wh_bundle *b, struct wh_error *err);
/* The process member of config.json. Owned by the caller. */
cJSON *wh_bundle_process(const struct wh_bundle *b);
int wh_bundle_write_config(const struct wh_bundle *b, struct wh_error *err);
void wh_bundle_clean(struct wh_bundle *b);
/* The text of resolv.conf for a RUN. */
int wh_resolv_conf(bool host_network, struct wh_str *out, struct wh_error *err);

/* ---- the runtime ---- */
/* Starts it, hands on the output, waits for the end or the cancel. */
int wh_runtime_run(const struct wh_bundle *b, struct wh_run_result *result, struct wh_error *err);

#endif
