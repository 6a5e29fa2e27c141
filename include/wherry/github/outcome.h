/* How a call to the service ended, in the words of what to do next (runner-protocol.md §2.2, §3.1, §3.4). */
#ifndef WH_GITHUB_OUTCOME_H
#define WH_GITHUB_OUTCOME_H

enum wh_outcome {
    WH_OUT_OK,
    WH_OUT_EMPTY,           /* a poll without a message */
    WH_OUT_TRANSIENT,       /* try again after a wait */
    WH_OUT_CONFLICT,        /* another session of this runner lives */
    WH_OUT_CLOCK,           /* our clock is wrong for the service */
    WH_OUT_DENIED,          /* the credentials are refused for good */
    WH_OUT_REMOVED,         /* the registration was deleted */
    WH_OUT_TOO_OLD,         /* the version that we name is refused */
    WH_OUT_SESSION_INVALID, /* make a new session */
    WH_OUT_SKIP,            /* this job is not for us (gone, taken) */
    WH_OUT_SHUTDOWN         /* the service says: end */
};

#endif
