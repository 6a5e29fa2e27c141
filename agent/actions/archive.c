/* Looking at an action's archive before anybody unpacks it (job-execution.md §7.5). */
#include <archive.h>
#include <archive_entry.h>
#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <unistd.h>
#include <zlib.h>

#include "wherry/actions/fetch.h"
#include "wherry/base/fs.h"

#define TAR_BLOCK 512
#define READ_SIZE ((size_t)64 << 10)
#define MAX_NAME 4096

/* ---- the commit ---- */

/* A pax record: "52 comment=<sha>\n". */
static char *commit_of_record(const char *data, size_t len)
{
    static const char key[] = "comment=";
    const char *at = memmem(data, len, key, sizeof key - 1);
    if (!at)
        return NULL;
    at += sizeof key - 1;
    size_t digits = 0;
    while (at + digits < data + len && isxdigit((unsigned char)at[digits]))
        digits++;
    return digits == 40 || digits == 64 ? wh_strndup(at, digits) : NULL;
}

char *wh_action_archive_commit(int fd)
{
    char blocks[2 * TAR_BLOCK];
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    /* The position is shared with fd: it ends where it began, at the start. */
    gzFile gz = copy >= 0 && lseek(copy, 0, SEEK_SET) == 0 ? gzdopen(copy, "rb") : NULL;
    if (!gz) {
        wh_close_fd(&copy);
        return NULL;
    }
    int n = gzread(gz, blocks, sizeof blocks);
    gzclose(gz);
    (void)lseek(fd, 0, SEEK_SET);
    bool global = n == (int)sizeof blocks && blocks[156] == 'g';
    return global ? commit_of_record(blocks + TAR_BLOCK, TAR_BLOCK) : NULL;
}

/* ---- the members ---- */

struct look {
    int fd;
    off_t offset;
    char *buffer; /* owned */
    char *top;    /* owned */
    uint64_t entries, bytes;
};

static la_ssize_t read_input(struct archive *a, void *data, const void **buffer)
{
    struct look *l = data;
    ssize_t n;
    do
        n = pread(l->fd, l->buffer, READ_SIZE, l->offset);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        archive_set_error(a, errno, "%s", strerror(errno));
        return -1;
    }
    l->offset += n;
    *buffer = l->buffer;
    return n;
}

/* How many levels below its start a path ends; -1 if it is absolute or leaves it on the way. */
static int depth_of(const char *path, int start)
{
    int depth = start;
    if (path[0] == '/')
        return -1;
    for (const char *p = path; *p;) {
        size_t len = strcspn(p, "/");
        if (len == 2 && p[0] == '.' && p[1] == '.')
            depth--;
        else if (len > 0 && !(len == 1 && p[0] == '.'))
            depth++;
        if (depth < 0)
            return -1;
        p += len + (p[len] == '/');
    }
    return depth;
}

static bool has_dots(const char *path)
{
    for (const char *p = path; *p;) {
        size_t len = strcspn(p, "/");
        if (len == 2 && p[0] == '.' && p[1] == '.')
            return true;
        p += len + (p[len] == '/');
    }
    return false;
}

static int check_name(struct look *l, const char *name, struct wh_error *err)
{
    if (!name || name[0] == '\0' || strlen(name) > MAX_NAME)
        return wh_fail(err, WH_E_PARSE, "a member of the archive has no name, or one that is too long");
    if (name[0] == '/' || has_dots(name))
        return wh_fail(err, WH_E_PARSE, "member '%.200s' of the archive lies outside of its folder", name);
    while (name[0] == '.' && name[1] == '/')
        name += 2;
    size_t len = strcspn(name, "/");
    if (len == 0 || (len == 1 && name[0] == '.'))
        return 0;
    if (!l->top)
        l->top = wh_strndup(name, len);
    if (strlen(l->top) != len || strncmp(l->top, name, len) != 0)
        return wh_fail(err, WH_E_PARSE,
                       "the archive has more than one folder at its top ('%s' and '%.*s'): it is not an "
                       "action's",
                       l->top, (int)WH_MIN(len, 200), name);
    return 0;
}

/* A symbolic link is read from its own folder, a hard link from the archive's top; both must end below the
 * one folder of the archive. */
static int check_links(const struct look *l, struct archive_entry *entry, struct wh_error *err)
{
    const char *name = archive_entry_pathname(entry);
    const char *hard = archive_entry_hardlink(entry);
    const char *soft = archive_entry_symlink(entry);
    if (hard) {
        size_t top = l->top ? strlen(l->top) : 0;
        if (has_dots(hard) || depth_of(hard, 0) < 1 || strncmp(hard, l->top ? l->top : "", top) != 0)
            return wh_fail(err, WH_E_PARSE, "'%.200s' is a hard link to '%.200s', out of the archive", name,
                           hard);
    }
    if (soft) {
        int folder = depth_of(name, 0) - 1;
        if (soft[0] == '/' || depth_of(soft, WH_MAX(folder, 0)) < 1)
            return wh_fail(err, WH_E_PARSE, "'%.200s' is a link to '%.200s', out of the action's folder",
                           name, soft);
        /* Nowhere on the way may it lie above the folder either: the top itself is the least. */
        int depth = folder;
        for (const char *p = soft; *p;) {
            size_t len = strcspn(p, "/");
            depth += len == 2 && p[0] == '.' && p[1] == '.' ? -1 : len > 0 && !(len == 1 && p[0] == '.');
            if (depth < 1)
                return wh_fail(err, WH_E_PARSE, "'%.200s' is a link to '%.200s', out of the action's folder",
                               name, soft);
            p += len + (p[len] == '/');
        }
    }
    return 0;
}

static int check_entry(struct look *l, struct archive_entry *entry, struct wh_error *err)
{
    const char *name = archive_entry_pathname(entry);
    if (++l->entries > WH_MAX_ACTION_ENTRIES)
        return wh_fail(err, WH_E_LIMIT, "the archive has more than %llu members",
                       (unsigned long long)WH_MAX_ACTION_ENTRIES);
    if (check_name(l, name, err) < 0)
        return -1;
    mode_t type = archive_entry_filetype(entry);
    if (!archive_entry_hardlink(entry) && type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK)
        return wh_fail(err, WH_E_PARSE, "member '%.200s' of the archive is neither file, folder nor link",
                       name);
    return check_links(l, entry, err);
}

static int broken(struct archive *a, struct wh_error *err)
{
    const char *text = archive_error_string(a);
    return wh_fail(err, WH_E_PARSE, "the archive is damaged: %s", text ? text : "it ends too early");
}

/* Bytes are counted as they come out, so that a bomb ends here and not on the disk. */
static int count_content(struct look *l, struct archive *a, struct wh_error *err)
{
    const void *data;
    size_t len;
    la_int64_t offset;
    int code;
    while ((code = archive_read_data_block(a, &data, &len, &offset)) == ARCHIVE_OK) {
        l->bytes += len;
        if (offset > 0 && (uint64_t)offset + len > WH_MAX_ACTION_BYTES)
            l->bytes = WH_MAX_ACTION_BYTES + 1; /* a hole */
        if (l->bytes > WH_MAX_ACTION_BYTES)
            return wh_fail(err, WH_E_LIMIT, "the archive unpacks to more than %llu MB",
                           (unsigned long long)(WH_MAX_ACTION_BYTES >> 20));
        uint64_t packed = WH_MAX((uint64_t)l->offset, 1);
        if (l->bytes > WH_ACTION_RATIO_FREE && l->bytes / packed > WH_MAX_ACTION_RATIO)
            return wh_fail(err, WH_E_LIMIT,
                           "the archive unpacks to more than %d times its size: it is taken for a bomb",
                           WH_MAX_ACTION_RATIO);
    }
    return code == ARCHIVE_EOF ? 0 : broken(a, err);
}

static int look_at_all(struct look *l, struct archive *a, struct wh_error *err)
{
    struct archive_entry *entry;
    int code;
    while ((code = archive_read_next_header(a, &entry)) == ARCHIVE_OK || code == ARCHIVE_WARN) {
        if (check_entry(l, entry, err) < 0 || count_content(l, a, err) < 0)
            return -1;
    }
    if (code != ARCHIVE_EOF)
        return broken(a, err);
    return l->top ? 0 : wh_fail(err, WH_E_PARSE, "the archive is empty");
}

int wh_action_archive_check(int fd, const char *sha, char **top, struct wh_error *err)
{
    wh_autofree char *commit = wh_action_archive_commit(fd);
    if (commit && sha && !wh_streq_ci(commit, sha))
        return wh_fail(err, WH_E_DIGEST, "the archive is of commit %s, but %s was resolved", commit, sha);
    wh_autofree char *buffer = wh_malloc(READ_SIZE);
    struct look l = {.fd = fd, .buffer = buffer};
    struct archive *a = archive_read_new();
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* names are bytes */
    locale_t before = plain ? uselocale(plain) : (locale_t)0;
    archive_read_support_format_tar(a);
    archive_read_support_filter_gzip(a);
    int n = archive_read_open(a, &l, NULL, read_input, NULL) == ARCHIVE_OK ? look_at_all(&l, a, err)
                                                                           : broken(a, err);
    archive_read_free(a);
    if (plain) {
        uselocale(before);
        freelocale(plain);
    }
    if (n < 0)
        free(l.top);
    else
        *top = l.top;
    return n;
}
