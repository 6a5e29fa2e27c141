/* The token call, blocking and as a request (runner-protocol.md §2.2). */
#ifndef WH_GITHUB_TOKEN_REQUEST_H
#define WH_GITHUB_TOKEN_REQUEST_H

#include "wherry/github/credentials.h"
#include "wherry/net/http.h"

/* The POST with a client assertion in its form: to oauthEndpointUrl where the runner has one, for the
 * audience of its authorizationUrl. NULL with an error where the key does not sign. Owned by the caller, who
 * sends it. */
struct wh_http *gh_token_request(struct wh_http_client *http, const struct wh_rsa_key *key,
                                 const struct wh_runner_config *config, struct wh_error *err);
/* For commands: one token of a runner, with tries. Owned by the caller. */
struct wh_secret *gh_token_fetch(struct wh_http_client *http, const struct wh_rsa_key *key,
                                 const struct wh_runner_config *config, struct wh_error *err);

#endif
