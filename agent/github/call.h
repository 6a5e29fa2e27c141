/* One call to the service: token, JSON body, base retries, one fresh token after a 401 (runner-protocol.md
 * §0.2). */
#ifndef WH_GITHUB_CALL_H
#define WH_GITHUB_CALL_H

#include "github/token.h"

struct gh_call;

/* A body of raw bytes: from memory (copied), by a function, or from a descriptor; these two must stay until
 * the end. */
struct gh_octets {
    const void *data;
    size_t len;           /* of data */
    wh_http_read_fn read; /* asked where data is NULL and fd_len is not 0, */
    void *read_data;
    int fd; /* else this is read */
    off_t offset;
    uint64_t fd_len;
};

struct gh_call_options {
    struct wh_http_client *http;
    const char *method;
    const char *url;
    const cJSON *body;       /* NULL: none */
    struct gh_octets octets; /* application/octet-stream, where body is NULL */
    const char *api_version; /* V1: named in Accept and Content-Type, and redirects are no answer; NULL: V2 */
    bool redirect_once;      /* V1: one is followed all the same */
    const struct wh_secret *token;  /* a fixed bearer token (the job's), or */
    struct wh_token_source *source; /* the listener's */
    unsigned timeout_ms;            /* 0: 100 s */
    unsigned tries;                 /* of the base layer, for 502/503/504, 429 and connections; 0: 1 */
    bool fresh;                     /* a connection of its own for the first try */
    size_t max_body;                /* 0: 4 MiB */
};

struct gh_answer {
    int status;              /* 0: no answer came, err says why */
    enum wh_outcome outcome; /* OK with an answer; else what the token or the transport says */
    cJSON *json;             /* of any status, NULL if it is none; may be stolen */
    bool lost;               /* an earlier try may have been carried out (its answer was lost) */
    struct wh_http *http;    /* the last request; NULL without one */
    struct wh_error *err;    /* NULL if status is 2xx; else the sentence */
};
typedef void (*gh_answer_fn)(void *data, struct gh_answer *answer);

/* All options are read (copied) within the call, save http and source. done comes once, never from within;
 * call is gone after it. */
struct gh_call *gh_call_start(const struct gh_call_options *options, gh_answer_fn done, void *data);
bool gh_call_is_out(const struct gh_call *call); /* the service may be at it; false on NULL */
void gh_call_cancel(struct gh_call **call);      /* without callback; harmless on NULL */

/* True, with the sentence, if a web page came where the service speaks JSON. */
bool gh_is_page(const struct wh_http *r, struct wh_error *err);
/* base + path with exactly one slash between; owned by the caller. */
char *gh_url(const char *base, const char *path);
/* Adds "name=value" to a query, percent-encoded; first by '?', then by '&'. */
void gh_query_add(struct wh_str *url, const char *name, const char *value);

#endif
