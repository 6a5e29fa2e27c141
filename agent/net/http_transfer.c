/* One transfer: from a request to curl's options, its callbacks, and the sentence when it fails. */
#include "net/http_internal.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define WH_MAX_REDIRECTS 10
#define SYSTEM_CA_FOLDER "/etc/ssl/certs" /* by hash: only what a peer names is read */
#define WH_STREAM_BUFFER (256L << 10)
#define WH_CALL_BUFFER (4L << 10) /* kept for as long as a poll is held, a hundred times */

extern char **environ;

/* ---- the body that we send ---- */

static size_t read_fd(struct wh_http *r, char *buf, size_t cap)
{
    size_t want = (size_t)WH_MIN((uint64_t)cap, r->body_len - r->body_pos);
    if (want == 0)
        return 0;
    ssize_t n;
    do
        n = r->read ? r->read(r->read_data, r->body_pos, buf, want, &r->error)
                    : pread(r->body_fd, buf, want, r->body_offset + (off_t)r->body_pos);
    while (n < 0 && !r->read && errno == EINTR);
    if (n <= 0) {
        if (n < 0 && r->read)
            wh_wrap(&r->error, "%s", r->label);
        else if (n < 0)
            wh_fail_errno(&r->error, "%s: read the body", r->label);
        else
            wh_fail(&r->error, WH_E_IO, "%s: the file of the body ends too early", r->label);
        return CURL_READFUNC_ABORT;
    }
    r->body_pos += (uint64_t)n;
    return (size_t)n;
}

static size_t on_read(char *buf, size_t size, size_t count, void *data)
{
    struct wh_http *r = data;
    size_t cap = size * count;
    if (r->zombie)
        return CURL_READFUNC_ABORT;
    if (r->body_kind == WH_BODY_FD)
        return read_fd(r, buf, cap);
    ssize_t n = r->pull(r->pull_data, buf, cap);
    if (n == WH_HTTP_PAUSE) {
        r->pull_paused = true;
        return CURL_READFUNC_PAUSE;
    }
    if (n < 0) {
        wh_fail(&r->error, WH_E_CANCELED, "%s: the source of the body gave up", r->label);
        return CURL_READFUNC_ABORT;
    }
    r->pulled += (uint64_t)n;
    return (size_t)n;
}

/* curl rewinds when a kept connection turns out to be dead, and for redirects that keep the method. */
static int on_seek(void *data, curl_off_t offset, int origin)
{
    struct wh_http *r = data;
    if (origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    if (r->body_kind == WH_BODY_FD) {
        if ((uint64_t)offset > r->body_len)
            return CURL_SEEKFUNC_FAIL;
        r->body_pos = (uint64_t)offset;
        return CURL_SEEKFUNC_OK;
    }
    return offset == 0 && r->pulled == 0 ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_CANTSEEK;
}

/* ---- the answer ---- */

/* "https://host:port" of an URL, in lower case and with the port spelled out; owned; NULL if it is none. */
static char *origin_of(CURLU *url)
{
    char *scheme = NULL, *host = NULL, *port = NULL, *origin = NULL;
    if (curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK)
        origin = wh_printf("%s://%s:%s", scheme, host, port);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    for (char *c = origin; c && *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + ('a' - 'A'));
    return origin;
}

/* A redirect that leads to another origin: what we would send there (a token in a form, a completion) was
 * meant for this one. */
static bool leads_elsewhere(struct wh_http *r, const char *location)
{
    CURLU *url = curl_url();
    wh_autofree char *from = curl_url_set(url, CURLUPART_URL, r->url, 0) == CURLUE_OK ? origin_of(url) : NULL;
    wh_autofree char *to = curl_url_set(url, CURLUPART_URL, location, 0) == CURLUE_OK ? origin_of(url) : NULL;
    curl_url_cleanup(url);
    if (wh_streq(from, to))
        return false;
    wh_fail(&r->error, WH_E_PROTOCOL,
            "%s: redirected to %.200s: not followed, for what is sent is for this host alone. Is the URL "
            "right, and "
            "does a proxy or a sign-in page answer in its place?",
            r->label, to ? to : "something that is no URL");
    return true;
}

static size_t on_header(char *line, size_t size, size_t count, void *data)
{
    struct wh_http *r = data;
    size_t len = size * count;
    wh_http_answer_line(r, line, len);
    if (r->redirect != WH_HTTP_REDIRECT_SAME_HOST || len < 9 || strncasecmp(line, "Location:", 9) != 0)
        return len;
    long status = 0;
    curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    const char *location = wh_http_response_header(r, "Location");
    bool redirect = status >= 301 && status <= 308 && status != 304;
    return redirect && location && leads_elsewhere(r, location) ? 0 : len;
}

static void note_status(struct wh_http *r)
{
    long status = 0;
    curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    r->status = (int)status;
}

static size_t to_sink(struct wh_http *r, const char *bytes, size_t len)
{
    ssize_t n = r->sink(r->sink_data, bytes, len);
    if (n == 0)
        return len;
    if (n == WH_HTTP_PAUSE) {
        r->sink_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (r->error.code == WH_OK)
        wh_fail(&r->error, WH_E_CANCELED, "%s: the reader of the answer gave up", r->label);
    return CURL_WRITEFUNC_ERROR;
}

static size_t on_write(char *bytes, size_t size, size_t count, void *data)
{
    struct wh_http *r = data;
    size_t len = size * count;
    if (r->zombie)
        return CURL_WRITEFUNC_ERROR;
    note_status(r);
    bool good = r->status >= 200 && r->status <= 299;
    if (r->sink && good)
        return to_sink(r, bytes, len);
    size_t max = r->sink ? WH_MAX_HTTP_ERROR_BODY : r->max_body;
    if (r->collected.len + len > max) {
        if (!good) /* enough for the sentence */
            return len;
        wh_fail(&r->error, WH_E_LIMIT, "%s: the answer is longer than %zu bytes", r->label, max);
        return CURL_WRITEFUNC_ERROR;
    }
    wh_str_addn(&r->collected, bytes, len);
    return len;
}

/* ---- options ---- */

static void set_body(struct wh_http *r)
{
    CURL *e = r->easy;
    bool posts = wh_streq(r->method, "POST") || wh_streq(r->method, "PUT") || wh_streq(r->method, "PATCH");
    if (r->body_kind == WH_BODY_FD || r->body_kind == WH_BODY_PULL) {
        curl_off_t len = r->body_kind == WH_BODY_FD ? (curl_off_t)r->body_len : (curl_off_t)r->pull_len;
        r->body_pos = 0;
        curl_easy_setopt(e, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, len);
        curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read);
        curl_easy_setopt(e, CURLOPT_READDATA, r);
        curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_seek);
        curl_easy_setopt(e, CURLOPT_SEEKDATA, r);
        curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, WH_STREAM_BUFFER);
    } else if (r->body_kind == WH_BODY_MEMORY || posts) {
        curl_easy_setopt(e, CURLOPT_POST, 1L);
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, r->body ? r->body : "");
        if (!r->has_content_type) /* else curl would call it a form */
            r->headers = curl_slist_append(r->headers, "Content-Type:");
    } else if (wh_streq(r->method, "HEAD")) {
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
        return;
    }
    if (r->body_kind != WH_BODY_NONE || posts)
        r->headers = curl_slist_append(r->headers, "Expect:");
    curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, r->method);
}

static void set_trust(struct wh_http *r)
{
    CURL *e = r->easy;
    struct wh_http_client *c = r->client;
    if (c->insecure) {
        curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    /* Debian's curl has a bundle and a folder by default; with both, each connection parses the whole bundle
     * anew and keeps it (a megabyte each). With the bundle alone it is parsed once and shared. */
    curl_easy_setopt(e, CURLOPT_CAPATH, c->ca_more ? SYSTEM_CA_FOLDER : c->ca_folder);
    if (c->ca_file)
        curl_easy_setopt(e, CURLOPT_CAINFO, c->ca_file);
}

static void set_times(struct wh_http *r)
{
    bool streams = r->sink || r->body_kind == WH_BODY_FD || r->body_kind == WH_BODY_PULL;
    if (!r->total_ms && !streams)
        r->total_ms = 100000;
    if (!r->stall_ms && !r->total_ms)
        r->stall_ms = 60000;
    curl_easy_setopt(r->easy, CURLOPT_TIMEOUT_MS, (long)wh_machine_time(r->total_ms));
    curl_easy_setopt(r->easy, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)wh_machine_time(r->connect_ms ? r->connect_ms : 30000));
}

static void set_proxy(struct wh_http *r)
{
    wh_autofree char *proxy = wh_http_proxy_for(r->url, environ);
    curl_easy_setopt(r->easy, CURLOPT_PROXY, proxy ? proxy : "");
    curl_easy_setopt(r->easy, CURLOPT_NOPROXY, "");
    curl_easy_setopt(r->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
}

/* Each time that the request is about to go out: curl repeats one by itself when a kept connection is reset
 * before an answer, although the first may have been handled. */
static int on_send(void *data, char *to, char *from, int to_port, int from_port)
{
    (void)to, (void)from, (void)to_port, (void)from_port;
    struct wh_http *r = data;
    r->sends++;
    return CURL_PREREQFUNC_OK;
}

int wh_http_transfer_setup(struct wh_http *r, struct wh_error *err)
{
    CURL *e = r->easy = curl_easy_init();
    if (!e)
        return wh_fail(err, WH_E_FAILED, "%s: libcurl cannot make a handle", r->label);
    if (curl_easy_setopt(e, CURLOPT_URL, r->url) != CURLE_OK ||
        !(wh_starts_with_ci(r->url, "http://") || wh_starts_with_ci(r->url, "https://")))
        return wh_fail(err, WH_E_ARGUMENT, "%s: this is not an http or https URL", r->label);
    curl_easy_setopt(e, CURLOPT_PRIVATE, r);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, r->errbuf);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* else removing a handle waits for its name look-up */
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR,
                     wh_starts_with_ci(r->url, "https://") ? "https" : "http,https");
    curl_easy_setopt(e, CURLOPT_USERAGENT, r->client->user_agent);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, 30L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPINTVL, 5L);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, r);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(e, CURLOPT_BUFFERSIZE, r->sink ? WH_STREAM_BUFFER : WH_CALL_BUFFER);
    if (r->redirect != WH_HTTP_REDIRECT_NONE) {
        curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 1L);
        curl_easy_setopt(e, CURLOPT_MAXREDIRS, (long)WH_MAX_REDIRECTS);
    }
    if (r->fresh)
        curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
    if (r->client->renewed_ms) {
        uint64_t age_s = (uv_now(r->client->loop) - r->client->renewed_ms) / 1000;
        if (age_s < 2) /* curl counts whole seconds */
            curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
        else
            curl_easy_setopt(e, CURLOPT_MAXLIFETIME_CONN, (long)age_s);
    }
    if (r->connect_only) {
        curl_easy_setopt(e, CURLOPT_CONNECT_ONLY, 1L);
        curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
        curl_easy_setopt(e, CURLOPT_HTTPPROXYTUNNEL,
                         1L); /* a proxy would not pass a WebSocket on otherwise */
    } else {
        set_body(r);
        curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_send);
        curl_easy_setopt(e, CURLOPT_PREREQDATA, r);
    }
    set_trust(r);
    set_times(r);
    set_proxy(r);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, r->headers);
    return 0;
}

/* ---- how it ended ---- */

static void learn_clock(struct wh_http *r)
{
    int64_t date;
    const char *text = wh_http_response_header(r, "Date");
    if (text && wh_time_parse_http(text, &date))
        atomic_store(&r->client->skew_s, (date - wh_now_ns()) / 1000000000);
}

/* The cause is one of three, and the user has to know which. */
static void say_distrust(const struct wh_http *r, const char *detail, struct wh_error *err)
{
    char now[40];
    if (strcasestr(detail, "expired") || strcasestr(detail, "not yet valid"))
        wh_fail(err, WH_E_NETWORK,
                "%s: the peer's certificate is not valid now: %s (this machine's clock says %s: is it "
                "right?)",
                r->label, detail, wh_time_iso(wh_now_ns(), 0, now));
    else if (strcasestr(detail, "self-signed") || strcasestr(detail, "self signed") ||
             strcasestr(detail, "issuer certificate"))
        wh_fail(err, WH_E_NETWORK,
                "%s: the peer's certificate is not trusted: %s (the certificate of your own authority, "
                "or of a proxy that looks into TLS, is named by --ca-file or SSL_CERT_FILE)",
                r->label, detail);
    else
        wh_fail(err, WH_E_NETWORK, "%s: the peer's certificate is not trusted: %s", r->label, detail);
}

/* What a proxy answered to CONNECT. True if that was the trouble. */
static bool say_proxy(struct wh_http *r, struct wh_error *err)
{
    long status = 0;
    curl_easy_getinfo(r->easy, CURLINFO_HTTP_CONNECTCODE, &status);
    if (status < 300)
        return false;
    if (status == 407)
        wh_fail(err, WH_E_DENIED, "%s: " WH_PROXY_WANTS_USER, r->label);
    else
        wh_fail(err, WH_E_NETWORK, "%s: the proxy refuses the connection (its answer to CONNECT was %ld)",
                r->label, status);
    return true;
}

static void say_failure(struct wh_http *r, CURLcode code, struct wh_error *err)
{
    long sys = 0;
    if (say_proxy(r, err))
        return;
    curl_easy_getinfo(r->easy, CURLINFO_OS_ERRNO, &sys);
    const char *detail = r->errbuf[0] ? r->errbuf : curl_easy_strerror(code);
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        wh_fail(err, WH_E_NETWORK, "%s: host name not found (%s)", r->label, detail);
        break;
    case CURLE_COULDNT_RESOLVE_PROXY:
        wh_fail(err, WH_E_NETWORK, "%s: name of the proxy not found (%s)", r->label, detail);
        break;
    case CURLE_COULDNT_CONNECT:
        if (sys)
            wh_fail(err, WH_E_NETWORK, "%s: cannot connect: %s", r->label, strerror((int)sys));
        else
            wh_fail(err, WH_E_NETWORK, "%s: cannot connect: %s", r->label, detail);
        break;
    case CURLE_OPERATION_TIMEDOUT:
        wh_fail(err, WH_E_TIMEOUT, "%s: %s", r->label, detail);
        break;
    case CURLE_PEER_FAILED_VERIFICATION:
        say_distrust(r, detail, err);
        break;
    case CURLE_SSL_CACERT_BADFILE:
        wh_fail(err, WH_E_ARGUMENT, "%s: the file of certificates to trust can't be read: %s", r->label,
                detail);
        break;
    case CURLE_SSL_CONNECT_ERROR:
        wh_fail(err, WH_E_NETWORK,
                "%s: no TLS connection: %s (does a server without TLS, or a proxy, answer at this "
                "port?)",
                r->label, detail);
        break;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        wh_fail(err, WH_E_ARGUMENT, "%s: %s", r->label, detail);
        break;
    case CURLE_GOT_NOTHING:
        wh_fail(err, WH_E_NETWORK, "%s: the peer closed the connection without an answer", r->label);
        break;
    case CURLE_PARTIAL_FILE:
        wh_fail(err, WH_E_NETWORK, "%s: the answer was cut off (%s)", r->label, detail);
        break;
    default:
        wh_fail(err, WH_E_NETWORK, "%s: %s", r->label, detail);
    }
}

void wh_http_transfer_result(struct wh_http *r, CURLcode code, struct wh_error *err)
{
    if (r->easy) {
        const char *url = NULL;
        curl_off_t sent = 0;
        note_status(r);
        curl_easy_getinfo(r->easy, CURLINFO_EFFECTIVE_URL, &url);
        curl_easy_getinfo(r->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
        free(r->effective_url);
        r->effective_url = wh_strdup(url);
        r->sent = (uint64_t)sent;
        if (r->status)
            learn_clock(r);
        const char *local = NULL;
        if (curl_easy_getinfo(r->easy, CURLINFO_LOCAL_IP, &local) == CURLE_OK && local && *local)
            snprintf(r->client->local_address, sizeof r->client->local_address, "%s", local);
    }
    if (code != CURLE_OK && err->code == WH_OK)
        say_failure(r, code, err);
    if (code == CURLE_OK && err->code == WH_OK)
        wh_log_debug("%s: %d", r->label, r->status);
    else
        wh_log_debug("%s", wh_error_text(err));
}
