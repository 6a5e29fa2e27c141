/* A runner's identity on disk: <state>/runners/<name>/runner.json (0600), beside the sealed credentials that
 * the github room keeps.
 *
 * Nothing secret is in it. The folder <state>/runners is its owner's alone (0700): the state folder around it
 * belongs to the builder's user, so everything here is refused unless it belongs to us. */
#ifndef WH_CONFIG_RUNNER_H
#define WH_CONFIG_RUNNER_H

#include "wherry/base/json.h"

#define WH_MAX_RUNNER_NAME 64
#define WH_MAX_RUNNER_FILE ((size_t)256 << 10)

struct wh_runner_config {
    char *name;       /* as registered; also the folder's name */
    char *agent_name; /* as GitHub calls it since somebody renamed it there; NULL: as name */
    char *url; /* the GitHub URL of the repository, organisation or enterprise; "" where a JIT configuration
                  did not say */
    int64_t id;
    int64_t group_id; /* poolId */
    char *group;      /* poolName; may be NULL */
    char **labels;    /* all, the system's ones first; empty where the files of another program did not say */
    char *work;       /* absolute path of the work folder */
    char *work_folder; /* workFolder as the official runner would write it, or NULL: "_work" */
    bool ephemeral;
    bool disable_update;       /* as registered; we never update ourselves in any case */
    bool skip_session_recover; /* no new session after RunnerSessionInvalid */

    bool use_v2;         /* listens at the broker (server_url_v2), else at server_url */
    bool runner_admin;   /* registered by the runner-admin API: removed by it too */
    char *server_url;    /* the tenant's base (serverUrl, V1); may be NULL where use_v2 */
    char *server_url_v2; /* the broker's base (serverUrlV2); may be NULL where not use_v2 */
    char *authorization_url;
    char *oauth_endpoint_url; /* the token call goes there where set; the audience stays authorization_url */
    char *authorization_url_v2; /* of the auth migration; kept, not used */
    bool auth_migration;        /* enableAuthMigrationByDefault was there; kept, not used */
    char *client_id;
    bool ps256; /* sign with PS256 (requireFipsCryptography); else RS256 */

    char *version;  /* --runner-version, or NULL: the newest official release */
    char *job_user; /* --job-user, or NULL: the default */

    /* The GitHub App that registered it, so that `unregister` needs no token; NULL: none. */
    char *app_id, *app_installation, *app_key_file;
    /* Fields of imported official files that we don't know: {"runner": {...}, "credentials": {...}} or NULL.
     */
    cJSON *foreign;
};
void wh_runner_config_free(struct wh_runner_config *c);
void wh_runner_config_free_ptr(struct wh_runner_config **c);
#define wh_autorunner __attribute__((cleanup(wh_runner_config_free_ptr))) struct wh_runner_config

/* True if name can name a runner: 1 to 64 of A-Z a-z 0-9 . _ -, not starting with a dot. */
bool wh_runner_name_valid(const char *name);
/* <state>/runners/<name>; owned by the caller. */
char *wh_runner_dir(const char *state, const char *name);
/* Makes it (0700, and the folders above) and checks that it is ours alone. Returns an O_PATH-free directory
 * descriptor. */
int wh_runner_dir_open(const char *state, const char *name, bool create, struct wh_error *err);
/* The names of all identities in the state folder, sorted; an empty vector if there are none. */
int wh_runner_list(const char *state, char ***names, struct wh_error *err);
int wh_runner_config_save(const char *state, const struct wh_runner_config *c, struct wh_error *err);
struct wh_runner_config *wh_runner_config_load(const char *state, const char *name, struct wh_error *err);
/* Deletes the identity's folder; a missing one is fine. The work folder stays. */
int wh_runner_config_delete(const char *state, const char *name, struct wh_error *err);
/* Where the work folders lie unless the user names one: beside the state folder, which job users may not
 * enter
 * ("<state>-work/<name>"). An absolute `work` is taken as it is, a relative one lies below that. Owned by the
 * caller. */
char *wh_runner_work_dir(const char *state, const char *name, const char *work);

#endif
