/* A session, as the files of this room see it. */
#ifndef WH_GITHUB_SESSION_INTERNAL_H
#define WH_GITHUB_SESSION_INTERNAL_H

#include "github/call.h"
#include "wherry/github/session.h"

struct gh_session_op {
    struct gh_call *call;
    wh_session_fn done;
    void *data;
};

struct wh_session {
    struct wh_http_client *http;
    const struct wh_runner_config *config;
    char *version, *owner;
    struct wh_token_source *tokens;
    char *id;
    char *migrated_url; /* of the broker, where a BrokerMigration named another */
    struct gh_session_op create, remove, ack;
    struct gh_call *poll_call;
    wh_poll_fn poll_done;
    void *poll_data;
};

enum wh_outcome gh_broker_outcome(const struct gh_answer *answer);

#endif
