/* The table of a workflow's keys: jobs, steps and what is in them. Events: schema_events.c. */
#include "workflow/schema.h"

#define END                                                                                                  \
    {                                                                                                        \
        NULL                                                                                                 \
    }
#define KEYS(name) static const struct wf_key name[]

/* ---- plain values ---- */

static const struct wf_type text = {.forms = WF_TEXT, .place = WF_INHERIT};
static const struct wf_type word = {.forms = WF_STRING, .place = WF_INHERIT};
static const struct wf_type words = {.forms = WF_STRING | WF_SEQUENCE, .place = WF_INHERIT, .item = &word};
static const struct wf_type word_list = {.forms = WF_SEQUENCE, .place = WF_INHERIT, .item = &word};
static const struct wf_type boolean = {.forms = WF_BOOL, .place = WF_INHERIT};
static const struct wf_type number = {.forms = WF_NUMBER, .place = WF_INHERIT};
static const struct wf_type anything = {.forms = WF_ANY, .place = WF_INHERIT};
static const struct wf_type literal_text = {.forms = WF_TEXT, .place = WF_LITERAL};
static const struct wf_type literal_word = {.forms = WF_STRING, .place = WF_LITERAL};
static const struct wf_type literal_words = {
    .forms = WF_STRING | WF_SEQUENCE, .place = WF_LITERAL, .item = &literal_word};

static const struct wf_type job_text = {.forms = WF_TEXT, .place = WH_PLACE_JOB};
static const struct wf_type job_number = {.forms = WF_NUMBER, .place = WH_PLACE_JOB};
static const struct wf_type job_boolean = {.forms = WF_BOOL, .place = WH_PLACE_JOB};
static const struct wf_type step_text = {.forms = WF_TEXT, .place = WH_PLACE_STEP};
static const struct wf_type step_number = {.forms = WF_NUMBER, .place = WH_PLACE_STEP};
static const struct wf_type step_boolean = {.forms = WF_BOOL, .place = WH_PLACE_STEP};

/* ---- permissions, concurrency, defaults ---- */

static const char *const levels[] = {"read", "write", "none", NULL};
static const char *const read_or_none[] = {"read", "none", NULL};
static const char *const write_or_none[] = {"write", "none", NULL};
static const char *const for_all[] = {"read-all", "write-all", NULL};
static const struct wf_type any_level = {.forms = WF_STRING, .place = WF_LITERAL, .words = levels};
static const struct wf_type may_read = {.forms = WF_STRING, .place = WF_LITERAL, .words = read_or_none};
static const struct wf_type may_write = {.forms = WF_STRING, .place = WF_LITERAL, .words = write_or_none};
KEYS(permission_keys) = {{"actions", &any_level},
                         {"artifact-metadata", &any_level},
                         {"attestations", &any_level},
                         {"checks", &any_level},
                         {"contents", &any_level},
                         {"deployments", &any_level},
                         {"discussions", &any_level},
                         {"id-token", &may_write},
                         {"issues", &any_level},
                         {"models", &may_read},
                         {"packages", &any_level},
                         {"pages", &any_level},
                         {"pull-requests", &any_level},
                         {"repository-projects", &any_level},
                         {"security-events", &any_level},
                         {"statuses", &any_level},
                         {"vulnerability-alerts", &may_read},
                         END};
static const struct wf_type permissions = {
    .forms = WF_STRING | WF_MAPPING, .place = WF_LITERAL, .keys = permission_keys, .words = for_all};

KEYS(concurrency_keys) = {{"group", &word, true}, {"cancel-in-progress", &boolean}, {"queue", &word}, END};
static const struct wf_type workflow_concurrency = {
    .forms = WF_TEXT | WF_MAPPING, .place = WH_PLACE_WORKFLOW, .keys = concurrency_keys};
static const struct wf_type job_concurrency = {
    .forms = WF_STRING | WF_MAPPING, .place = WH_PLACE_JOB, .keys = concurrency_keys};

KEYS(run_keys) = {{"shell", &word}, {"working-directory", &word}, END};
static const struct wf_type workflow_run = {.forms = WF_MAPPING, .place = WF_LITERAL, .keys = run_keys};
static const struct wf_type job_run = {.forms = WF_MAPPING, .place = WH_PLACE_JOB_DEFAULTS, .keys = run_keys};
KEYS(workflow_defaults_keys) = {{"run", &workflow_run}, END};
KEYS(job_defaults_keys) = {{"run", &job_run}, END};
static const struct wf_type workflow_defaults = {
    .forms = WF_MAPPING, .place = WF_LITERAL, .keys = workflow_defaults_keys};
static const struct wf_type job_defaults = {
    .forms = WF_MAPPING, .place = WF_LITERAL, .keys = job_defaults_keys};

static const struct wf_type workflow_env = {
    .forms = WF_MAPPING, .place = WH_PLACE_WORKFLOW_ENV, .others = &text};
static const struct wf_type job_env = {.forms = WF_MAPPING, .place = WH_PLACE_JOB_ENV, .others = &text};

/* ---- containers ---- */

static const struct wf_type container_env = {
    .forms = WF_MAPPING, .place = WH_PLACE_CONTAINER_ENV, .others = &text};
KEYS(credential_keys) = {{"username", &word}, {"password", &word}, END};
static const struct wf_type credentials = {
    .forms = WF_MAPPING, .place = WH_PLACE_CONTAINER_CREDENTIALS, .keys = credential_keys};
KEYS(container_keys) = {{"image", &text},
                        {"options", &text},
                        {"env", &container_env},
                        {"ports", &word_list},
                        {"volumes", &word_list},
                        {"credentials", &credentials},
                        END};
KEYS(service_keys) = {{"image", &text},
                      {"options", &text},
                      {"entrypoint", &text},
                      {"command", &text},
                      {"env", &container_env},
                      {"ports", &word_list},
                      {"volumes", &word_list},
                      {"credentials", &credentials},
                      END};
static const struct wf_type container = {
    .forms = WF_TEXT | WF_MAPPING, .place = WH_PLACE_JOB, .keys = container_keys};
static const struct wf_type service = {
    .forms = WF_TEXT | WF_MAPPING, .place = WH_PLACE_JOB, .keys = service_keys};
static const struct wf_type services = {.forms = WF_MAPPING, .place = WH_PLACE_JOB, .others = &service};

/* ---- steps ---- */

static const struct wf_type step_if = {.forms = WF_IF, .place = WH_PLACE_STEP_IF};
static const struct wf_type step_map = {.forms = WF_MAPPING, .place = WH_PLACE_STEP, .others = &text};
static const struct wf_type step_word = {.forms = WF_STRING, .place = WF_LITERAL};
KEYS(run_step_keys) = {{"name", &step_text},      {"id", &literal_word},
                       {"if", &step_if},          {"timeout-minutes", &step_number},
                       {"run", &step_text, true}, {"continue-on-error", &step_boolean},
                       {"env", &step_map},        {"working-directory", &step_text},
                       {"shell", &step_word},     END};
KEYS(uses_step_keys) = {{"name", &step_text},
                        {"id", &literal_word},
                        {"if", &step_if},
                        {"continue-on-error", &step_boolean},
                        {"timeout-minutes", &step_number},
                        {"uses", &literal_word, true},
                        {"with", &step_map},
                        {"env", &step_map},
                        END};
static const struct wf_type uses_step = {
    .forms = WF_MAPPING | WF_STEP, .place = WF_LITERAL, .keys = uses_step_keys};
const struct wf_type wf_step = {.forms = WF_MAPPING | WF_STEP,
                                .place = WF_LITERAL,
                                .keys = run_step_keys,
                                .variant_key = "uses",
                                .variant = &uses_step};
static const struct wf_type steps = {.forms = WF_SEQUENCE, .place = WF_LITERAL, .item = &wf_step};

/* ---- jobs ---- */

static const struct wf_type job_if = {.forms = WF_IF, .place = WH_PLACE_JOB_IF};
static const struct wf_type vector = {.forms = WF_SEQUENCE, .place = WF_INHERIT, .item = &anything};
static const struct wf_type filter_item = {.forms = WF_MAPPING, .place = WF_INHERIT, .others = &anything};
static const struct wf_type filter = {.forms = WF_SEQUENCE, .place = WF_INHERIT, .item = &filter_item};
KEYS(matrix_keys) = {{"include", &filter}, {"exclude", &filter}, END};
static const struct wf_type matrix = {
    .forms = WF_MAPPING, .place = WF_INHERIT, .keys = matrix_keys, .others = &vector};
KEYS(strategy_keys) = {{"fail-fast", &boolean}, {"max-parallel", &number}, {"matrix", &matrix}, END};
static const struct wf_type strategy = {
    .forms = WF_MAPPING, .place = WH_PLACE_JOB_STRATEGY, .keys = strategy_keys};
KEYS(runs_on_keys) = {{"group", &word}, {"labels", &words}, END};
static const struct wf_type runs_on = {.forms = WF_STRING | WF_SEQUENCE | WF_MAPPING,
                                       .place = WH_PLACE_JOB,
                                       .item = &word,
                                       .keys = runs_on_keys};
static const struct wf_type environment_url = {.forms = WF_TEXT, .place = WH_PLACE_ENVIRONMENT_URL};
KEYS(environment_keys) = {{"name", &text, true}, {"url", &environment_url}, END};
static const struct wf_type environment = {
    .forms = WF_TEXT | WF_MAPPING, .place = WH_PLACE_JOB, .keys = environment_keys};
static const struct wf_type output = {.forms = WF_TEXT, .place = WH_PLACE_JOB_OUTPUTS};
static const struct wf_type outputs = {.forms = WF_MAPPING, .place = WF_LITERAL, .others = &output};
static const struct wf_type snapshot_if = {.forms = WF_IF, .place = WH_PLACE_STEP_IF};
KEYS(snapshot_keys) = {{"image-name", &word, true}, {"if", &snapshot_if}, {"version", &word}, END};
static const struct wf_type snapshot = {
    .forms = WF_STRING | WF_MAPPING, .place = WH_PLACE_JOB, .keys = snapshot_keys};

static const struct wf_type call_value = {.forms = WF_TEXT | WF_BOOL | WF_NUMBER, .place = WH_PLACE_JOB};
static const struct wf_type call_with = {.forms = WF_MAPPING, .place = WF_LITERAL, .others = &call_value};
static const struct wf_type call_secret = {.forms = WF_TEXT | WF_BOOL | WF_NUMBER, .place = WH_PLACE_JOB_ENV};
static const char *const inherit[] = {"inherit", NULL};
static const struct wf_type call_secrets = {
    .forms = WF_STRING | WF_MAPPING, .place = WF_LITERAL, .others = &call_secret, .words = inherit};

KEYS(call_keys) = {{"name", &job_text},           {"uses", &literal_word, true},
                   {"with", &call_with},          {"secrets", &call_secrets},
                   {"needs", &literal_words},     {"if", &job_if},
                   {"permissions", &permissions}, {"concurrency", &job_concurrency},
                   {"strategy", &strategy},       END};
KEYS(job_keys) = {{"needs", &literal_words},
                  {"if", &job_if},
                  {"strategy", &strategy},
                  {"name", &job_text},
                  {"runs-on", &runs_on, true},
                  {"timeout-minutes", &job_number},
                  {"cancel-timeout-minutes", &job_number},
                  {"continue-on-error", &job_boolean},
                  {"container", &container},
                  {"services", &services},
                  {"env", &job_env},
                  {"environment", &environment},
                  {"permissions", &permissions},
                  {"concurrency", &job_concurrency},
                  {"outputs", &outputs},
                  {"defaults", &job_defaults},
                  {"steps", &steps, true},
                  {"snapshot", &snapshot},
                  END};
static const struct wf_type call_job = {.forms = WF_MAPPING | WF_JOB, .place = WF_LITERAL, .keys = call_keys};
const struct wf_type wf_job = {.forms = WF_MAPPING | WF_JOB,
                               .place = WF_LITERAL,
                               .keys = job_keys,
                               .variant_key = "uses",
                               .variant = &call_job};

/* ---- the file ---- */

static const struct wf_type jobs = {.forms = WF_MAPPING, .place = WF_LITERAL, .others = &wf_job};
static const struct wf_type run_name = {.forms = WF_TEXT, .place = WH_PLACE_WORKFLOW};
KEYS(workflow_keys) = {{"on", &wf_on, true},
                       {"name", &literal_text},
                       {"description", &literal_text},
                       {"run-name", &run_name},
                       {"defaults", &workflow_defaults},
                       {"env", &workflow_env},
                       {"permissions", &permissions},
                       {"concurrency", &workflow_concurrency},
                       {"jobs", &jobs, true},
                       END};
const struct wf_type wf_workflow = {.forms = WF_MAPPING, .place = WF_LITERAL, .keys = workflow_keys};
