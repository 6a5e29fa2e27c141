/* Parts of the fetcher. */
#ifndef WH_ACTIONS_FETCH_IMPL_H
#define WH_ACTIONS_FETCH_IMPL_H

#include "wherry/actions/fetch.h"
#include "wherry/base/frame.h"
#include "wherry/github/actions.h"

struct fetcher {
    int channel; /* borrowed */
    int state;   /* folder; owned by the frame that brought it */
    const cJSON *facts;
    struct wh_http_client *http;
};

/* To the worker; a worker that is gone ends the process soon, by the next error. */
int fetcher_send(struct fetcher *f, cJSON *frame_taken, int fd, struct wh_error *err);
void fetcher_say(void *fetcher, const char *level, const char *text);
/* The archive of one action, open for reading, from the store or fetched; *top as
 * wh_action_archive_check() gives it. */
int fetcher_archive(struct fetcher *f, const struct wh_action_download *d, char **top, bool *cached,
                    struct wh_error *err);
/* Node.js of a major version or newer: an open archive and its name, from the store or the mirror. */
int fetcher_node(struct fetcher *f, int major, char **name, struct wh_error *err);
/* Streams url into a new file of the folder; its descriptor (read and write), and its name there, to be
 * renamed or removed. action (NULL: none) says which credential goes along. The SHA-256 is of what came. */
int fetcher_download(struct fetcher *f, int folder, const char *url, const struct wh_action_download *action,
                     uint64_t max, char **temporary, char digest[65], int *status, struct wh_error *err);

#endif
