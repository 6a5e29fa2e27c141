/* Reading from a registry: manifests and blobs (builder.md §7 Pull). */
#include <stdio.h>

#include "oci/oci.h"
#include "oci/pipe.h"
#include "oci/registry_internal.h"

#define ACCEPT_MANIFESTS                                                                                     \
    WH_MEDIA_OCI_INDEX ", " WH_MEDIA_OCI_MANIFEST ", " WH_MEDIA_DOCKER_INDEX ", " WH_MEDIA_DOCKER_MANIFEST   \
                       ", */*"
#define PIPE_SIZE ((size_t)4 << 20)
#define MAX_MIRRORS 8

/* ---- where to ask ---- */

/* The hosts to ask for a repository: its mirrors, then itself. mirrors: "docker.io=host". */
static size_t sources(struct wh_registry *r, const struct wh_ref *ref, struct oci_host *out[MAX_MIRRORS + 1])
{
    size_t n = 0;
    for (char **m = r->mirrors; m && *m && n < MAX_MIRRORS; m++) {
        struct wh_view origin, host;
        if (!wh_view_split(wh_view_of(*m), '=', &origin, &host) || !wh_view_eq(origin, ref->host))
            continue;
        wh_autofree char *name = wh_view_dup(host);
        out[n++] = oci_host(r, name);
    }
    out[n++] = oci_host(r, wh_ref_api_host(ref));
    return n;
}

/* "/v2/NAME/KIND/WHAT", for a mirror with ?ns=ORIGIN. */
static char *api_path(const struct wh_ref *ref, const struct oci_host *host, const char *kind,
                      const char *what)
{
    bool mirror = !wh_streq(host->name, wh_ref_api_host(ref));
    return wh_printf("/v2/%s/%s/%s%s%s", ref->path, kind, what, mirror ? "?ns=" : "",
                     mirror ? ref->host : "");
}

/* ---- manifests ---- */

struct manifest_call {
    struct oci_call call;
    char *path, *scope, *what;
};

static void manifest_call(struct manifest_call *m, struct oci_host *host, const struct wh_ref *ref,
                          const char *method)
{
    char digest[WH_DIGEST_TEXT];
    const char *name = ref->has_digest ? wh_digest_text(&ref->digest, digest) : ref->tag;
    *m = (struct manifest_call){
        .path = api_path(ref, host, "manifests", name),
        .scope = oci_scope(ref->path, "pull"),
        .what = wh_printf("manifest %s", name),
    };
    m->call = (struct oci_call){
        .host = host,
        .method = method,
        .path = m->path,
        .repository = ref->path,
        .what = m->what,
        .scopes = {m->scope},
        .nscopes = 1,
        .accept = ACCEPT_MANIFESTS,
        .max_body = WH_MAX_MANIFEST_BYTES,
    };
}

static void manifest_call_clear(struct manifest_call *m)
{
    free(m->path);
    free(m->scope);
    free(m->what);
}

/* "type; charset=utf-8" without what follows the type; NULL if the header is missing. */
static char *content_type(const struct wh_http *http)
{
    struct wh_view type, rest;
    wh_view_split(wh_view_of(wh_http_response_header(http, "Content-Type")), ';', &type, &rest);
    type = wh_view_trim(type);
    return type.len ? wh_view_dup(type) : NULL;
}

/* Fills out from the headers of an answer to HEAD; false if they don't say enough. */
static bool read_head(const struct wh_http *http, const struct wh_ref *ref, struct wh_descriptor *out)
{
    struct wh_digest digest;
    const char *text = wh_http_response_header(http, "Docker-Content-Digest");
    const char *length = wh_http_response_header(http, "Content-Length");
    wh_autofree char *type = content_type(http);
    uint64_t size;
    if (!text || wh_digest_parse(text, &digest, NULL) < 0 || !type || !length ||
        !wh_parse_u64(length, WH_MAX_MANIFEST_BYTES, &size))
        return false;
    if (ref->has_digest && !wh_digest_eq(&digest, &ref->digest))
        return false;
    wh_descriptor_set(out, type, &digest, (int64_t)size);
    return true;
}

/* 1: known; 0: it must be asked by GET; negative: error. */
static int head_at(struct wh_registry *r, struct oci_host *host, const struct wh_ref *ref,
                   struct wh_descriptor *out, struct wh_error *err)
{
    struct manifest_call m;
    wh_autohttp *http = NULL;
    manifest_call(&m, host, ref, "HEAD");
    int result = oci_call(r, &m.call, &http, err);
    if (result == 0) {
        int status = wh_http_status(http);
        if (status == 200)
            result = read_head(http, ref, out) ? 1 : 0;
        else if (status == 404 || status == 401 || status == 403 || status == 429 || status >= 500)
            result = oci_call_refused(r, &m.call, http, err);
    }
    manifest_call_clear(&m);
    return result;
}

static int check_manifest(const struct wh_http *http, const struct wh_ref *ref,
                          const struct wh_digest *expect, struct wh_descriptor *out, struct wh_error *err)
{
    struct wh_view body = wh_http_response_body(http);
    struct wh_digest digest, told;
    char is[WH_DIGEST_TEXT], should[WH_DIGEST_TEXT];
    const char *header = wh_http_response_header(http, "Docker-Content-Digest");
    enum wh_manifest_kind kind;
    wh_digest_of(body.data, body.len, &digest);
    const struct wh_digest *want = ref->has_digest ? &ref->digest : expect;
    if (!want && header && wh_digest_parse(header, &told, NULL) == 0)
        want = &told;
    if (want && !wh_digest_eq(want, &digest))
        return wh_fail(err, WH_E_DIGEST, "its bytes have the digest %s, but should have %s",
                       wh_digest_text(&digest, is), wh_digest_text(want, should));
    wh_autofree char *type = content_type(http);
    if (wh_manifest_kind(body.data, body.len, type, &kind, err) < 0)
        return -1;
    wh_autojson *json = wh_json_parse(body.data, body.len, WH_MAX_MANIFEST_BYTES, "manifest", err);
    const char *own = oci_text(json, "mediaType");
    const char *fallback = kind == WH_KIND_INDEX ? WH_MEDIA_OCI_INDEX : WH_MEDIA_OCI_MANIFEST;
    bool typed = type && (wh_starts_with(type, "application/vnd.oci.image.") ||
                          wh_starts_with(type, "application/vnd.docker.distribution."));
    wh_descriptor_set(out, own ? own : typed ? type : fallback, &digest, (int64_t)body.len);
    return 0;
}

static bool is_page(const struct wh_http *http)
{
    const char *type = wh_http_response_header(http, "Content-Type");
    return type && wh_starts_with_ci(type, "text/html");
}

static int get_at(struct wh_registry *r, struct oci_host *host, const struct wh_ref *ref,
                  const struct wh_digest *expect, struct wh_descriptor *out, struct wh_str *body,
                  struct wh_error *err)
{
    struct manifest_call m;
    wh_autohttp *http = NULL;
    manifest_call(&m, host, ref, "GET");
    int result = oci_call(r, &m.call, &http, err);
    if (result == 0 && (wh_http_status(http) != 200 || is_page(http)))
        result = oci_call_refused(r, &m.call, http, err);
    else if (result == 0 && check_manifest(http, ref, expect, out, err) < 0)
        result = wh_wrap(err, "registry %s/%s: %s", host->name, ref->path, m.what);
    if (result == 0) {
        struct wh_view bytes = wh_http_response_body(http);
        wh_str_addn(body, bytes.data, bytes.len);
    }
    manifest_call_clear(&m);
    return result;
}

/* A mirror that fails is passed over; the origin's own error counts. */
static void pass_over(struct wh_registry *r, const struct oci_host *host, struct wh_error *why)
{
    oci_registry_notice(r, "mirror %s: %s; asking the next", host->name, wh_error_text(why));
    wh_error_clear(why);
}

int wh_registry_manifest_get(struct wh_registry *r, const struct wh_ref *ref, const struct wh_digest *expect,
                             struct wh_descriptor *out, struct wh_str *body, struct wh_error *err)
{
    struct oci_host *hosts[MAX_MIRRORS + 1];
    size_t n = sources(r, ref, hosts);
    for (size_t i = 0; i + 1 < n; i++) {
        wh_autoerror why = {0};
        if (get_at(r, hosts[i], ref, expect, out, body, &why) == 0)
            return 0;
        pass_over(r, hosts[i], &why);
    }
    return get_at(r, hosts[n - 1], ref, expect, out, body, err);
}

int wh_registry_manifest_head(struct wh_registry *r, const struct wh_ref *ref, struct wh_descriptor *out,
                              struct wh_error *err)
{
    struct oci_host *hosts[MAX_MIRRORS + 1];
    size_t n = sources(r, ref, hosts);
    wh_autostr body = {0};
    for (size_t i = 0; i < n; i++) {
        wh_autoerror why = {0};
        int known = head_at(r, hosts[i], ref, out, &why);
        if (known == 0)
            known = get_at(r, hosts[i], ref, NULL, out, &body, &why) < 0 ? -1 : 1;
        if (known > 0)
            return 0;
        if (i + 1 == n)
            return wh_error_move(err, &why);
        pass_over(r, hosts[i], &why);
    }
    return -1;
}

int wh_registry_blob_exists(struct wh_registry *r, const struct wh_ref *repository,
                            const struct wh_digest *digest, struct wh_error *err)
{
    char text[WH_DIGEST_TEXT];
    struct oci_host *host = oci_host(r, wh_ref_api_host(repository));
    wh_autofree char *path = wh_printf("/v2/%s/blobs/%s", repository->path, wh_digest_text(digest, text));
    wh_autofree char *scope = oci_scope(repository->path, "pull,push");
    wh_autofree char *what = wh_printf("blob %s", text);
    struct oci_call call = {.host = host,
                            .method = "HEAD",
                            .path = path,
                            .repository = repository->path,
                            .what = what,
                            .scopes = {scope},
                            .nscopes = 1};
    wh_autohttp *http = NULL;
    if (oci_call(r, &call, &http, err) < 0)
        return -1;
    int status = wh_http_status(http);
    if (status == 200)
        return 1;
    /* A repository that is not there yet looks like 404, to some registries like 403. */
    if (status == 404 || status == 405)
        return 0;
    return oci_call_refused(r, &call, http, err);
}

/* ---- blobs ---- */

struct download {
    struct wh_registry *registry;
    const struct wh_ref *ref;
    const struct wh_descriptor *blob;
    struct oci_host *host;
    struct oci_pipe pipe;
    char *path, *scope, *what;
    uint64_t received; /* put into the pipe: where the next attempt goes on */
    uint64_t skip;     /* of a whole answer to a request for a range */
    bool checked;      /* the answer's headers were looked at */
    struct wh_http *http;
    struct wh_error error;
    int status; /* 0 or negative */
};

/* Looks at the headers of an answer with a body. */
static int check_answer(struct download *d)
{
    const char *range = wh_http_response_header(d->http, "Content-Range");
    d->checked = true;
    d->skip = 0;
    if (is_page(d->http))
        return wh_fail(&d->error, WH_E_PROTOCOL,
                       "it answered with a web page instead of the blob: check whether a proxy or a login "
                       "page is in between");
    if (wh_http_status(d->http) != 206) {
        d->skip = d->received;
        return 0;
    }
    wh_autofree char *want = wh_printf("bytes %llu-", (unsigned long long)d->received);
    if (!range || !wh_starts_with_ci(range, want))
        return wh_fail(&d->error, WH_E_PROTOCOL, "it was asked for the bytes from %llu and sent \"%.60s\"",
                       (unsigned long long)d->received, range ? range : "no range");
    return 0;
}

static ssize_t take_bytes(void *data, const char *bytes, size_t len)
{
    struct download *d = data;
    if (!d->checked && check_answer(d) < 0)
        return WH_HTTP_ABORT;
    size_t skip = (size_t)WH_MIN(d->skip, (uint64_t)len);
    if (d->received + (len - skip) > (uint64_t)d->blob->size) {
        wh_fail(&d->error, WH_E_DIGEST, "it sent more than the %lld bytes that the blob has",
                (long long)d->blob->size);
        return WH_HTTP_ABORT;
    }
    if (len > skip) {
        ssize_t n = oci_pipe_put(&d->pipe, bytes + skip, len - skip);
        if (n < 0)
            return n;
        d->received += len - skip;
    }
    d->skip -= skip;
    return 0;
}

static void prepare_download(struct wh_http *http, void *data)
{
    struct download *d = data;
    wh_http_timeouts(http, 0, 0, 60000);
    wh_http_sink(http, take_bytes, d);
    if (d->received > 0) {
        wh_autofree char *range = wh_printf("bytes=%llu-", (unsigned long long)d->received);
        wh_http_header(http, "Range", range);
    }
    d->checked = false;
    d->http = http;
    oci_pipe_attach(&d->pipe, http);
}

static void finish_download(void *data)
{
    struct download *d = data;
    oci_pipe_attach(&d->pipe, NULL);
    d->http = NULL;
}

/* One try. 1: whole; 0: it broke and may go on; negative: for good. */
static int download_once(struct download *d, struct wh_error *why)
{
    struct oci_call call = {.host = d->host,
                            .method = "GET",
                            .path = d->path,
                            .repository = d->ref->path,
                            .what = d->what,
                            .scopes = {d->scope},
                            .nscopes = 1,
                            .no_retry = true,
                            .prepare = prepare_download,
                            .finish = finish_download,
                            .data = d};
    wh_autohttp *http = NULL;
    int failed = oci_call(d->registry, &call, &http, why);
    if (d->error.code != WH_OK) { /* the sink's own judgement */
        wh_error_clear(why);
        wh_error_move(why, &d->error);
        return wh_wrap(why, "registry %s/%s: %s", d->host->name, d->ref->path, d->what);
    }
    if (failed < 0)
        return why->code == WH_E_NETWORK || why->code == WH_E_TIMEOUT ? 0 : -1;
    int status = wh_http_status(http);
    if (status == 200 || status == 206) {
        if (d->received == (uint64_t)d->blob->size)
            return 1;
        /* A whole answer that is too short is another blob; only a body without a length may have been cut
         * off. */
        bool whole = wh_http_response_header(http, "Content-Length") != NULL;
        wh_fail(why, whole ? WH_E_DIGEST : WH_E_NETWORK,
                "registry %s/%s: %s: it sent %llu bytes, but the blob's size is %lld", d->host->name,
                d->ref->path, d->what, (unsigned long long)d->received, (long long)d->blob->size);
        if (whole)
            return -1;
        return 0;
    }
    oci_call_refused(d->registry, &call, http, why);
    if (!oci_status_is_transient(status))
        return -1;
    oci_retry_delay(d->registry, d->host, http, 1); /* closes the host's gate if it asks for rest */
    return 0;
}

/* Tries that bring nothing are counted; one that brought bytes starts the count anew. */
static int download(struct download *d)
{
    unsigned tries = 0;
    for (;;) {
        wh_autoerror why = {0};
        uint64_t before = d->received;
        int n = oci_registry_canceled(d->registry) ? wh_fail(&why, WH_E_CANCELED, "canceled")
                                                   : download_once(d, &why);
        if (n > 0)
            return 0;
        tries = d->received > before ? 1 : tries + 1;
        if (n < 0 || tries >= WH_REGISTRY_TRIES)
            return wh_error_move(&d->error, &why);
        uint64_t delay = oci_retry_delay(d->registry, d->host, NULL, tries);
        oci_registry_notice(d->registry, "%s; going on at byte %llu in %.1f s", wh_error_text(&why),
                            (unsigned long long)d->received, (double)delay / 1e3);
        if (oci_registry_sleep(d->registry, delay, &d->error) < 0)
            return -1;
    }
}

static void *download_thread(void *data)
{
    struct download *d = data;
    d->status = download(d);
    oci_pipe_end(&d->pipe);
    return NULL;
}

/* Hands the pieces on and hashes them. Negative: the sink refused. */
static int consume(struct download *d, struct wh_sha256 *hash, wh_blob_sink_fn sink, void *data,
                   struct wh_error *err)
{
    const char *bytes;
    size_t n;
    while ((n = oci_pipe_get(&d->pipe, &bytes)) > 0) {
        if (hash)
            wh_sha256_update(hash, bytes, n);
        if (sink(data, bytes, n, err) < 0) {
            oci_pipe_refuse(&d->pipe);
            return -1;
        }
        oci_pipe_took(&d->pipe, n);
    }
    return 0;
}

static int check_blob(const struct download *d, struct wh_sha256 *hash, struct wh_error *err)
{
    struct wh_digest digest;
    char is[WH_DIGEST_TEXT];
    wh_sha256_final(hash, &digest);
    if (wh_digest_eq(&digest, &d->blob->digest))
        return 0;
    return wh_fail(err, WH_E_DIGEST, "registry %s/%s: %s: the bytes that came have the digest %s",
                   d->host->name, d->ref->path, d->what, wh_digest_text(&digest, is));
}

static int get_blob_at(struct wh_registry *r, struct oci_host *host, const struct wh_ref *ref,
                       const struct wh_descriptor *blob, bool verify, wh_blob_sink_fn sink, void *data,
                       bool *began, struct wh_error *err)
{
    char text[WH_DIGEST_TEXT];
    struct download d = {.registry = r, .ref = ref, .blob = blob, .host = host};
    pthread_t thread;
    wh_digest_text(&blob->digest, text);
    d.path = api_path(ref, host, "blobs", text);
    d.scope = oci_scope(ref->path, "pull");
    d.what = wh_printf("blob %s", text);
    oci_pipe_init(&d.pipe, PIPE_SIZE);
    oci_transfer_begin(r, host);
    wh_autosha256 *hash = verify ? wh_sha256_new() : NULL;
    int code = pthread_create(&thread, NULL, download_thread, &d), failed;
    if (code != 0) {
        failed = wh_fail(err, WH_E_FAILED, "no thread can be started: %s", strerror(code));
    } else {
        failed = consume(&d, hash, sink, data, err);
        pthread_join(thread, NULL);
        if (failed == 0 && d.status < 0)
            failed = wh_error_move(err, &d.error);
        if (failed == 0 && hash)
            failed = check_blob(&d, hash, err);
    }
    *began = d.received > 0;
    oci_transfer_end(r, host, d.received, 0);
    wh_error_clear(&d.error);
    oci_pipe_clear(&d.pipe);
    free(d.path);
    free(d.scope);
    free(d.what);
    return failed;
}

int oci_registry_blob_get(struct wh_registry *r, const struct wh_ref *repository,
                          const struct wh_descriptor *blob, bool verify, wh_blob_sink_fn sink, void *data,
                          struct wh_error *err)
{
    struct oci_host *hosts[MAX_MIRRORS + 1];
    size_t n = sources(r, repository, hosts);
    bool began = false;
    for (size_t i = 0; i + 1 < n; i++) {
        wh_autoerror why = {0};
        if (get_blob_at(r, hosts[i], repository, blob, verify, sink, data, &began, &why) == 0)
            return 0;
        if (began) /* bytes went to the sink already: another source can't begin anew */
            return wh_error_move(err, &why);
        pass_over(r, hosts[i], &why);
    }
    return get_blob_at(r, hosts[n - 1], repository, blob, verify, sink, data, &began, err);
}

int wh_registry_blob_get(struct wh_registry *r, const struct wh_ref *repository,
                         const struct wh_descriptor *blob, wh_blob_sink_fn sink, void *data,
                         struct wh_error *err)
{
    return oci_registry_blob_get(r, repository, blob, true, sink, data, err);
}
