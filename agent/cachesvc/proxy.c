/* Calls that are not ours go to the job's own results service as they are: same path, same token, same body.
 */
#include "cachesvc/internal.h"

#define TIMEOUT_MS 60000u

static void on_done(struct wh_http *http, struct wh_error *err, void *arg)
{
    struct request *r = arg;
    if (err) {
        wh_log_warning("cache service: %s", wh_error_text(err));
        svc_refuse(r, "unavailable", "the results service can't be reached from this runner");
    } else {
        const char *type = wh_http_response_header(http, "Content-Type");
        const char *later = wh_http_response_header(http, "Retry-After");
        struct wh_view body = wh_http_response_body(http);
        wh_str_clear(&r->answer.body);
        wh_str_addn(&r->answer.body, body.data, body.len);
        r->answer.status = (unsigned)wh_http_status(http);
        r->answer.type = NULL;
        svc_answer_header(r, "Content-Type", type ? type : "application/json");
        if (later)
            svc_answer_header(r, "Retry-After", later);
    }
    svc_wake(r);
}

void svc_proxy(struct request *r)
{
    const struct svc_job *job = svc_job_of(r);
    const char *token = svc_header(r, "Authorization");
    const char *type = svc_header(r, "Content-Type");
    if (!job || !job->results || !token) {
        svc_refuse(r, "bad_route", "there is no such call");
        return;
    }
    size_t end = strlen(job->results);
    while (end > 0 && job->results[end - 1] == '/')
        end--;
    wh_autofree char *url = wh_printf("%.*s%s", (int)end, job->results, r->path);
    wh_autosecret *secret = wh_secret_new(token, strlen(token));
    r->upstream = wh_http_new(r->svc->http, r->method, url);
    wh_http_secret_header(r->upstream, "Authorization", "", secret);
    wh_http_header(r->upstream, "Content-Type", type ? type : "application/json");
    wh_http_timeouts(r->upstream, TIMEOUT_MS, 0, 0);
    if (r->body.len > 0 || wh_streq(r->method, "POST"))
        wh_http_body(r->upstream, wh_str_text(&r->body), r->body.len);
    svc_sleep(r);
    wh_http_start(r->upstream, on_done, r);
}
