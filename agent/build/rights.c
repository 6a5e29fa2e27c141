/* Whose rights open the files of a context.
 *
 * The builder owns the store, and a job names the folder that is its context: `/` as well as its own. So what
 * is read there is opened with the rights of the job's user, whom the builder's namespace maps beside its own
 * ids: the job gets what it could read itself, and nothing of the store, where other repositories' layers
 * lie. Where that user is not mapped (builds of an ordinary user, and of root by a mapped mount) nothing
 * changes. */
#include <sys/fsuid.h>
#include <unistd.h>

#include "build/solve.h"
#include "wherry/base/fs.h"
#include "wherry/platform/userns.h"

/* Ids for files are each thread's own, and with the change from root's go the rights over other owners'
 * files; an id that is not mapped is refused, and everything stays as it is. */
void source_enter(const struct source *s)
{
    if (!s->foreign)
        return;
    (void)setfsgid(WH_USERNS_JOB_ID);
    (void)setfsuid(WH_USERNS_JOB_ID);
}

void source_leave(const struct source *s)
{
    if (!s->foreign)
        return;
    (void)setfsuid(geteuid());
    (void)setfsgid(getegid());
}

int source_open(const struct source *s, const char *path, struct wh_error *err)
{
    source_enter(s);
    /* Not blocking: what was a file may be a fifo by now. */
    int fd =
        wh_open_in_root(s->root, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0, s->no_xdev, err);
    source_leave(s);
    return fd;
}
