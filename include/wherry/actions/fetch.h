/* Fetching foreign actions (job-execution.md §7.5): a short process of its own, `wherry fetcher`, that asks
 * the service which commits are meant, downloads what the machine does not have yet, looks at every byte of
 * it, and keeps the archives by commit under <state>/actions. It runs as the store's owner and knows the
 * job's tokens by the agent's own reading of the message; the worker, which has the uid of the job's code,
 * only says which actions it wants and gets open archives, read-only.
 *
 * On the channel: worker -> fetcher {"type":"actions","list":[{"name","ref","path"}]} or
 * {"type":"node","version":20}; fetcher -> worker {"type":"say","level","text"}, {"type":"action","name",
 * "ref","sha","top","cached","packageVersion"?,"packageDigest"?} with one descriptor,
 * {"type":"node","name"} with one, {"type":"done"}, {"type":"error","text"}. */
#ifndef WH_ACTIONS_FETCH_H
#define WH_ACTIONS_FETCH_H

#include <sys/types.h>
#include <uv.h>

#include "wherry/base/json.h"

#define WH_MAX_ACTION_TARBALL ((uint64_t)1 << 30) /* bytes as downloaded */
#define WH_MAX_ACTION_BYTES ((uint64_t)4 << 30)   /* unpacked */
#define WH_MAX_ACTION_ENTRIES ((uint64_t)200000)
#define WH_MAX_ACTION_RATIO 200 /* unpacked to packed, beyond WH_ACTION_RATIO_FREE */
#define WH_ACTION_RATIO_FREE ((uint64_t)64 << 20)
#define WH_ACTION_KEEP_DAYS 30 /* archives that no job asked for so long go */
#define WH_FETCHER_CHANNEL_FD 3
#define WH_FETCHER_LAUNCH_FD 4

/* Looks at a whole archive: one folder at the top, nothing that leads out of it, no devices, within the
 * limits, and of that commit where it says of which it is. *top is the folder's name (owned by the caller).
 * Reads from the start by pread(). */
int wh_action_archive_check(int fd, const char *sha, char **top, struct wh_error *err);
/* The commit that `git archive` wrote into the stream's first header; NULL if there is none. Owned. */
char *wh_action_archive_commit(int fd);

struct wh_fetch_options {
    const char *state; /* as wh_build_launch_options */
    uid_t job_uid;
    gid_t job_gid;
    const cJSON *facts; /* wh_github_action_facts(); borrowed for the call */
};
struct wh_fetch_process;
typedef void (*wh_fetch_exit_fn)(struct wh_fetch_process *p, int exit_code, int signal, void *arg);
/* channel_fd is taken over in every case. on_exit comes once, on the loop; p is freed after it. */
struct wh_fetch_process *wh_fetch_launch(uv_loop_t *loop, const struct wh_fetch_options *options,
                                         int channel_fd, wh_fetch_exit_fn on_exit, void *arg,
                                         struct wh_error *err);
void wh_fetch_kill(struct wh_fetch_process *p);

/* The process itself. */
int wh_fetcher_main(void);

#endif
