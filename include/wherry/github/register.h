/* Registration of runners, and their removal (runner-protocol.md §1). Blocking: for commands, with a private
 * HTTP client. Each way in which a service refuses has a sentence of its own. */
#ifndef WH_GITHUB_REGISTER_H
#define WH_GITHUB_REGISTER_H

#include "wherry/config/runner.h"
#include "wherry/github/authority.h"
#include "wherry/github/credentials.h"
#include "wherry/net/http.h"

#define WH_MAX_LABEL_CHARS 256
#define WH_MAX_LABELS 100

/* ---- the URL ---- */
enum wh_scope { WH_SCOPE_REPOSITORY, WH_SCOPE_ORGANISATION, WH_SCOPE_ENTERPRISE };
/* What a GitHub URL says: https://HOST/owner/repo, /org or /enterprises/name (§1.1). */
struct wh_github_url {
    char *url;  /* without a slash or ".git" at its end */
    char *host; /* lower case, without the port */
    enum wh_scope scope;
    char *owner;  /* of the repository; the organisation; the enterprise */
    char *repo;   /* NULL unless WH_SCOPE_REPOSITORY */
    bool hosted;  /* github.com or *.ghe.com; else a GitHub Enterprise Server */
    char *api;    /* https://api.HOST, or https://HOST/api/v3 */
    char *entity; /* api/repos/owner/repo/actions, ... */
};
/* Fails with a sentence that says what a wrong one looks like, and the right one where it can be guessed. */
int wh_github_url_parse(const char *url, struct wh_github_url *out, struct wh_error *err);
void wh_github_url_clear(struct wh_github_url *u);
#define wh_autogithuburl __attribute__((cleanup(wh_github_url_clear))) struct wh_github_url
/* "repository", "organisation", "enterprise". */
const char *wh_scope_text(enum wh_scope scope);

/* ---- registering, step by step: a program that asks its user needs the answers in between ---- */
struct wh_runner_group {
    int64_t id;
    char *name;
    bool is_default;
};
struct wh_registration;
/* Gets a registration token if need be, proves it, learns the flow (V1 or V2) and lists the runner groups.
 * http, url and authority are borrowed. version: named to the service; copied. */
struct wh_registration *wh_registration_open(struct wh_http_client *http, const struct wh_github_url *url,
                                             struct wh_authority *authority, const char *version,
                                             struct wh_error *err);
void wh_registration_free(struct wh_registration *r);
void wh_registration_free_ptr(struct wh_registration **r);
#define wh_autoregistration __attribute__((cleanup(wh_registration_free_ptr))) struct wh_registration
/* The groups that take self-hosted runners; borrowed. */
const struct wh_runner_group *wh_registration_groups(const struct wh_registration *r, size_t *count);
/* By name in any case; NULL: the default one. Borrowed; NULL with an error that lists the others. */
const struct wh_runner_group *wh_registration_group(const struct wh_registration *r, const char *name,
                                                    struct wh_error *err);
/* *id: of the runner of this name, or 0. */
int wh_registration_find(struct wh_registration *r, const char *name, int64_t *id, struct wh_error *err);

struct wh_register_options {
    const char *name;
    const struct wh_runner_group *group;
    char *const *labels; /* the user's; may be NULL */
    bool no_default_labels;
    bool ephemeral, disable_update;
    int64_t replace_id; /* of wh_registration_find(); 0: a new runner */
};
/* Fills id, url, group_id, group, labels, ephemeral, disable_update and all of server, authorization and
 * client of config. */
int wh_registration_add(struct wh_registration *r, const struct wh_register_options *options,
                        const struct wh_rsa_key *key, struct wh_runner_config *config, struct wh_error *err);

/* Deletes a registration (V2 or V1, as it was made). One that is gone already is fine: *gone says so. */
int wh_unregister(struct wh_http_client *http, const struct wh_github_url *url,
                  struct wh_authority *authority, const struct wh_runner_config *config, bool *gone,
                  struct wh_error *err);

/* ---- just-in-time runners (§1.8) ---- */
struct wh_jit_options {
    const char *name;
    const char *group;       /* name or number; NULL: the default one */
    char *const *labels;     /* the full set, at least one */
    const char *work_folder; /* NULL: "_work" */
};
/* Asks for one; needs a personal access token or an App. The string for `run --jitconfig` is as secret as a
 * key. */
struct wh_secret *wh_jit_request(struct wh_http_client *http, const struct wh_github_url *url,
                                 struct wh_authority *authority, const struct wh_jit_options *options,
                                 struct wh_error *err);

/* "self-hosted", "linux" and "x64", "arm64" or "arm", as the service spells them. */
const char *const *wh_system_labels(void);
/* "X64", "ARM64", "ARM": `architecture` in polls. */
const char *wh_runner_architecture(void);

#endif
