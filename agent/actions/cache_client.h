/* What GitHub's cache and artifact clients do on the wire, for the native actions: twirp calls and block
 * blobs (cache-service.md §2). Against wherry's own service or GitHub's. */
#ifndef WH_ACTIONS_CACHE_CLIENT_H
#define WH_ACTIONS_CACHE_CLIENT_H

#include "wherry/net/http.h"

#define WH_CACHE_BLOCK_BYTES ((uint64_t)64 << 20)
#define WH_CACHE_WHOLE_BYTES ((uint64_t)128 << 20) /* up to so many in one request */

struct cache_client;
/* By ACTIONS_RESULTS_URL and ACTIONS_RUNTIME_TOKEN. Any thread may use it. */
struct cache_client *cache_client_new(struct wh_error *err);
void cache_client_free(struct cache_client *c);
void cache_client_free_ptr(struct cache_client **c);
#define wh_autocacheclient __attribute__((cleanup(cache_client_free_ptr))) struct cache_client

/* One call; request is taken over. The answer, owned; NULL with the words that the original has for it
 * ("Failed to CreateCacheEntry: ..."). Tries again as it does. *status: of the last answer; may be NULL. */
cJSON *cache_call(struct cache_client *c, const char *service, const char *method, cJSON *request,
                  int *status, struct wh_error *err);
/* The file's size bytes to a signed URL. type: of the content; NULL: none is named. */
int cache_upload(struct cache_client *c, const char *url, int fd, uint64_t size, const char *type,
                 struct wh_error *err);
/* The whole into fd, from its start. *size, *disposition (owned) may be NULL. */
int cache_download(struct cache_client *c, const char *url, int fd, uint64_t *size, char **type,
                   char **disposition, struct wh_error *err);
/* "Actions.Results:RUN:JOB" of the token's scp; owned. */
int cache_backend_ids(char **run, char **job, struct wh_error *err);

/* GITHUB_SERVER_URL is neither github.com, *.ghe.com nor *.localhost. */
bool cache_is_ghes(void);
/* A file without a name in RUNNER_TEMP. */
int cache_temporary(struct wh_error *err);

#endif
