/* The channel after the request: answers to questions for credentials, or the client's end, which cancels the
 * build. */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "build/solve.h"

#include "wherry/base/secret.h"
#include "wherry/build/setup.h"

#define WH_CANCEL_GRACE_S 20

bool channel_canceled(const struct channel *c)
{
    return __atomic_load_n(&c->cancel, __ATOMIC_RELAXED);
}

void channel_cancel(struct channel *c)
{
    __atomic_store_n(&c->cancel, true, __ATOMIC_RELAXED);
    uint64_t one = 1;
    ssize_t written = write(c->cancel_event, &one, sizeof(one));
    (void)written; /* an eventfd that is full is readable already */
    pthread_mutex_lock(&c->lock);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void hand_over(struct channel *c, struct wh_frame *frame)
{
    pthread_mutex_lock(&c->lock);
    if (c->asking && !c->answer && wh_streq(wh_json_string(frame->json, "type"), "credential")) {
        c->answer = frame->json;
        frame->json = NULL;
        pthread_cond_broadcast(&c->changed);
    }
    pthread_mutex_unlock(&c->lock);
}

static void *read_channel(void *arg)
{
    struct channel *c = arg;
    for (;;) {
        struct pollfd fds[] = {{c->stop[0], POLLIN, 0}, {c->sock, POLLIN, 0}, {c->launcher, POLLIN, 0}};
        if (poll(fds, c->launcher >= 0 ? 3 : 2, -1) < 0 && errno != EINTR)
            break;
        if (fds[0].revents)
            return NULL;
        if (c->launcher >= 0 && fds[2].revents)
            break; /* the launcher never speaks again: this is its end */
        if (!fds[1].revents)
            continue;
        wh_autoframe frame = {0};
        if (wh_frame_recv(c->sock, &frame, NULL) != 1)
            break;
        hand_over(c, &frame);
    }
    pthread_mutex_lock(&c->lock);
    c->closed = true;
    pthread_mutex_unlock(&c->lock);
    channel_cancel(c);
    /* What waits in a system call that no flag ends (a write to a pipe that nobody reads) must not keep the
     * build alive: the signal ends the process, and with it everything in its pid namespace. An engine serves
     * others, too. */
    if (c->sock == WH_BUILDER_CHANNEL_FD)
        alarm(WH_CANCEL_GRACE_S);
    return NULL;
}

int channel_start(struct channel *c, struct report *report, int sock, int launcher, struct wh_error *err)
{
    *c = (struct channel){.report = report, .sock = sock, .launcher = launcher};
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    c->cancel_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->cancel_event < 0 || pipe2(c->stop, O_CLOEXEC) < 0)
        return wh_fail_errno(err, "set up the build channel");
    if (pthread_create(&c->thread, NULL, read_channel, c) != 0)
        return wh_fail(err, WH_E_LIMIT, "no thread for the build channel");
    return 0;
}

void channel_stop(struct channel *c)
{
    close(c->stop[1]);
    (void)shutdown(c->sock, SHUT_RD); /* the thread may wait for the rest of a frame that never comes */
    pthread_join(c->thread, NULL);
    close(c->stop[0]);
    close(c->cancel_event);
    cJSON_Delete(c->answer);
}

static struct wh_secret *secret_member(const cJSON *json, const char *name)
{
    const char *text = wh_json_string(json, name);
    return text ? wh_secret_new(text, strlen(text)) : NULL;
}

static int take_answer(const cJSON *answer, const char *host, struct wh_credential *out, struct wh_error *err)
{
    const char *error = wh_json_string(answer, "error");
    if (error)
        return wh_fail(err, WH_E_DENIED, "credentials for %s: %s", host, error);
    out->user = wh_strdup(wh_json_string(answer, "user"));
    out->password = secret_member(answer, "password");
    out->identity = secret_member(answer, "identity");
    out->registry = secret_member(answer, "registry");
    return 0;
}

int channel_credential(void *data, const char *host, struct wh_credential *out, struct wh_error *err)
{
    struct channel *c = data;
    wh_autojson *question = cJSON_CreateObject();
    wh_json_add_string(question, "type", "credential");
    wh_json_add_string(question, "host", host);
    pthread_mutex_lock(&c->lock);
    while (c->asking && !c->closed)
        pthread_cond_wait(&c->changed, &c->lock); /* one question at a time */
    c->asking = true;
    pthread_mutex_unlock(&c->lock);
    report_send(c->report, question);
    pthread_mutex_lock(&c->lock);
    while (!c->answer && !c->closed && !channel_canceled(c))
        pthread_cond_wait(&c->changed, &c->lock);
    wh_autojson *answer = wh_steal(&c->answer);
    c->asking = false;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    if (!answer)
        return wh_fail(err, WH_E_CANCELED, "canceled");
    return take_answer(answer, host, out, err);
}
