/* Archives of actions in the store: kept by commit, fetched once. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "actions/fetch_impl.h"
#include "wherry/base/clock.h"
#include "wherry/base/digest.h"
#include "wherry/base/fs.h"

#define DOWNLOAD_TRIES 3
#define DOWNLOAD_STALL_MS 60000u
#define RETRY_MIN_MS 10000u
#define RETRY_MAX_MS 30000u

/* ---- one download ---- */

struct download {
    int fd;
    uint64_t bytes, max;
    struct wh_sha256 *hash;
    struct wh_error error;
};

static ssize_t take(void *data, const char *bytes, size_t len)
{
    struct download *d = data;
    d->bytes += len;
    if (d->bytes > d->max) {
        wh_fail(&d->error, WH_E_LIMIT, "it has more than %llu MB", (unsigned long long)(d->max >> 20));
        return WH_HTTP_ABORT;
    }
    if (wh_write_all(d->fd, bytes, len, &d->error) < 0)
        return WH_HTTP_ABORT;
    wh_sha256_update(d->hash, bytes, len);
    return 0;
}

static int run_download(struct fetcher *f, const char *url, const struct wh_action_download *action,
                        struct download *d, int *status, struct wh_error *err)
{
    wh_autohttp *request = wh_http_new(f->http, "GET", url);
    if (action)
        wh_github_action_authorize(request, f->facts, action);
    wh_http_redirects(request, WH_HTTP_REDIRECT_FOLLOW); /* Authorization goes to no other host */
    wh_http_timeouts(request, 0, 0, DOWNLOAD_STALL_MS);
    wh_http_sink(request, take, d);
    int n = wh_http_do(request, err);
    *status = n < 0 ? 0 : wh_http_status(request);
    if (n < 0 && d->error.code != WH_OK) {
        wh_error_clear(err);
        wh_error_move(err, &d->error);
        return wh_wrap(err, "%s", wh_http_label(request));
    }
    return n < 0 ? -1 : wh_http_check(request, err);
}

int fetcher_download(struct fetcher *f, int folder, const char *url, const struct wh_action_download *action,
                     uint64_t max, char **temporary, char digest[65], int *status, struct wh_error *err)
{
    char guid[37];
    wh_autofree char *name = wh_printf(".fetch-%s", wh_guid(guid));
    wh_autoclose int fd = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return wh_fail_errno(err, "make a file below the state folder's actions");
    wh_autosha256 *hash = wh_sha256_new();
    struct download d = {.fd = fd, .max = max, .hash = hash};
    int n = run_download(f, url, action, &d, status, err);
    wh_error_clear(&d.error);
    if (n == 0 && fsync(fd) < 0)
        n = wh_fail_errno(err, "write an archive");
    if (n < 0) {
        (void)unlinkat(folder, name, 0);
        return -1;
    }
    struct wh_digest sum;
    wh_sha256_final(hash, &sum);
    wh_autofree char *hex = wh_hex(sum.bytes, sizeof sum.bytes);
    memcpy(digest, hex, 65);
    *temporary = wh_steal(&name);
    return wh_steal_fd(&fd);
}

/* ---- the folder ---- */

/* <state>/actions/<owner>_<repo>, made if missing. */
static int open_folder(const struct fetcher *f, const char *repository, struct wh_error *err)
{
    wh_autofree char *name = wh_strdup(repository);
    for (char *p = name; *p; p++)
        if (*p == '/')
            *p = '_';
    wh_ascii_lower(name);
    if (mkdirat(f->state, "actions", 0700) < 0 && errno != EEXIST)
        return wh_fail_errno(err, "make the state folder's actions");
    wh_autoclose int actions = openat(f->state, "actions", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (actions < 0)
        return wh_fail_errno(err, "open the state folder's actions");
    if (mkdirat(actions, name, 0700) < 0 && errno != EEXIST)
        return wh_fail_errno(err, "make actions/%s", name);
    int folder = openat(actions, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return folder < 0 ? wh_fail_errno(err, "open actions/%s", name) : folder;
}

/* What nobody asked for lately goes: by the time of last use, which each use sets. What a killed fetcher left
 * goes after a day. */
static void clean_archives(int folder)
{
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    time_t now = time(NULL);
    for (const struct dirent *e; list && (e = readdir(list));) {
        struct stat st;
        if (wh_streq(e->d_name, ".") || wh_streq(e->d_name, "..") ||
            fstatat(folder, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        int days = e->d_name[0] == '.' ? 1 : WH_ACTION_KEEP_DAYS;
        if (now - st.st_mtime > (time_t)days * 86400)
            (void)unlinkat(folder, e->d_name, 0);
    }
    if (list)
        (void)closedir(list);
    else
        wh_close_fd(&copy);
}

/* Of all actions: one that no workflow names any more is never asked for again. */
static void clean_all(const struct fetcher *f)
{
    int actions = openat(f->state, "actions", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *list = actions < 0 ? NULL : fdopendir(actions);
    for (const struct dirent *e; list && (e = readdir(list));) {
        if (e->d_name[0] == '.')
            continue;
        wh_autoclose int folder = openat(actions, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;
        if (folder < 0 || fstat(folder, &st) < 0)
            continue;
        clean_archives(folder);
        if (time(NULL) - st.st_mtime > 86400) /* a fresh one is some fetcher's that is about to fill it */
            (void)unlinkat(actions, e->d_name, AT_REMOVEDIR);
    }
    if (list)
        (void)closedir(list);
    else
        wh_close_fd(&actions);
}

/* An archive that is kept already; -1 where it is not, or not whole any more. */
static int open_kept(int folder, const char *name, const char *sha, char **top)
{
    wh_autoclose int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (wh_action_archive_check(fd, sha, top, NULL) < 0) {
        (void)unlinkat(folder, name, 0);
        return -1;
    }
    (void)utimensat(folder, name, NULL, AT_SYMLINK_NOFOLLOW);
    return wh_steal_fd(&fd);
}

/* ACTIONS_RUNNER_ACTION_ARCHIVE_CACHE: a folder of the machine's owner with <owner>_<repo>/<sha>.tar.gz. */
static int open_offline(const struct wh_action_download *d, char **top)
{
    const char *cache = getenv("ACTIONS_RUNNER_ACTION_ARCHIVE_CACHE");
    if (!cache || cache[0] != '/')
        return -1;
    wh_autofree char *repository = wh_strdup(d->resolved_name);
    for (char *p = repository; *p; p++)
        if (*p == '/')
            *p = '_';
    wh_autofree char *path = wh_printf("%s/%s/%s.tar.gz", cache, repository, d->sha);
    wh_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || wh_action_archive_check(fd, d->sha, top, NULL) < 0)
        return -1;
    return wh_steal_fd(&fd);
}

/* ---- fetching ---- */

static int fetch_once(struct fetcher *f, int folder, const char *name, const struct wh_action_download *d,
                      char **top, bool *final, struct wh_error *err)
{
    wh_autofree char *temporary = NULL;
    char digest[65];
    int status = 0;
    wh_autoclose int fd =
        fetcher_download(f, folder, d->tar_url, d, WH_MAX_ACTION_TARBALL, &temporary, digest, &status, err);
    if (fd < 0 || !temporary) {
        *final = status == 404 || status == 403 || status == 401 || (err && err->code == WH_E_LIMIT);
        return -1;
    }
    if (wh_action_archive_check(fd, d->sha, top, err) < 0) {
        *final = true;
        (void)unlinkat(folder, temporary, 0);
        return wh_wrap(err, "action '%s@%s'", d->name, d->ref);
    }
    if (renameat(folder, temporary, folder, name) < 0 || fsync(folder) < 0)
        return wh_fail_errno(err, "keep the archive of '%s@%s'", d->name, d->ref);
    int kept = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC); /* read-only for its user */
    return kept < 0 ? wh_fail_errno(err, "open the archive of '%s@%s'", d->name, d->ref) : kept;
}

int fetcher_archive(struct fetcher *f, const struct wh_action_download *d, char **top, bool *cached,
                    struct wh_error *err)
{
    wh_autoclose int folder = open_folder(f, d->name, err);
    if (folder < 0)
        return -1;
    wh_autofree char *name = wh_printf("%s.tar.gz", d->sha);
    int fd = open_kept(folder, name, d->sha, top);
    if (fd < 0)
        fd = open_offline(d, top);
    *cached = fd >= 0;
    if (fd >= 0)
        return fd;
    for (int try = 1;; try++) {
        wh_autoerror why = {0};
        bool final = false;
        fd = fetch_once(f, folder, name, d, top, &final, &why);
        if (fd >= 0) {
            clean_all(f);
            return fd;
        }
        if (final)
            return wh_error_move(err, &why);
        wh_autofree char *url = wh_strndup(d->tar_url, strcspn(d->tar_url, "?"));
        wh_autofree char *text =
            wh_printf("Failed to download action '%s'. Error: %s", url, wh_error_text(&why));
        if (try == DOWNLOAD_TRIES) {
            (void)wh_error_move(err, &why);
            return wh_wrap(err, "Failed to download archive '%s' after %d attempts", url, DOWNLOAD_TRIES);
        }
        uint64_t wait = wh_jitter(RETRY_MIN_MS, RETRY_MAX_MS);
        wh_autofree char *soon = wh_printf("Back off %.3f seconds before retry.", (double)wait / 1000);
        fetcher_say(f, "warning", text);
        fetcher_say(f, "warning", soon);
        wh_sleep_ms(wait);
    }
}
