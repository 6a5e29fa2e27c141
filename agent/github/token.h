/* The listener token: fetched with a client assertion, kept until shortly before its end, one call in flight
 * for all who wait (runner-protocol.md §2). */
#ifndef WH_GITHUB_TOKEN_H
#define WH_GITHUB_TOKEN_H

#include "wherry/github/credentials.h"
#include "wherry/github/outcome.h"
#include "wherry/net/http.h"

#define WH_MAX_TOKEN_ANSWER ((size_t)256 << 10)
#define WH_MAX_TOKEN_SECONDS 86400 /* a longer life is cut to this */

struct wh_token_source;
/* config (its client, addresses and algorithm) and key are borrowed. */
struct wh_token_source *wh_token_source_new(struct wh_http_client *http, const struct wh_rsa_key *key,
                                            const struct wh_runner_config *config);
void wh_token_source_free(struct wh_token_source *source); /* waiters are dropped without a callback */

/* The present token; NULL if there is none that will last. Borrowed until the next turn of the loop. */
const struct wh_secret *wh_token_current(const struct wh_token_source *source);
/* Fetches one if need be. token is NULL where err is set. */
typedef void (*wh_token_fn)(void *data, const struct wh_secret *token, enum wh_outcome outcome,
                            struct wh_error *err);
struct wh_token_wait *wh_token_ask(struct wh_token_source *source, wh_token_fn done, void *data);
void wh_token_ask_cancel(struct wh_token_wait *wait);
/* The token was refused (or ForceTokenRefresh came): the next get fetches a new one. */
void wh_token_drop(struct wh_token_source *source);

/* What a token answer means; token and why are owned by the caller. */
struct wh_token_answer {
    enum wh_outcome outcome;
    struct wh_secret *token;
    int64_t seconds;
    char *why; /* the service's words where it refuses */
};
void wh_token_answer_read(int status, const char *body, size_t len, struct wh_token_answer *out);
void wh_token_answer_clear(struct wh_token_answer *answer);

#endif
