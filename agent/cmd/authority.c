/* By what right: from options, files, standard input, environment. */
#include "cmd/authority.h"

#include <stdio.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/net/http.h"

#define TOKEN_VARIABLE "ACTIONS_RUNNER_INPUT_TOKEN"
#define PAT_VARIABLE "ACTIONS_RUNNER_INPUT_PAT"

/* ---- one secret ---- */

struct wh_secret *cmd_secret_of(const char *text, const char *from, struct wh_error *err)
{
    struct wh_view v = wh_view_trim(wh_view_of(text));
    for (size_t i = 0; i < v.len; i++)
        if ((unsigned char)v.data[i] <= ' ' || (unsigned char)v.data[i] >= 0x7f) {
            wh_fail(err, WH_E_ARGUMENT, "the token from %s holds a character that tokens don't have", from);
            return NULL;
        }
    if (v.len == 0) {
        wh_fail(err, WH_E_ARGUMENT, "the token from %s is empty", from);
        return NULL;
    }
    return wh_secret_new(v.data, v.len);
}

struct wh_secret *cmd_secret_of_argument(char *argument, const char *option, struct wh_error *err)
{
    struct wh_secret *secret = cmd_secret_of(argument, option, err);
    wh_wipe(argument, strlen(argument));
    fputs("wherry: a token in the command line can be seen in the process list and stays in the shell's "
          "history;\n        a file, standard input or the environment is better\n",
          stderr);
    return secret;
}

static struct wh_secret *secret_from_fd(int fd, const char *from, size_t max, struct wh_error *err)
{
    struct wh_str text = {0};
    struct wh_secret *secret = NULL;
    wh_str_reserve(&text, max + 1); /* never moved: no copy stays behind */
    if (wh_read_fd(fd, max, from, &text, err) >= 0 && max == CMD_MAX_SECRET)
        secret = cmd_secret_of(wh_str_text(&text), from, err);
    else if (text.len)
        secret = wh_secret_new(text.data, text.len);
    wh_str_wipe(&text);
    return secret;
}

struct wh_secret *cmd_secret_from(const char *path, const char *what, size_t max, struct wh_error *err)
{
    if (strcmp(path, "-") == 0)
        return secret_from_fd(STDIN_FILENO, "standard input", max, err);
    wh_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        wh_fail_errno(err, "open %s's file %s", what, path);
        return NULL;
    }
    return secret_from_fd(fd, path, max, err);
}

struct wh_secret *cmd_secret_from_env(const char *name, struct wh_error *err)
{
    const char *value = getenv(name);
    if (!value || !*value)
        return NULL;
    struct wh_secret *secret = cmd_secret_of(value, name, err);
    unsetenv(name);
    return secret;
}

/* ---- the options ---- */

bool cmd_authority_option(struct cmd_authority *a, int option, char *value)
{
    switch (option) {
    case CMD_TOKEN:
        a->token = value;
        return true;
    case CMD_TOKEN_FILE:
        a->token_file = value;
        return true;
    case CMD_PAT:
        a->pat = value;
        return true;
    case CMD_APP_ID:
        a->app_id = value;
        return true;
    case CMD_APP_INSTALLATION:
        a->app_installation = value;
        return true;
    case CMD_APP_KEY:
        a->app_key = value;
        return true;
    case CMD_CA_FILE:
        setenv(WH_CA_FILE_ENV, value, 1);
        return true;
    default:
        return false;
    }
}

static struct wh_authority *by_secret(struct wh_secret *secret, bool pat)
{
    struct wh_authority *authority = NULL;
    if (secret)
        authority = pat ? wh_authority_new_pat(secret) : wh_authority_new_token(secret);
    wh_secret_free(secret);
    return authority;
}

static struct wh_authority *by_pat_option(const char *pat, struct wh_error *err)
{
    if (strcmp(pat, "-") != 0 && access(pat, F_OK) && (wh_starts_with(pat, "gh") && strchr(pat, '_'))) {
        wh_fail(
            err, WH_E_ARGUMENT,
            "--pat takes the name of a file that holds the token, or - for standard input: in the command "
            "line everybody on this machine could read it");
        return NULL;
    }
    return by_secret(cmd_secret_from(pat, "the personal access token", CMD_MAX_SECRET, err), true);
}

static int check_one(const struct cmd_authority *a, struct wh_error *err)
{
    bool app = a->app_id || a->app_installation || a->app_key;
    int ways = (a->token != NULL) + (a->token_file != NULL) + (a->pat != NULL) + app;
    if (ways > 1)
        return wh_fail(err, WH_E_ARGUMENT,
                       "give one of --token-file, --token, --pat and --app-id, not several");
    if (app && !(a->app_id && a->app_key))
        return wh_fail(err, WH_E_ARGUMENT, "a GitHub App needs both --app-id ID and --app-key FILE");
    return 0;
}

static struct wh_authority *by_environment(const struct wh_runner_config *saved, struct wh_error *err)
{
    wh_autoerror bad = {0};
    struct wh_authority *authority = by_secret(cmd_secret_from_env(PAT_VARIABLE, &bad), true);
    if (!authority && !bad.code)
        authority = by_secret(cmd_secret_from_env(TOKEN_VARIABLE, &bad), false);
    if (authority)
        return authority;
    if (bad.code)
        wh_error_move(err, &bad);
    else if (saved && saved->app_id && saved->app_key_file)
        return wh_authority_new_app(saved->app_id, saved->app_installation, saved->app_key_file, err);
    else
        wh_fail(
            err, WH_E_ARGUMENT,
            "no token: give --token-file FILE, --pat FILE, or --app-id ID with --app-key FILE (- is standard "
            "input), or the variable " TOKEN_VARIABLE);
    return NULL;
}

struct wh_authority *cmd_authority_open(const struct cmd_authority *a, const struct wh_runner_config *saved,
                                        struct wh_error *err)
{
    if (check_one(a, err))
        return NULL;
    if (a->app_id)
        return wh_authority_new_app(a->app_id, a->app_installation, a->app_key, err);
    if (a->pat)
        return by_pat_option(a->pat, err);
    if (a->token && strcmp(a->token, "-") != 0)
        return by_secret(cmd_secret_of_argument(a->token, "--token", err), false);
    const char *file = a->token ? a->token : a->token_file;
    if (file)
        return by_secret(cmd_secret_from(file, "the token", CMD_MAX_SECRET, err), false);
    return by_environment(saved, err);
}
