/* The opening handshake of a WebSocket. */
#include "net/ws_handshake.h"

#include <openssl/sha.h>

#include "wherry/base/digest.h"

#define WS_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

void wh_ws_request_write(struct wh_str *out, const char *url, const char *key, const char *user_agent,
                         const struct wh_secret *token)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    size_t host_len = strcspn(host, "/?#");
    const char *path = host + host_len;
    size_t path_len = strcspn(path, "#");
    const char *at = memrchr(host, '@', host_len);
    if (at) {
        host_len -= (size_t)(at + 1 - host);
        host = at + 1;
    }
    wh_str_addf(out, "GET %s%.*s HTTP/1.1\r\n", *path == '/' ? "" : "/", (int)path_len, path);
    wh_str_addf(out, "Host: %.*s\r\n", (int)host_len, host);
    wh_str_addf(out, "User-Agent: %s\r\n", user_agent);
    wh_str_add(out, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
    wh_str_addf(out, "Sec-WebSocket-Key: %s\r\n", key);
    if (token && !strpbrk(wh_secret_text(token), "\r\n"))
        wh_str_addf(out, "Authorization: Bearer %s\r\n", wh_secret_text(token));
    wh_str_add(out, "\r\n");
}

static bool accepts(struct wh_view value, const char *key)
{
    unsigned char sum[SHA_DIGEST_LENGTH];
    wh_autofree char *text = wh_printf("%s%s", key, WS_GUID);
    SHA1((const unsigned char *)text, strlen(text), sum);
    wh_autofree char *wanted = wh_base64(sum, sizeof sum);
    return wh_view_eq(value, wanted);
}

int wh_ws_answer_check(const char *data, size_t len, const char *key, struct wh_error *err)
{
    const char *end = len ? memmem(data, len, "\r\n\r\n", 4) : NULL;
    if (!end) {
        if (len > WH_MAX_WS_ANSWER)
            return wh_fail(err, WH_E_LIMIT, "the answer to the opening request is longer than %zu bytes",
                           WH_MAX_WS_ANSWER);
        return 0;
    }
    size_t head = (size_t)(end - data) + 4;
    struct wh_reader r = wh_reader_of(data, head);
    struct wh_view line, name, value;
    bool accepted = false;
    if (!wh_reader_line(&r, &line) || line.len < 12 || memcmp(line.data, "HTTP/1.1 ", 9) != 0)
        return wh_fail(err, WH_E_PROTOCOL, "the answer is not HTTP/1.1");
    if (memcmp(line.data + 9, "101", 3) != 0) {
        struct wh_view status = wh_view_trim((struct wh_view){.data = line.data + 9, .len = line.len - 9});
        return wh_fail(err, memcmp(line.data + 9, "401", 3) == 0 ? WH_E_DENIED : WH_E_HTTP,
                       "the opening request was answered %.*s", (int)WH_MIN(status.len, (size_t)80),
                       status.data);
    }
    while (wh_reader_line(&r, &line)) {
        if (!wh_view_split(line, ':', &name, &value))
            continue;
        wh_autofree char *text = wh_view_dup(wh_view_trim(name));
        if (wh_streq_ci(text, "Sec-WebSocket-Accept"))
            accepted = accepts(wh_view_trim(value), key);
    }
    if (!accepted)
        return wh_fail(err, WH_E_PROTOCOL, "the answer's Sec-WebSocket-Accept is not that of our key");
    return (int)head;
}
