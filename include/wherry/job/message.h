/* The job message (job-execution.md §1): foreign bytes to a struct, bounded and checked, every form that
 * producers send. */
#ifndef WH_JOB_MESSAGE_H
#define WH_JOB_MESSAGE_H

#include "wherry/job/template.h"

#define WH_MAX_MESSAGE_BYTES ((size_t)32 << 20)
#define WH_MAX_MESSAGE_STEPS 1000
#define WH_MAX_MESSAGE_VARIABLES 20000
#define WH_MAX_MESSAGE_MASKS 20000
#define WH_MAX_MESSAGE_ENDPOINTS 100

enum wh_reference_type { WH_REFERENCE_REPOSITORY = 1, WH_REFERENCE_CONTAINER = 2, WH_REFERENCE_SCRIPT = 3 };

struct wh_step_reference {
    enum wh_reference_type type;
    char *name; /* repository: "owner/repo"; NULL for self */
    char *ref;
    char *repository_type; /* "GitHub", "self", "selfRepository" */
    char *path;            /* "" if none; of self with its leading "./" */
    char *image;           /* container: without docker:// */
};

struct wh_step {
    char *id;                            /* GUID: the timeline record */
    char *name;                          /* github.action */
    char *context_name;                  /* key in steps; NULL if none */
    char *display_name;                  /* the legacy literal, wins; NULL */
    struct wh_token *display_name_token; /* NULL if absent */
    struct wh_step_reference reference;
    struct wh_token *inputs;            /* mapping or NULL */
    struct wh_token *environment;       /* mapping or NULL */
    char *condition;                    /* wrapped expression; "" means success() */
    struct wh_token *continue_on_error; /* NULL if absent */
    struct wh_token *timeout_minutes;   /* NULL if absent */
    bool enabled;
    bool background;      /* those after it don't wait for it */
    char *control;        /* "wait", "wait-all", "cancel": a step that controls background steps; NULL */
    char **step_ids;      /* of control: their context names */
    char *parallel_group; /* passed on; NULL */
};

/* From the text of `uses:`: docker://IMAGE, ./path, owner/repo[/path]@ref. The error says what is expected,
 * without a place. */
int wh_step_reference_parse(const char *text, struct wh_step_reference *out, struct wh_error *err);
void wh_step_reference_clear(struct wh_step_reference *r);
void wh_step_clear(struct wh_step *s);

struct wh_variable {
    char *name;
    char *value; /* never NULL */
    bool secret;
};

struct wh_endpoint {
    char *name;
    char *url;
    char *scheme;
    struct wh_value *parameters; /* of authorization; object, any case */
    struct wh_value *data;       /* object, any case */
};

struct wh_message_mask {
    bool regex;
    char *value;
};

struct wh_job_message {
    char *message_type; /* PipelineAgentJobRequest (V1) or RunnerJobRequest (V2) */
    char *plan_id, *plan_type, *scope_identifier;
    int64_t plan_version;
    char *timeline_id;
    char *job_id, *job_display_name, *job_name;
    int64_t request_id;
    char *billing_owner_id; /* NULL if absent */
    struct wh_variable *variables;
    size_t nvariables;
    struct wh_message_mask *masks;
    size_t nmasks;
    struct wh_endpoint *endpoints;
    size_t nendpoints;
    struct wh_value *context_data; /* object: github, needs, ... as sent */
    struct wh_token **environment; /* job env layers, later wins */
    size_t nenvironment;
    struct wh_token **defaults; /* each a mapping that may hold run */
    size_t ndefaults;
    struct wh_token *job_container, *job_services, *job_outputs, *snapshot; /* NULL if absent or null */
    char *environment_name;                                                 /* actionsEnvironment; NULL */
    struct wh_token *environment_url;
    char *workspace_clean; /* NULL, "all", "resources", "outputs" */
    char **file_table;     /* NULL-terminated, entry 0 is file 1 */
    char **dependencies;
    struct wh_step *steps;
    size_t nsteps;
};

/* Errors name the field ("job message: steps[3].reference.type: ..."). Unknown step types are refused. NULL
 * on failure. */
struct wh_job_message *wh_message_parse(const char *text, size_t len, struct wh_error *err);
struct wh_job_message *wh_message_from_json(const cJSON *json, struct wh_error *err);
void wh_message_free(struct wh_job_message *m);
void wh_message_free_ptr(struct wh_job_message **m);
#define wh_automessage __attribute__((cleanup(wh_message_free_ptr))) struct wh_job_message

const char *wh_message_variable(const struct wh_job_message *m,
                                const char *name); /* any case; NULL if absent */
bool wh_message_variable_bool(const struct wh_job_message *m, const char *name, bool absent);
const struct wh_endpoint *
wh_message_system_endpoint(const struct wh_job_message *m);          /* SystemVssConnection; never NULL */
const char *wh_message_access_token(const struct wh_job_message *m); /* its AccessToken; "" if absent */
const char *wh_message_endpoint_data(const struct wh_job_message *m,
                                     const char *key); /* NULL if absent or empty */

/* The contexts at the job's start (§3): a new object with github (token and job first), secrets, env (empty,
 * case-sensitive), steps (empty), job, runner (empty), vars, inputs, needs, strategy, matrix. Objects that
 * the worker changes are its own copies. */
struct wh_value *wh_message_contexts(const struct wh_job_message *m);
/* Sets GITHUB_<NAME> of the members that are exported (§4) in env (wh_env_set); RUNNER_<NAME> of every runner
 * member. */
void wh_context_export(const struct wh_value *github, const struct wh_value *runner, char ***env);

#endif
