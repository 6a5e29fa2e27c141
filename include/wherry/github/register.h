/* Registration of a runner by a registration token, and its removal (runner-protocol.md §1.1 to §1.4, §1.9).
 * Blocking: for commands, with a private HTTP client. */
#ifndef WH_GITHUB_REGISTER_H
#define WH_GITHUB_REGISTER_H

#include "wherry/config/runner.h"
#include "wherry/github/credentials.h"
#include "wherry/net/http.h"

#define WH_MAX_LABEL_CHARS 256
#define WH_MAX_LABELS 100

/* What a GitHub URL says: https://HOST/owner/repo, /org or /enterprises/name. */
struct wh_github_url {
    char *url;    /* without a slash at its end */
    char *api;    /* https://api.HOST, or https://HOST/api/v3 */
    char *entity; /* api/repos/owner/repo/actions, ... */
};
int wh_github_url_parse(const char *url, struct wh_github_url *out, struct wh_error *err);
void wh_github_url_clear(struct wh_github_url *u);
#define wh_autogithuburl __attribute__((cleanup(wh_github_url_clear))) struct wh_github_url

struct wh_register_options {
    const struct wh_github_url *url;
    const struct wh_secret
        *token; /* registration token, or a personal access token (ghp_, github_pat_, gho_) */
    const char *name;
    const char *group;   /* NULL: the default one */
    char *const *labels; /* the user's */
    bool no_default_labels;
    bool ephemeral, replace;
    const char *version; /* sent to the service */
};
/* Fills id, group_id, group, labels, ephemeral, server_url, authorization_url, client_id, ps256 of config. */
int wh_register(struct wh_http_client *http, const struct wh_register_options *options,
                const struct wh_rsa_key *key, struct wh_runner_config *config, struct wh_error *err);
/* Deletes the registration by a remove token (or a personal access token). A runner that is gone already is
 * fine. */
int wh_unregister(struct wh_http_client *http, const struct wh_github_url *url, const struct wh_secret *token,
                  int64_t runner_id, struct wh_error *err);

/* "self-hosted", "linux" and "x64", "arm64" or "arm", as the service spells them. */
const char *const *wh_system_labels(void);
/* "X64", "ARM64", "ARM": `architecture` in polls. */
const char *wh_runner_architecture(void);

#endif
