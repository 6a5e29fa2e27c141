/* <state>/reserve: a megabyte set aside, so that the index can still be written when the disk is full:
 * dropping rows needs a little room before it frees a lot. */
#include <unistd.h>

#include "store/internal.h"

void store_reserve_make(struct wh_store *s)
{
    wh_autoclose int fd = openat(s->dirfd, "reserve", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_blocks * 512 >= STORE_RESERVE_BYTES)
        return;
    if (posix_fallocate(fd, 0, STORE_RESERVE_BYTES) != 0)
        unlinkat(s->dirfd, "reserve", 0); /* no room for it now; prune tries again */
    else if (s->give && fchown(fd, s->uid, s->gid) < 0)
        unlinkat(s->dirfd, "reserve", 0);
}

void store_reserve_drop(struct wh_store *s)
{
    unlinkat(s->dirfd, "reserve", 0);
}
