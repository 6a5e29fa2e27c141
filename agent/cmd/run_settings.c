#include "cmd/run_settings.h"

#include <unistd.h>

#include "cmd/registering.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"
#include "wherry/config/runner.h"
#include "wherry/container/uplink.h"
#include "wherry/github/version.h"
#include "wherry/serve/serve.h"

extern char **environ;

/* ---- values ---- */

static void put_variable(const char *lower, const char *upper, const char *value)
{
    if (!value)
        return;
    setenv(lower, value, 1);
    unsetenv(upper); /* the lower one wins everywhere; a job should not see two */
}

static void set_services(const struct wh_settings *s, struct wh_daemon_options *o)
{
    const char *artifacts = wh_settings_text(s, "services.artifacts");
    o->cache_github = wh_streq(wh_settings_text(s, "services.cache"), "github");
    o->artifacts = wh_streq(artifacts, "local")    ? WH_ARTIFACTS_LOCAL
                   : wh_streq(artifacts, "github") ? WH_ARTIFACTS_GITHUB
                                                   : WH_ARTIFACTS_AUTO;
    o->cache_repository_max = (uint64_t)wh_settings_number(s, "services.repository-max", 0);
}

static void set_network(const struct wh_settings *s)
{
    put_variable("https_proxy", "HTTPS_PROXY", wh_settings_text(s, "network.https-proxy"));
    put_variable("http_proxy", "HTTP_PROXY", wh_settings_text(s, "network.http-proxy"));
    wh_autostrv char **hosts = wh_settings_strings(s, "network.no-proxy");
    wh_autofree char *list = hosts ? wh_strv_join(hosts, ",") : NULL;
    put_variable("no_proxy", "NO_PROXY", list);
}

/* Workers and launchers read them there, as they do where there are no settings (`wherry exec`). What is set
 * in the environment already has its say. */
static void set_containers(const struct wh_settings *s)
{
    static const struct {
        const char *path, *variable;
    } texts[] = {
        {"containers.engine", "WHERRY_CONTAINERS_ENGINE"},
        {"containers.network", "WHERRY_CONTAINERS_NETWORK"},
        {"containers.subnet", "WHERRY_CONTAINERS_SUBNET"},
        {"hooks.job-started", "ACTIONS_RUNNER_HOOK_JOB_STARTED"},
        {"hooks.job-completed", "ACTIONS_RUNNER_HOOK_JOB_COMPLETED"},
        {"hooks.containers", "ACTIONS_RUNNER_CONTAINER_HOOKS"},
        {"actions.archives", "ACTIONS_RUNNER_ACTION_ARCHIVE_CACHE"},
        {"actions.externals", "WHERRY_EXTERNALS"},
        {"actions.node-mirror", "WHERRY_NODE_MIRROR"},
        {"registries.ca", "WHERRY_REGISTRY_CA"},
    };
    static const struct {
        const char *path, *variable;
    } lists[] = {{"actions.native-off", "WHERRY_NATIVE_OFF"},
                 {"actions.map", "WHERRY_ACTION_MAP"},
                 {"registries.mirrors", "WHERRY_REGISTRY_MIRRORS"},
                 {"registries.insecure", "WHERRY_REGISTRY_INSECURE"}};
    for (size_t i = 0; i < WH_COUNT(texts); i++) {
        const char *text = wh_settings_text(s, texts[i].path);
        if (text)
            setenv(texts[i].variable, text, 0);
    }
    for (size_t i = 0; i < WH_COUNT(lists); i++) {
        wh_autostrv char **items = wh_settings_strings(s, lists[i].path);
        wh_autofree char *list = items && items[0] ? wh_strv_join(items, ",") : NULL;
        if (list)
            setenv(lists[i].variable, list, 0);
    }
    if (wh_settings_bool(s, "hooks.require-job-container"))
        setenv("ACTIONS_RUNNER_REQUIRE_JOB_CONTAINER", "true", 0);
}

static void set_log(const struct wh_settings *s)
{
    static const char *const levels[] = {[WH_LOG_ERROR] = "error",
                                         [WH_LOG_WARNING] = "warning",
                                         [WH_LOG_INFO] = "info",
                                         [WH_LOG_DEBUG] = "debug"};
    const struct wh_setting_value *level = wh_settings_get(s, "log.level");
    if (level->origin == WH_ORIGIN_DEFAULT) /* WHERRY_LOG and --verbose keep their say */
        return;
    for (size_t i = 0; i < WH_COUNT(levels); i++)
        if (wh_streq(levels[i], level->text))
            wh_log_set_level((enum wh_log_level)i);
}

struct wh_settings *cmd_run_settings(const char *file, struct wh_daemon_options *o, struct wh_error *err)
{
    struct wh_settings_sources sources = {.file = file, .env = environ};
    struct wh_settings_report report;
    struct wh_settings *s = wh_settings_load(&sources, &report);
    wh_settings_report_print(&report, stderr);
    size_t mistakes = report.nerrors;
    wh_settings_report_free(&report);
    if (!s) {
        wh_fail(err, WH_E_ARGUMENT, "%zu %s in the settings; `wherry config check` shows them again",
                mistakes, mistakes == 1 ? "mistake" : "mistakes");
        return NULL;
    }
    const char *version = wh_settings_text(s, "service.runner-version");
    if (!wh_streq(version, "auto") && !wh_runner_version_valid(version)) {
        wh_fail(err, WH_E_ARGUMENT,
                "%s: service.runner-version: '%s' is no version such as " WH_RUNNER_VERSION_FALLBACK,
                wh_settings_get(s, "service.runner-version")->place, version);
        wh_settings_free(s);
        return NULL;
    }
    uint32_t subnet;
    if (wh_uplink_subnet(wh_settings_text(s, "containers.subnet"), &subnet, err) < 0) {
        wh_wrap(err, "containers.subnet");
        wh_settings_free(s);
        return NULL;
    }
    if (!o->version && !wh_streq(version, "auto"))
        o->version = version;
    if (!o->ca_file)
        o->ca_file = wh_settings_text(s, "service.ca-file");
    if (!o->job_user)
        o->job_user = wh_settings_text(s, "jobs.user");
    if (o->max_jobs < 0)
        o->max_jobs = (int)wh_settings_number(s, "jobs.max", o->max_jobs);
    if (!o->log_spool)
        o->log_spool = (uint64_t)wh_settings_number(s, "jobs.log-spool", 0);
    if (o->log_wait_s < 0)
        o->log_wait_s = wh_settings_number(s, "jobs.log-wait", -1);
    if (!o->cache_max_size)
        o->cache_max_size = (uint64_t)wh_settings_number(s, "cache.max-size", 0);
    if (!o->cache_min_free)
        o->cache_min_free = (uint64_t)wh_settings_number(s, "cache.min-free", 0);
    set_services(s, o);
    set_network(s);
    set_containers(s);
    set_log(s);
    return s;
}

/* ---- runners ---- */

static void fill(struct wh_str *out, const char *text, const char *word, const char *value)
{
    wh_autofree char *hole = wh_printf("{%s}", word);
    for (const char *at; (at = strstr(text, hole)) != NULL; text = at + strlen(hole)) {
        wh_str_addn(out, text, (size_t)(at - text));
        wh_str_add(out, value);
    }
    wh_str_add(out, text);
}

static char *filled(const char *text, const char *word, const char *value)
{
    wh_autostr out = {0};
    fill(&out, text, word, value);
    return wh_str_steal(&out);
}

char **cmd_run_names(const struct wh_setting_value *runner, const char *host, const char *arch)
{
    int64_t count = wh_setting_field(runner, "count")->number;
    const char *pattern = wh_setting_text(runner, "name");
    wh_autofree char *numbered =
        count > 1 && !strstr(pattern, "{index}") ? wh_printf("%s-{index}", pattern) : wh_strdup(pattern);
    wh_autofree char *with_host = filled(numbered, "host", host);
    wh_autofree char *with_arch = filled(with_host, "arch", arch);
    char **names = NULL;
    for (int64_t i = 1; i <= count; i++) {
        wh_autofree char *number = wh_printf("%lld", (long long)i);
        wh_strv_take(&names, filled(with_arch, "index", number));
    }
    return names;
}

static struct wh_authority *authority_of(const struct wh_settings *s, const struct wh_setting_value *runner,
                                         struct cmd_registering *r, struct wh_error *err)
{
    const struct wh_setting_value *all = wh_settings_get(s, "credentials");
    const char *name = wh_setting_text(runner, "credentials");
    const struct wh_setting_value *found = name          ? wh_setting_entry(all, name)
                                           : all->nitems ? all->items[0]
                                                         : NULL;
    if (!found) {
        wh_fail(err, WH_E_ARGUMENT, "there are no credentials in the settings to register it with");
        return NULL;
    }
    const struct wh_setting_value *app = wh_setting_field(found, "app");
    if (wh_setting_is_set(app)) {
        r->app_id = wh_setting_text(app, "id");
        r->app_installation = wh_setting_text(app, "installation");
        r->app_key_file = wh_setting_text(app, "key-file");
        return wh_authority_new_app(r->app_id, r->app_installation, r->app_key_file, err);
    }
    bool pat = wh_setting_is_set(wh_setting_field(found, "pat"));
    wh_autosecret *secret = wh_setting_secret(wh_setting_field(found, pat ? "pat" : "token"), err);
    if (!secret)
        return NULL;
    return pat ? wh_authority_new_pat(secret) : wh_authority_new_token(secret);
}

static int register_one(const struct wh_settings *s, const struct wh_setting_value *runner, const char *name,
                        const struct wh_daemon_options *o, struct wh_error *err)
{
    const char *url = wh_setting_text(runner, "url"), *work = wh_setting_text(runner, "work");
    /* Several runners of one row don't share a work folder: each has one of its name below it. */
    bool several = wh_setting_field(runner, "count")->number > 1;
    wh_autofree char *below = work && several ? wh_path_join(work, name) : NULL;
    struct cmd_registering r = {.state = o->state,
                                .url = url ? url : wh_settings_text(s, "service.url"),
                                .name = name,
                                .group = wh_setting_text(runner, "group"),
                                .work = below ? below : work,
                                .job_user = wh_setting_text(runner, "job-user"),
                                .version = o->version,
                                .labels_given = true,
                                .no_default_labels = wh_setting_field(runner, "no-default-labels")->number,
                                .ephemeral = wh_setting_field(runner, "ephemeral")->number,
                                .replace = wh_setting_field(runner, "replace")->number};
    wh_autoauthority *authority = authority_of(s, runner, &r, err);
    if (!authority)
        return -1;
    const struct wh_setting_value *labels = wh_setting_field(runner, "labels");
    for (size_t i = 0; i < labels->nitems; i++)
        wh_strv_add(&r.labels, labels->items[i]->text);
    int n = cmd_register(&r, authority, err);
    wh_strv_free(r.labels);
    return n;
}

void cmd_run_register(const struct wh_settings *s, const struct wh_daemon_options *o)
{
    const struct wh_setting_value *runners = wh_settings_get(s, "runners");
    wh_autostrv char **known = NULL;
    if (wh_runner_list(o->state, &known, NULL) < 0)
        known = NULL;
    char host[256] = "localhost";
    (void)gethostname(host, sizeof host - 1);
    host[strcspn(host, ".")] = '\0';
    size_t failed = 0, total = 0;
    for (size_t i = 0; i < runners->nitems; i++) {
        wh_autostrv char **names = cmd_run_names(runners->items[i], host, wh_runner_architecture());
        for (size_t k = 0; names && names[k]; k++, total++) {
            wh_autoerror err = {0};
            if (known && wh_strv_has(known, names[k]))
                continue;
            if (register_one(s, runners->items[i], names[k], o, &err)) {
                wh_log_error("runner %s of %s is not registered: %s", names[k], runners->items[i]->place,
                             wh_error_text(&err));
                failed++;
            }
        }
    }
    if (failed > 0)
        wh_log_warning("%zu of %zu runners of the settings are missing: the agent tries again when it starts",
                       failed, total);
}
