/* Signed statements about ourselves: the runner's client assertion (runner-protocol.md §2.1), the App's JWT.
 */
#ifndef WH_GITHUB_JWT_H
#define WH_GITHUB_JWT_H

#include "wherry/base/json.h"
#include "wherry/github/credentials.h"

/* Compact, signed by PS256 or RS256; owned by the caller, who wipes it. */
char *gh_jwt_sign(const struct wh_rsa_key *key, bool ps256, const cJSON *claims, struct wh_error *err);

#endif
