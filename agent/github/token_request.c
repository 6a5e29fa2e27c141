/* One call for a runner's token. */
#include "github/token_request.h"

#include "github/token.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"
#include "wherry/net/backoff.h"

#define TOKEN_CALL_MS 30000
#define FETCH_TRIES 3

struct wh_http *gh_token_request(struct wh_http_client *http, const struct wh_rsa_key *key,
                                 const struct wh_runner_config *config, struct wh_error *err)
{
    const char *url = config->oauth_endpoint_url ? config->oauth_endpoint_url : config->authorization_url;
    int64_t now_s = wh_now_ns() / 1000000000 + wh_http_client_clock_skew(http);
    char *jwt = wh_assertion(key, config->ps256, config->client_id, config->authorization_url, now_s, err);
    if (!jwt)
        return NULL;
    char *form = wh_printf("grant_type=client_credentials&client_assertion_type="
                           "urn%%3Aietf%%3Aparams%%3Aoauth%%3Aclient-assertion-type%%3Ajwt-bearer"
                           "&client_assertion=%s",
                           jwt);
    struct wh_http *r = wh_http_new(http, "POST", url);
    wh_http_header(r, "Accept", "application/json");
    wh_http_header(r, "Content-Type", "application/x-www-form-urlencoded");
    wh_http_body(r, form, strlen(form));
    wh_http_redirects(r, WH_HTTP_REDIRECT_SAME_HOST);
    wh_http_max_body(r, WH_MAX_TOKEN_ANSWER);
    wh_http_timeouts(r, TOKEN_CALL_MS, 0, 0);
    wh_wipe(jwt, strlen(jwt));
    wh_wipe(form, strlen(form));
    free(jwt);
    free(form);
    return r;
}

/* NULL with an error; *again: another try may help. */
static struct wh_secret *fetch_once(struct wh_http_client *http, const struct wh_rsa_key *key,
                                    const struct wh_runner_config *config, bool *again, struct wh_error *err)
{
    wh_autohttp *r = gh_token_request(http, key, config, err);
    *again = false;
    if (!r)
        return NULL;
    if (wh_http_do(r, err)) {
        *again = true;
        return NULL;
    }
    struct wh_token_answer answer = {0};
    struct wh_view body = wh_http_response_body(r);
    int status = wh_http_status(r);
    wh_token_answer_read(status, body.data, body.len, &answer);
    struct wh_secret *token = wh_steal(&answer.token);
    if (!token && answer.outcome == WH_OUT_CLOCK)
        wh_fail(
            err, WH_E_DENIED,
            "this machine's clock differs from the service's by more than five minutes: set it (timedatectl "
            "set-ntp true) and register again with --replace (%s)",
            answer.why);
    else if (!token)
        wh_fail(err, WH_E_DENIED, "the service gives no token to the new runner: %s answered %d: %s",
                wh_http_label(r), status, answer.why);
    /* By now the service's clock is known: a second try goes by it. */
    *again = answer.outcome == WH_OUT_CLOCK || answer.outcome == WH_OUT_TRANSIENT;
    wh_token_answer_clear(&answer);
    return token;
}

struct wh_secret *gh_token_fetch(struct wh_http_client *http, const struct wh_rsa_key *key,
                                 const struct wh_runner_config *config, struct wh_error *err)
{
    for (unsigned try = 1;; try++) {
        bool again;
        wh_autoerror why = {0};
        struct wh_secret *token = fetch_once(http, key, config, &again, &why);
        if (token)
            return token;
        if (!again || try >= FETCH_TRIES) {
            wh_error_move(err, &why);
            return NULL;
        }
        wh_log_debug("%s; trying again", wh_error_text(&why));
        wh_sleep_ms(wh_wait_ms(500, 2000));
    }
}
