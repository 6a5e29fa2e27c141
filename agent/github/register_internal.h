/* A registration under way, and the parts of it that differ between the generations. */
#ifndef WH_GITHUB_REGISTER_INTERNAL_H
#define WH_GITHUB_REGISTER_INTERNAL_H

#include "github/authority.h"
#include "github/rest.h"

#define GH_MAX_GROUPS 4096 /* of one answer; more are passed over */

/* The tenant credential (§1.3). */
struct gh_tenant_answer {
    char *url;               /* T; may be NULL where admin */
    struct wh_secret *token; /* Bearer of T */
    bool admin;              /* use_v2_flow: registered by the runner-admin API */
};
int gh_tenant_answer_read(cJSON *json, struct gh_tenant_answer *out, struct wh_error *err);
void gh_tenant_answer_clear(struct gh_tenant_answer *answer);
/* Proves token at the service, and learns what it opens. */
int gh_tenant_ask(struct wh_http_client *http, const struct wh_github_url *url, const struct wh_secret *token,
                  enum gh_runner_event event, bool by_app, struct gh_tenant_answer *out,
                  struct wh_error *err);

struct wh_registration {
    struct wh_http_client *http;
    const struct wh_github_url *url;
    char *version;
    bool by_app;
    struct wh_secret *token; /* the registration token: RemoteAuth */
    bool bearer;             /* V2 calls bear the tenant's token: RemoteAuth was refused */
    struct gh_tenant_answer tenant;
    struct wh_locations *locations; /* V1 */
    struct wh_runner_group *groups;
    size_t ngroups;
};

/* A call of the runner-admin API: RemoteAuth, or the tenant's token where a 401 asks for that. */
int gh_admin_call(struct wh_registration *r, struct gh_rest_call *call, struct gh_rest_answer *out,
                  struct wh_error *err);
/* A call of V1. */
int gh_pool_call(struct wh_registration *r, struct gh_rest_call *call, struct wh_route *route,
                 struct gh_rest_answer *out, struct wh_error *err);

int gh_admin_groups(struct wh_registration *r, struct wh_error *err);
int gh_admin_find(struct wh_registration *r, const char *name, int64_t *id, struct wh_error *err);
int gh_admin_add(struct wh_registration *r, const struct wh_register_options *o, const struct wh_rsa_key *key,
                 struct wh_runner_config *config, struct wh_error *err);
int gh_pool_connect(struct wh_registration *r, struct wh_error *err);
int gh_pool_groups(struct wh_registration *r, struct wh_error *err);
int gh_pool_find(struct wh_registration *r, const char *name, int64_t *id, struct wh_error *err);
int gh_pool_add(struct wh_registration *r, const struct wh_register_options *o, const struct wh_rsa_key *key,
                struct wh_runner_config *config, struct wh_error *err);
int gh_pool_remove(struct wh_registration *r, int64_t id, struct wh_error *err);

/* ---- labels ---- */
/* As the body wants them; their names into config. */
int gh_labels(const struct wh_register_options *o, struct wh_runner_config *config, cJSON *body,
              struct wh_error *err);

/* ---- answers (register_answer.c); all bytes are foreign ---- */
/* groups: grown. V2: runner_groups; V1: value, where isHosted is not true. */
void gh_groups_read(const cJSON *json, bool v1, struct wh_runner_group **groups, size_t *count);
int64_t gh_runner_id_in(const cJSON *json, bool v1, const char *name);
int gh_admin_answer_read(const cJSON *json, struct wh_runner_config *config, struct wh_error *err);
int gh_pool_answer_read(const cJSON *json, struct wh_runner_config *config, struct wh_error *err);

#endif
