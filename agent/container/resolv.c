/* /etc/resolv.conf of a RUN, made from the machine's (builder.md §4 "Files"). */
#include <fcntl.h>

#include "internal.h"
#include "wherry/base/fs.h"

#define MAX_RESOLV_BYTES ((size_t)64 << 10)
#define MACHINE "/etc/resolv.conf"
#define SYSTEMD_UPSTREAM "/run/systemd/resolve/resolv.conf"
#define STUB_RESOLVER "127.0.0.53"

/* The address of a `nameserver` line. */
static bool name_server(struct wh_view line, struct wh_view *address)
{
    struct wh_view word;
    struct wh_view rest;
    line = wh_view_trim(line);
    size_t blank = 0;
    while (blank < line.len && line.data[blank] != ' ' && line.data[blank] != '\t')
        blank++;
    word = (struct wh_view){line.data, blank};
    rest = (struct wh_view){line.data + blank, line.len - blank};
    *address = wh_view_trim(rest);
    return wh_view_eq(word, "nameserver") && address->len > 0;
}

static bool is_loopback(struct wh_view address)
{
    return (address.len >= 4 && memcmp(address.data, "127.", 4) == 0) || wh_view_eq(address, "::1");
}

static bool only_stub(const struct wh_str *text)
{
    struct wh_reader r = wh_reader_of(text->data, text->len);
    struct wh_view line;
    struct wh_view address;
    size_t n = 0;
    while (wh_reader_line(&r, &line))
        if (name_server(line, &address)) {
            if (!wh_view_eq(address, STUB_RESOLVER))
                return false;
            n++;
        }
    return n > 0;
}

int wh_resolv_conf(bool host_network, struct wh_str *out, struct wh_error *err)
{
    wh_autostr text = {0};
    wh_autoerror why = {0};
    if (wh_read_file(AT_FDCWD, MACHINE, MAX_RESOLV_BYTES, &text, &why) < 0 && why.code != WH_E_NOT_FOUND)
        return wh_error_move(err, &why);
    if (only_stub(&text)) {
        wh_autostr upstream = {0};
        if (wh_read_file(AT_FDCWD, SYSTEMD_UPSTREAM, MAX_RESOLV_BYTES, &upstream, NULL) >= 0 &&
            upstream.len > 0) {
            wh_str_clear(&text);
            wh_str_addn(&text, upstream.data, upstream.len);
        }
    }
    struct wh_reader r = wh_reader_of(text.data, text.len);
    struct wh_view line;
    struct wh_view address;
    bool servers = false;
    while (wh_reader_line(&r, &line)) {
        if (name_server(line, &address)) {
            if (!host_network && is_loopback(address))
                continue;
            servers = true;
        }
        wh_str_addn(out, line.data, line.len);
        wh_str_addc(out, '\n');
    }
    if (!servers)
        wh_str_add(out, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
    return 0;
}
