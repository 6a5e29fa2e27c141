/* Reading the command line of config.sh. */
#include "cmd/config_options.h"

#include <stdio.h>

extern char **environ;

static const char *const names[CONFIG_OPTIONS] = {
    [CONFIG_URL] = "url",
    [CONFIG_TOKEN] = "token",
    [CONFIG_PAT] = "pat",
    [CONFIG_NAME] = "name",
    [CONFIG_RUNNERGROUP] = "runnergroup",
    [CONFIG_LABELS] = "labels",
    [CONFIG_WORK] = "work",
    [CONFIG_AUTH] = "auth",
    [CONFIG_MONITOR] = "monitorsocketaddress",
    [CONFIG_USERNAME] = "username",
    [CONFIG_WINDOWS_ACCOUNT] = "windowslogonaccount",
    [CONFIG_WINDOWS_PASSWORD] = "windowslogonpassword",
    [CONFIG_UNATTENDED] = "unattended",
    [CONFIG_REPLACE] = "replace",
    [CONFIG_EPHEMERAL] = "ephemeral",
    [CONFIG_DISABLEUPDATE] = "disableupdate",
    [CONFIG_NO_DEFAULT_LABELS] = "no-default-labels",
    [CONFIG_LOCAL] = "local",
    [CONFIG_RUNASSERVICE] = "runasservice",
    [CONFIG_GENERATE_SERVICE] = "generateServiceConfig",
    [CONFIG_CHECK] = "check",
    [CONFIG_COMMIT] = "commit",
    [CONFIG_VERSION] = "version",
    [CONFIG_HELP] = "help",
};

/* `_` stands for `-`, which shells allow in no variable's name. */
static bool is_named(const char *name, const char *text, size_t len, bool variable)
{
    if (strlen(name) != len)
        return false;
    for (size_t i = 0; i < len; i++) {
        char a = name[i], b = variable && text[i] == '_' ? '-' : text[i];
        if (wh_strcmp_ci(&a, &b, 1) != 0)
            return false;
    }
    return true;
}

static int find(const char *text, size_t len, bool variable)
{
    for (int i = 0; i < CONFIG_OPTIONS; i++)
        if (is_named(names[i], text, len, variable))
            return i;
    return -1;
}

static void tell_unknown(const struct config_options *o, const char *name)
{
    const char *list[CONFIG_OPTIONS + 1] = {NULL};
    for (size_t i = 0; i < CONFIG_OPTIONS; i++)
        list[i] = names[i];
    const char *near = wh_did_you_mean(name, list);
    fprintf(stderr, "wherry config%s: there is no option --%.80s%s%s%s; it is passed over\n",
            o->remove ? " remove" : "", name, near ? "; did you mean --" : "", near ? near : "",
            near ? "?" : "");
}

/* A flag with a value: the official program would take it for no flag at all. */
static void set_flag(struct config_options *o, int option, const char *value)
{
    if (!value || wh_streq_ci(value, "true"))
        o->flags[option] = true;
    else if (!wh_streq_ci(value, "false"))
        fprintf(stderr, "wherry config: --%s takes no value (\"%.80s\")\n", names[option], value);
}

/* One option with what follows it; value is NULL where nothing does. */
static void take(struct config_options *o, const char *name, char *value)
{
    size_t len = strcspn(name, "=");
    int option = find(name, len, false);
    if (name[len] == '=' && !value)
        value = (char *)name + len + 1;
    if (option < 0) {
        wh_autofree char *bare = wh_strndup(name, len);
        tell_unknown(o, bare);
    } else if (option >= CONFIG_VALUES) {
        set_flag(o, option, value);
    } else if (!value || !*value) {
        fprintf(stderr, "wherry config: --%s needs a value\n", names[option]);
    } else if (!o->values[option]) { /* of two, the first */
        o->values[option] = value;
        o->in_argv[option] = true;
    }
}

static void read_arguments(int argc, char **argv, struct config_options *o)
{
    for (int i = 1; i < argc; i++) {
        char *text = argv[i];
        if (wh_starts_with(text, "--") && text[2]) {
            bool equals = strchr(text, '=') != NULL;
            bool follows = i + 1 < argc && (argv[i + 1][0] != '-' || wh_streq(argv[i + 1], "-"));
            take(o, text + 2, follows && !equals ? argv[++i] : NULL);
        } else if (i == 1 && wh_streq_ci(text, "remove")) {
            o->remove = true;
        } else if (wh_streq(text, "-h")) {
            o->flags[CONFIG_HELP] = true;
        } else if (!(i == 1 && wh_streq_ci(text, "configure"))) {
            fprintf(stderr, "wherry config: \"%.80s\" belongs to no option; it is passed over\n", text);
        }
    }
}

static void read_variable(struct config_options *o, char *name, char *value)
{
    int option = find(name, strlen(name), true);
    if (option >= CONFIG_VALUES) {
        if (wh_streq_ci(value, "true"))
            o->flags[option] = true;
    } else if (option >= 0 && !o->values[option] && *value) {
        o->values[option] = value;
    }
}

/* The strings stay where they are, so the values may be borrowed; only the list gets shorter. */
static void read_environment(struct config_options *o)
{
    char **to = environ;
    for (char **from = environ; from && *from; from++) {
        char *equals = strchr(*from, '=');
        if (!equals || !wh_starts_with_ci(*from, CONFIG_INPUT_PREFIX)) {
            *to++ = *from;
            continue;
        }
        wh_autofree char *name =
            wh_strndup(*from + strlen(CONFIG_INPUT_PREFIX),
                       (size_t)WH_MAX(equals - *from - (ptrdiff_t)strlen(CONFIG_INPUT_PREFIX), 0));
        read_variable(o, name, equals + 1);
    }
    if (to)
        *to = NULL;
}

void config_options_read(int argc, char **argv, struct config_options *out)
{
    memset(out, 0, sizeof *out);
    read_arguments(argc, argv, out);
    read_environment(out);
}
