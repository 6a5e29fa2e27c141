/* wherry config: the official config.sh by its own options, for scripts that call it. */
#include <stdio.h>

#include "cmd/authority.h"
#include "cmd/commands.h"
#include "cmd/config_options.h"
#include "cmd/prompt.h"
#include "cmd/registering.h"
#include "cmd/removing.h"
#include "cmd/settings.h"
#include "wherry/base/fs.h"
#include "wherry/github/version.h"

static const char help[] =
    "usage: wherry config [OPTION...]\n"
    "       wherry config remove [OPTION...]\n"
    "       wherry config check|show|init|schema [OPTION...]\n"
    "\n"
    "Registers or removes a runner by the options of the official config.sh, so that a script which calls "
    "that\n"
    "works with this name in its place. What is not given is asked for, unless --unattended is. New scripts "
    "do\n"
    "better with `wherry register` and `wherry unregister`.\n"
    "\n"
    "  --unattended           ask nothing: take defaults, and fail where there is none\n"
    "  --url URL              repository, organisation or enterprise\n"
    "  --token TOKEN          registration token; remove token for `remove`\n"
    "  --pat TOKEN            personal access token, which gets the other by itself\n"
    "  --name NAME            the runner's name (default: the host's name)\n"
    "  --runnergroup NAME     its group (default: the default one)\n"
    "  --labels A,B           further labels\n"
    "  --no-default-labels    only those of --labels\n"
    "  --work DIR             work folder (default: _work, which is STATE-work/NAME here)\n"
    "  --replace              take the place of a runner with the same name\n"
    "  --ephemeral            take one job, then be gone\n"
    "  --disableupdate        noted; wherry never replaces itself in any case\n"
    "  --local                with `remove`: delete the files here only\n"
    "  --version, --commit, --help\n"
    "\n"
    "A token of - is read from standard input. Each option may come as a variable "
    "ACTIONS_RUNNER_INPUT_<NAME>\n"
    "too, which shows in no process list. `remove` takes --name where several runners live here. The state\n"
    "folder is WHERRY_STATE's.\n"
    "\n"
    "Not for Linux, or not here: --runasservice, --windowslogonaccount and --windowslogonpassword are "
    "passed\n"
    "over; --generateServiceConfig and --check fail and name what does their work; --auth, --username and\n"
    "--monitorsocketaddress are passed over.\n"
    "\n"
    "check, show, init and schema look after this box's settings, /etc/wherry/wherry.yaml: `wherry config "
    "check "
    "--help`.\n"
    "\n"
    "Example\n"
    "  wherry config --unattended --url https://github.com/example/app --token TOKEN --labels images "
    "--replace\n"
    "\n"
    "Exit code: 0 done, 1 refused or failed.\n";

/* ---- by what right ---- */

static struct wh_secret *secret_given(struct config_options *o, enum config_option which, const char *name,
                                      struct wh_error *err)
{
    char *text = o->values[which];
    if (wh_streq(text, "-"))
        return cmd_secret_from("-", name, CMD_MAX_SECRET, err);
    if (o->in_argv[which])
        return cmd_secret_of_argument(text, name, err);
    struct wh_secret *secret = cmd_secret_of(text, name, err);
    wh_wipe(text, strlen(text));
    return secret;
}

static struct wh_secret *token_asked(const struct config_options *o, struct wh_error *err)
{
    if (!o->flags[CONFIG_UNATTENDED])
        return cmd_prompt_secret(
            o->remove ? "Enter runner remove token:" : "What is your runner register token?", err);
    wh_fail(err, WH_E_ARGUMENT, "neither --token nor --pat is given, and --unattended lets nobody be asked");
    return NULL;
}

static struct wh_authority *authority_of(struct config_options *o, struct wh_error *err)
{
    bool pat = o->values[CONFIG_PAT] != NULL;
    wh_autosecret *secret = pat                       ? secret_given(o, CONFIG_PAT, "--pat", err)
                            : o->values[CONFIG_TOKEN] ? secret_given(o, CONFIG_TOKEN, "--token", err)
                                                      : token_asked(o, err);
    if (!secret)
        return NULL;
    return pat ? wh_authority_new_pat(secret) : wh_authority_new_token(secret);
}

/* ---- configure ---- */

static int check_new(const char *state, const char *name, bool replace, struct wh_error *err)
{
    wh_autostrv char **have = NULL;
    if (!name || replace || wh_runner_list(state, &have, NULL) <= 0 || !wh_strv_has(have, name))
        return 0;
    return wh_fail(
        err, WH_E_EXISTS,
        "runner \"%s\" is configured here already: `wherry config remove` it first, or give --replace", name);
}

static int configure_once(struct config_options *o, struct cmd_registering *r, struct wh_error *err)
{
    wh_autofree char *asked = NULL;
    r->url = o->values[CONFIG_URL];
    if (!r->url) {
        if (!r->ask)
            return wh_fail(err, WH_E_ARGUMENT, "--url is missing, and --unattended lets nobody be asked");
        asked = cmd_prompt("What is the URL of your repository?", NULL, false, err);
        r->url = asked;
    }
    if (!r->url)
        return -1;
    wh_autoauthority *authority = authority_of(o, err);
    return authority ? cmd_register(r, authority, err) : -1;
}

/* Somebody at the terminal may correct URL and token. */
static int configure_with(struct config_options *o, struct cmd_registering *r, struct wh_error *err)
{
    for (;;) {
        wh_autoerror why = {0};
        if (configure_once(o, r, &why) == 0)
            return 0;
        bool retry = r->ask && cmd_prompt_is_terminal() && why.code != WH_E_EXISTS && why.code != WH_E_IO;
        if (!retry)
            return wh_error_move(err, &why);
        fprintf(stderr, "wherry config: %s\nTry again, or end it with Ctrl-C.\n\n", wh_error_text(&why));
        o->values[CONFIG_URL] = o->values[CONFIG_TOKEN] = o->values[CONFIG_PAT] = NULL;
    }
}

static int configure(struct config_options *o, struct wh_error *err)
{
    wh_autofree char *state = wh_state_dir(NULL);
    wh_autostrv char **labels = NULL;
    struct cmd_registering r = {.state = state,
                                .name = o->values[CONFIG_NAME],
                                .group = o->values[CONFIG_RUNNERGROUP],
                                .work = o->values[CONFIG_WORK],
                                .labels_given = o->values[CONFIG_LABELS] != NULL,
                                .no_default_labels = o->flags[CONFIG_NO_DEFAULT_LABELS],
                                .ephemeral = o->flags[CONFIG_EPHEMERAL],
                                .replace = o->flags[CONFIG_REPLACE],
                                .disable_update = o->flags[CONFIG_DISABLEUPDATE],
                                .ask = !o->flags[CONFIG_UNATTENDED]};
    if (r.labels_given)
        cmd_add_labels(&labels, o->values[CONFIG_LABELS]);
    r.labels = labels;
    return check_new(state, r.name, r.replace, err) ? -1 : configure_with(o, &r, err);
}

/* ---- remove ---- */

static int unconfigure(struct config_options *o, struct wh_error *err)
{
    wh_autofree char *state = wh_state_dir(NULL);
    wh_autofree char *name = cmd_runner_pick(state, o->values[CONFIG_NAME], err);
    if (!name)
        return -1;
    if (o->flags[CONFIG_LOCAL])
        return cmd_remove_local(state, name, err);
    wh_autoauthority *authority = authority_of(o, err);
    struct cmd_removing removing = {.state = state, .name = name, .url = o->values[CONFIG_URL]};
    return authority ? cmd_remove(&removing, authority, err) : -1;
}

/* ---- what is not here ---- */

static int refuse_unsupported(const struct config_options *o, struct wh_error *err)
{
    if (o->flags[CONFIG_GENERATE_SERVICE])
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "--generateServiceConfig is not supported: the package has a systemd unit, `systemctl "
                       "enable --now wherry`");
    if (o->flags[CONFIG_CHECK])
        return wh_fail(err, WH_E_UNSUPPORTED, "--check is not supported: `wherry doctor` does that");
    return 0;
}

static void tell_passed_over(const struct config_options *o)
{
    static const struct {
        enum config_option option;
        const char *text;
    } values[] = {{CONFIG_AUTH, "auth"},
                  {CONFIG_MONITOR, "monitorsocketaddress"},
                  {CONFIG_USERNAME, "username"},
                  {CONFIG_WINDOWS_ACCOUNT, "windowslogonaccount"},
                  {CONFIG_WINDOWS_PASSWORD, "windowslogonpassword"}};
    for (size_t i = 0; i < WH_COUNT(values); i++)
        if (o->values[values[i].option])
            fprintf(stderr, "wherry config: --%s is not supported; it is passed over\n", values[i].text);
    if (o->flags[CONFIG_RUNASSERVICE])
        fputs("wherry config: --runasservice is for Windows; here `systemctl enable --now wherry` does it\n",
              stderr);
}

int wh_cmd_config(int argc, char **argv)
{
    if (argc > 1 && cmd_is_settings(argv[1]))
        return cmd_settings(argc, argv);
    struct config_options o;
    wh_autoerror err = {0};
    config_options_read(argc, argv, &o);
    if (o.flags[CONFIG_HELP]) {
        fputs(help, stdout);
        return 0;
    }
    if (o.flags[CONFIG_VERSION] || o.flags[CONFIG_COMMIT]) {
        /* What the service is told, as scripts compare it with official releases. */
        puts(o.flags[CONFIG_VERSION] ? WH_RUNNER_VERSION_FALLBACK : WH_VERSION);
        return 0;
    }
    tell_passed_over(&o);
    if (refuse_unsupported(&o, &err) || (o.remove ? unconfigure(&o, &err) : configure(&o, &err))) {
        fprintf(stderr, "wherry config: %s\n", wh_error_text(&err));
        return 1;
    }
    return 0;
}
