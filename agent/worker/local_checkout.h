/* actions/checkout of the workflow's own repository in a local run: the work tree that the user has, changes
 * and all, without a network. */
#ifndef WH_WORKER_LOCAL_CHECKOUT_H
#define WH_WORKER_LOCAL_CHECKOUT_H

struct wh_local_checkout {
    const char *source;    /* the user's checkout */
    const char *workspace; /* of the job; INPUT_PATH goes below it */
};
/* For wh_process_fork(). */
int wh_local_checkout_main(void *data);

#endif
