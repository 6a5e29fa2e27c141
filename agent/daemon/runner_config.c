/* Settings that the service gave a runner since it was registered (runner-protocol.md §3.6,
 * RunnerRefreshConfig): they are used from the next session on, and given up where none can be made by them.
 */
#include <unistd.h>

#include "daemon/actions.h"
#include "wherry/base/log.h"

#define SETTINGS_TRIES 3 /* sessions that fail by them before they are given up, until the next start */

void runner_open_session(struct runner *r)
{
    char host[256] = "localhost";
    gethostname(host, sizeof host - 1);
    wh_autofree char *owner = wh_printf("%s (PID: %d)", host, (int)getpid());
    r->session = wh_session_new(r->d->http, r->config, r->key, runner_version(r), owner);
    if (r->config->ephemeral || r->d->options->once)
        wh_session_one_job(r->session);
}

void runner_take_settings(struct runner *r)
{
    wh_autoerror err = {0};
    struct wh_runner_config *now = wh_migrated_apply(r->d->options->state, r->config, &err);
    r->settings_failures = 0;
    if (now) {
        wh_log_debug("by the settings that the service gave since it was registered");
        r->registered = r->config;
        r->config = now;
    } else if (err.code != WH_E_NOT_FOUND) {
        wh_log_warning("the service's later settings are passed over: %s", wh_error_text(&err));
    }
}

/* ---- an exchange ---- */

static void on_refreshed(void *data, enum wh_official_file file, const struct wh_str *text,
                         struct wh_error *err)
{
    struct runner *r = data;
    wh_autoerror trouble = {0};
    const char *before = wh_log_enter(r->name);
    r->refresh = NULL;
    struct wh_view view = {.data = text ? text->data : NULL, .len = text ? text->len : 0};
    if (err) {
        wh_log_warning("%s; its settings stay as they are", wh_error_text(err));
    } else if (!text) {
        wh_log_debug("the service has no other settings");
    } else if (wh_migrated_save(r->d->options->state, r->name, file, view, &trouble)) {
        wh_log_warning("keep the service's settings: %s", wh_error_text(&trouble));
    } else if (r->job && (r->config->ephemeral || r->d->options->once)) {
        wh_log_debug("its only job is under way: the settings are for nobody");
    } else if (!r->end_wanted) {
        wh_log_info("the service changed its settings (%s): begins anew when its job, if any, is over",
                    wh_migrated_name(file));
        r->replace = true;
        runner_end(r, RUNNER_STOPPED, NULL);
    }
    (void)wh_log_enter(before);
}

void do_refresh_config(struct runner *r, const struct runner_cause *cause)
{
    wh_refresh_cancel(&r->refresh);
    r->refresh = wh_refresh_start(r->session, cause->message, runner_registered(r), on_refreshed, r);
    runner_poll_now(r);
}

/* ---- settings that don't work ---- */

enum runner_event runner_settings_failed(struct runner *r, enum runner_event event)
{
    bool counts = r->registered && event != ON_CLASH && event != ON_CLASH_LAST;
    bool for_good = event != ON_FAILED && event != ON_CLOCK && event != ON_DENIED && event != ON_TOO_OLD;
    if (!counts || r->job) /* its lock is held by this session */
        return event;
    return ++r->settings_failures >= SETTINGS_TRIES || for_good ? ON_SETTINGS_BAD : event;
}

/* Not from within a callback of the session that goes. */
static void fall_back(void *data)
{
    struct runner *r = data;
    const char *before = wh_log_enter(r->name);
    wh_refresh_cancel(&r->refresh);
    wh_session_free(r->session);
    wh_runner_config_free(r->config);
    r->config = r->registered;
    r->registered = NULL;
    r->denials = r->conflicts = 0;
    runner_open_session(r);
    runner_event(r, ON_WAITED, NULL);
    (void)wh_log_enter(before);
}

void do_fall_back(struct runner *r, const struct runner_cause *cause)
{
    (void)wh_wrap(cause->err, "no session by the settings that the service gave");
    runner_say_trouble(r, cause->err, "going back to those of the registration until the next start");
    wh_later(&r->later, &r->d->loop, wh_wait_ms(1000, 3000), fall_back, r);
}
