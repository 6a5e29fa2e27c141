/* Blocking calls of GitHub's REST API and of V1, for commands: tries again what may pass, and says of each
 * refusal what it means and what to do (runner-protocol.md §1, §0.3). */
#ifndef WH_GITHUB_REST_H
#define WH_GITHUB_REST_H

#include "wherry/github/location.h"
#include "wherry/github/register.h"

/* What a call is for: the same status means different things. */
enum gh_purpose {
    GH_FOR_TENANT_REGISTER, /* proves a registration token */
    GH_FOR_TENANT_REMOVE,   /* proves a remove token */
    GH_FOR_RUNNER_TOKEN,    /* a personal access token or an App buys one of these */
    GH_FOR_GROUPS,
    GH_FOR_FIND,
    GH_FOR_REGISTER,
    GH_FOR_REMOVE,
    GH_FOR_JIT,
    GH_FOR_INSTALLATION, /* the App asks where it is installed */
    GH_FOR_APP_TOKEN,    /* the App asks for its installation's token */
    GH_FOR_CREDENTIALS   /* the new runner's first token */
};

enum gh_auth { GH_AUTH_NONE, GH_AUTH_BEARER, GH_AUTH_REMOTE };

struct gh_rest_call {
    enum gh_purpose purpose;
    const char *method, *url;
    const struct wh_route *route; /* V1: in place of url */
    const cJSON *body;            /* may be NULL */
    enum gh_auth auth;
    const struct wh_secret *secret;
    /* For the sentences. */
    const struct wh_github_url *scope;
    const char *name, *version; /* of the runner; may be NULL */
    bool by_app;                /* an App stands behind the token */
};
struct gh_rest_answer {
    int status;  /* of the last answer; 0: none */
    bool lost;   /* an earlier try may have been done without our hearing of it */
    cJSON *json; /* NULL where there was no body */
};
/* 0 for 2xx; else negative with a sentence. */
int gh_rest(struct wh_http_client *http, const struct gh_rest_call *call, struct gh_rest_answer *out,
            struct wh_error *err);
void gh_rest_answer_clear(struct gh_rest_answer *answer);
#define gh_autoanswer __attribute__((cleanup(gh_rest_answer_clear))) struct gh_rest_answer

/* A field that is a secret: taken out, and wiped where it was. NULL if absent or empty; may be NULL-checked
 * by the caller with wh_json_need_string()'s words. */
struct wh_secret *gh_take_secret(cJSON *object, const char *name);
/* Wipes all strings below. */
void gh_json_wipe(cJSON *json);

/* ---- what a refusal means (refusal.c) ---- */
enum gh_refusal {
    GH_REFUSED,            /* without a meaning of its own */
    GH_REFUSED_RATE_LIMIT, /* too many calls */
    GH_REFUSED_TOKEN,      /* unknown or of another scope */
    GH_REFUSED_EXPIRED,    /* known, but too old */
    GH_REFUSED_NOT_FOUND,  /* the scope is not there, or may not be seen */
    GH_REFUSED_NAME_TAKEN,
    GH_REFUSED_RIGHTS,       /* the token may do other things */
    GH_REFUSED_SSO,          /* the token is not authorised for the organisation's single sign-on */
    GH_REFUSED_IP,           /* the organisation's list of addresses */
    GH_REFUSED_VERSION,      /* runners of this version are too old */
    GH_REFUSED_RUNNER_BUSY,  /* it runs a job, so it cannot be removed */
    GH_REFUSED_GROUP,        /* the runner group is not there */
    GH_REFUSED_INVALID,      /* a field's value */
    GH_REFUSED_CLOCK,        /* this machine's clock is wrong */
    GH_REFUSED_APP_KEY,      /* the JWT's signature: not the App's key */
    GH_REFUSED_APP_ID,       /* no such App */
    GH_REFUSED_INSTALLATION, /* no such installation, or not of this scope */
    GH_REFUSED_SUSPENDED,    /* the installation is suspended */
    GH_REFUSED_ELSEWHERE,    /* redirected to another host, where credentials do not go */
    GH_REFUSED_NO_API        /* answers, but not as GitHub does: HTML, plain text */
};
/* What an answer says; all texts may be NULL. */
struct gh_facts {
    int status;
    char *message; /* of the body, and of its errors */
    char *v1_type; /* typeKey of V1 */
    int64_t v1_code;
    char *sso_url;         /* of X-GitHub-SSO, or "" where that header names none */
    bool limit_used_up;    /* X-RateLimit-Remaining: 0 */
    int64_t limit_reset_s; /* since 1970; 0: not said */
    int64_t retry_after_s; /* -1: not said */
    bool json;             /* the body is */
    bool elsewhere;        /* another host answered */
};
void gh_facts_read(const struct wh_http *r, struct gh_facts *out);
/* The body alone: message, v1_type, v1_code, json. Any bytes are fine. */
void gh_facts_read_body(const char *body, size_t len, struct gh_facts *out);
void gh_facts_clear(struct gh_facts *facts);
#define gh_autofacts __attribute__((cleanup(gh_facts_clear))) struct gh_facts

enum gh_refusal gh_refusal_of(const struct gh_facts *facts, enum gh_purpose purpose);
/* The sentence: what it means and what to do; owned by the caller. now_s: since 1970. */
char *gh_refusal_sentence(enum gh_refusal refusal, const struct gh_facts *facts,
                          const struct gh_rest_call *call, int64_t now_s);

#endif
