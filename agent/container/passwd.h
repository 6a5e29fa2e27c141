/* Private to the container room: passwd and group texts. Foreign bytes: they come from the image. */
#ifndef WH_CONTAINER_PASSWD_H
#define WH_CONTAINER_PASSWD_H

#include "wherry/base/str.h"
#include "wherry/container/user.h"

struct wh_passwd_line {
    struct wh_view name;
    uid_t uid;
    gid_t gid;
    struct wh_view home;
};
struct wh_group_line {
    struct wh_view name;
    gid_t gid;
    struct wh_view members; /* comma-separated */
};

/* The next line that has the form of an entry; others (comments, bad numbers) are skipped. */
bool wh_passwd_next(struct wh_reader *r, struct wh_passwd_line *out);
bool wh_group_next(struct wh_reader *r, struct wh_group_line *out);
bool wh_group_has_member(const struct wh_group_line *g, const char *name);

/* The look-ups on texts; the public calls read the two files and do these. */
int wh_run_user_from_text(struct wh_view passwd, struct wh_view group, const char *text,
                          struct wh_run_user *out, struct wh_error *err);
int wh_run_owner_from_text(struct wh_view passwd, struct wh_view group, const char *text, uid_t *uid,
                           gid_t *gid, bool *unknown, struct wh_error *err);

#endif
