/* Node.js for JavaScript actions, fetched once from the mirror that the machine's owner named
 * (WHERRY_NODE_MIRROR: a folder of files as nodejs.org/dist has it) and verified by its list of sums. */
#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "actions/fetch_impl.h"
#include "wherry/base/fs.h"

#define MAX_NODE_ARCHIVE ((uint64_t)256 << 20)

static const char *architecture(void)
{
    static const char *const names[][2] = {
        {"x86_64", "x64"}, {"aarch64", "arm64"}, {"armv7l", "armv7l"}, {"ppc64le", "ppc64le"}};
    struct utsname u;
    uname(&u);
    for (size_t i = 0; i < WH_COUNT(names); i++)
        if (wh_streq(u.machine, names[i][0]))
            return names[i][1];
    return "x64";
}

/* <mirror>/latest-v20.x/SHASUMS256.txt: "<sum>  node-v20.19.0-linux-x64.tar.gz". */
static int find_release(struct fetcher *f, const char *folder, char **name, char **sum, struct wh_error *err)
{
    wh_autofree char *url = wh_printf("%s/SHASUMS256.txt", folder);
    wh_autohttp *request = wh_http_new(f->http, "GET", url);
    wh_http_redirects(request, WH_HTTP_REDIRECT_FOLLOW);
    if (wh_http_do(request, err) < 0 || wh_http_check(request, err) < 0)
        return -1;
    wh_autofree char *end = wh_printf("-linux-%s.tar.gz", architecture());
    struct wh_view body = wh_http_response_body(request);
    struct wh_reader r = wh_reader_of(body.data, body.len);
    for (struct wh_view line; wh_reader_line(&r, &line);) {
        wh_autofree char *text = wh_view_dup(wh_view_trim(line));
        const char *file = strrchr(text, ' ');
        if (!file || strlen(text) < 66 || strspn(text, "0123456789abcdef") != 64 ||
            !wh_starts_with(file + 1, "node-v") || !wh_ends_with(file + 1, end) || strchr(file, '/'))
            continue;
        *name = wh_strdup(file + 1);
        *sum = wh_strndup(text, 64);
        return 0;
    }
    return wh_fail(err, WH_E_NOT_FOUND, "%s names no Node.js for this machine (*%s)", url, end);
}

static int open_tools(const struct fetcher *f, struct wh_error *err)
{
    if (mkdirat(f->state, "tools", 0700) < 0 && errno != EEXIST)
        return wh_fail_errno(err, "make the state folder's tools");
    int folder = openat(f->state, "tools", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return folder < 0 ? wh_fail_errno(err, "open the state folder's tools") : folder;
}

/* Its sum is in its name, and was verified when it entered. */
static int fetch(struct fetcher *f, int tools, const char *url, const char *sum, const char *kept,
                 struct wh_error *err)
{
    wh_autofree char *temporary = NULL;
    char digest[65];
    int status = 0;
    wh_autoclose int fd =
        fetcher_download(f, tools, url, NULL, MAX_NODE_ARCHIVE, &temporary, digest, &status, err);
    if (fd < 0)
        return -1;
    if (!wh_streq(digest, sum)) {
        (void)unlinkat(tools, temporary, 0);
        return wh_fail(err, WH_E_DIGEST, "%s has the SHA-256 %s, but the mirror's list says %s", url, digest,
                       sum);
    }
    if (renameat(tools, temporary, tools, kept) < 0 || fsync(tools) < 0)
        return wh_fail_errno(err, "keep %s", kept);
    return 0;
}

int fetcher_node(struct fetcher *f, int major, char **name, struct wh_error *err)
{
    const char *mirror = getenv("WHERRY_NODE_MIRROR");
    if (!mirror || mirror[0] == '\0')
        return wh_fail(err, WH_E_NOT_FOUND, "no mirror of Node.js is configured");
    if (major < 16 || major > 99)
        return wh_fail(err, WH_E_ARGUMENT, "there is no Node.js %d for actions", major);
    wh_autofree char *folder =
        wh_printf("%.*s/latest-v%d.x", (int)(strlen(mirror) - wh_ends_with(mirror, "/")), mirror, major);
    wh_autofree char *file = NULL;
    wh_autofree char *sum = NULL;
    wh_autoclose int tools = open_tools(f, err);
    if (tools < 0 || find_release(f, folder, &file, &sum, err) < 0)
        return -1;
    wh_autofree char *kept = wh_printf("%.16s-%s", sum, file);
    wh_autofree char *url = wh_printf("%s/%s", folder, file);
    if (faccessat(tools, kept, R_OK, 0) < 0 && fetch(f, tools, url, sum, kept, err) < 0)
        return -1;
    int fd = openat(tools, kept, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return wh_fail_errno(err, "open %s", kept);
    *name = wh_steal(&file);
    return fd;
}
