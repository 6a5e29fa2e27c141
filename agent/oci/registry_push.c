/* Writing to a registry: blobs (mount, one PUT, chunks) and manifests (builder.md §7 Push). */
#include <stdio.h>

#include "oci/oci.h"
#include "oci/registry_internal.h"
#include "oci/upload.h"

#define CHUNK_SIZE ((uint64_t)16 << 20)
#define MAX_CHUNK_SIZE ((uint64_t)1 << 30)

void oci_upload_init(struct oci_upload *u, struct wh_registry *r, const struct wh_ref *ref, const char *what)
{
    *u = (struct oci_upload){.registry = r, .ref = ref, .host = oci_host(r, wh_ref_api_host(ref))};
    u->what = wh_strdup(what);
    u->scope = oci_scope(ref->path, "pull,push");
}

void oci_upload_clear(struct oci_upload *u)
{
    free(u->what);
    free(u->scope);
    free(u->location);
    *u = (struct oci_upload){0};
}

struct oci_call oci_upload_call(const struct oci_upload *u, const char *method)
{
    return (struct oci_call){
        .host = u->host,
        .method = method,
        .url = u->location,
        .repository = u->ref->path,
        .what = u->what,
        .scopes = {u->scope},
        .nscopes = 1,
        .no_redirect = true,
    };
}

/* "scheme://host" of a URL. */
static char *origin_of(const char *url)
{
    const char *host = strstr(url, "://");
    return host ? wh_strndup(url, (size_t)(host + 3 - url) + strcspn(host + 3, "/?#")) : NULL;
}

int oci_upload_follow(struct oci_upload *u, const struct wh_http *http, struct wh_error *err)
{
    const char *location = wh_http_response_header(http, "Location");
    const char *minimum = wh_http_response_header(http, "OCI-Chunk-Min-Length");
    uint64_t chunk;
    if (minimum && wh_parse_u64(minimum, MAX_CHUNK_SIZE, &chunk))
        u->min_chunk = chunk;
    if (!location || !location[0]) {
        if (u->location)
            return 0;
        return wh_fail(err, WH_E_PROTOCOL, "registry %s/%s: %s: it gave no Location to upload to",
                       u->host->name, u->ref->path, u->what);
    }
    char *url;
    if (strstr(location, "://") && strcspn(location, "/?#") > strcspn(location, ":")) {
        url = wh_strdup(location);
    } else {
        wh_autofree char *origin = u->location ? origin_of(u->location) : NULL;
        wh_autofree char *own = wh_printf("%s://%s", u->host->plain ? "http" : "https", u->host->name);
        url = wh_printf("%s%s%s", origin ? origin : own, location[0] == '/' ? "" : "/", location);
    }
    wh_autofree char *plain = wh_printf("http://%s/", u->host->name);
    if (wh_starts_with_ci(url, plain) && !u->host->plain) {
        /* Behind a proxy that ends TLS some registries name themselves by http: the way that we came is kept.
         */
        wh_autofree char *old = url;
        url = wh_printf("https://%s", old + strlen("http://"));
    }
    free(u->location);
    u->location = url;
    return 0;
}

int oci_upload_start(struct oci_upload *u, struct wh_error *err)
{
    wh_autofree char *path = wh_printf("/v2/%s/blobs/uploads/", u->ref->path);
    struct oci_call call = oci_upload_call(u, "POST");
    wh_autohttp *http = NULL;
    call.url = NULL;
    call.path = path;
    free(u->location);
    u->location = NULL;
    if (oci_call(u->registry, &call, &http, err) < 0)
        return -1;
    if (wh_http_status(http) != 202)
        return oci_call_refused(u->registry, &call, http, err);
    return oci_upload_follow(u, http, err);
}

char *oci_upload_final_url(const struct oci_upload *u, const struct wh_digest *digest)
{
    char text[WH_DIGEST_TEXT];
    const char *location = u->location ? u->location : "";
    wh_autofree char *escaped = oci_url_escape(wh_digest_text(digest, text));
    return wh_printf("%s%sdigest=%s", location, strchr(location, '?') ? "&" : "?", escaped);
}

/* ---- one PUT ---- */

struct put_body {
    const struct wh_blob_source *source;
    uint64_t offset, len;
    const char *range; /* Content-Range or NULL */
};

static void prepare_body(struct wh_http *http, void *data)
{
    const struct put_body *b = data;
    wh_http_header(http, "Content-Type", "application/octet-stream");
    wh_http_timeouts(http, 0, 0, 120000);
    if (b->range)
        wh_http_header(http, "Content-Range", b->range);
    if (b->len == 0)
        wh_http_body(http, "", 0);
    else if (b->source->fd >= 0)
        wh_http_body_fd(http, b->source->fd, (off_t)b->offset, b->len);
    else
        wh_http_body(http, (const char *)b->source->bytes + b->offset, (size_t)b->len);
}

/* A status that speaks against the way of the upload, not against the blob or us. */
static bool way_refused(int status)
{
    return status == 400 || status == 405 || status == 411 || status == 413 || status == 415 ||
           status == 416 || status == 501;
}

/* Sends the whole in one PUT. 1: there; 0: try chunks; negative: error. */
static int put_whole(struct oci_upload *u, const struct wh_descriptor *blob,
                     const struct wh_blob_source *source, struct wh_error *err)
{
    struct put_body body = {.source = source, .len = (uint64_t)blob->size};
    wh_autofree char *url = oci_upload_final_url(u, &blob->digest);
    struct oci_call call = oci_upload_call(u, "PUT");
    wh_autohttp *http = NULL;
    call.url = url;
    call.prepare = prepare_body;
    call.data = &body;
    call.no_retry = true; /* an upload that broke is started anew */
    if (oci_call(u->registry, &call, &http, err) < 0)
        return -1;
    u->sent += wh_http_sent_bytes(http);
    int status = wh_http_status(http);
    if (status == 201 || status == 204)
        return 1;
    oci_call_refused(u->registry, &call, http, err);
    if (oci_status_is_transient(status))
        oci_retry_delay(u->registry, u->host, http, 1); /* closes the host's gate if it asks for rest */
    return way_refused(status) ? 0 : -1;
}

int oci_upload_commit(struct oci_upload *u, const struct wh_digest *digest, struct wh_error *err)
{
    const struct wh_blob_source none = {.fd = -1, .bytes = ""};
    struct put_body body = {.source = &none};
    wh_autofree char *url = oci_upload_final_url(u, digest);
    struct oci_call call = oci_upload_call(u, "PUT");
    wh_autohttp *http = NULL;
    call.url = url;
    call.prepare = prepare_body;
    call.data = &body;
    if (oci_call(u->registry, &call, &http, err) < 0)
        return -1;
    int status = wh_http_status(http);
    return status == 201 || status == 204 ? 0 : oci_call_refused(u->registry, &call, http, err);
}

/* ---- chunks ---- */

/* "0-1023" or "bytes=0-1023": what the registry has. 0 if it says nothing. */
static uint64_t have_bytes(const struct wh_http *http)
{
    const char *range = wh_http_response_header(http, "Range");
    uint64_t last;
    if (range && wh_starts_with_ci(range, "bytes="))
        range += strlen("bytes=");
    if (!range || !wh_starts_with(range, "0-") || !wh_parse_u64(range + 2, UINT64_MAX - 1, &last))
        return 0;
    return last + 1;
}

/* Asks how much of an upload that broke is there. */
static int ask_offset(struct oci_upload *u, uint64_t *offset, struct wh_error *err)
{
    struct oci_call call = oci_upload_call(u, "GET");
    wh_autohttp *http = NULL;
    if (oci_call(u->registry, &call, &http, err) < 0)
        return -1;
    int status = wh_http_status(http);
    if (status != 204 && status != 202 && status != 200)
        return oci_call_refused(u->registry, &call, http, err);
    *offset = have_bytes(http);
    return oci_upload_follow(u, http, err);
}

/* Sends one chunk. 1: taken; 0: it broke, ask for the offset; negative: error. */
static int put_chunk(struct oci_upload *u, const struct wh_blob_source *source, uint64_t offset, uint64_t len,
                     uint64_t *next, struct wh_error *err)
{
    wh_autofree char *range =
        wh_printf("%llu-%llu", (unsigned long long)offset, (unsigned long long)(offset + len - 1));
    struct put_body body = {.source = source, .offset = offset, .len = len, .range = range};
    struct oci_call call = oci_upload_call(u, "PATCH");
    wh_autohttp *http = NULL;
    call.prepare = prepare_body;
    call.data = &body;
    call.no_retry = true;
    if (oci_call(u->registry, &call, &http, err) < 0)
        return err->code == WH_E_NETWORK || err->code == WH_E_TIMEOUT ? 0 : -1;
    u->sent += wh_http_sent_bytes(http);
    int status = wh_http_status(http);
    if (status == 202 || status == 201 || status == 204) {
        uint64_t have = have_bytes(http);
        *next = have > offset && have <= offset + len ? have : offset + len;
        return oci_upload_follow(u, http, err) < 0 ? -1 : 1;
    }
    oci_call_refused(u->registry, &call, http, err);
    if (oci_status_is_transient(status))
        oci_retry_delay(u->registry, u->host, http, 1);
    return status == 416 || oci_status_is_transient(status) ? 0 : -1;
}

static int put_chunks(struct oci_upload *u, const struct wh_descriptor *blob,
                      const struct wh_blob_source *source, struct wh_error *err)
{
    uint64_t offset = 0, size = (uint64_t)blob->size;
    unsigned tries = 0;
    while (offset < size) {
        wh_autoerror why = {0};
        uint64_t step = WH_MIN(WH_MAX(CHUNK_SIZE, u->min_chunk), size - offset), next = offset;
        int n = put_chunk(u, source, offset, step, &next, &why);
        if (n > 0) {
            offset = next;
            tries = 0;
            continue;
        }
        if (n < 0 || ++tries >= WH_REGISTRY_TRIES)
            return wh_error_move(err, &why);
        uint64_t delay = oci_retry_delay(u->registry, u->host, NULL, tries);
        oci_registry_notice(u->registry, "%s; going on in %.1f s", wh_error_text(&why), (double)delay / 1e3);
        if (oci_registry_sleep(u->registry, delay, err) < 0 || ask_offset(u, &offset, err) < 0)
            return -1;
        if (offset > size)
            return wh_fail(err, WH_E_PROTOCOL, "registry %s/%s: %s: it claims to have more than was sent",
                           u->host->name, u->ref->path, u->what);
    }
    return oci_upload_commit(u, &blob->digest, err);
}

/* ---- the whole ---- */

/* One PUT first; where that way is refused, or breaks twice, chunks. */
static int upload(struct oci_upload *u, const struct wh_descriptor *blob, const struct wh_blob_source *source,
                  struct wh_error *err)
{
    for (unsigned n = 1; n <= 2; n++) {
        wh_autoerror why = {0};
        if (oci_upload_start(u, err) < 0)
            return -1;
        int there = put_whole(u, blob, source, &why);
        if (there > 0)
            return 0;
        if (there == 0)
            break;
        if (why.code != WH_E_NETWORK && why.code != WH_E_TIMEOUT && why.code != WH_E_HTTP &&
            why.code != WH_E_NOT_FOUND)
            return wh_error_move(err, &why);
        uint64_t delay = oci_retry_delay(u->registry, u->host, NULL, n);
        oci_registry_notice(u->registry, "%s; uploading it anew in %.1f s", wh_error_text(&why),
                            (double)delay / 1e3);
        if (oci_registry_sleep(u->registry, delay, err) < 0)
            return -1;
    }
    if (oci_upload_start(u, err) < 0)
        return -1;
    return put_chunks(u, blob, source, err);
}

/* 1: mounted; 0: not (an upload was begun instead, or it was refused). */
static int try_mount(struct oci_upload *u, const struct wh_descriptor *blob, const char *from)
{
    char text[WH_DIGEST_TEXT];
    wh_autofree char *digest = oci_url_escape(wh_digest_text(&blob->digest, text));
    wh_autofree char *source = oci_url_escape(from);
    wh_autofree char *scope = oci_scope(from, "pull");
    wh_autofree char *path =
        wh_printf("/v2/%s/blobs/uploads/?mount=%s&from=%s", u->ref->path, digest, source);
    struct oci_call call = oci_upload_call(u, "POST");
    wh_autohttp *http = NULL;
    call.url = NULL;
    call.path = path;
    call.scopes[call.nscopes++] = scope;
    return oci_call(u->registry, &call, &http, NULL) == 0 && wh_http_status(http) == 201;
}

int wh_registry_blob_find(struct wh_registry *r, const struct wh_ref *repository,
                          const struct wh_descriptor *blob, const char *mount_from, enum wh_push_how *how,
                          struct wh_error *err)
{
    int there = wh_registry_blob_exists(r, repository, &blob->digest, err);
    *how = WH_PUSH_EXISTS;
    if (there != 0 || !mount_from || wh_streq(mount_from, repository->path))
        return there;
    struct oci_upload u;
    oci_upload_init(&u, r, repository, "mount of a blob");
    there = try_mount(&u, blob, mount_from);
    *how = WH_PUSH_MOUNTED;
    oci_upload_clear(&u);
    return there;
}

int wh_registry_blob_upload(struct wh_registry *r, const struct wh_ref *repository,
                            const struct wh_descriptor *blob, const struct wh_blob_source *source,
                            struct wh_error *err)
{
    char text[WH_DIGEST_TEXT];
    struct oci_upload u;
    wh_autofree char *what = wh_printf("blob %s", wh_digest_text(&blob->digest, text));
    oci_upload_init(&u, r, repository, what);
    oci_transfer_begin(r, u.host);
    int failed = upload(&u, blob, source, err);
    oci_transfer_end(r, u.host, 0, u.sent);
    oci_upload_clear(&u);
    return failed;
}

int wh_registry_blob_put(struct wh_registry *r, const struct wh_ref *repository,
                         const struct wh_descriptor *blob, const struct wh_blob_source *source,
                         const char *mount_from, enum wh_push_how *how, struct wh_error *err)
{
    enum wh_push_how done;
    int there = wh_registry_blob_find(r, repository, blob, mount_from, &done, err);
    if (there == 0) {
        done = WH_PUSH_UPLOADED;
        there = wh_registry_blob_upload(r, repository, blob, source, err);
    }
    if (there >= 0 && how)
        *how = done;
    return there < 0 ? -1 : 0;
}

/* ---- manifests ---- */

struct manifest_body {
    const struct wh_descriptor *manifest;
    const void *bytes;
};

/* A call about the manifest under ref's tag, or under its digest if ref has none. */
struct manifest_call {
    struct oci_call call;
    char *path, *scope, *what;
};

static void manifest_call(struct manifest_call *m, struct wh_registry *r, const struct wh_ref *ref,
                          const struct wh_descriptor *manifest, const char *method)
{
    char text[WH_DIGEST_TEXT];
    const char *name = ref->tag ? ref->tag : wh_digest_text(&manifest->digest, text);
    m->path = wh_printf("/v2/%s/manifests/%s", ref->path, name);
    m->scope = oci_scope(ref->path, "pull,push");
    m->what = wh_printf("push of manifest %s", name);
    m->call = (struct oci_call){.host = oci_host(r, wh_ref_api_host(ref)),
                                .method = method,
                                .path = m->path,
                                .repository = ref->path,
                                .what = m->what,
                                .scopes = {m->scope},
                                .nscopes = 1,
                                .no_redirect = true};
}

static void manifest_call_clear(struct manifest_call *m)
{
    free(m->path);
    free(m->scope);
    free(m->what);
}

static bool same_type(const struct wh_http *http, const struct wh_descriptor *manifest)
{
    struct wh_view type, rest;
    wh_view_split(wh_view_of(wh_http_response_header(http, "Content-Type")), ';', &type, &rest);
    return wh_view_eq(wh_view_trim(type), manifest->media_type);
}

bool wh_registry_manifest_there(struct wh_registry *r, const struct wh_ref *ref,
                                const struct wh_descriptor *manifest)
{
    char text[WH_DIGEST_TEXT];
    struct manifest_call m;
    wh_autohttp *http = NULL;
    manifest_call(&m, r, ref, manifest, "HEAD");
    m.call.accept = manifest->media_type;
    m.call.no_retry = true; /* who isn't answered puts it */
    bool there = oci_call(r, &m.call, &http, NULL) == 0 && wh_http_status(http) == 200 &&
                 wh_streq(wh_http_response_header(http, "Docker-Content-Digest"),
                          wh_digest_text(&manifest->digest, text)) &&
                 same_type(http, manifest);
    manifest_call_clear(&m);
    return there;
}

static void prepare_manifest(struct wh_http *http, void *data)
{
    const struct manifest_body *b = data;
    wh_http_header(http, "Content-Type", b->manifest->media_type);
    wh_http_body(http, b->bytes, (size_t)b->manifest->size);
}

static int put_manifest(struct wh_registry *r, const struct oci_call *call, const struct wh_ref *ref,
                        const struct wh_digest *digest, struct wh_error *err)
{
    char text[WH_DIGEST_TEXT];
    wh_autohttp *http = NULL;
    if (oci_call(r, call, &http, err) < 0)
        return -1;
    int status = wh_http_status(http);
    if (status != 201 && status != 202 && status != 200)
        return oci_call_refused(r, call, http, err);
    const char *told = wh_http_response_header(http, "Docker-Content-Digest");
    if (told && !wh_streq(told, wh_digest_text(digest, text)))
        return wh_fail(err, WH_E_DIGEST, "registry %s/%s: it filed manifest %s under %.80s", call->host->name,
                       ref->path, text, told);
    return 0;
}

int wh_registry_manifest_put(struct wh_registry *r, const struct wh_ref *ref,
                             const struct wh_descriptor *manifest, const void *bytes, struct wh_error *err)
{
    struct manifest_body body = {manifest, bytes};
    struct manifest_call m;
    manifest_call(&m, r, ref, manifest, "PUT");
    m.call.prepare = prepare_manifest;
    m.call.data = &body;
    int failed = put_manifest(r, &m.call, ref, &manifest->digest, err);
    manifest_call_clear(&m);
    return failed;
}

/* ---- login ---- */

struct one_credential {
    const char *user;
    const struct wh_secret *password;
};

static int give_credential(void *data, const char *host, struct wh_credential *out, struct wh_error *err)
{
    const struct one_credential *c = data;
    (void)host;
    (void)err;
    *out = (struct wh_credential){.user = wh_strdup(c->user),
                                  .password =
                                      wh_secret_new(wh_secret_text(c->password), wh_secret_len(c->password))};
    return 0;
}

int wh_registry_check_login(struct wh_registry *registry, const char *host, const char *user,
                            const struct wh_secret *password, struct wh_error *err)
{
    struct one_credential credential = {user, password};
    struct wh_registry_options options = registry->options;
    options.credential = give_credential;
    options.credential_data = &credential;
    options.plain_http = registry->plain_http;
    options.insecure = registry->insecure;
    options.ca_file = registry->ca_file;
    options.mirrors = NULL;
    /* An object of its own, so that no other credential or token is used. */
    struct wh_registry *r = wh_registry_new(registry->client, &options, err);
    if (!r)
        return -1;
    bool hub = wh_streq(host, "docker.io") || wh_streq(host, "index.docker.io");
    struct oci_call call = {.host = oci_host(r, hub ? "registry-1.docker.io" : host),
                            .method = "GET",
                            .path = "/v2/",
                            .what = "login"};
    wh_autohttp *http = NULL;
    int failed = oci_call(r, &call, &http, err);
    if (failed == 0 && wh_http_status(http) != 200)
        failed = oci_call_refused(r, &call, http, err);
    wh_http_free(wh_steal(&http));
    wh_registry_free(r);
    return failed;
}
