/* Where this process' own cgroups lie: /proc/self/cgroup says the path in each hierarchy, mountinfo where
 * that is mounted. */
#include "cgroup_internal.h"

#include <fcntl.h>
#include <string.h>

#include "wherry/base/fs.h"

#define MAX_PROC_BYTES ((size_t)4 << 20)

/* Whether a comma-separated list has the word. */
static bool list_has(struct wh_view list, const char *word)
{
    struct wh_view head;
    while (list.len > 0) {
        struct wh_view tail;
        (void)wh_view_split(list, ',', &head, &tail);
        if (wh_view_eq(head, word))
            return true;
        list = tail;
    }
    return false;
}

/* The path of this process in the hierarchy of a v1 controller, or in v2 (controller NULL). Owned; NULL:
 * none. */
static char *own_path(const char *controller)
{
    wh_autostr text = {0};
    if (wh_read_file(AT_FDCWD, "/proc/self/cgroup", MAX_PROC_BYTES, &text, NULL) < 0)
        return NULL;
    struct wh_reader reader = wh_reader_of(text.data, text.len);
    struct wh_view line;
    while (wh_reader_line(&reader, &line)) {
        struct wh_view id;
        struct wh_view names;
        struct wh_view path;
        struct wh_view rest;
        if (!wh_view_split(line, ':', &id, &rest) || !wh_view_split(rest, ':', &names, &path))
            continue;
        if (controller ? list_has(names, controller) : wh_view_eq(id, "0") && names.len == 0)
            return wh_view_dup(path);
    }
    return NULL;
}

/* "\040" and so on of mountinfo. */
static char *unescape(struct wh_view v)
{
    wh_autostr out = {0};
    for (size_t i = 0; i < v.len; i++) {
        if (v.data[i] == '\\' && i + 3 < v.len) {
            wh_str_addc(
                &out, (char)((v.data[i + 1] - '0') * 64 + (v.data[i + 2] - '0') * 8 + (v.data[i + 3] - '0')));
            i += 3;
        } else {
            wh_str_addc(&out, v.data[i]);
        }
    }
    return wh_str_steal(&out);
}

struct mount_line {
    struct wh_view root;
    struct wh_view point;
    struct wh_view type;
    struct wh_view super_options;
};

/* "36 35 98:0 /root /point options fields... - type source super-options" */
static bool parse_mount(struct wh_view line, struct mount_line *out)
{
    struct wh_view field;
    for (int i = 0; wh_view_split(line, ' ', &field, &line); i++) {
        if (i == 3)
            out->root = field;
        else if (i == 4)
            out->point = field;
        else if (i > 5 && wh_view_eq(field, "-"))
            break;
    }
    struct wh_view source;
    return wh_view_split(line, ' ', &out->type, &line) &&
           wh_view_split(line, ' ', &source, &out->super_options);
}

/* Joins the mount point with the part of path below the mount's root; NULL if path is not below it. */
static char *below(const struct mount_line *m, const char *path)
{
    wh_autofree char *root = unescape(m->root);
    wh_autofree char *point = unescape(m->point);
    size_t len = strlen(root);
    if (len == 1)
        len = 0; /* "/" */
    if (strncmp(path, root, len) != 0 || (path[len] != '/' && path[len] != '\0'))
        return NULL;
    return wh_printf("%s%s", point, strcmp(path + len, "/") == 0 ? "" : path + len);
}

char *wh_cgroup_own_dir(const char *controller)
{
    wh_autofree char *path = own_path(controller);
    wh_autostr text = {0};
    if (!path || wh_read_file(AT_FDCWD, "/proc/self/mountinfo", MAX_PROC_BYTES, &text, NULL) < 0)
        return NULL;
    struct wh_reader reader = wh_reader_of(text.data, text.len);
    struct wh_view line;
    while (wh_reader_line(&reader, &line)) {
        struct mount_line m = {0};
        if (!parse_mount(line, &m))
            continue;
        bool match = controller ? wh_view_eq(m.type, "cgroup") && list_has(m.super_options, controller)
                                : wh_view_eq(m.type, "cgroup2");
        char *dir = match ? below(&m, path) : NULL;
        if (dir)
            return dir;
    }
    return NULL;
}
