/* USER and --chown: text to numbers, by the root file system's own files. */
#include "wherry/container/user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "passwd.h"
#include "wherry/base/fs.h"

#define MAX_ID 2147483647u

/* "user:group" cut at the first colon; each part a number or a name. */
struct parts {
    char *user;  /* owned */
    char *group; /* owned; "" if absent */
    bool user_is_id;
    bool group_is_id;
    uint64_t uid;
    uint64_t gid;
};

static void free_parts(struct parts *p)
{
    free(p->user);
    free(p->group);
}

static int parse_parts(const char *text, struct parts *p, struct wh_error *err)
{
    struct wh_view user;
    struct wh_view group;
    (void)wh_view_split(wh_view_of(text), ':', &user, &group);
    p->user = wh_view_dup(user);
    p->group = wh_view_dup(group);
    p->user_is_id = wh_parse_u64(p->user, UINT64_MAX, &p->uid);
    p->group_is_id = wh_parse_u64(p->group, UINT64_MAX, &p->gid);
    if ((p->user_is_id && p->uid > MAX_ID) || (p->group_is_id && p->gid > MAX_ID))
        return wh_fail(err, WH_E_ARGUMENT, "uids and gids must be in range 0-%u", MAX_ID);
    return 0;
}

static bool find_user(struct wh_view passwd, const struct parts *p, struct wh_passwd_line *out)
{
    struct wh_reader r = wh_reader_of(passwd.data, passwd.len);
    while (wh_passwd_next(&r, out))
        if (p->user_is_id ? out->uid == p->uid : wh_view_eq(out->name, p->user))
            return true;
    return false;
}

static bool find_group(struct wh_view groups, const struct parts *p, gid_t *gid)
{
    struct wh_reader r = wh_reader_of(groups.data, groups.len);
    struct wh_group_line line;
    while (wh_group_next(&r, &line))
        if (p->group_is_id ? line.gid == p->gid : wh_view_eq(line.name, p->group)) {
            *gid = line.gid;
            return true;
        }
    return false;
}

static void add_group(struct wh_run_user *out, gid_t gid)
{
    for (size_t i = 0; i < out->ngroups; i++)
        if (out->groups[i] == gid)
            return;
    if (out->ngroups < WH_MAX_RUN_GROUPS)
        out->groups[out->ngroups++] = gid;
}

static void add_memberships(struct wh_view groups, struct wh_view user, struct wh_run_user *out)
{
    wh_autofree char *name = wh_view_dup(user);
    struct wh_reader r = wh_reader_of(groups.data, groups.len);
    struct wh_group_line line;
    while (wh_group_next(&r, &line))
        if (wh_group_has_member(&line, name))
            add_group(out, line.gid);
}

static void find_home(struct wh_view passwd, struct wh_run_user *out)
{
    struct wh_reader r = wh_reader_of(passwd.data, passwd.len);
    struct wh_passwd_line line;
    (void)snprintf(out->home, sizeof out->home, "/");
    while (wh_passwd_next(&r, &line))
        if (line.uid == out->uid) {
            if (line.home.len > 0 && line.home.len < sizeof out->home)
                (void)snprintf(out->home, sizeof out->home, "%.*s", (int)line.home.len, line.home.data);
            return;
        }
}

static int resolve_parts(struct wh_view passwd, struct wh_view groups, const struct parts *p,
                         struct wh_run_user *out, struct wh_error *err)
{
    /* Two numbers say it all: the files don't count. */
    if (p->user_is_id && p->group_is_id) {
        out->uid = (uid_t)p->uid;
        out->gid = (gid_t)p->gid;
        add_group(out, out->gid);
        return 0;
    }
    struct wh_passwd_line line;
    bool found = find_user(passwd, p, &line);
    if (found) {
        out->uid = line.uid;
        out->gid = line.gid;
    } else if (p->user_is_id) {
        out->uid = (uid_t)p->uid;
    } else {
        return wh_fail(err, WH_E_NOT_FOUND, "unable to find user %s: no matching entries in passwd file",
                       p->user);
    }
    if (p->group[0] == '\0') {
        add_group(out, out->gid);
        if (found)
            add_memberships(groups, line.name, out);
        return 0;
    }
    if (!find_group(groups, p, &out->gid)) {
        if (!p->group_is_id)
            return wh_fail(err, WH_E_NOT_FOUND, "unable to find group %s: no matching entries in group file",
                           p->group);
        out->gid = (gid_t)p->gid;
    }
    add_group(out, out->gid);
    return 0;
}

int wh_run_user_from_text(struct wh_view passwd, struct wh_view group, const char *text,
                          struct wh_run_user *out, struct wh_error *err)
{
    __attribute__((cleanup(free_parts))) struct parts p = {0};
    memset(out, 0, sizeof *out);
    if (parse_parts(!text || !*text ? "0" : text, &p, err) < 0)
        return -1;
    /* ":group" means the default user. */
    if (p.user[0] == '\0') {
        p.user_is_id = true;
        p.uid = 0;
    }
    if (resolve_parts(passwd, group, &p, out, err) < 0)
        return -1;
    find_home(passwd, out);
    return 0;
}

int wh_run_owner_from_text(struct wh_view passwd, struct wh_view group, const char *text, uid_t *uid,
                           gid_t *gid, bool *unknown, struct wh_error *err)
{
    __attribute__((cleanup(free_parts))) struct parts p = {0};
    *uid = 0;
    *gid = 0;
    *unknown = false;
    if (parse_parts(text ? text : "", &p, err) < 0)
        return -1;
    struct wh_passwd_line line;
    if (p.user_is_id) {
        *uid = (uid_t)p.uid;
        *gid = (gid_t)p.uid;
    } else if (p.user[0] != '\0') {
        if (find_user(passwd, &p, &line)) {
            *uid = line.uid;
            *gid = line.gid;
        } else {
            *unknown = true;
        }
    }
    if (p.group_is_id)
        *gid = (gid_t)p.gid;
    else if (p.group[0] != '\0' && !find_group(group, &p, gid))
        *unknown = true;
    return 0;
}

/* A missing file (or one that is no regular file) has no entries. */
static int read_text(int root_fd, const char *path, struct wh_str *out, struct wh_error *err)
{
    wh_autoerror why = {0};
    wh_autoclose int fd = wh_open_in_root(root_fd, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0, false, &why);
    if (fd < 0)
        return why.sys_errno == ENOENT || why.sys_errno == ENOTDIR || why.sys_errno == ELOOP
                   ? 0
                   : wh_error_move(err, &why);
    struct stat st;
    if (fstat(fd, &st) < 0)
        return wh_fail_errno(err, "look at %s of the image", path);
    return S_ISREG(st.st_mode) ? wh_read_fd(fd, WH_MAX_PASSWD_BYTES, path, out, err) : 0;
}

static int read_both(int root_fd, struct wh_str *passwd, struct wh_str *group, struct wh_error *err)
{
    return read_text(root_fd, "/etc/passwd", passwd, err) < 0 ||
                   read_text(root_fd, "/etc/group", group, err) < 0
               ? -1
               : 0;
}

int wh_run_user_resolve(int root_fd, const char *text, struct wh_run_user *out, struct wh_error *err)
{
    wh_autostr passwd = {0};
    wh_autostr group = {0};
    if (read_both(root_fd, &passwd, &group, err) < 0)
        return -1;
    return wh_run_user_from_text((struct wh_view){passwd.data, passwd.len},
                                 (struct wh_view){group.data, group.len}, text, out, err);
}

int wh_run_owner_resolve(int root_fd, const char *text, uid_t *uid, gid_t *gid, bool *unknown,
                         struct wh_error *err)
{
    wh_autostr passwd = {0};
    wh_autostr group = {0};
    if (root_fd >= 0 && read_both(root_fd, &passwd, &group, err) < 0)
        return -1;
    struct wh_view p = {passwd.data, passwd.len};
    struct wh_view g = {group.data, group.len};
    if (wh_run_owner_from_text(p, g, text, uid, gid, unknown, err) < 0)
        return -1;
    if (root_fd < 0 && *unknown)
        return wh_fail(err, WH_E_NOT_FOUND, "invalid user index: -1");
    return 0;
}
