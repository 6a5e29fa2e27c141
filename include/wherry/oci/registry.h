/* Registry client: the distribution API over HTTP (builder.md §7). Blocking calls for threads; one object
 * serves all of them.
 *
 * Errors name registry, repository, what was asked and what to do (log in, check the name, wait). Retries:
 * connection faults, 408, 429, 5xx, with Retry-After and jitter, up to WH_REGISTRY_TRIES; a gate per host
 * holds all threads back while it asks for rest. */
#ifndef WH_OCI_REGISTRY_H
#define WH_OCI_REGISTRY_H

#include "wherry/base/secret.h"
#include "wherry/net/http.h"
#include "wherry/oci/image.h"

#define WH_REGISTRY_TRIES 5
#define WH_REGISTRY_TRANSFERS 4       /* bodies at once per host */
#define WH_MAX_REGISTRY_WAIT_MS 60000 /* longest Retry-After that is waited for */
#define WH_MAX_DOCKER_CONFIG ((size_t)4 << 20)
#define WH_MAX_TOKEN_BYTES ((size_t)256 << 10)

/* ---- credentials ---- */
struct wh_credential {
    char *user;                 /* owned; NULL: anonymous */
    struct wh_secret *password; /* owned; for Basic and for the token endpoint */
    struct wh_secret *identity; /* owned; refresh token, instead of a password */
    struct wh_secret *registry; /* owned; a ready bearer token */
};
void wh_credential_clear(struct wh_credential *c);
/* Looks host up: credHelpers, credsStore, auths of dir/config.json (dir NULL: $DOCKER_CONFIG, else
 * ~/.docker), and the variable DOCKER_AUTH_CONFIG. Nothing found: 0 with out->user NULL. Starts
 * docker-credential-NAME where the file names one. */
int wh_docker_config_credential(const char *dir, const char *host, struct wh_credential *out,
                                struct wh_error *err);
/* Writes or removes auths[host] of dir/config.json, everything else in it stays; mode 0600. Removing what is
 * not there is fine. */
int wh_docker_config_login(const char *dir, const char *host, const char *user,
                           const struct wh_secret *password, struct wh_error *err);
int wh_docker_config_logout(const char *dir, const char *host, struct wh_error *err);

/* ---- the client ---- */
struct wh_registry;
struct wh_registry_options {
    /* Asked once per host, from any thread, serialised. NULL: anonymous everywhere. */
    int (*credential)(void *data, const char *host, struct wh_credential *out, struct wh_error *err);
    void *credential_data;
    char *const *plain_http; /* hosts asked by plain HTTP beside loopback; NULL-terminated or NULL; copied */
    char *const *insecure;   /* hosts whose certificate is not verified, and plain HTTP if TLS fails */
    char *const *mirrors;    /* "docker.io=mirror.example:5000": asked first for pulls, in order */
    const char *ca_file;     /* or NULL */
    void (*notice)(void *data, const char *line); /* "retrying in 2 s: ..."; any thread; or NULL */
    void *notice_data;
    const bool *cancel;     /* or NULL; polled atomically */
    unsigned retry_base_ms; /* 0: 1000; tests make it short */
};
/* client is used by wh_http_do() from other threads and must outlive this; NULL: an own private one is made.
 */
struct wh_registry *wh_registry_new(struct wh_http_client *client, const struct wh_registry_options *options,
                                    struct wh_error *err);
void wh_registry_free(struct wh_registry *r);

/* Asks /v2/ with the credential: 0 if it is accepted. For login. */
int wh_registry_check_login(struct wh_registry *r, const char *host, const char *user,
                            const struct wh_secret *password, struct wh_error *err);

/* ---- reading ---- */
/* HEAD (GET where that is refused) of tag or digest: type, digest, size. */
int wh_registry_manifest_head(struct wh_registry *r, const struct wh_ref *ref, struct wh_descriptor *out,
                              struct wh_error *err);
/* GET; the digest is that of the bytes, checked against ref's or `expect` (may be NULL). body is added to. */
int wh_registry_manifest_get(struct wh_registry *r, const struct wh_ref *ref, const struct wh_digest *expect,
                             struct wh_descriptor *out, struct wh_str *body, struct wh_error *err);
/* 1: there, 0: not. */
int wh_registry_blob_exists(struct wh_registry *r, const struct wh_ref *repository,
                            const struct wh_digest *digest, struct wh_error *err);
/* Streams a blob to sink (0 or negative with err) in order, resuming where a connection broke; digest and
 * size are verified by the end. sink runs on the calling
 * thread and may take its time: the transfer pauses meanwhile. */
typedef int (*wh_blob_sink_fn)(void *data, const void *bytes, size_t len, struct wh_error *err);
int wh_registry_blob_get(struct wh_registry *r, const struct wh_ref *repository,
                         const struct wh_descriptor *blob, wh_blob_sink_fn sink, void *data,
                         struct wh_error *err);

/* ---- writing ---- */
enum wh_push_how { WH_PUSH_EXISTS, WH_PUSH_MOUNTED, WH_PUSH_UPLOADED };
/* Where a blob's bytes come from: a file, read by pread() from 0 on (it stays the caller's), or memory if fd
 * is negative. */
struct wh_blob_source {
    int fd;
    const void *bytes;
};
/* HEAD, then a mount from mount_from (a repository path of the same host; may be NULL). 1: it is there now,
 * with *how; 0: it must be uploaded. */
int wh_registry_blob_find(struct wh_registry *r, const struct wh_ref *repository,
                          const struct wh_descriptor *blob, const char *mount_from, enum wh_push_how *how,
                          struct wh_error *err);
/* One PUT; where the registry refuses that way or the connection breaks twice, chunks that go on where they
 * broke. */
int wh_registry_blob_upload(struct wh_registry *r, const struct wh_ref *repository,
                            const struct wh_descriptor *blob, const struct wh_blob_source *source,
                            struct wh_error *err);
/* Both: find, else upload. how may be NULL. */
int wh_registry_blob_put(struct wh_registry *r, const struct wh_ref *repository,
                         const struct wh_descriptor *blob, const struct wh_blob_source *source,
                         const char *mount_from, enum wh_push_how *how, struct wh_error *err);

/* An upload that begins before the blob is whole: bytes are sent as the file grows (fd is duplicated). If the
 * registry refuses that way, wh_registry_stream_finish() falls back to a plain upload. */
struct wh_blob_stream;
struct wh_blob_stream *wh_registry_stream_begin(struct wh_registry *r, const struct wh_ref *repository,
                                                int fd, struct wh_error *err);
void wh_registry_stream_grow(struct wh_blob_stream *s,
                             uint64_t total); /* any thread; fits wh_layer_options.progress */
/* The file is whole: the upload ends by itself, though the registry has the blob only after
 * wh_registry_stream_finish(). */
void wh_registry_stream_whole(struct wh_blob_stream *s, uint64_t total);
/* Waits for the end of the upload. blob is the finished descriptor. Frees s on every path. */
int wh_registry_stream_finish(struct wh_blob_stream *s, const struct wh_descriptor *blob,
                              enum wh_push_how *how, struct wh_error *err);
void wh_registry_stream_abort(struct wh_blob_stream *s); /* and frees; NULL is fine */

/* Whether ref's tag names this very manifest already; false too where the registry doesn't say. */
bool wh_registry_manifest_there(struct wh_registry *r, const struct wh_ref *ref,
                                const struct wh_descriptor *manifest);
/* PUT under ref's tag (or by digest if it has none), with the descriptor's exact type. */
int wh_registry_manifest_put(struct wh_registry *r, const struct wh_ref *ref,
                             const struct wh_descriptor *manifest, const void *bytes, struct wh_error *err);

/* True once it is known that the host gives us its answers without credentials. */
bool wh_registry_is_anonymous(struct wh_registry *r, const char *host);
/* Bytes of blob bodies that were received and sent, for figures. */
void wh_registry_traffic(const struct wh_registry *r, uint64_t *received, uint64_t *sent);

/* One challenge of a WWW-Authenticate header: "Bearer realm=...,service=...,scope=..." or "Basic realm=...".
 */
struct wh_challenge {
    bool bearer;
    char *realm, *service, *scope, *error; /* owned; NULL if absent */
};
void wh_challenge_clear(struct wh_challenge *c);
/* The best challenge that the header offers (Bearer before Basic). */
int wh_challenge_parse(const char *header, struct wh_challenge *out, struct wh_error *err);

#endif
