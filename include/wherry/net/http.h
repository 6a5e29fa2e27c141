/* HTTP client: libcurl's multi interface on a libuv loop (runner-protocol.md §0.2, §7).
 *
 * One client serves one loop and shares its connections, name look-ups and TLS sessions among all requests. A
 * request is one object that is built, sent once, and then holds the answer. There are two ways to send it:
 *   - wh_http_start() on the loop's own thread: the done callback comes later, on the loop;
 *   - wh_http_do() from any other thread: blocks until the answer is whole. With a client of
 * wh_http_client_new_private(), which brings a thread with a loop of its own, every thread may call it
 * (forked actions, the builder's vertices).
 *
 * A request "fails" (error) when there is no whole answer: name, connection, TLS, time-out, body limit,
 * cancellation. An answer with any status is a success here; wh_http_check() makes an error of a status that
 * is not 2xx. Errors are sentences with method, host, path and cause; queries (signed URLs) and secret
 * headers are never shown. */
#ifndef WH_NET_HTTP_H
#define WH_NET_HTTP_H

#include <sys/types.h>
#include <uv.h>

#include "wherry/base/err.h"
#include "wherry/base/json.h"
#include "wherry/base/secret.h"

#define WH_MAX_HTTP_HEADERS 256                      /* of one answer; more are dropped */
#define WH_MAX_HTTP_HEADER_BYTES ((size_t)256 << 10) /* of one answer in sum */
#define WH_HTTP_DEFAULT_BODY ((size_t)4 << 20)       /* collected body unless wh_http_max_body() says else */
#define WH_MAX_HTTP_ERROR_BODY ((size_t)64 << 10)    /* of an answer that is not 2xx and was to be streamed */

#define WH_CA_FILE_ENV "WHERRY_CA_FILE" /* how our processes hand --ca-file on */

struct wh_http_client;
struct wh_http;

/* ---- the client ---- */
struct wh_http_options {
    const char *user_agent; /* NULL: "wherry/<version>" */
    const char *ca_file; /* PEM, trusted beside the system's; NULL: WHERRY_CA_FILE. Without one, SSL_CERT_FILE
                            and SSL_CERT_DIR are in the place of the system's */
    bool insecure; /* no verification of certificates (GITHUB_ACTIONS_RUNNER_TLS_NO_VERIFY=1 sets it too) */
    unsigned max_idle; /* kept connections; 0: 8 */
};
/* options may be NULL; texts are copied. The loop outlives the client. */
struct wh_http_client *wh_http_client_new(uv_loop_t *loop, const struct wh_http_options *options);
/* A client with a thread and a loop of its own; only wh_http_do() works with it. Don't fork while it exists
 * and use it in the child: make one after the fork. */
struct wh_http_client *wh_http_client_new_private(const struct wh_http_options *options,
                                                  struct wh_error *err);
/* On the loop's thread (private: on any thread, and it joins the thread). Requests under way end with
 * WH_E_CANCELED, their done callbacks are called from within. The handles close when the loop runs next;
 * memory goes then. NULL is fine. */
void wh_http_client_free(struct wh_http_client *client);
/* How many kept connections from now on: with fewer than there are long polls, each poll would be a new one.
 * On the loop's thread. */
void wh_http_client_max_idle(struct wh_http_client *client, unsigned connections);
/* The loop of the client. */
uv_loop_t *wh_http_client_loop(const struct wh_http_client *client);
/* Seconds that the peers' clock is ahead of ours, by the Date header of the latest answer; 0 before that.
 * Thread-safe. */
int64_t wh_http_client_clock_skew(const struct wh_http_client *client);

/* Connections that stand now are not used again: they may be dead without a word. On the loop's thread. */
void wh_http_client_renew(struct wh_http_client *client);
/* Our own address in the latest connection; "" before that. On the loop's thread; borrowed. */
const char *wh_http_client_local_address(const struct wh_http_client *client);

/* ---- building a request; the caller owns it ---- */
/* method "GET", "POST", ...; both are copied. */
struct wh_http *wh_http_new(struct wh_http_client *client, const char *method, const char *url);
/* Frees it. On the loop's thread and while under way: cancels it without a callback (but not from within its
 * own pull or sink callback). In its done callback: allowed. NULL is fine. */
void wh_http_free(struct wh_http *r);
void wh_http_free_ptr(struct wh_http **r);
#define wh_autohttp __attribute__((cleanup(wh_http_free_ptr))) struct wh_http

void wh_http_header(struct wh_http *r, const char *name,
                    const char *value); /* a value of "" sends an empty header */
/* "name: prefix" + secret; kept out of logs and wiped when freed. The secret is copied. */
void wh_http_secret_header(struct wh_http *r, const char *name, const char *prefix,
                           const struct wh_secret *secret);
void wh_http_bearer(struct wh_http *r, const struct wh_secret *token); /* Authorization: Bearer ... */
void wh_http_basic(struct wh_http *r, const char *user, const struct wh_secret *password);

/* Bodies: at most one of these. Known lengths give Content-Length; else HTTP/1.1 sends chunks. No Expect
 * header is sent. */
void wh_http_body(struct wh_http *r, const void *data, size_t len); /* copied, and wiped when freed */
/* Prints json (which stays the caller's) and sets Content-Type: application/json; charset=utf-8. */
void wh_http_body_json(struct wh_http *r, const cJSON *json);
/* len bytes from offset on by pread(); fd stays the caller's and open until the end. Reads block the loop:
 * local files only. */
void wh_http_body_fd(struct wh_http *r, int fd, off_t offset, uint64_t len);
/* len bytes that read gives by their position (which may go back to 0 when the request is sent again). It
 * returns how many bytes, at least one, or negative with err; it blocks the loop as above. */
typedef ssize_t (*wh_http_read_fn)(void *data, uint64_t pos, char *buf, size_t cap, struct wh_error *err);
void wh_http_body_read(struct wh_http *r, wh_http_read_fn read, void *data, uint64_t len);
/* Pull: called on the loop's thread for up to cap bytes. Returns the number of bytes put into buf, 0 at the
 * end, WH_HTTP_PAUSE when there are none yet (call wh_http_resume() when there are), or WH_HTTP_ABORT to end
 * the request. */
#define WH_HTTP_PAUSE ((ssize_t)-1)
#define WH_HTTP_ABORT ((ssize_t)-2)
typedef ssize_t (*wh_http_pull_fn)(void *data, char *buf, size_t cap);
#define WH_HTTP_UNKNOWN_LENGTH (-1)
void wh_http_body_pull(struct wh_http *r, wh_http_pull_fn pull, void *data, int64_t len);

/* Streams the body of a 2xx answer to sink, on the loop's thread, instead of collecting it (status and
 * headers can be read in it). Returns 0 when all len bytes were taken, WH_HTTP_PAUSE to get the very same
 * bytes again after wh_http_resume(), or WH_HTTP_ABORT. Bodies of other answers are collected as usual, for
 * the error's sentence. */
typedef ssize_t (*wh_http_sink_fn)(void *data, const char *bytes, size_t len);
void wh_http_sink(struct wh_http *r, wh_http_sink_fn sink, void *data);
void wh_http_max_body(struct wh_http *r, size_t bytes); /* of a collected body; more is WH_E_LIMIT */

/* Milliseconds; 0 leaves the default. total: 100 s, unless a sink or a body from a descriptor or a pull
 * callback is set (then none). connect (name, TCP, TLS): 30 s. stall: that long with less than one byte a
 * second in both directions: 60 s where there is no total, else none. A paused transfer does not stall.
 * WH_E_TIMEOUT. */
void wh_http_timeouts(struct wh_http *r, unsigned total, unsigned connect, unsigned stall);
enum wh_http_redirect {
    WH_HTTP_REDIRECT_NONE,      /* 3xx is an answer as any other (default) */
    WH_HTTP_REDIRECT_SAME_HOST, /* up to 10, within scheme, host and port; another one is an error of its own:
                                   for requests whose body or header is meant for this host alone */
    WH_HTTP_REDIRECT_FOLLOW     /* up to 10; https stays https; Authorization is never sent to another host or
                                   port */
};
void wh_http_redirects(struct wh_http *r, enum wh_http_redirect policy);
void wh_http_fresh_connection(struct wh_http *r); /* no kept connection is used */

/* ---- sending ---- */
/* err is NULL on success; it is the client's and dies after the callback (wh_error_move() it out to keep it).
 */
typedef void (*wh_http_done_fn)(struct wh_http *r, struct wh_error *err, void *data);
/* On the loop's thread. done is called exactly once, never from within this call; it may free the request. */
void wh_http_start(struct wh_http *r, wh_http_done_fn done, void *data);
/* From any thread but the loop's. 0 or negative. */
int wh_http_do(struct wh_http *r, struct wh_error *err);
/* From any thread: continues after a WH_HTTP_PAUSE (harmless if nothing is paused). The request must live:
 * hold off its wh_http_free() until no thread can call this any more. */
void wh_http_resume(struct wh_http *r);
/* From any thread: ends it soon with WH_E_CANCELED. Same rule. */
void wh_http_cancel(struct wh_http *r);

/* ---- the answer; valid after success (status and headers: from the sink's first call on) ---- */
int wh_http_status(const struct wh_http *r); /* 0: none */
/* First value, name in any case; NULL if absent. Borrowed. */
const char *wh_http_response_header(const struct wh_http *r, const char *name);
/* The n-th value of a header that comes several times. */
const char *wh_http_response_header_at(const struct wh_http *r, const char *name, size_t n);
struct wh_view wh_http_response_body(const struct wh_http *r); /* NUL-terminated; borrowed */
/* The collected body as JSON (a type other than JSON or an empty body: NULL with WH_E_PROTOCOL). Owned by the
 * caller. */
cJSON *wh_http_response_json(const struct wh_http *r, struct wh_error *err);
const char *wh_http_effective_url(const struct wh_http *r); /* after redirects; borrowed */
/* It went out more than once (after a reset, or a redirect): the answer may be that of the repetition. */
bool wh_http_repeated(const struct wh_http *r);
uint64_t wh_http_sent_bytes(const struct wh_http *r); /* of the body */
bool wh_http_is_out(const struct wh_http *r); /* under way, and not only a name or connection is waited for */
/* 0 if 2xx, else negative with "POST https://host/path answered 404 Not Found: <message of the body> (request
 * id ...)". */
int wh_http_check(const struct wh_http *r, struct wh_error *err);
/* "POST https://host/path", without the query: for context in errors and logs. Borrowed. */
const char *wh_http_label(const struct wh_http *r);
/* Milliseconds of a Retry-After header (seconds or a date), at most max; -1 if there is none. */
int64_t wh_http_retry_after(const struct wh_http *r, int64_t max);

#endif
