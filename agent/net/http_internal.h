/* What the files of the HTTP client share. Everything here belongs to the loop's thread unless a comment says
 * otherwise. */
#ifndef WH_NET_HTTP_INTERNAL_H
#define WH_NET_HTTP_INTERNAL_H

#include <curl/curl.h>
#include <stdatomic.h>

#include "wherry/net/http.h"

struct wh_http_client {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer; /* curl's time-outs */
    uv_idle_t idle;   /* curl's "at once": a 0 ms timer would starve polling in libuv 1.44 */
    uv_timer_t stall; /* each second while a request has a stall limit */
    uv_async_t async; /* wakes for starting, resumed and cancelled requests */
    unsigned handles; /* of the four above, those that are not closed yet */
    unsigned nactive; /* started and not finished */
    unsigned in_curl; /* depth of curl calls that may call back: then nothing may be added or removed */
    bool closing;
    struct wh_http *active; /* list by next/prev */
    uv_mutex_t lock;        /* guards starting and the waiters of wh_http_do() */
    struct wh_http *starting;
    char *user_agent, *ca_file, *ca_folder;
    bool ca_more; /* ca_file is beside the system's, not in its place */
    bool insecure;
    char local_address[46];
    uint64_t renewed_ms; /* of the loop: older connections are not used; 0: all may be */
    _Atomic int64_t skew_s;
    /* private clients */
    bool own_thread;
    uv_loop_t own_loop;
    uv_thread_t thread;
    atomic_bool stop;
};

/* After the label of the request. */
#define WH_PROXY_WANTS_USER                                                                                  \
    "the proxy wants a user and a password (407): put them into its address, as in "                         \
    "https_proxy=http://USER:PASSWORD@HOST:PORT (percent-encoded)"

enum wh_http_state { WH_HTTP_BUILT, WH_HTTP_STARTING, WH_HTTP_ACTIVE, WH_HTTP_DONE };
enum wh_http_body_kind { WH_BODY_NONE, WH_BODY_MEMORY, WH_BODY_FD, WH_BODY_PULL };

struct wh_http_pair {
    char *name, *value;
};

struct wh_http {
    struct wh_http_client *client;
    struct wh_http *next, *prev;
    enum wh_http_state state;
    CURL *easy;
    char *method, *url, *label;
    const char *about; /* whom the log's lines are about in callbacks */
    struct curl_slist *headers;
    bool has_content_type;

    enum wh_http_body_kind body_kind;
    char *body; /* memory */
    uint64_t body_len;
    int body_fd;
    wh_http_read_fn read; /* in place of body_fd */
    void *read_data;
    off_t body_offset;
    uint64_t body_pos;
    wh_http_pull_fn pull;
    void *pull_data;
    int64_t pull_len;
    uint64_t pulled;

    wh_http_sink_fn sink;
    void *sink_data;
    size_t max_body;
    unsigned total_ms, connect_ms, stall_ms;
    enum wh_http_redirect redirect;
    bool fresh;
    bool connect_only; /* for the WebSocket: done when connected, stays in the multi handle */

    wh_http_done_fn done;
    void *done_data;
    uv_cond_t *waiter; /* wh_http_do() waits on it, under the client's lock */
    bool finished;     /* under the client's lock where there is a waiter */
    struct wh_error error;

    atomic_bool want_resume, want_cancel;
    bool zombie; /* freed inside a curl call: goes when it returns */
    bool sink_paused, pull_paused;
    uint64_t seen_bytes, seen_at_ms;

    int status;
    struct wh_http_pair *answer; /* headers */
    size_t nanswer, answer_bytes;
    struct wh_str collected;
    char *effective_url;
    uint64_t sent, started_ms;
    unsigned sends;
    char errbuf[CURL_ERROR_SIZE];
};

/* http_client.c */
void wh_http_client_queue(struct wh_http *r);                 /* any thread */
void wh_http_client_drop(struct wh_http *r);                  /* out of multi and lists, no callback */
void wh_http_client_finish(struct wh_http *r, CURLcode code); /* out, then the callback or the waiter */
void wh_http_client_wake(struct wh_http_client *client);      /* any thread */

/* http_transfer.c */
int wh_http_transfer_setup(struct wh_http *r, struct wh_error *err);
void wh_http_transfer_result(struct wh_http *r, CURLcode code,
                             struct wh_error *err); /* collects the answer; sets err on failure */

/* http_response.c */
void wh_http_answer_reset(struct wh_http *r);
void wh_http_answer_line(struct wh_http *r, const char *line, size_t len);

/* http_request.c */
void wh_http_destroy(struct wh_http *r); /* memory only */

/* http_proxy.c: the proxy for a URL by the environment's rules (§7), with its scheme; owned; NULL: go direct.
 */
char *wh_http_proxy_for(const char *url, char *const *env);

#endif
