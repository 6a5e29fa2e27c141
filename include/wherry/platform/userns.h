/* User namespaces: who is who inside a build. Where the agent is root, a builder's namespace has ids 0..65535
 * from a range of sub-ids that no account has, and WH_USERNS_JOB_ID, which is the job's own user: so the
 * builder, root in there, reads what the job can read and nothing of the machine's root. Where the agent is
 * an ordinary user, the builder's root is that user (the job is, too), and the other ids are the user's
 * sub-ids: so the store stays the user's. Only the launcher writes the maps. */
#ifndef WH_PLATFORM_USERNS_H
#define WH_PLATFORM_USERNS_H

#include <sys/types.h>

#include "wherry/platform/process.h"

#define WH_USERNS_SIZE 65536u   /* ids 0..65535 inside */
#define WH_USERNS_JOB_ID 65536u /* the inside id of the job's user and group */
#define WH_USERNS_ROOT_FIRST                                                                                 \
    524288u /* the range that root takes when neither root nor wherry has one in /etc/subuid */
#define WH_NO_ID ((uid_t)-1)

struct wh_userns_map {
    uid_t root_uid; /* outside id of inside uid 0; owner of the state folder */
    gid_t root_gid;
    uid_t first_uid; /* the range of sub-ids: inside 0.. as root (so first_uid is root_uid), inside 1.. as a
                        user */
    gid_t first_gid;
    uid_t job_uid; /* outside id of WH_USERNS_JOB_ID; WH_NO_ID: not mapped */
    gid_t job_gid;
};

/* Which range this process may use: for root the one of `wherry` or `root` in /etc/subuid and /etc/subgid,
 * else WH_USERNS_ROOT_FIRST or the next free block after it; for a user, their own line (the error says how
 * to get one). job_uid 0 is never mapped (WH_NO_ID). */
int wh_userns_map_choose(uid_t job_uid, gid_t job_gid, struct wh_userns_map *out, struct wh_error *err);

/* Writes uid_map and gid_map of a process that is in a new user namespace without maps: directly as root,
 * else by newuidmap and newgidmap (two short child processes, waited for). */
int wh_userns_write_maps(pid_t pid, const struct wh_userns_map *map, struct wh_error *err);

/* For callers that may not wait: an ordinary user's map by one of these, newgidmap first. */
enum wh_userns_helper { WH_USERNS_NEWGIDMAP, WH_USERNS_NEWUIDMAP };
const char *wh_userns_helper_name(enum wh_userns_helper kind);
int wh_userns_helper_start(enum wh_userns_helper kind, pid_t pid, const struct wh_userns_map *map,
                           struct wh_process *helper, struct wh_error *err);
/* What its end means; 0: the map is written. */
int wh_userns_helper_result(enum wh_userns_helper kind, const struct wh_process_exit *ended,
                            const struct wh_userns_map *map, struct wh_error *err);

/* For commands that work on a user's store without a builder (`wherry cache prune`): layers' files belong to
 * sub-ids there. The process, which must have one thread still, becomes root of a namespace with the
 * builder's ids. 1: it did; 0: it is root already, and nothing is needed. */
int wh_userns_enter(struct wh_error *err);

/* A copy of the mount that dirfd lies in, cut at dirfd, on which the files' owner N appears as the
 * namespace's N: so a builder reads root's own 0600 files of one folder, and no others; read-only, or what a
 * builder makes there would be root's, set-id bits and all. userns is an open
 * /proc/PID/ns/user. Needs CAP_SYS_ADMIN, Linux 5.12 and a file system that allows it; without these
 * WH_E_UNSUPPORTED, and the caller goes on with dirfd itself. Returns a directory descriptor (close-on-exec),
 * on which openat2() works as on dirfd. */
int wh_idmap_clone(int dirfd, int userns, struct wh_error *err);

#endif
