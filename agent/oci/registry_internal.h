/* The registry client's inside: hosts, calls with retries, tokens. */
#ifndef OCI_REGISTRY_INTERNAL_H
#define OCI_REGISTRY_INTERNAL_H

#include <pthread.h>

#include "wherry/oci/registry.h"

#define OCI_MAX_ERROR_BODY ((size_t)64 << 10)
#define OCI_MAX_SCOPES 8

/* A token of a host, for one set of scopes. */
struct oci_token {
    char *scope; /* owned; the set, sorted and joined by blanks */
    struct wh_secret *token;
    uint64_t renew_ms; /* monotonic */
    struct oci_token *next;
};

struct oci_host {
    char *name; /* as the API is asked; owned */
    bool plain, insecure;
    bool answered; /* it gave an answer: what it is asked by stays */
    bool asked_credential;
    struct wh_credential credential;
    bool basic;                    /* it challenged us for Basic */
    struct wh_challenge challenge; /* Bearer's, once known */
    struct oci_token *tokens;
    uint64_t gate_ms;   /* monotonic: nothing is asked before */
    bool met, meeting;  /* it answered once; its first request is under way */
    unsigned transfers; /* bodies under way */
    struct oci_host *next;
};

struct wh_registry {
    struct wh_registry_options options;
    char **plain_http, **insecure, **mirrors; /* owned copies */
    char *ca_file;
    struct wh_http_client *client, *own, *insecure_client;
    pthread_mutex_t lock; /* hosts, gates, transfers, traffic */
    pthread_cond_t changed;
    pthread_mutex_t auth; /* credentials and tokens: one at a time asks for them */
    struct oci_host *hosts;
    uint64_t received, sent;
};

struct oci_host *oci_host(struct wh_registry *r, const char *name);
bool oci_registry_canceled(const struct wh_registry *r);
void oci_registry_notice(struct wh_registry *r, const char *fmt, ...) WH_PRINTF(2, 3);
/* Sleeps, ended by cancellation. 0 or negative with WH_E_CANCELED. */
int oci_registry_sleep(struct wh_registry *r, uint64_t ms, struct wh_error *err);
struct wh_http *oci_http_new(struct wh_registry *r, const struct oci_host *host, const char *method,
                             const char *url);
void oci_transfer_begin(struct wh_registry *r, struct oci_host *host);
void oci_transfer_end(struct wh_registry *r, struct oci_host *host, uint64_t received, uint64_t sent);

/* One request, with authentication and retries. */
struct oci_call {
    struct oci_host *host;
    const char *method;
    const char *path;       /* "/v2/..." with its query; or NULL */
    const char *url;        /* or a whole URL (an upload's Location) */
    const char *repository; /* for errors; NULL for none */
    const char *what;       /* "manifest latest", "blob sha256:.."; for errors */
    const char *scopes[OCI_MAX_SCOPES];
    size_t nscopes;
    const char *accept;
    bool no_retry; /* the caller repeats the whole operation itself */
    bool no_redirect;
    /* Sets the body and sinks; called before each attempt. May be NULL. */
    void (*prepare)(struct wh_http *http, void *data);
    /* The request is over and is about to go: nobody may resume it any more. May be NULL. */
    void (*finish)(void *data);
    void *data;
    size_t max_body; /* of a collected answer; 0: the client's default */
};
/* Sends it. 0 with *out (the caller's, wh_http_free) for every answer that is not retried, of any status;
 * negative for none. */
int oci_call(struct wh_registry *r, const struct oci_call *call, struct wh_http **out, struct wh_error *err);
/* An error for an answer whose status says no. Returns -1. */
int oci_call_refused(struct wh_registry *r, const struct oci_call *call, struct wh_http *http,
                     struct wh_error *err);
bool oci_status_is_transient(int status);
/* How long to wait before attempt n (from 1): Retry-After or doubling, with jitter. Holds the host's gate. */
uint64_t oci_retry_delay(struct wh_registry *r, struct oci_host *host, const struct wh_http *http,
                         unsigned n);

/* Authorization for a request: sets the header if something is known. Negative: the token could not be had.
 */
int oci_auth_apply(struct wh_registry *r, const struct oci_call *call, struct wh_http *http,
                   struct wh_error *err);
/* After a 401 (had: the request bore an authorization): learns the challenge. 1: worth another attempt; 0:
 * not. */
int oci_auth_learn(struct wh_registry *r, const struct oci_call *call, const struct wh_http *http, bool had,
                   struct wh_error *err);
void oci_host_clear(struct oci_host *host);

/* As wh_registry_blob_get(); without verify the caller checks the digest itself (the size is checked here).
 */
int oci_registry_blob_get(struct wh_registry *r, const struct wh_ref *repository,
                          const struct wh_descriptor *blob, bool verify, wh_blob_sink_fn sink, void *data,
                          struct wh_error *err);

/* "repository:NAME:pull" etc. */
char *oci_scope(const char *repository, const char *actions);
/* Percent-encodes all but unreserved characters. */
char *oci_url_escape(const char *text);

#endif
