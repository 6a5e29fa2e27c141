/* The token of `register` and `unregister`. */
#include "cmd/runner_token.h"

#include <stdio.h>
#include <unistd.h>

#include "wherry/base/fs.h"

#define MAX_TOKEN_BYTES 4096
#define TOKEN_VARIABLE "ACTIONS_RUNNER_INPUT_TOKEN"

static struct wh_secret *token_of(const char *text, const char *from, struct wh_error *err)
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

static struct wh_secret *token_from_fd(int fd, const char *from, struct wh_error *err)
{
    struct wh_str text = {0};
    struct wh_secret *token = NULL;
    if (wh_read_fd(fd, MAX_TOKEN_BYTES, from, &text, err) >= 0)
        token = token_of(wh_str_text(&text), from, err);
    wh_str_wipe(&text);
    return token;
}

struct wh_secret *cmd_runner_token(char *argument, const char *file, struct wh_error *err)
{
    if (argument && strcmp(argument, "-") == 0)
        return token_from_fd(STDIN_FILENO, "standard input", err);
    if (argument) {
        struct wh_secret *token = token_of(argument, "--token", err);
        wh_wipe(argument, strlen(argument));
        fputs("wherry: a token in the command line can be seen in the process list and stays in the shell's "
              "history;\n        --token-file FILE or --token - (standard input) is better\n",
              stderr);
        return token;
    }
    if (file) {
        wh_autoclose int fd = open(file, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            wh_fail_errno(err, "open the token's file %s", file);
            return NULL;
        }
        return token_from_fd(fd, file, err);
    }
    const char *env = getenv(TOKEN_VARIABLE);
    if (env && *env) {
        struct wh_secret *token = token_of(env, TOKEN_VARIABLE, err);
        unsetenv(TOKEN_VARIABLE);
        return token;
    }
    wh_fail(err, WH_E_ARGUMENT,
            "no token: give --token-file FILE, --token - (standard input), or the variable " TOKEN_VARIABLE);
    return NULL;
}
