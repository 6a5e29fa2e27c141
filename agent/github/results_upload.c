/* One blob that grows: spool file → signed URL → blocks → seal → metadata (runner-protocol.md §5.2).
 *
 * The spool keeps every byte until the blob is sealed, so that any request can be made again. Only whole
 * blocks are sent while the log grows, and the newest byte always stays back: the sealing block must not be
 * empty. */
#include "github/results_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define BLOB_CALL_MS 30000
#define BLOB_MAX_REFUSED 3
#define BLOB_API_VERSION "2023-11-03"

/* ---- the spool ---- */

static int spool_open(const char *folder)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd >= 0 ? fd : memfd_create("wherry-log", MFD_CLOEXEC);
}

static void lose(struct wh_results_log *u, const char *why)
{
    free(u->why);
    u->why = wh_strdup(why);
    u->state = GH_UPLOAD_LOST;
    gh_upload_clear(u);
    gh_results_moved(u->r);
}

void gh_upload_write(struct wh_results_log *u, const char *data, size_t len)
{
    if (u->state != GH_UPLOAD_OPEN)
        return;
    if (u->spool < 0)
        u->spool = spool_open(u->r->spool);
    if (u->spool < 0) {
        lose(u, strerror(errno));
        return;
    }
    while (len > 0) {
        ssize_t n = pwrite(u->spool, data, len, (off_t)u->written);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            lose(u, strerror(n < 0 ? errno : ENOSPC));
            return;
        }
        u->written += (uint64_t)n;
        data += n;
        len -= (size_t)n;
    }
}

/* Lets go of everything but what the report at the end needs (step_id, why). */
void gh_upload_clear(struct wh_results_log *u)
{
    gh_call_cancel(&u->call);
    wh_http_free(u->put);
    u->put = NULL;
    wh_later_cancel(&u->retry);
    if (u->spool >= 0)
        close(u->spool);
    u->spool = -1;
    free(u->url);
    u->url = NULL;
}

/* ---- trouble ---- */

static void pump_again(void *data)
{
    gh_upload_pump(data);
}

static void try_again(struct wh_results_log *u, struct wh_error *err, int64_t after_ms)
{
    gh_results_note(u->r, err);
    free(u->why);
    u->why = wh_strdup(wh_error_text(err));
    uint64_t wait = wh_backoff_next(&u->backoff);
    if (after_ms > 0)
        wait = WH_MAX(wait, wh_wait_ms((uint64_t)after_ms, (uint64_t)after_ms));
    wh_log_debug("log upload: %s; next try in %llu ms", u->why, (unsigned long long)wait);
    wh_later(&u->retry, gh_results_loop(u->r), wait, pump_again, u);
}

static void went_well(struct wh_results_log *u)
{
    gh_results_note(u->r, NULL);
    u->refused = 0;
    wh_backoff_reset(&u->backoff);
    gh_upload_pump(u);
}

/* ---- twirp: signed URL, metadata ---- */

static const char *const url_methods[] = {"GetStepLogsSignedBlobURL", "GetJobLogsSignedBlobURL",
                                          "GetStepSummarySignedBlobURL"};
static const char *const url_fields[] = {"logs_url", "logs_url", "summary_url"};
static const char *const metadata_methods[] = {"CreateStepLogsMetadata", "CreateJobLogsMetadata",
                                               "CreateStepSummaryMetadata"};

static void twirp(struct wh_results_log *u, const char *method, cJSON *body, gh_answer_fn done)
{
    wh_autofree char *path = wh_printf(GH_RECEIVER "%s", method);
    wh_json_add_string(body, "step_backend_id", u->step_id);
    u->call = gh_results_call(u->r, path, body, done, u);
}

/* A status that a repeat will not change. */
static bool hopeless(int status)
{
    return status >= 400 && status <= 499 && status != 403 && status != 408 && status != 429;
}

static bool call_failed(struct wh_results_log *u, struct gh_answer *answer)
{
    if (!answer->err)
        return false;
    if (hopeless(answer->status))
        lose(u, wh_error_text(answer->err));
    else
        try_again(u, answer->err, answer->http ? wh_http_retry_after(answer->http, 60000) : 0);
    return true;
}

static void on_url(void *data, struct gh_answer *answer)
{
    struct wh_results_log *u = data;
    u->call = NULL;
    if (call_failed(u, answer))
        return;
    const char *url = wh_json_string(answer->json, url_fields[u->kind]);
    const char *storage = wh_json_string(answer->json, "blob_storage_type");
    if (!url || !*url) {
        wh_autoerror err = {0};
        wh_fail(&err, WH_E_PROTOCOL, "%s: the answer has no %s", url_methods[u->kind], url_fields[u->kind]);
        try_again(u, &err, 0);
        return;
    }
    u->url = wh_strdup(url);
    u->azure = !wh_streq_ci(storage, "BLOB_STORAGE_TYPE_UNSPECIFIED");
    gh_upload_pump(u);
}

static void on_metadata(void *data, struct gh_answer *answer)
{
    struct wh_results_log *u = data;
    u->call = NULL;
    if (call_failed(u, answer))
        return;
    if (!wh_json_bool(answer->json, "ok", false)) {
        wh_autoerror err = {0};
        wh_fail(&err, WH_E_PROTOCOL, "%s: the answer is not ok", metadata_methods[u->kind]);
        try_again(u, &err, 0);
        return;
    }
    u->state = GH_UPLOAD_DONE;
    gh_upload_clear(u);
    gh_results_moved(u->r);
}

static void send_metadata(struct wh_results_log *u)
{
    char buf[40];
    cJSON *body = cJSON_CreateObject();
    wh_json_add_string(body, "uploaded_at", wh_time_iso(wh_now_ns(), 3, buf));
    if (u->kind == GH_SUMMARY)
        wh_json_add_int(body, "size", (int64_t)u->written);
    else
        wh_json_add_int(body, "line_count", (int64_t)u->lines);
    twirp(u, metadata_methods[u->kind], body, on_metadata);
}

/* ---- blocks ---- */

static void on_put(struct wh_http *r, struct wh_error *err, void *data);

/* suffix: "" or "&comp=..."; len bytes of the spool from `uploaded` on. */
static struct wh_http *put_new(struct wh_results_log *u, const char *suffix, uint64_t len)
{
    wh_autofree char *url = strchr(u->url, '?') || !*suffix ? wh_printf("%s%s", u->url, suffix)
                                                            : wh_printf("%s?%s", u->url, suffix + 1);
    struct wh_http *put = wh_http_new(u->r->job->http, "PUT", url);
    if (len > 0)
        wh_http_body_fd(put, u->spool, (off_t)u->uploaded, len);
    else
        wh_http_body(put, "", 0);
    wh_http_timeouts(put, BLOB_CALL_MS, 0, 0);
    wh_http_redirects(put, WH_HTTP_REDIRECT_FOLLOW);
    if (u->r->job->sdk_upload)
        wh_http_header(put, "x-ms-version", BLOB_API_VERSION);
    return put;
}

static void send_create(struct wh_results_log *u, const char *blob_type, uint64_t len)
{
    bool sdk = u->r->job->sdk_upload;
    u->put = put_new(u, "", len);
    if (u->azure)
        wh_http_header(u->put, "x-ms-blob-type", blob_type);
    if (sdk)
        wh_http_header(u->put, "If-None-Match", "*");
    if (u->kind != GH_SUMMARY)
        wh_http_header(u->put, sdk ? "x-ms-blob-content-type" : "Content-Type", "text/plain");
    u->sending = len;
    u->sending_last = len > 0;
    wh_http_start(u->put, on_put, u);
}

static void send_block(struct wh_results_log *u, uint64_t len, bool last)
{
    bool sdk = u->r->job->sdk_upload;
    wh_autofree char *position = wh_printf("%llu", (unsigned long long)u->uploaded);
    u->put = put_new(u, last && !sdk ? "&comp=appendblock&seal=true" : "&comp=appendblock", len);
    if (u->azure) {
        if (!sdk)
            wh_http_header(u->put, "x-ms-blob-sealed", last ? "True" : "False");
        wh_http_header(u->put, "x-ms-blob-condition-appendpos", position);
    }
    u->sending = len;
    u->sending_last = last;
    wh_http_start(u->put, on_put, u);
}

static void send_seal(struct wh_results_log *u)
{
    u->put = put_new(u, "&comp=seal", 0);
    u->sending = 0;
    u->sending_last = true;
    wh_http_start(u->put, on_put, u);
}

static void block_accepted(struct wh_results_log *u)
{
    bool sdk = u->r->job->sdk_upload;
    bool was_block_blob = !u->created && u->sending > 0;
    u->uploaded += u->sending;
    if (was_block_blob || (u->sending_last && (!sdk || u->appended_all)))
        u->state = GH_UPLOAD_SEALED;
    else if (u->sending_last)
        u->appended_all = true;
    else if (u->sending == 0)
        u->created = true;
    went_well(u);
}

static void on_put(struct wh_http *r, struct wh_error *err, void *data)
{
    struct wh_results_log *u = data;
    wh_autoerror refused = {0};
    int status = err ? 0 : wh_http_status(r);
    int64_t after_ms = err ? 0 : wh_http_retry_after(r, 60000);
    u->put = NULL;
    /* 412: the block is there already (its answer was lost). 409: the blob is, or is sealed already. */
    if (!err && (wh_http_check(r, &refused) == 0 || status == 412 || status == 409)) {
        wh_http_free(r);
        block_accepted(u);
        return;
    }
    if (err)
        wh_error_move(&refused, err);
    wh_http_free(r);
    free(u->url); /* it may have expired; and another one may lead elsewhere */
    u->url = NULL;
    if (hopeless(status) || (status == 403 && ++u->refused > BLOB_MAX_REFUSED))
        lose(u, wh_error_text(&refused));
    else
        try_again(u, &refused, after_ms);
}

/* What is to do next with the bytes; false: nothing until more come. */
static bool next_put(struct wh_results_log *u, bool send)
{
    uint64_t left = u->written - u->uploaded;
    bool last = u->closed && left <= WH_LOG_BLOCK;
    if (u->kind == GH_SUMMARY)
        last = u->closed;
    if (!last && left <= WH_LOG_BLOCK)
        return false;
    if (!send)
        return true;
    if (u->appended_all)
        send_seal(u);
    else if (!u->created && last)
        send_create(u, "BlockBlob", left);
    else if (!u->created)
        send_create(u, "AppendBlob", 0);
    else
        send_block(u, last ? left : WH_LOG_BLOCK, last);
    return true;
}

void gh_upload_pump(struct wh_results_log *u)
{
    if (u->call || u->put || u->retry || u->state == GH_UPLOAD_DONE || u->state == GH_UPLOAD_LOST)
        return;
    if (u->closed && u->written == 0) {
        u->state = GH_UPLOAD_DONE;
        gh_upload_clear(u);
        gh_results_moved(u->r);
        return;
    }
    if (u->state == GH_UPLOAD_SEALED)
        send_metadata(u);
    else if (!next_put(u, false))
        return;
    else if (!u->url)
        twirp(u, url_methods[u->kind], cJSON_CreateObject(), on_url);
    else
        next_put(u, true);
}
