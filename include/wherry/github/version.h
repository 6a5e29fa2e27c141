/* The runner version that we name to the service, which refuses old ones (runner-protocol.md §8). */
#ifndef WH_GITHUB_VERSION_H
#define WH_GITHUB_VERSION_H

#include "wherry/net/http.h"

#define WH_RUNNER_VERSION_FALLBACK "2.336.0" /* newest official release when this was built */
#define WH_RUNNER_VERSION_DAY_S 86400        /* asked again after this long */

/* "2.336.0": digits and dots, three parts. */
bool wh_runner_version_valid(const char *text);
/* From the cache file <state>/runner-version if it is younger than a day; *fresh tells. The fall-back if
 * there is none, and never less than it. Owned by the caller. */
char *wh_runner_version_cached(const char *state, bool *fresh);
/* Asks the releases of actions/runner at api (and at api.github.com where it has none) and writes the cache.
 * done comes once on the loop; version is NULL where err is set. */
typedef void (*wh_runner_version_fn)(void *data, const char *version, struct wh_error *err);
struct wh_runner_version_query *wh_runner_version_query(struct wh_http_client *http, const char *api,
                                                        const char *state, wh_runner_version_fn done,
                                                        void *data);
void wh_runner_version_query_cancel(struct wh_runner_version_query **query); /* harmless on NULL */
/* The same, blocking; for commands. Owned; the fall-back on any trouble. */
char *wh_runner_version_now(struct wh_http_client *http, const char *api, const char *state);

#endif
