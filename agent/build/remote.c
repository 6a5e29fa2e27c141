/* What a build takes from elsewhere by address: files (ADD URL) and git repositories (ADD, contexts), each as
 * a tree of the store, fetched once per build (builder.md §1.4 "ADD URL", "ADD git", §3.1). */
#include "build/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/base/json.h"
#include "wherry/net/http.h"

#define STALL_MS 60000u

const struct wh_build_secret *build_secret(const struct build *b, const char *id)
{
    for (size_t i = 0; i < b->request->nsecrets; i++)
        if (strcmp(b->request->secrets[i].id, id) == 0)
            return &b->request->secrets[i];
    return NULL;
}

/* ---- records: what was fetched before ---- */

static int find_record(struct build *b, const struct wh_digest *key, struct wh_record *out, cJSON **meta,
                       struct wh_error *err)
{
    int found = wh_record_find(b->store, (const char *const *)b->scopes.refs, b->scopes.nrefs, key, out, err);
    if (found == 1 && (out->layer == 0 || !out->meta)) /* its tree was collected */
        found = 0;
    *meta = found == 1
                ? wh_json_parse(out->meta, strlen(out->meta), WH_MAX_RECORD_META, "record of a source", NULL)
                : NULL;
    return found < 0 ? -1 : *meta ? 1 : 0;
}

int remote_put(struct build *b, const struct wh_digest *key, int64_t layer, const cJSON *meta,
               struct wh_error *err)
{
    wh_autofree char *text = wh_json_print(meta);
    struct wh_record r = {.key = *key, .scope = b->scopes.refs[0], .layer = layer, .meta = text};
    return wh_record_put(b->store, &r, err);
}

int remote_find(struct build *b, const struct wh_digest *key, struct remote *out, struct wh_error *err)
{
    wh_autorecord record = {0};
    wh_autojson *meta = NULL;
    int found = find_record(b, key, &record, &meta, err);
    if (found != 1)
        return found;
    const char *text = wh_json_string(meta, "digest");
    if (!text || wh_digest_parse(text, &out->digest, NULL) < 0)
        return 0;
    out->layer = record.layer;
    return 1;
}

/* ---- files ---- */

/* What the file is called: the last part of the address's path. */
char *remote_file_name(const char *url)
{
    const char *scheme = strstr(url, "://");
    const char *host = scheme ? scheme + 3 : url;
    const char *path = host + strcspn(host, "/?#");
    size_t len = strcspn(path, "?#");
    while (len > 0 && path[len - 1] == '/')
        len--;
    size_t start = len;
    while (start > 0 && path[start - 1] != '/')
        start--;
    struct wh_view name = {path + start, len - start};
    wh_autostr plain = {0}; /* %20 and the like */
    for (size_t i = 0; i < name.len; i++) {
        unsigned byte;
        if (name.data[i] == '%' && i + 2 < name.len && sscanf(name.data + i + 1, "%2x", &byte) == 1 &&
            byte != 0 && byte != '/') {
            wh_str_addc(&plain, (char)byte);
            i += 2;
        } else {
            wh_str_addc(&plain, name.data[i]);
        }
    }
    if (plain.len == 0 || strcmp(plain.data, ".") == 0 || strcmp(plain.data, "..") == 0)
        return wh_strdup("__unnamed__");
    return wh_str_steal(&plain);
}

struct download {
    struct build *b;
    int fd;
    uint64_t bytes;
    struct wh_sha256 *hash;
    struct wh_error error;
};

static ssize_t take(void *data, const char *bytes, size_t len)
{
    struct download *d = data;
    d->bytes += len;
    if (channel_canceled(&d->b->channel))
        wh_fail(&d->error, WH_E_CANCELED, "canceled");
    else if (d->bytes > WH_MAX_REMOTE_FILE)
        wh_fail(&d->error, WH_E_LIMIT, "the file is larger than the limit of %llu GB",
                (unsigned long long)(WH_MAX_REMOTE_FILE >> 30));
    if (d->error.code != WH_OK || wh_write_all(d->fd, bytes, len, &d->error) < 0)
        return WH_HTTP_ABORT;
    wh_sha256_update(d->hash, bytes, len);
    return 0;
}

/* HTTP_AUTH_HEADER_<host> and HTTP_AUTH_TOKEN_<host> are BuildKit's names of secrets for this. */
static void authorize(const struct build *b, struct wh_http *request, const char *url)
{
    const char *host = strstr(url, "://") + 3;
    wh_autofree char *name = wh_strndup(host, strcspn(host, "/?#"));
    wh_autofree char *header = wh_printf("HTTP_AUTH_HEADER_%s", name);
    wh_autofree char *token = wh_printf("HTTP_AUTH_TOKEN_%s", name);
    const struct wh_build_secret *secret = build_secret(b, header);
    const char *prefix = "";
    if (!secret) {
        secret = build_secret(b, token);
        prefix = "Bearer ";
    }
    if (!secret)
        return;
    struct wh_secret *value = wh_secret_new(secret->value, secret->len);
    wh_http_secret_header(request, "Authorization", prefix, value);
    wh_secret_free(value);
}

static struct wh_http_client *client_of(struct build *b, struct wh_error *err)
{
    pthread_mutex_lock(&b->lock);
    if (!b->http)
        b->http = wh_http_client_new_private(NULL, err);
    struct wh_http_client *client = b->http;
    pthread_mutex_unlock(&b->lock);
    return client;
}

/* 1: the answer's body is in the file; 0: what is known already still holds. */
static int download(struct build *b, const char *url, const cJSON *known, int fd, struct wh_digest *digest,
                    cJSON *meta, struct timespec *modified, struct wh_error *err)
{
    struct wh_http_client *client = client_of(b, err);
    if (!client)
        return -1;
    wh_autohttp *request = wh_http_new(client, "GET", url);
    const char *etag = wh_json_string(known, "etag"), *since = wh_json_string(known, "modified");
    if (etag)
        wh_http_header(request, "If-None-Match", etag);
    else if (since)
        wh_http_header(request, "If-Modified-Since", since);
    authorize(b, request, url);
    wh_http_redirects(request, WH_HTTP_REDIRECT_FOLLOW);
    wh_http_timeouts(request, 0, 0, STALL_MS);
    wh_autosha256 *hash = wh_sha256_new();
    struct download d = {.b = b, .fd = fd, .hash = hash};
    wh_http_sink(request, take, &d);
    if (wh_http_do(request, err) < 0) {
        if (d.error.code != WH_OK) {
            wh_error_clear(err);
            wh_error_move(err, &d.error);
        }
        return wh_wrap(err, "failed to load cache key: %s", url);
    }
    int status = wh_http_status(request);
    if (status == 304 && known)
        return 0;
    if (status < 200 || status > 299)
        return wh_fail(err, WH_E_HTTP, "failed to load cache key: invalid response status %d", status);
    wh_sha256_final(hash, digest);
    etag = wh_http_response_header(request, "etag");
    since = wh_http_response_header(request, "last-modified");
    wh_json_add_string(meta, "etag", etag && strlen(etag) < 1024 ? etag : NULL);
    struct tm tm = {0};
    if (since && strptime(since, "%a, %d %b %Y %H:%M:%S GMT", &tm)) {
        wh_json_add_string(meta, "modified", since);
        modified->tv_sec = timegm(&tm);
    }
    return 1;
}

/* A new tree with the file in it, and its record. */
static int fetch_file(struct build *b, const char *url, const char *name, const struct wh_digest *key,
                      const cJSON *known, struct remote *out, struct wh_error *err)
{
    wh_autotree *tree = wh_tree_begin(b->store, err);
    if (!tree)
        return -1;
    wh_autoclose int fd =
        openat(wh_tree_fd(tree), name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return wh_fail_errno(err, "create %s", name);
    wh_autojson *meta = cJSON_CreateObject();
    struct timespec times[2] = {0};
    struct wh_digest digest;
    int fresh = download(b, url, known, fd, &digest, meta, &times[1], err);
    if (fresh <= 0)
        return fresh;
    times[0] = times[1];
    if (fchmod(fd, 0600) < 0 || futimens(fd, times) < 0)
        return wh_fail_errno(err, "set mode and time of %s", name);
    char text[WH_DIGEST_TEXT];
    wh_json_add_string(meta, "digest", wh_digest_text(&digest, text));
    struct wh_layer_info info = {.size = -1};
    out->layer = wh_tree_commit(wh_steal(&tree), &info, err);
    out->digest = digest;
    return out->layer > 0 && remote_put(b, key, out->layer, meta, err) == 0 ? 1 : -1;
}

static int check_digest(const struct remote *r, const struct wh_digest *wanted, struct wh_error *err)
{
    char got[WH_DIGEST_TEXT], want[WH_DIGEST_TEXT];
    if (!wanted || wh_digest_eq(&r->digest, wanted))
        return 0;
    return wh_fail(err, WH_E_DIGEST, "digest mismatch %s: %s", wh_digest_text(&r->digest, got),
                   wh_digest_text(wanted, want));
}

static int get_file(struct build *b, const char *url, const struct wh_digest *wanted, struct remote *out,
                    struct wh_error *err)
{
    wh_autofree char *name = remote_file_name(url);
    struct wh_digest key;
    struct key k;
    key_begin(&k, "url");
    key_text(&k, url);
    key_text(&k, name);
    key_end(&k, &key);
    wh_autorecord record = {0};
    wh_autojson *known = NULL;
    int found = find_record(b, &key, &record, &known, err);
    if (found < 0)
        return -1;
    const char *text = wh_json_string(known, "digest");
    struct remote before = {.layer = record.layer};
    bool valid = found == 1 && text && wh_digest_parse(text, &before.digest, NULL) == 0;
    if (valid && wanted && wh_digest_eq(&before.digest, wanted)) { /* nothing to ask the server for */
        *out = before;
        return 0;
    }
    int fresh = fetch_file(b, url, name, &key, valid ? known : NULL, out, err);
    if (fresh < 0)
        return -1;
    if (fresh == 0)
        *out = before;
    return check_digest(out, wanted, err);
}

/* ---- each address once per build ---- */

static int fetch(struct build *b, const struct wh_df_copy_source *source, const char *checksum, bool keep_git,
                 struct remote *out, struct wh_error *err)
{
    if (source->kind == WH_DF_ADD_GIT)
        return remote_git(b, source->path, checksum, keep_git, out, err);
    struct wh_digest wanted;
    if (checksum && wh_digest_parse(checksum, &wanted, NULL) < 0)
        return wh_fail(err, WH_E_ARGUMENT,
                       wh_starts_with(checksum, "sha") || !strchr(checksum, ':')
                           ? "invalid checksum digest format"
                           : "unsupported digest algorithm");
    return get_file(b, source->path, checksum ? &wanted : NULL, out, err);
}

int remote_get(struct build *b, const struct wh_df_copy_source *source, const char *checksum, bool keep_git,
               struct remote *out, struct wh_error *err)
{
    wh_autofree char *name =
        wh_printf("%s %s %d", source->path, checksum ? checksum : "", keep_git); /* a URL has no blanks */
    for (size_t i = 0; i < b->nremotes; i++)
        if (strcmp(b->remotes[i].name, name) == 0) {
            *out = b->remotes[i];
            return 0;
        }
    if (b->nremotes == WH_COUNT(b->remotes))
        return wh_fail(err, WH_E_LIMIT, "more than %zu addresses in one build", WH_COUNT(b->remotes));
    wh_autofree char *title = wh_strdup(source->path);
    uint64_t vertex = report_start(&b->report, title, NULL);
    int status = fetch(b, source, checksum, keep_git, out, err);
    report_end(&b->report, vertex, status, err);
    if (status < 0)
        return -1;
    out->name = wh_steal(&name);
    b->remotes[b->nremotes++] = *out;
    return 0;
}
