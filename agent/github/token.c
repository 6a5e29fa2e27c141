/* The listener token. */
#include "github/token.h"

#include "github/call.h"

#include <utlist.h>

#include "github/token_request.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"
#include "wherry/net/backoff.h"
#include "wherry/net/later.h"

#define CLOCK_ROUNDING_S 5 /* of a header in whole seconds that was long on its way */
#define TOKEN_TRIES 5

struct wh_token_wait {
    struct wh_token_source *source;
    wh_token_fn done;
    void *data;
    unsigned round; /* of the source when it began to wait */
    struct wh_token_wait *next, *prev;
};

struct wh_token_source {
    struct wh_http_client *http;
    const struct wh_rsa_key *key;
    const struct wh_runner_config *config;
    struct wh_secret *token;
    uint64_t good_until_ms; /* monotonic */
    struct wh_http *flight;
    struct wh_later *retry;
    bool clock_corrected; /* one more try at once, by the clock that the answer told */
    struct wh_backoff backoff;
    struct wh_token_wait *waiting;
    unsigned round; /* of serving */
};

struct wh_token_source *wh_token_source_new(struct wh_http_client *http, const struct wh_rsa_key *key,
                                            const struct wh_runner_config *config)
{
    struct wh_token_source *s = wh_calloc(1, sizeof *s);
    s->http = http;
    s->key = key;
    s->config = config;
    s->backoff = (struct wh_backoff){.min_ms = 1000, .max_ms = 20000};
    return s;
}

void wh_token_source_free(struct wh_token_source *s)
{
    if (!s)
        return;
    wh_later_cancel(&s->retry);
    wh_http_free(s->flight);
    while (s->waiting) {
        struct wh_token_wait *wait = s->waiting;
        DL_DELETE(s->waiting, wait);
        free(wait);
    }
    wh_secret_free(s->token);
    free(s);
}

const struct wh_secret *wh_token_current(const struct wh_token_source *s)
{
    return s->token && wh_mono_ms() < s->good_until_ms ? s->token : NULL;
}

void wh_token_drop(struct wh_token_source *s)
{
    wh_secret_free(s->token);
    s->token = NULL;
}

static void fetch(void *data);

static void ensure_fetch(struct wh_token_source *s)
{
    if (s->waiting && !s->flight && !s->retry)
        wh_later(&s->retry, wh_http_client_loop(s->http), 0, fetch, s);
}

/* Serves everyone who waits now. A callback may ask again (it then waits for the next round) or cancel
 * others. */
static void serve(struct wh_token_source *s, enum wh_outcome outcome, struct wh_error *err)
{
    unsigned round = ++s->round;
    struct wh_token_wait *wait;
    wh_backoff_reset(&s->backoff);
    while ((wait = s->waiting) && wait->round != round && (err || s->token)) {
        DL_DELETE(s->waiting, wait);
        wh_token_fn done = wait->done;
        void *data = wait->data;
        free(wait);
        done(data, err ? NULL : s->token, outcome, err);
    }
    ensure_fetch(s);
}

static void fail_or_retry(struct wh_token_source *s, enum wh_outcome outcome, bool again, int64_t wait_ms,
                          struct wh_error *err)
{
    if (again && s->backoff.tries + 1 < TOKEN_TRIES) {
        uint64_t wait = wh_backoff_next(&s->backoff);
        if (wait_ms > 0)
            wait = WH_MAX(wait, wh_wait_ms((uint64_t)wait_ms, (uint64_t)wait_ms));
        if (s->backoff.tries == 1)
            wh_log_warning("%s; trying again", wh_error_text(err));
        else
            wh_log_debug("token: %s; next try in %llu ms", wh_error_text(err), (unsigned long long)wait);
        wh_later(&s->retry, wh_http_client_loop(s->http), wait, fetch, s);
        return;
    }
    serve(s, outcome, err);
}

static void say_clock(int64_t skew_s, const char *why)
{
    if (llabs(skew_s) > CLOCK_ROUNDING_S)
        wh_log_warning("this machine's clock is %lld s %s the service's; going by the service's",
                       (long long)llabs(skew_s), skew_s > 0 ? "behind" : "ahead of");
    else
        wh_log_warning("the service finds the times of the token request wrong (%s); trying once more", why);
}

static void on_answer(struct wh_http *r, struct wh_error *err, void *data)
{
    struct wh_token_source *s = data;
    struct wh_token_answer answer = {0};
    s->flight = NULL;
    if (err) {
        wh_wrap(err, "fetch the runner's token");
        fail_or_retry(s, WH_OUT_TRANSIENT, true, 0, err);
        wh_http_free(r);
        return;
    }
    int status = wh_http_status(r);
    wh_autoerror page = {0};
    if (gh_is_page(r, &page)) {
        wh_wrap(&page, "fetch the runner's token");
        fail_or_retry(s, WH_OUT_TRANSIENT, true, 0, &page);
        wh_http_free(r);
        return;
    }
    struct wh_view body = wh_http_response_body(r);
    wh_token_answer_read(status, body.data, body.len, &answer);
    if (answer.outcome == WH_OUT_OK) {
        /* Renewed 5 minutes early, or at 80 % of a short life. */
        int64_t good = answer.seconds > 1500 ? answer.seconds - 300 : answer.seconds * 4 / 5;
        wh_secret_free(s->token);
        s->token = wh_steal(&answer.token);
        s->good_until_ms = wh_mono_ms() + (uint64_t)good * 1000;
        s->clock_corrected = false;
        serve(s, WH_OUT_OK, NULL);
    } else if (answer.outcome == WH_OUT_CLOCK && !s->clock_corrected) {
        s->clock_corrected = true;
        say_clock(wh_http_client_clock_skew(s->http), answer.why);
        wh_later(&s->retry, wh_http_client_loop(s->http), 0, fetch, s);
    } else {
        wh_autoerror refused = {0};
        bool denied = answer.outcome == WH_OUT_DENIED;
        wh_fail(&refused, denied ? WH_E_DENIED : WH_E_HTTP, "%s: %s answered %d: %s",
                denied ? "the service does not take this runner's credentials (its registration may be gone: "
                         "register "
                         "again)"
                       : "the service gives no token to this runner",
                wh_http_label(r), status, answer.why);
        bool again = status == 429 || status >= 500;
        fail_or_retry(s, answer.outcome, again, wh_http_retry_after(r, 120000), &refused);
    }
    wh_token_answer_clear(&answer);
    wh_http_free(r);
}

static void fetch(void *data)
{
    struct wh_token_source *s = data;
    wh_autoerror err = {0};
    struct wh_http *r = gh_token_request(s->http, s->key, s->config, &err);
    if (!r) {
        serve(s, WH_OUT_DENIED, &err);
        return;
    }
    s->flight = r;
    wh_http_start(r, on_answer, s);
}

struct wh_token_wait *wh_token_ask(struct wh_token_source *s, wh_token_fn done, void *data)
{
    struct wh_token_wait *wait = wh_calloc(1, sizeof *wait);
    wait->source = s;
    wait->done = done;
    wait->data = data;
    wait->round = s->round;
    DL_APPEND(s->waiting, wait);
    ensure_fetch(s);
    return wait;
}

void wh_token_ask_cancel(struct wh_token_wait *wait)
{
    DL_DELETE(wait->source->waiting, wait);
    free(wait);
}
