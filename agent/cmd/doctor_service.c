/* Is each registered runner's service within reach, and does its clock agree with ours? */
#include <stdio.h>

#include "cmd/doctor.h"
#include "wherry/base/clock.h"
#include "wherry/config/runner.h"
#include "wherry/net/http.h"

#define SKEW_WARN 30  /* seconds */
#define SKEW_FAIL 300 /* tokens are refused from about here on */

static void check_clock(struct doctor *d, const struct wh_http *r, int64_t before, int64_t after)
{
    const char *date = wh_http_response_header(r, "Date");
    int64_t theirs;
    if (!date || !wh_time_parse_http(date, &theirs))
        return;
    /* The header has whole seconds, cut off. */
    int64_t skew = 0;
    if (theirs + 1000000000 < before)
        skew = (before - theirs) / 1000000000;
    else if (theirs > after)
        skew = (after - theirs) / 1000000000 - 1;
    int64_t off = skew < 0 ? -skew : skew;
    doctor_say(d,
               off >= SKEW_FAIL   ? DOCTOR_FAIL
               : off >= SKEW_WARN ? DOCTOR_WARN
                                  : DOCTOR_OK,
               "clock", "set the clock: `timedatectl set-ntp true`, or install systemd-timesyncd or chrony",
               off < 2    ? "agrees with the service's"
               : skew > 0 ? "%lld s ahead of the service's"
                          : "%lld s behind the service's",
               (long long)off);
}

/* Any answer will do: whether the credentials are good is the agent's to find out. */
static void check_url(struct doctor *d, struct wh_http_client *client, const char *runner, const char *url,
                      bool *clock)
{
    wh_autoerror err = {0};
    wh_autohttp *r = wh_http_new(client, "GET", url);
    wh_http_timeouts(r, 10000, 5000, 0);
    int64_t before = wh_now_ns();
    if (wh_http_do(r, &err) < 0) {
        doctor_say(
            d, DOCTOR_FAIL, "service",
            "look at the network, a firewall and HTTPS_PROXY; the runner needs its way out only, none in",
            "%s: %s", runner, wh_error_text(&err));
        return;
    }
    doctor_say(d, wh_http_status(r) >= 500 ? DOCTOR_WARN : DOCTOR_OK, "service",
               "the service has trouble of its own; the agent tries again by itself", "%s: %s answers (%d)",
               runner, url, wh_http_status(r));
    if (!*clock)
        check_clock(d, r, before, wh_now_ns());
    *clock = true;
}

static const char *address_of(const struct wh_runner_config *runner)
{
    if (runner->use_v2 && runner->server_url_v2)
        return runner->server_url_v2;
    return runner->server_url ? runner->server_url : runner->url;
}

void doctor_service(struct doctor *d)
{
    wh_autoerror err = {0};
    wh_autostrv char **names = NULL;
    if (wh_runner_list(d->state, &names, &err) < 0) {
        doctor_say(d, DOCTOR_WARN, "runners", NULL, "%s", wh_error_text(&err));
        return;
    }
    if (wh_strv_len(names) == 0) {
        doctor_say(d, DOCTOR_OK, "runners", NULL,
                   "none is registered in this state folder yet (`wherry register`)");
        return;
    }
    struct wh_http_client *client = d->offline ? NULL : wh_http_client_new_private(NULL, &err);
    bool clock = false;
    for (char **n = names; *n; n++) {
        wh_error_clear(&err);
        wh_autorunner *runner = wh_runner_config_load(d->state, *n, &err);
        if (!runner)
            doctor_say(d, DOCTOR_FAIL, "runners", "register it anew: `wherry register --replace`", "%s: %s",
                       *n, wh_error_text(&err));
        else if (client)
            check_url(d, client, *n, address_of(runner), &clock);
        else
            doctor_say(d, DOCTOR_OK, "runners", NULL, "%s of %s", *n, runner->url);
    }
    wh_http_client_free(client);
}
