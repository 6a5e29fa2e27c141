/* WebSocket client: the opening handshake by hand over a CONNECT_ONLY connection of libcurl, frames by wslay.
 */
#include "wherry/net/ws.h"

#include <openssl/sha.h>
#include <sodium.h>
#include <utlist.h>
#include <wslay/wslay.h>

#include "net/http_internal.h"
#include "net/ws_handshake.h"
#include "wherry/base/digest.h"
#include "wherry/net/later.h"

#define WH_WS_OPEN_MS 30000
#define WH_WS_CLOSE_MS 2000
#define WH_MAX_WS_INCOMING ((uint64_t)1 << 20) /* a message that we only skip */

enum ws_state { WS_CONNECTING, WS_HANDSHAKE, WS_OPEN, WS_CLOSING, WS_ENDED };

struct pieces { /* one message, sent frame by frame */
    struct pieces *next, *prev;
    size_t len, sent;
    char text[];
};

struct wh_ws {
    struct wh_http_client *client;
    struct wh_http *connection;
    struct wh_ws_events events;
    enum ws_state state;
    char *url;
    struct wh_str request; /* what of the opening request is not sent yet; wiped */
    struct wh_str answer;
    char key[25];
    wslay_event_context_ptr frames;
    uv_poll_t poll;
    uv_timer_t timer;
    size_t fragment;       /* bytes of a frame; 0: a message is one */
    struct pieces *pieces; /* messages in pieces that wait, */
    size_t fragmented;     /* and their bytes */
    bool poll_made, had_queued;
    unsigned handles;
    unsigned depth; /* of our callbacks: memory stays until they return */
    bool freed;
};

static void maybe_destroy(struct wh_ws *ws)
{
    if (!ws->freed || ws->depth > 0)
        return;
    wh_http_free(ws->connection); /* now: its client may go before our handles are closed */
    ws->connection = NULL;
    if (ws->handles > 0)
        return;
    if (ws->frames)
        wslay_event_context_free(ws->frames);
    while (ws->pieces) {
        struct pieces *p = ws->pieces;
        DL_DELETE(ws->pieces, p);
        free(p);
    }
    wh_str_wipe(&ws->request);
    wh_str_free(&ws->answer);
    free(ws->url);
    free(ws);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct wh_ws *ws = handle->data;
    ws->handles--;
    maybe_destroy(ws);
}

static void stop_watching(struct wh_ws *ws)
{
    uv_timer_stop(&ws->timer);
    if (ws->poll_made && !uv_is_closing((uv_handle_t *)&ws->poll))
        uv_close((uv_handle_t *)&ws->poll, on_handle_closed);
}

/* The end, once: by the event that fits the state. */
static void end(struct wh_ws *ws, struct wh_error *err)
{
    enum ws_state was = ws->state;
    if (was == WS_ENDED)
        return;
    ws->state = WS_ENDED;
    stop_watching(ws);
    if (ws->freed)
        return;
    if (was == WS_CONNECTING || was == WS_HANDSHAKE)
        ws->events.opened(ws, err, ws->events.data);
    else if (ws->events.closed)
        ws->events.closed(ws, err, ws->events.data);
}

static void end_with(struct wh_ws *ws, enum wh_error_code code, const char *text)
{
    wh_autoerror err = {0};
    wh_fail(&err, code, "WebSocket %s: %s", wh_http_label(ws->connection), text);
    end(ws, &err);
}

/* ---- wslay's callbacks ---- */

static ssize_t on_frame_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *data)
{
    (void)flags;
    struct wh_ws *ws = data;
    size_t got = 0;
    if (ws->answer.len > 0) { /* came with the answer to the opening request */
        got = WH_MIN(len, ws->answer.len);
        memcpy(buf, ws->answer.data, got);
        wh_str_consume(&ws->answer, got);
        return (ssize_t)got;
    }
    CURLcode code = curl_easy_recv(ws->connection->easy, buf, len, &got);
    if (code == CURLE_OK && got > 0)
        return (ssize_t)got;
    wslay_event_set_error(ctx, code == CURLE_AGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static ssize_t on_frame_send(wslay_event_context_ptr ctx, const uint8_t *buf, size_t len, int flags,
                             void *data)
{
    (void)flags;
    struct wh_ws *ws = data;
    size_t sent = 0;
    CURLcode code = curl_easy_send(ws->connection->easy, buf, len, &sent);
    if (code == CURLE_OK)
        return (ssize_t)sent;
    wslay_event_set_error(ctx, code == CURLE_AGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static int on_mask(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, void *data)
{
    (void)ctx;
    (void)data;
    randombytes_buf(buf, len);
    return 0;
}

static int frames_start(struct wh_ws *ws)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_frame_recv, .send_callback = on_frame_send, .genmask_callback = on_mask};
    if (wslay_event_context_client_init(&ws->frames, &callbacks, ws))
        return -1;
    wslay_event_config_set_max_recv_msg_length(ws->frames, WH_MAX_WS_INCOMING);
    return 0;
}

/* ---- moving bytes ---- */

static void watch(struct wh_ws *ws);

static void move_frames(struct wh_ws *ws, bool readable)
{
    int bad = 0;
    if (readable || ws->answer.len > 0)
        bad = wslay_event_recv(ws->frames);
    if (!bad && wslay_event_want_write(ws->frames))
        bad = wslay_event_send(ws->frames);
    if (wslay_event_get_close_received(ws->frames) && !wslay_event_want_write(ws->frames)) {
        if (ws->state == WS_CLOSING)
            end(ws, NULL);
        else
            end_with(ws, WH_E_NETWORK, "closed by the peer");
        return;
    }
    if (bad || (!wslay_event_want_read(ws->frames) && !wslay_event_want_write(ws->frames))) {
        if (ws->state == WS_CLOSING)
            end(ws, NULL); /* our close frame went out as far as it could */
        else
            end_with(ws, WH_E_NETWORK, "the connection broke");
        return;
    }
    bool queued = wslay_event_get_queued_msg_count(ws->frames) > 0;
    bool drained = ws->had_queued && !queued;
    ws->had_queued = queued;
    if (drained && ws->events.drained && !ws->freed)
        ws->events.drained(ws, ws->events.data);
}

static bool send_request(struct wh_ws *ws)
{
    while (ws->request.len > 0) {
        size_t sent = 0;
        CURLcode code = curl_easy_send(ws->connection->easy, ws->request.data, ws->request.len, &sent);
        if (code == CURLE_AGAIN)
            return true;
        if (code != CURLE_OK) {
            end_with(ws, WH_E_NETWORK, curl_easy_strerror(code));
            return false;
        }
        wh_wipe(ws->request.data, sent);
        wh_str_consume(&ws->request, sent);
    }
    return true;
}

static void read_answer(struct wh_ws *ws)
{
    char buf[4096];
    for (;;) {
        size_t got = 0;
        CURLcode code = curl_easy_recv(ws->connection->easy, buf, sizeof buf, &got);
        if (code == CURLE_AGAIN)
            break;
        if (code != CURLE_OK || got == 0) {
            end_with(ws, WH_E_NETWORK, "closed before it answered the opening request");
            return;
        }
        wh_str_addn(&ws->answer, buf, got);
        if (ws->answer.len > WH_MAX_WS_ANSWER || strstr(wh_str_text(&ws->answer), "\r\n\r\n"))
            break;
    }
    wh_autoerror err = {0};
    int taken = wh_ws_answer_check(ws->answer.data, ws->answer.len, ws->key, &err);
    if (taken == 0)
        return; /* more is to come */
    if (taken < 0) {
        wh_wrap(&err, "WebSocket %s", wh_http_label(ws->connection));
        end(ws, &err);
        return;
    }
    wh_str_consume(&ws->answer, (size_t)taken);
    if (frames_start(ws)) {
        end_with(ws, WH_E_FAILED, "wslay cannot start");
        return;
    }
    ws->state = WS_OPEN;
    uv_timer_stop(&ws->timer);
    ws->events.opened(ws, NULL, ws->events.data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct wh_ws *ws = poll->data;
    ws->depth++;
    if (status < 0)
        end_with(ws, WH_E_NETWORK, uv_strerror(status));
    if (ws->state == WS_HANDSHAKE && send_request(ws) && (events & UV_READABLE))
        read_answer(ws);
    else if (ws->state == WS_OPEN || ws->state == WS_CLOSING)
        move_frames(ws, events & UV_READABLE);
    if (!ws->freed && ws->state != WS_ENDED)
        watch(ws);
    ws->depth--;
    maybe_destroy(ws);
}

static void watch(struct wh_ws *ws)
{
    int events = UV_READABLE;
    if (ws->request.len > 0 || (ws->frames && wslay_event_want_write(ws->frames)))
        events |= UV_WRITABLE;
    uv_poll_start(&ws->poll, events, on_poll);
}

/* ---- life ---- */

static void on_timeout(uv_timer_t *timer)
{
    struct wh_ws *ws = timer->data;
    ws->depth++;
    if (ws->state == WS_CLOSING)
        end(ws, NULL);
    else
        end_with(ws, WH_E_TIMEOUT, "not open after 30 s");
    ws->depth--;
    maybe_destroy(ws);
}

static void on_connected(struct wh_http *r, struct wh_error *err, void *data)
{
    struct wh_ws *ws = data;
    curl_socket_t fd = CURL_SOCKET_BAD;
    ws->depth++;
    if (err) {
        end(ws, err);
    } else if (curl_easy_getinfo(r->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK || fd == CURL_SOCKET_BAD ||
               uv_poll_init_socket(ws->client->loop, &ws->poll, fd)) {
        end_with(ws, WH_E_FAILED, "no socket after connecting");
    } else {
        ws->poll.data = ws;
        ws->poll_made = true;
        ws->handles++;
        ws->state = WS_HANDSHAKE;
        watch(ws);
    }
    ws->depth--;
    maybe_destroy(ws);
}

/* ws: and wss: are http: and https: to libcurl. */
static char *http_url(const char *url)
{
    if (wh_starts_with_ci(url, "ws://"))
        return wh_printf("http://%s", url + 5);
    if (wh_starts_with_ci(url, "wss://"))
        return wh_printf("https://%s", url + 6);
    return wh_strdup(url);
}

struct wh_ws *wh_ws_connect(struct wh_http_client *client, const char *url, const struct wh_secret *token,
                            const struct wh_ws_events *events)
{
    struct wh_ws *ws = wh_calloc(1, sizeof *ws);
    unsigned char nonce[16];
    randombytes_buf(nonce, sizeof nonce);
    char *key = wh_base64(nonce, sizeof nonce);
    snprintf(ws->key, sizeof ws->key, "%s", key);
    free(key);
    ws->client = client;
    ws->events = *events;
    ws->url = http_url(url);
    uv_timer_init(client->loop, &ws->timer);
    ws->timer.data = ws;
    ws->handles = 1;
    wh_timer_start(&ws->timer, on_timeout, WH_WS_OPEN_MS, 0);
    wh_ws_request_write(&ws->request, ws->url, ws->key, client->user_agent, token);
    ws->connection = wh_http_new(client, "GET", ws->url);
    ws->connection->connect_only = true;
    wh_http_timeouts(ws->connection, WH_WS_OPEN_MS, WH_WS_OPEN_MS, 0);
    wh_http_start(ws->connection, on_connected, ws);
    return ws;
}

void wh_ws_fragment(struct wh_ws *ws, size_t bytes)
{
    ws->fragment = bytes;
}

static ssize_t on_piece(wslay_event_context_ptr ctx, uint8_t *buf, size_t len,
                        const union wslay_event_msg_source *source, int *eof, void *data)
{
    (void)ctx;
    struct wh_ws *ws = data;
    struct pieces *p = source->data;
    size_t n = WH_MIN(WH_MIN(len, ws->fragment), p->len - p->sent);
    memcpy(buf, p->text + p->sent, n);
    p->sent += n;
    ws->fragmented -= n;
    *eof = p->sent == p->len;
    if (*eof) {
        DL_DELETE(ws->pieces, p);
        free(p);
    }
    return (ssize_t)n;
}

static int queue_pieces(struct wh_ws *ws, const char *text, size_t len)
{
    struct pieces *p = wh_malloc(sizeof *p + len);
    p->len = len;
    p->sent = 0;
    memcpy(p->text, text, len);
    struct wslay_event_fragmented_msg msg = {
        .opcode = WSLAY_TEXT_FRAME, .source = {.data = p}, .read_callback = on_piece};
    if (wslay_event_queue_fragmented_msg(ws->frames, &msg)) {
        free(p);
        return -1;
    }
    DL_APPEND(ws->pieces, p);
    ws->fragmented += len;
    return 0;
}

int wh_ws_send_text(struct wh_ws *ws, const char *text, size_t len, struct wh_error *err)
{
    if (ws->state != WS_OPEN)
        return wh_fail(err, WH_E_FAILED, "WebSocket %s: not open", wh_http_label(ws->connection));
    if (wh_ws_queued(ws) + len > WH_MAX_WS_QUEUE)
        return wh_fail(err, WH_E_LIMIT, "WebSocket %s: %zu bytes wait already", wh_http_label(ws->connection),
                       wh_ws_queued(ws));
    struct wslay_event_msg msg = {
        .opcode = WSLAY_TEXT_FRAME, .msg = (const uint8_t *)text, .msg_length = len};
    bool pieces = ws->fragment && len > ws->fragment;
    if (pieces ? queue_pieces(ws, text, len) : wslay_event_queue_msg(ws->frames, &msg))
        return wh_fail(err, WH_E_FAILED, "WebSocket %s: cannot queue", wh_http_label(ws->connection));
    ws->had_queued = true;
    watch(ws);
    return 0;
}

size_t wh_ws_queued(const struct wh_ws *ws)
{
    return ws->frames ? wslay_event_get_queued_msg_length(ws->frames) + ws->fragmented : 0;
}

void wh_ws_close(struct wh_ws *ws)
{
    if (ws->state == WS_OPEN) {
        ws->state = WS_CLOSING;
        wslay_event_queue_close(ws->frames, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0);
        wh_timer_start(&ws->timer, on_timeout, WH_WS_CLOSE_MS, 0);
        watch(ws);
    }
}

void wh_ws_free(struct wh_ws *ws)
{
    if (!ws || ws->freed)
        return;
    ws->freed = true;
    ws->depth++;
    ws->state = WS_ENDED;
    stop_watching(ws);
    uv_close((uv_handle_t *)&ws->timer, on_handle_closed);
    ws->depth--;
    maybe_destroy(ws);
}
