/* From settings to a registered runner with its files. */
#include "cmd/registering.h"

#include <errno.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "cmd/prompt.h"
#include "wherry/base/fs.h"
#include "wherry/github/migrated.h"
#include "wherry/github/version.h"

#define DEFAULT_WORK "_work"

void cmd_add_labels(char ***labels, const char *list)
{
    wh_autostrv char **parts = wh_strv_split(list, ',');
    for (char **part = parts; *part; part++) {
        wh_autofree char *label = wh_view_dup(wh_view_trim(wh_view_of(*part)));
        if (*label)
            wh_strv_add(labels, label);
    }
}

char *cmd_work_dir(const char *state, const char *name, const char *work_folder)
{
    /* The official default lies in the program's folder; ours beside the state folder. */
    bool plain = !work_folder || wh_streq(work_folder, DEFAULT_WORK);
    return wh_runner_work_dir(state, name, plain ? NULL : work_folder);
}

int cmd_runner_idle(const char *state, const char *name, struct wh_error *err)
{
    wh_autofree char *lock = wh_printf("%s/runners/%s/lock", state, name);
    wh_autoclose int fd = open(lock, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return wh_fail(err, WH_E_BUSY, "an agent runs \"%s\" on this machine: stop it first", name);
}

int cmd_runner_save(const char *state, struct wh_runner_config *config, const struct wh_rsa_key *key,
                    struct wh_error *err)
{
    return wh_credentials_save(state, config->name, key, err) || wh_migrated_drop(state, config->name, err) ||
                   wh_runner_config_save(state, config, err)
               ? -1
               : 0;
}

char *cmd_runner_pick(const char *state, const char *name, struct wh_error *err)
{
    wh_autostrv char **names = NULL;
    if (name)
        return wh_strdup(name);
    int count = wh_runner_list(state, &names, err);
    if (count < 0)
        return NULL;
    if (count == 1)
        return wh_strdup(names[0]);
    wh_autofree char *all = wh_strv_join(names, ", ");
    if (count == 0)
        wh_fail(err, WH_E_NOT_FOUND, "there is no runner in %s", state);
    else
        wh_fail(err, WH_E_ARGUMENT, "there are %d runners in %s: name one with --name (%s)", count, state,
                all);
    return NULL;
}

static int check_name(const char *name, struct wh_error *err)
{
    if (wh_runner_name_valid(name))
        return 0;
    return wh_fail(
        err, WH_E_ARGUMENT,
        "\"%.80s\" cannot name a runner: 1 to %d letters, digits, dots, dashes and underscores, not "
        "starting with a dot",
        name, WH_MAX_RUNNER_NAME);
}

/* ---- the choices ---- */

struct choices {
    const struct wh_runner_group *group;
    char *name, *work;
    char **labels;
    int64_t replace_id;
};

static void choices_clear(struct choices *c)
{
    free(c->name);
    free(c->work);
    wh_strv_free(c->labels);
}

static char *default_name(void)
{
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    for (char *p = host; *p; p++)
        if (*p == ' ' || *p == '/')
            *p = '-';
    host[WH_MAX_RUNNER_NAME] = '\0';
    return wh_strdup(*host ? host : "runner");
}

static int choose_group(const struct cmd_registering *s, const struct wh_registration *r, struct choices *c,
                        struct wh_error *err)
{
    size_t count;
    wh_registration_groups(r, &count);
    if (s->group || !s->ask || count == 0) {
        c->group = wh_registration_group(r, s->group, err);
        return c->group ? 0 : -1;
    }
    const struct wh_runner_group *preset = wh_registration_group(r, NULL, NULL);
    wh_autofree char *name = cmd_prompt("Enter the name of the runner group to add this runner to:",
                                        preset ? preset->name : "default", false, err);
    c->group = name ? wh_registration_group(r, name, err) : NULL;
    return c->group ? 0 : -1;
}

static int choose_name(const struct cmd_registering *s, bool again, struct choices *c, struct wh_error *err)
{
    wh_autofree char *preset = default_name();
    free(c->name);
    if (s->ask && (again || !s->name))
        c->name = cmd_prompt("Enter the name of runner:", preset, false, err);
    else
        c->name = wh_strdup(s->name ? s->name : preset);
    return c->name ? check_name(c->name, err) : -1;
}

static int choose_labels(const struct cmd_registering *s, struct choices *c, struct wh_error *err)
{
    if (!s->ask || s->labels_given) {
        if (!c->labels && s->labels)
            c->labels = wh_strv_dup(s->labels);
        return 0;
    }
    if (c->labels)
        return 0;
    wh_autofree char *system = wh_strv_join((char **)wh_system_labels(), "', '");
    wh_autofree char *question =
        wh_printf("This runner will have the following labels: '%s'\nEnter any additional labels (ex. "
                  "label-1,label-2):",
                  system);
    wh_autofree char *list = cmd_prompt(question, NULL, true, err);
    if (!list)
        return -1;
    cmd_add_labels(&c->labels, list);
    return 0;
}

static int fail_taken(const struct cmd_registering *s, const char *name, struct wh_error *err)
{
    return wh_fail(err, WH_E_EXISTS,
                   "a runner named \"%s\" is registered at %s already. Use --replace to take its place, or "
                   "another --name",
                   name, s->url);
}

/* A name that is free, or may be replaced. */
static int settle_name(const struct cmd_registering *s, struct wh_registration *r, struct choices *c,
                       struct wh_error *err)
{
    for (bool again = false;; again = true) {
        bool replace = s->replace;
        if (choose_name(s, again, c, err) || choose_labels(s, c, err) ||
            wh_registration_find(r, c->name, &c->replace_id, err))
            return -1;
        if (c->replace_id == 0 || replace)
            return 0;
        if (!s->ask)
            return fail_taken(s, c->name, err);
        puts("A runner exists with the same name.");
        if (cmd_prompt_yes("Would you like to replace the existing runner? (Y/N)", &replace, err))
            return -1;
        if (replace)
            return 0;
        if (!cmd_prompt_is_terminal()) /* nobody there to find another name */
            return fail_taken(s, c->name, err);
    }
}

static int choose_work(const struct cmd_registering *s, struct choices *c, struct wh_error *err)
{
    c->work = s->work || !s->ask ? wh_strdup(s->work)
                                 : cmd_prompt("Enter name of work folder:", DEFAULT_WORK, false, err);
    return c->work || !s->ask ? 0 : -1;
}

/* ---- the deed ---- */

static void tell(const struct wh_runner_config *config)
{
    wh_autofree char *labels = wh_strv_join(config->labels, ", ");
    printf("Runner \"%s\" (id %lld) is registered with %s\n  group:  %s\n  labels: %s\n  work:   %s\n"
           "`wherry run` takes its jobs.\n",
           config->name, (long long)config->id, config->url, config->group, labels, config->work);
}

static int add(const struct cmd_registering *s, struct wh_registration *r, const struct choices *c,
               struct wh_error *err)
{
    wh_autorunner *config = wh_calloc(1, sizeof *config);
    wh_autorsa *key = NULL;
    /* All that may fail here fails before the service is told. */
    wh_autoclose int dir = wh_runner_dir_open(s->state, c->name, true, err);
    if (dir < 0 || cmd_runner_idle(s->state, c->name, err) || !(key = wh_rsa_key_new(err)))
        return -1;
    config->name = wh_strdup(c->name);
    config->work = cmd_work_dir(s->state, c->name, c->work);
    config->work_folder = wh_strdup(c->work);
    config->version = wh_strdup(s->version);
    config->job_user = wh_strdup(s->job_user);
    config->app_id = wh_strdup(s->app_id);
    config->app_installation = wh_strdup(s->app_installation);
    config->app_key_file = wh_strdup(s->app_key_file);
    struct wh_register_options o = {.name = c->name,
                                    .group = c->group,
                                    .labels = c->labels,
                                    .no_default_labels = s->no_default_labels,
                                    .ephemeral = s->ephemeral,
                                    .disable_update = s->disable_update,
                                    .replace_id = c->replace_id};
    if (wh_registration_add(r, &o, key, config, err)) {
        /* The folder was made to see that it can be; one that holds an older identity stays. */
        wh_autofree char *folder = wh_runner_dir(s->state, c->name);
        rmdir(folder);
        return -1;
    }
    if (cmd_runner_save(s->state, config, key, err))
        return wh_wrap(
            err, "the runner is registered, but its files cannot be written (register again with --replace)");
    tell(config);
    return 0;
}

static int register_by(const struct cmd_registering *s, struct wh_registration *r, struct wh_error *err)
{
    struct choices c = {0};
    int code = choose_group(s, r, &c, err) || settle_name(s, r, &c, err) ? -1 : 0;
    /* With a question still to come, the work folder is settled before the service is told. */
    if (code == 0)
        code = choose_work(s, &c, err);
    if (code == 0)
        code = add(s, r, &c, err);
    choices_clear(&c);
    return code;
}

int cmd_register(const struct cmd_registering *s, struct wh_authority *authority, struct wh_error *err)
{
    wh_autogithuburl url = {0};
    if (wh_github_url_parse(s->url, &url, err))
        return -1;
    if (s->name && check_name(s->name, err))
        return -1;
    struct wh_http_client *http = wh_http_client_new_private(NULL, err);
    if (!http)
        return -1;
    wh_autofree char *version =
        s->version ? wh_strdup(s->version) : wh_runner_version_now(http, url.api, s->state);
    struct wh_registration *r = wh_registration_open(http, &url, authority, version, err);
    int code = r ? register_by(s, r, err) : -1;
    wh_registration_free(r);
    wh_http_client_free(http);
    return code;
}
