/* WebSocket client (RFC 6455): wslay's frames over a libcurl CONNECT_ONLY connection, so that proxies and TLS
 * are as for HTTP. Text messages out; what comes in is read for pings and the close only. All on the client's
 * loop. */
#ifndef WH_NET_WS_H
#define WH_NET_WS_H

#include "wherry/net/http.h"

#define WH_MAX_WS_QUEUE ((size_t)4 << 20) /* bytes that wait to be sent; more is refused */

struct wh_ws;
/* opened: once, when the connection stands (err NULL) or failed. closed: once after a successful open, when
 * it ended; err NULL after a normal close. Neither is called after wh_ws_free(). */
struct wh_ws_events {
    void (*opened)(struct wh_ws *ws, struct wh_error *err, void *data);
    void (*drained)(struct wh_ws *ws, void *data); /* all that was queued is with the kernel */
    void (*closed)(struct wh_ws *ws, struct wh_error *err, void *data);
    void *data;
};
/* url: ws:, wss:, http: or https:. token (Authorization: Bearer) may be NULL. Time-out of the opening: 30 s.
 */
struct wh_ws *wh_ws_connect(struct wh_http_client *client, const char *url, const struct wh_secret *token,
                            const struct wh_ws_events *events);
/* Queues a text message. Negative: not open, or the queue is full (WH_E_LIMIT). */
int wh_ws_send_text(struct wh_ws *ws, const char *text, size_t len, struct wh_error *err);
/* From now on a message goes in frames of at most so many bytes; 0: each in one. Some peers buffer no more.
 */
void wh_ws_fragment(struct wh_ws *ws, size_t bytes);
size_t wh_ws_queued(const struct wh_ws *ws);
/* Sends what is queued and a close frame (1000); closed follows, at the latest after 2 s. */
void wh_ws_close(struct wh_ws *ws);
/* Drops the connection without a word and frees; allowed in its own callbacks. NULL is fine. */
void wh_ws_free(struct wh_ws *ws);

#endif
