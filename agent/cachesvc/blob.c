/* The subset of Azure's block blobs that cache and artifact clients use, on signed URLs (cache-service.md
 * §2.1).
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <time.h>

#include "cachesvc/internal.h"

#define WHOLE "whole" /* the one block of a Put Blob; no base64 of a client's has this length */

/* ---- headers of all answers ---- */

static void http_date(int64_t ns, char out[40])
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(ns / 1000000000);
    struct tm t;
    (void)gmtime_r(&seconds, &t);
    snprintf(out, 40, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[t.tm_wday], t.tm_mday, months[t.tm_mon],
             t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

/* The request's id is not for us: BuildKit's client ends without it. */
static void add_common(struct request *r)
{
    char guid[37];
    const char *version = svc_header(r, "x-ms-version");
    svc_answer_header(r, "x-ms-request-id", wh_guid(guid));
    if (version && strlen(version) <= 32 && strspn(version, "0123456789-") == strlen(version))
        svc_answer_header(r, "x-ms-version", version);
}

static void add_identity(struct request *r, int64_t id, int64_t created)
{
    char date[40];
    wh_autofree char *etag = wh_printf("\"0x%llX\"", (unsigned long long)id);
    http_date(created, date);
    svc_answer_header(r, "ETag", etag);
    svc_answer_header(r, "Last-Modified", date);
}

static void answer_created(struct request *r)
{
    svc_answer_empty(r, 201);
    add_common(r);
    add_identity(r, r->id, wh_now_ns());
}

/* ---- PUT ---- */

static void take_bytes(struct request *r, const char *data, size_t len)
{
    if (r->md5)
        EVP_DigestUpdate(r->md5, data, len);
    if (wh_upload_part_write(r->part, data, len, &r->err) == 0) {
        svc_live_follow(r->live);
        return;
    }
    wh_upload_part_abort(wh_steal(&r->part));
    if (r->err.code == WH_E_LIMIT) {
        svc_refuse_status(r, 400, "InvalidInput", "%s", wh_error_text(&r->err));
        return;
    }
    svc_trouble(r, &r->err);
    svc_live_drop(r->svc, r->id);
}

static bool md5_ok(struct request *r)
{
    unsigned char md5[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (!r->md5)
        return true;
    EVP_DigestFinal_ex(r->md5, md5, &len);
    wh_autofree char *text = wh_base64(md5, len);
    if (wh_streq(text, r->md5_want))
        return true;
    wh_upload_part_abort(wh_steal(&r->part));
    svc_refuse_status(r, 400, "Md5Mismatch", "The bytes do not have the MD5 that the header says.");
    return false;
}

static bool end_part(struct request *r)
{
    if (!md5_ok(r))
        return false;
    if (wh_upload_part_end(wh_steal(&r->part), &r->err) == 0)
        return true;
    if (r->err.code == WH_E_LIMIT)
        svc_refuse_status(r, 400, "InvalidInput", "%s", wh_error_text(&r->err));
    else
        svc_trouble(r, &r->err);
    return false;
}

static void end_block(struct request *r)
{
    if (!end_part(r))
        return;
    svc_live_follow(r->live);
    answer_created(r);
}

static void run_arrange(struct request *r)
{
    r->rc = wh_upload_arrange(r->live->upload, &r->err);
    if (r->rc == 0 && r->mime)
        r->rc = wh_upload_set_mime(r->svc->writes, r->id, r->mime, &r->err);
}

static void done_arrange(struct request *r)
{
    r->live->finishing = false;
    if (r->rc == 0) {
        answer_created(r);
        return;
    }
    svc_trouble(r, &r->err);
    if (r->err.code == WH_E_NO_SPACE)
        svc_live_drop(r->svc, r->id);
}

static void arrange(struct request *r, char *const *ids, size_t n)
{
    if (r->live->finishing || wh_upload_active(r->live->upload) > 0) {
        svc_refuse_status(r, 409, "BlobBeingWritten", "Other requests of this upload are still under way.");
        return;
    }
    if (wh_upload_order(r->live->upload, ids, n, -1, &r->err) < 0)
        svc_refuse_status(r, 400, "InvalidBlockList", "%s", wh_error_text(&r->err));
    else
        svc_live_finish(r, run_arrange, done_arrange);
}

static void end_whole(struct request *r)
{
    char *ids[] = {(char *)WHOLE, NULL};
    if (end_part(r))
        arrange(r, ids, 1);
}

static void end_list(struct request *r)
{
    size_t n = 0;
    wh_autostrv char **ids = svc_block_list(wh_str_text(&r->body), r->body.len, &n);
    if (ids)
        arrange(r, ids, n);
    else
        svc_refuse_status(r, 400, "InvalidXmlDocument",
                          "The body is not a block list of at most %d valid ids.", WH_MAX_CACHE_BLOCKS);
}

/* 1: the upload is open; else refused. 409 where it is an entry already: committed bytes never change. */
static bool open_upload(struct request *r, const char *what)
{
    wh_autouploadrow row = {0};
    enum wh_cache_kind kind = what[0] == 'c' ? WH_CACHE_ENTRY : WH_CACHE_ARTIFACT;
    int rc = wh_upload_find(r->svc->reads, r->id, &row, &r->err);
    if (rc == 1 && row.kind == kind && wh_streq(row.job, r->job))
        r->live = svc_live(r->svc, r->id, &r->err);
    if (r->live)
        return true;
    wh_autocacheentry e = {0};
    if (rc < 0 || (rc == 1 && r->err.code != WH_OK))
        svc_trouble(r, &r->err);
    else if (rc == 0 && wh_cache_find_id(r->svc->reads, r->id, &e, NULL, NULL) == 1)
        svc_refuse_status(r, 409, "BlobImmutableDueToPolicy", "The entry is committed.");
    else
        svc_refuse_status(r, 404, "BlobNotFound", "There is no such upload; its reservation may have ended.");
    return false;
}

static bool take_length(struct request *r, uint64_t max, uint64_t *length)
{
    const char *text = svc_header(r, "Content-Length");
    if (!text || !wh_parse_u64(text, INT64_MAX, length))
        svc_refuse_status(r, 411, "MissingContentLengthHeader", "Content-Length is missing.");
    else if (*length > max)
        svc_refuse_status(r, 413, "RequestBodyTooLarge", "At most %llu bytes are taken at once.",
                          (unsigned long long)max);
    else
        return true;
    return false;
}

static void begin_part(struct request *r, const char *id, uint64_t length, void (*end)(struct request *))
{
    const char *md5 = svc_header(r, "Content-MD5");
    r->part = wh_upload_block(r->live->upload, id, length, &r->err);
    if (!r->part) {
        svc_refuse_status(r, 400, "BlockCountExceedsLimit", "%s", wh_error_text(&r->err));
        return;
    }
    if (md5) {
        r->md5 = EVP_MD_CTX_new();
        r->md5_want = wh_strdup(md5);
        EVP_DigestInit_ex(r->md5, EVP_md5(), NULL);
    }
    r->take = take_bytes;
    r->end = end;
}

static void put_block(struct request *r)
{
    const char *id;
    uint64_t length = 0;
    if (!svc_argument(r, "blockid", &id) || !id || !svc_block_id_ok(id))
        svc_refuse_status(r, 400, "InvalidQueryParameterValue", "blockid is not base64 of 1 to %d bytes.",
                          WH_MAX_CACHE_BLOCK_ID);
    else if (!take_length(r, WH_MAX_CACHE_BLOCK, &length))
        return;
    else if (length == 0)
        svc_refuse_status(r, 400, "InvalidHeaderValue", "A block has at least one byte.");
    else
        begin_part(r, id, length, end_block);
}

static void put_whole(struct request *r)
{
    const char *type = svc_header(r, "x-ms-blob-type");
    uint64_t length;
    if (type && !wh_streq_ci(type, "BlockBlob")) {
        svc_refuse_status(r, 400, "InvalidHeaderValue", "x-ms-blob-type is not BlockBlob.");
        return;
    }
    if (!take_length(r, (uint64_t)WH_MAX_UPLOAD_BYTES, &length))
        return;
    if (wh_upload_active(r->live->upload) > 0 || r->live->following) {
        svc_refuse_status(r, 409, "BlobBeingWritten", "Other requests of this upload are still under way.");
        return;
    }
    wh_upload_reset(r->live->upload);
    begin_part(r, WHOLE, length, end_whole);
}

static void put(struct request *r, const char *what)
{
    const char *comp, *mime = svc_header(r, "x-ms-blob-content-type");
    if (!svc_sign_check(r, what, r->id, 'w') || !open_upload(r, what))
        return;
    if (r->live->finishing) {
        svc_refuse_status(r, 409, "BlobBeingWritten", "The upload is being finished.");
        return;
    }
    if (mime && strlen(mime) <= 200 && !strpbrk(mime, "\r\n"))
        r->mime = wh_strdup(mime);
    (void)svc_argument(r, "comp", &comp);
    if (!comp) {
        put_whole(r);
    } else if (wh_streq(comp, "block")) {
        put_block(r);
    } else if (wh_streq(comp, "blocklist")) {
        r->body_max = WH_MAX_CACHE_LIST;
        r->end = end_list;
    } else {
        svc_refuse_status(r, 400, "InvalidQueryParameterValue", "comp is neither block nor blocklist.");
    }
}

/* ---- GET and HEAD ---- */

static void add_quoted(struct wh_str *out, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (strchr(plain, *p))
            wh_str_addc(out, (char)*p);
        else
            wh_str_addf(out, "%%%02X", *p);
}

/* Clients unzip by the type, and name the file by the disposition. */
static void add_artifact(struct request *r, const struct wh_cache_entry *e)
{
    bool zip = !e->mime || wh_streq(e->mime, "zip") || wh_streq(e->mime, "application/zip");
    wh_autostr disposition = {0};
    wh_str_add(&disposition, "attachment; filename*=UTF-8''");
    add_quoted(&disposition, e->key);
    if (zip)
        wh_str_add(&disposition, ".zip");
    svc_answer_header(r, "Content-Type", zip ? "application/zip" : e->mime);
    svc_answer_header(r, "Content-Disposition", disposition.data);
}

static void answer_range(struct request *r, const struct wh_cache_entry *e)
{
    const char *azure = svc_header(r, "x-ms-range"), *plain = svc_header(r, "Range");
    uint64_t start = 0, end = 0;
    enum svc_range range = svc_range(azure ? azure : plain, e->size, &start, &end);
    if (range == RANGE_OUTSIDE) {
        wh_autofree char *all = wh_printf("bytes */%llu", (unsigned long long)e->size);
        svc_refuse_status(r, 416, "InvalidRange", "The range begins behind the end.");
        svc_answer_header(r, "Content-Range", all);
        return;
    }
    r->answer.status = range == RANGE_PART ? 206 : 200;
    r->answer.offset = range == RANGE_PART ? start : 0;
    r->answer.length = range == RANGE_PART ? end - start + 1 : e->size;
    if (range == RANGE_PART) {
        wh_autofree char *text = wh_printf("bytes %llu-%llu/%llu", (unsigned long long)start,
                                           (unsigned long long)end, (unsigned long long)e->size);
        svc_answer_header(r, "Content-Range", text);
    }
}

static void get(struct request *r, const char *what)
{
    wh_autocacheentry e = {0};
    wh_autofree char *repository = NULL;
    if (!svc_sign_check(r, what, r->id, 'r'))
        return;
    const struct svc_job *job = svc_job_of(r);
    int rc = wh_cache_find_id(r->svc->reads, r->id, &e, &repository, &r->err);
    if (rc < 0) {
        svc_trouble(r, &r->err);
        return;
    }
    if (rc == 1 && wh_streq(repository, job->repository))
        r->answer.file = wh_blob_open(r->svc->reads, &e.digest, NULL, &r->err);
    if (r->answer.file < 0) {
        svc_refuse_status(r, 404, "BlobNotFound", "The entry is gone.");
        return;
    }
    svc_used(r->svc, &e);
    answer_range(r, &e);
    if (r->answer.status == 416)
        return;
    add_common(r);
    add_identity(r, e.id, e.created);
    svc_answer_header(r, "Accept-Ranges", "bytes");
    svc_answer_header(r, "x-ms-blob-type", "BlockBlob");
    if (what[0] == 'a')
        add_artifact(r, &e);
    else
        svc_answer_header(r, "Content-Type", "application/octet-stream");
}

void svc_blob(struct request *r, const char *what, const char *id)
{
    bool read = wh_streq(r->method, "GET") || wh_streq(r->method, "HEAD");
    if (!wh_parse_i64(id, 1, INT64_C(1) << 53, &r->id))
        svc_refuse_status(r, 404, "BlobNotFound", "There is no such blob.");
    else if (wh_streq(r->method, "PUT"))
        put(r, what);
    else if (read)
        get(r, what);
    else
        svc_refuse_status(r, 405, "UnsupportedHttpVerb", "GET, HEAD and PUT are.");
}
