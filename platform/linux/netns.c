/* Namespaces by unshare(2) and setns(2), each on a thread of its own: the way back out of a namespace needs a
 * right in the machine's, which a builder has not. */
#include "wherry/platform/netns.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

struct visit {
    int netns; /* -1: a new one */
    int made;
    int (*fn)(void *data, struct wh_error *err);
    void *data;
    struct wh_error *err;
    int result;
};

int wh_netns_enter(int netns, struct wh_error *err)
{
    return setns(netns, CLONE_NEWNET) < 0 ? wh_fail_errno(err, "enter a network namespace") : 0;
}

static int make(struct visit *v)
{
    if (unshare(CLONE_NEWNET) < 0)
        return wh_fail_errno(v->err, "make a network namespace");
    v->made = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (v->made < 0)
        return wh_fail_errno(v->err, "open a network namespace");
    return wh_link_up("lo", v->err);
}

static void *visit_main(void *arg)
{
    struct visit *v = arg;
    if (v->netns < 0)
        v->result = make(v);
    else
        v->result = wh_netns_enter(v->netns, v->err) < 0 ? -1 : v->fn(v->data, v->err);
    return NULL;
}

static int run_visit(struct visit *v)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, visit_main, v) != 0)
        return wh_fail(v->err, WH_E_LIMIT, "no thread for a network namespace");
    (void)pthread_join(thread, NULL);
    return v->result;
}

int wh_netns_new(struct wh_error *err)
{
    struct visit v = {.netns = -1, .made = -1, .err = err};
    if (run_visit(&v) == 0)
        return v.made;
    wh_close_fd(&v.made);
    return -1;
}

int wh_netns_run(int netns, int (*fn)(void *data, struct wh_error *err), void *data, struct wh_error *err)
{
    struct visit v = {.netns = netns, .made = -1, .fn = fn, .data = data, .err = err};
    return run_visit(&v);
}
