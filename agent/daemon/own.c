/* The work folder of a job whose steps had a Docker daemon: what that wrote as root is given back. */
#include <fcntl.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"

struct own {
    uv_work_t work;
    char *path; /* owned */
    uid_t uid;
    gid_t gid;
    int reply; /* owned */
};

static void give(uv_work_t *work)
{
    const struct own *o = work->data;
    wh_autoerror err = {0};
    wh_autoclose int folder = open(o->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0 || wh_give_tree(folder, o->uid, o->gid, false, &err) < 0)
        wh_log_warning("give %s back to its user: %s", o->path,
                       folder < 0 ? "it can't be opened" : wh_error_text(&err));
}

static void given(uv_work_t *work, int status)
{
    struct own *o = work->data;
    (void)status;
    (void)close(o->reply);
    free(o->path);
    free(o);
}

void own_give_back(struct jobrun *j, int reply)
{
    const struct job_user *user = &j->r->user;
    if (!user->change) { /* only root can */
        (void)close(reply);
        return;
    }
    struct own *o = wh_calloc(1, sizeof *o);
    o->work.data = o;
    o->path = wh_strdup(j->r->config->work);
    o->uid = user->user.uid;
    o->gid = user->user.gid;
    o->reply = reply;
    if (uv_queue_work(&j->r->d->loop, &o->work, give, given) != 0)
        given(&o->work, 0);
}
