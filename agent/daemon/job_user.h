/* Who runs a job's steps, and the folders that this user needs.
 *
 * An agent that is not root runs jobs as itself. Where it is root: the user of --job-user; else the account
 * wherry-job if there is one that no other runner has; else a number that no account has, from 59100 on
 * (below the numbers of Debian's own dynamic users and of sub-id ranges): the first that no other runner of
 * this machine has locked. */
#ifndef WH_DAEMON_JOB_USER_H
#define WH_DAEMON_JOB_USER_H

#include <sys/types.h>

#include "wherry/platform/process.h"

#define WH_JOB_USER_ACCOUNT "wherry-job"
#define WH_JOB_USER_BASE 59100
#define WH_JOB_USERS 512
#define WH_JOB_USER_LOCKS "/run/wherry"

struct job_user {
    struct wh_user user;
    int lock;    /* held while the agent lives: shared for a user of --job-user; -1: none */
    bool alone;  /* no other runner has this user: all that it runs is the job's */
    bool change; /* the worker changes its identity to it */
};
/* work: the runner's work folder, there or not. */
int job_user_choose(const char *name, size_t slot, const char *work, struct job_user *out,
                    struct wh_error *err);
void job_user_clear(struct job_user *u);
/* Makes the work folder, gives it to the user alone (scripts in it hold what expressions said, secrets among
 * them, and other jobs run beside), and checks that the user can get to it. */
int job_user_prepare_work(const struct job_user *u, const char *work, struct wh_error *err);
/* Every process of a job inherits this variable with the job's own value. */
#define WH_JOB_MARK "WHERRY_JOB"
/* Kills what a job left: all that the user runs where no other runner has this user (alone), else what
 * carries the mark, so that others' jobs are not touched. */
void job_user_kill_left(const struct job_user *u, const char *mark);

#endif
