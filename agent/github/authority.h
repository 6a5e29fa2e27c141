/* Tokens by an authority, for the calls of this room. */
#ifndef WH_GITHUB_AUTHORITY_INTERNAL_H
#define WH_GITHUB_AUTHORITY_INTERNAL_H

#include "wherry/github/register.h"

enum gh_authority_kind { GH_BY_RUNNER_TOKEN, GH_BY_PAT, GH_BY_APP };

struct gh_app {
    char *id, *installation; /* installation: NULL until it is known */
    struct wh_rsa_key *key;
    struct wh_secret *token; /* of the installation; NULL if there is none yet */
    int64_t good_until_s;    /* since 1970, by the service's clock */
};
struct wh_authority {
    enum gh_authority_kind kind;
    struct wh_secret *token; /* RUNNER_TOKEN, PAT */
    struct gh_app app;       /* APP */
};

enum gh_runner_event { GH_REGISTER, GH_REMOVE };
/* A registration or remove token for the scope of url. Owned by the caller. */
struct wh_secret *gh_authority_runner_token(struct wh_authority *authority, struct wh_http_client *http,
                                            const struct wh_github_url *url, enum gh_runner_event event,
                                            struct wh_error *err);
/* What REST calls bear: the personal access token, or the App's present one (renewed if need be). Borrowed
 * until the next call; NULL with an error for a registration token, which opens nothing else. */
const struct wh_secret *gh_authority_bearer(struct wh_authority *authority, struct wh_http_client *http,
                                            const struct wh_github_url *url, struct wh_error *err);

/* ---- the App (app.c) ---- */
/* The JWT that proves who the App is: RS256, nine minutes. Owned by the caller, who wipes it. now_s: by the
 * service's clock. */
char *gh_app_jwt(const struct wh_rsa_key *key, const char *id, int64_t now_s, struct wh_error *err);
const struct wh_secret *gh_app_token(struct gh_app *app, struct wh_http_client *http,
                                     const struct wh_github_url *url, struct wh_error *err);

#endif
