/* The opening handshake of a WebSocket (RFC 6455 §4): the request's bytes and the check of the answer's. */
#ifndef WH_NET_WS_HANDSHAKE_H
#define WH_NET_WS_HANDSHAKE_H

#include "wherry/base/secret.h"

#define WH_MAX_WS_ANSWER ((size_t)16 << 10)

/* url is http: or https:; key is 16 random bytes in base64; token may be NULL. Adds to out. */
void wh_ws_request_write(struct wh_str *out, const char *url, const char *key, const char *user_agent,
                         const struct wh_secret *token);
/* The length of the answer's head if it accepts; 0: not whole yet; negative: refused, or not a WebSocket. */
int wh_ws_answer_check(const char *data, size_t len, const char *key, struct wh_error *err);

#endif
