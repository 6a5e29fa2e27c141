/* The options of `register`, `unregister` and `jit` that say by what right: registration token, personal
 * access token, or GitHub App. Secrets come from files, standard input or the environment; what came in argv
 * anyway is overwritten there, so that the process list shows it for a moment only. */
#ifndef WH_CMD_AUTHORITY_H
#define WH_CMD_AUTHORITY_H

#include "wherry/config/runner.h"
#include "wherry/github/authority.h"

/* clang-format off */
#define CMD_AUTHORITY_OPTIONS                                                                                \
    {"token", required_argument, NULL, CMD_TOKEN},                                                           \
    {"token-file", required_argument, NULL, CMD_TOKEN_FILE},                                                 \
    {"pat", required_argument, NULL, CMD_PAT},                                                               \
    {"app-id", required_argument, NULL, CMD_APP_ID},                                                         \
    {"app-installation", required_argument, NULL, CMD_APP_INSTALLATION},                                     \
    {"app-key", required_argument, NULL, CMD_APP_KEY},                                                       \
    {"ca-file", required_argument, NULL, CMD_CA_FILE}
/* clang-format on */
enum {
    CMD_TOKEN = 1000,
    CMD_TOKEN_FILE,
    CMD_PAT,
    CMD_APP_ID,
    CMD_APP_INSTALLATION,
    CMD_APP_KEY,
    CMD_CA_FILE
};

struct cmd_authority {
    char *token;            /* of --token: "-" or the token itself */
    const char *token_file; /* of --token-file */
    const char *pat;        /* of --pat: "-" or a file's name */
    const char *app_id, *app_installation, *app_key;
};
/* Takes one of the options above (of --ca-file into the environment, where all HTTP clients look); false if
 * `option` is another. value: optarg. */
bool cmd_authority_option(struct cmd_authority *a, int option, char *value);
/* saved: the runner whose App may serve where nothing is given, or NULL. NULL with an error that names the
 * ways where there is none. */
struct wh_authority *cmd_authority_open(const struct cmd_authority *a, const struct wh_runner_config *saved,
                                        struct wh_error *err);

/* ---- one secret ---- */
#define CMD_MAX_SECRET 4096 /* bytes of a token */
/* text without white space around it; from: for the error. */
struct wh_secret *cmd_secret_of(const char *text, const char *from, struct wh_error *err);
/* The same for what stands in argv: overwritten, and the user is told of better ways. */
struct wh_secret *cmd_secret_of_argument(char *argument, const char *option, struct wh_error *err);
/* path "-": standard input. what: "the token". max: bytes. */
struct wh_secret *cmd_secret_from(const char *path, const char *what, size_t max, struct wh_error *err);
/* Of the environment, where it is unset then; NULL without an error if it is not there. */
struct wh_secret *cmd_secret_from_env(const char *name, struct wh_error *err);

#endif
