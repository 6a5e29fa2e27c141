/* One blob that grows: spool → signed URL → blocks → seal → metadata (runner-protocol.md §5.2).
 *
 * The spool keeps every byte until its block was accepted, so that any request can be made again, by another
 * process too: where a block begins and ends follows from the log alone. Only whole blocks are sent while the
 * log grows, and the newest byte always stays back: the sealing block must not be empty. */
#include "github/results_internal.h"

#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define BLOB_CALL_MS 30000
#define BLOB_SLOWEST 64 /* bytes a millisecond: what is slower is tried anew */
#define BLOB_MAX_REFUSED 3
#define BLOB_API_VERSION "2023-11-03"

static uint64_t log_size(const struct gh_upload *u)
{
    return wh_spool_size(u->r->spool, u->log);
}

static bool log_ended(const struct gh_upload *u)
{
    return wh_spool_ended(u->r->spool, u->log);
}

static bool is_log(const struct gh_upload *u)
{
    return u->kind == WH_SPOOL_JOB_LOG || u->kind == WH_SPOOL_STEP_LOG;
}

/* Azure's own calls (§5.2, "SDK variant"). */
static bool by_sdk(const struct gh_upload *u)
{
    return u->r->job->sdk_upload && u->azure;
}

static void keep_mark(struct gh_upload *u)
{
    /* The number of the latest steps update rides on the job log's mark. */
    u->mark.value = wh_spool_mark(u->r->spool, u->log, WH_SPOOL_BLOB).value;
    wh_spool_set_mark(u->r->spool, u->log, WH_SPOOL_BLOB, &u->mark);
}

/* Lets go of everything but what the report at the end needs. */
void gh_upload_clear(struct gh_upload *u)
{
    gh_call_cancel(&u->call);
    wh_http_free(u->put);
    u->put = NULL;
    wh_later_cancel(&u->retry);
    free(u->url);
    u->url = NULL;
}

static void end_upload(struct gh_upload *u)
{
    u->mark.done = true;
    keep_mark(u);
    gh_upload_clear(u);
    gh_results_place(u, false);
    gh_results_moved(u->r);
}

static void lose(struct gh_upload *u, const char *why)
{
    char *text = wh_strdup(why);
    free(u->why);
    u->why = text;
    u->lost = true;
    wh_log_debug("log upload: given up: %s", why);
    end_upload(u);
}

/* ---- trouble ---- */

static void pump_again(void *data)
{
    gh_upload_pump(data);
}

static void try_again(struct gh_upload *u, struct wh_error *err, int64_t after_ms)
{
    u->unheard = gh_patience_note(&u->r->patience, err);
    free(u->why);
    u->why = wh_strdup(wh_error_text(err));
    uint64_t wait = wh_backoff_next(&u->backoff);
    if (after_ms > 0)
        wait = WH_MAX(wait, wh_wait_ms((uint64_t)after_ms, (uint64_t)after_ms));
    wh_log_debug("log upload: %s; next try in %llu ms", u->why, (unsigned long long)wait);
    wh_later(&u->retry, gh_results_loop(u->r), wait, pump_again, u);
    gh_results_place(u, false);
}

static void went_well(struct gh_upload *u)
{
    gh_patience_moved(&u->r->patience);
    u->unheard = false;
    u->refused = 0;
    wh_backoff_reset(&u->backoff);
    gh_upload_pump(u);
}

/* ---- twirp: signed URL, metadata ---- */

static const char *const url_methods[] = {"GetJobLogsSignedBlobURL", "GetStepLogsSignedBlobURL",
                                          "GetStepSummarySignedBlobURL", "GetJobDiagLogsSignedBlobURL"};
static const char *const url_fields[] = {"logs_url", "logs_url", "summary_url", "diag_logs_url"};
static const char *const metadata_methods[] = {"CreateJobLogsMetadata", "CreateStepLogsMetadata",
                                               "CreateStepSummaryMetadata", NULL};

static void twirp(struct gh_upload *u, const char *method, cJSON *body, gh_answer_fn done)
{
    wh_autofree char *path = wh_printf(GH_RECEIVER "%s", method);
    if (u->kind == WH_SPOOL_STEP_LOG || u->kind == WH_SPOOL_SUMMARY)
        wh_json_add_string(body, "step_backend_id", wh_spool_step_id(u->r->spool, u->log));
    u->call = gh_results_call(u->r, path, body, done, u);
}

/* A status that a repeat will not change. */
static bool hopeless(int status)
{
    return status >= 400 && status <= 499 && status != 403 && status != 408 && status != 429;
}

static bool call_failed(struct gh_upload *u, struct gh_answer *answer)
{
    if (!answer->err)
        return false;
    if (hopeless(answer->status))
        lose(u, wh_error_text(answer->err));
    else
        try_again(u, answer->err, answer->http ? wh_http_retry_after(answer->http, 60000) : 0);
    return true;
}

int gh_blob_url_read(const cJSON *answer, enum wh_spool_kind kind, struct gh_blob_url *out,
                     struct wh_error *err)
{
    const char *url = wh_json_string(answer, url_fields[kind]);
    const char *storage = wh_json_string(answer, "blob_storage_type");
    int64_t limit = wh_json_int(answer, "soft_size_limit", 0);
    if (!url || !*url)
        return wh_fail(err, WH_E_PROTOCOL, "%s: the answer has no %s", url_methods[kind], url_fields[kind]);
    if (!wh_starts_with_ci(url, "https://") && !wh_starts_with_ci(url, "http://"))
        return wh_fail(err, WH_E_PROTOCOL, "%s: %s is no URL of HTTP", url_methods[kind], url_fields[kind]);
    *out = (struct gh_blob_url){.url = url,
                                .azure = !wh_streq_ci(storage, "BLOB_STORAGE_TYPE_UNSPECIFIED"),
                                .limit = limit > 0 ? (uint64_t)limit : 0};
    return 0;
}

static void on_url(void *data, struct gh_answer *answer)
{
    struct gh_upload *u = data;
    u->call = NULL;
    if (call_failed(u, answer))
        return;
    struct gh_blob_url got = {0};
    wh_autoerror err = {0};
    if (gh_blob_url_read(answer->json, u->kind, &got, &err) < 0) {
        try_again(u, &err, 0);
        return;
    }
    if (u->kind == WH_SPOOL_SUMMARY && got.limit > 0 && log_size(u) > got.limit) {
        wh_autofree char *why = wh_printf("%llu bytes are more than the service takes (%llu)",
                                          (unsigned long long)log_size(u), (unsigned long long)got.limit);
        lose(u, why);
        return;
    }
    (void)gh_patience_note(&u->r->patience, NULL);
    u->url = wh_strdup(got.url);
    u->azure = got.azure;
    gh_upload_pump(u);
}

static void on_metadata(void *data, struct gh_answer *answer)
{
    struct gh_upload *u = data;
    u->call = NULL;
    if (call_failed(u, answer))
        return;
    if (!wh_json_bool(answer->json, "ok", false)) {
        wh_autoerror err = {0};
        wh_fail(&err, WH_E_PROTOCOL, "%s: the answer is not ok", metadata_methods[u->kind]);
        try_again(u, &err, 0);
        return;
    }
    gh_patience_moved(&u->r->patience);
    end_upload(u);
}

static void send_metadata(struct gh_upload *u)
{
    char buf[40];
    cJSON *body = cJSON_CreateObject();
    wh_json_add_string(body, "uploaded_at", wh_time_iso(wh_now_ns(), 3, buf));
    if (is_log(u))
        wh_json_add_int(body, "line_count", (int64_t)wh_spool_lines(u->r->spool, u->log));
    else
        wh_json_add_int(body, "size", (int64_t)log_size(u));
    twirp(u, metadata_methods[u->kind], body, on_metadata);
}

/* ---- blocks ---- */

static void on_put(struct wh_http *r, struct wh_error *err, void *data);

static ssize_t read_block(void *data, uint64_t pos, char *buf, size_t cap, struct wh_error *err)
{
    struct gh_upload *u = data;
    return wh_spool_read(u->r->spool, u->log, u->mark.pos + pos, buf, cap, err);
}

/* suffix: "" or "&comp=..."; len bytes of the log from the mark on. */
static struct wh_http *put_new(struct gh_upload *u, const char *suffix, uint64_t len)
{
    wh_autofree char *url = strchr(u->url, '?') || !*suffix ? wh_printf("%s%s", u->url, suffix)
                                                            : wh_printf("%s?%s", u->url, suffix + 1);
    struct wh_http *put = wh_http_new(u->r->job->http, "PUT", url);
    if (len > 0)
        wh_http_body_read(put, read_block, u, len);
    else
        wh_http_body(put, "", 0);
    wh_http_timeouts(put, BLOB_CALL_MS + (unsigned)(len / BLOB_SLOWEST), 0, 0);
    wh_http_redirects(put, WH_HTTP_REDIRECT_FOLLOW);
    if (by_sdk(u))
        wh_http_header(put, "x-ms-version", BLOB_API_VERSION);
    return put;
}

static void send_create(struct gh_upload *u, const char *blob_type, uint64_t len)
{
    bool sdk = by_sdk(u);
    u->put = put_new(u, "", len);
    if (u->azure)
        wh_http_header(u->put, "x-ms-blob-type", blob_type);
    if (sdk)
        wh_http_header(u->put, "If-None-Match", "*");
    if (is_log(u))
        wh_http_header(u->put, sdk ? "x-ms-blob-content-type" : "Content-Type", "text/plain");
    u->sending = len;
    u->sending_last = len > 0;
    wh_http_start(u->put, on_put, u);
}

static void send_block(struct gh_upload *u, uint64_t len, bool last)
{
    bool sdk = by_sdk(u);
    wh_autofree char *position = wh_printf("%llu", (unsigned long long)u->mark.pos);
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

static void send_seal(struct gh_upload *u)
{
    u->put = put_new(u, "&comp=seal", 0);
    u->sending = 0;
    u->sending_last = true;
    wh_http_start(u->put, on_put, u);
}

static void block_accepted(struct gh_upload *u)
{
    bool sdk = by_sdk(u);
    unsigned *flags = &u->mark.flags;
    bool was_block_blob = !(*flags & GH_BLOB_CREATED) && u->sending > 0;
    u->mark.pos += u->sending;
    if (was_block_blob || (u->sending_last && (!sdk || *flags & GH_BLOB_APPENDED)))
        *flags |= GH_BLOB_SEALED;
    else if (u->sending_last)
        *flags |= GH_BLOB_APPENDED;
    else if (u->sending == 0)
        *flags |= GH_BLOB_CREATED;
    keep_mark(u);
    went_well(u);
}

static void on_put(struct wh_http *r, struct wh_error *err, void *data)
{
    struct gh_upload *u = data;
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
    /* Bytes that can't be read here any more come back by no repeat. */
    bool unreadable =
        err && (err->code == WH_E_CORRUPT || err->code == WH_E_IO || err->code == WH_E_NOT_FOUND);
    if (err)
        wh_error_move(&refused, err);
    wh_http_free(r);
    free(u->url); /* it may have expired; and another one may lead elsewhere */
    u->url = NULL;
    if (unreadable || hopeless(status) || (status == 403 && ++u->refused > BLOB_MAX_REFUSED))
        lose(u, wh_error_text(&refused));
    else
        try_again(u, &refused, after_ms);
}

/* What is to do next with the bytes; false: nothing until more come. */
static bool next_put(struct gh_upload *u, bool send)
{
    uint64_t left = log_size(u) - u->mark.pos;
    bool last = log_ended(u) && (left <= WH_LOG_BLOCK || !is_log(u));
    if (!last && left <= WH_LOG_BLOCK)
        return false;
    if (!send)
        return true;
    bool created = u->mark.flags & GH_BLOB_CREATED;
    if (u->mark.flags & GH_BLOB_APPENDED) {
        send_seal(u);
    } else if (!created && last && !(u->mark.flags & GH_BLOB_CREATING)) {
        send_create(u, "BlockBlob", left);
    } else if (!created) {
        u->mark.flags |= GH_BLOB_CREATING;
        keep_mark(u);
        send_create(u, "AppendBlob", 0);
    } else {
        send_block(u, last ? left : WH_LOG_BLOCK, last);
    }
    return true;
}

void gh_upload_pump(struct gh_upload *u)
{
    if (u->call || u->put || u->retry || u->mark.done)
        return;
    if (log_ended(u) && log_size(u) == 0) {
        end_upload(u);
        return;
    }
    bool sealed = u->mark.flags & GH_BLOB_SEALED;
    if (sealed && !metadata_methods[u->kind]) {
        end_upload(u);
        return;
    }
    if (!sealed && !next_put(u, false)) {
        gh_results_place(u, false);
        return;
    }
    if (!u->working && u->r->working >= WH_MAX_UPLOADS)
        return;
    gh_results_place(u, true);
    if (sealed)
        send_metadata(u);
    else if (!u->url)
        twirp(u, url_methods[u->kind], cJSON_CreateObject(), on_url);
    else
        next_put(u, true);
}
