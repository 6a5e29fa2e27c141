/* The table of a workflow's keys: `on`. */
#include "workflow/schema.h"

#define END                                                                                                  \
    {                                                                                                        \
        NULL                                                                                                 \
    }

static const struct wf_type text = {.forms = WF_TEXT, .place = WF_INHERIT};
static const struct wf_type word = {.forms = WF_STRING, .place = WF_INHERIT};
static const struct wf_type words = {.forms = WF_STRING | WF_SEQUENCE, .place = WF_INHERIT, .item = &word};
static const struct wf_type word_list = {.forms = WF_SEQUENCE, .place = WF_INHERIT, .item = &word};
static const struct wf_type boolean = {.forms = WF_BOOL, .place = WF_INHERIT};

/* ---- events that only have types of activity ---- */

#define ACTIVITY(name, ...)                                                                                  \
    static const char *const name##_words[] = {__VA_ARGS__, NULL};                                           \
    static const struct wf_type name##_word = {                                                              \
        .forms = WF_STRING | WF_LOOSE, .place = WF_LITERAL, .words = name##_words};                          \
    static const struct wf_type name##_types = {.forms = WF_STRING | WF_SEQUENCE | WF_LOOSE,                 \
                                                .place = WF_LITERAL,                                         \
                                                .words = name##_words,                                       \
                                                .item = &name##_word};
#define EVENT(name, ...)                                                                                     \
    ACTIVITY(name, __VA_ARGS__)                                                                              \
    static const struct wf_key name##_keys[] = {{"types", &name##_types}, END};                              \
    static const struct wf_type name = {                                                                     \
        .forms = WF_NULL | WF_MAPPING, .place = WF_LITERAL, .keys = name##_keys};

EVENT(branch_protection_rule, "created", "edited", "deleted")
EVENT(check_run, "completed", "created", "rerequested", "requested_action")
EVENT(check_suite, "completed")
EVENT(discussion, "created", "edited", "deleted", "transferred", "pinned", "unpinned", "labeled", "unlabeled",
      "locked", "unlocked", "category_changed", "answered", "unanswered")
EVENT(comment, "created", "edited", "deleted")
EVENT(issues, "opened", "edited", "deleted", "transferred", "pinned", "unpinned", "closed", "reopened",
      "assigned", "unassigned", "labeled", "unlabeled", "locked", "unlocked", "milestoned", "demilestoned",
      "typed", "untyped")
EVENT(milestone, "created", "closed", "opened", "edited", "deleted")
EVENT(project, "created", "closed", "reopened", "edited", "deleted")
EVENT(project_card, "created", "moved", "converted", "edited", "deleted")
EVENT(project_column, "created", "updated", "moved", "deleted")
EVENT(review, "submitted", "edited", "dismissed")
EVENT(registry_package, "published", "updated")
EVENT(release, "published", "unpublished", "created", "edited", "deleted", "prereleased", "released")
EVENT(watch, "started")

/* ---- events with filters ---- */

ACTIVITY(pull_request, "assigned", "unassigned", "labeled", "unlabeled", "opened", "edited", "closed",
         "reopened", "synchronize", "converted_to_draft", "ready_for_review", "locked", "unlocked",
         "milestoned", "demilestoned", "review_requested", "review_request_removed", "auto_merge_enabled",
         "auto_merge_disabled", "enqueued", "dequeued")
static const struct wf_key pull_request_keys[] = {{"types", &pull_request_types}, {"branches", &words},
                                                  {"branches-ignore", &words},    {"paths", &words},
                                                  {"paths-ignore", &words},       END};
static const struct wf_type pull_request = {
    .forms = WF_NULL | WF_MAPPING, .place = WF_LITERAL, .keys = pull_request_keys};
static const struct wf_key push_keys[] = {{"branches", &words},
                                          {"branches-ignore", &words},
                                          {"tags", &words},
                                          {"tags-ignore", &words},
                                          {"paths", &words},
                                          {"paths-ignore", &words},
                                          END};
static const struct wf_type push = {.forms = WF_NULL | WF_MAPPING, .place = WF_LITERAL, .keys = push_keys};
ACTIVITY(workflow_run, "requested", "completed", "in_progress")
static const struct wf_key workflow_run_keys[] = {{"types", &workflow_run_types},
                                                  {"workflows", &words},
                                                  {"branches", &words},
                                                  {"branches-ignore", &words},
                                                  END};
static const struct wf_type workflow_run = {
    .forms = WF_NULL | WF_MAPPING, .place = WF_LITERAL, .keys = workflow_run_keys};
ACTIVITY(image_version, "created", "ready", "deleted")
static const struct wf_key image_version_keys[] = {
    {"types", &image_version_types}, {"names", &words}, {"versions", &words}, END};
static const struct wf_type image_version = {
    .forms = WF_NULL | WF_MAPPING, .place = WF_LITERAL, .keys = image_version_keys};
static const struct wf_key dispatch_keys[] = {{"types", &words}, END};
static const struct wf_type repository_dispatch = {
    .forms = WF_NULL | WF_MAPPING, .place = WF_LITERAL, .keys = dispatch_keys};
static const struct wf_key cron_keys[] = {{"cron", &word, true}, {"timezone", &word}, END};
static const struct wf_type cron = {.forms = WF_MAPPING, .place = WF_LITERAL, .keys = cron_keys};
static const struct wf_type schedule = {.forms = WF_SEQUENCE, .place = WF_LITERAL, .item = &cron};
static const struct wf_type plain = {
    .forms = WF_NULL | WF_MAPPING, .place = WF_LITERAL, .keys = (struct wf_key[]){END}};

ACTIVITY(merge_group, "checks_requested")
static const struct wf_key merge_group_keys[] = {{"types", &merge_group_types}, {"branches", &words}, END};
static const struct wf_type merge_group = {
    .forms = WF_NULL | WF_MAPPING, .place = WF_LITERAL, .keys = merge_group_keys};

/* ---- workflow_call, workflow_dispatch ---- */

static const char *const call_input_words[] = {"string", "boolean", "number", NULL};
static const struct wf_type call_input_type = {
    .forms = WF_STRING, .place = WF_LITERAL, .words = call_input_words};
static const struct wf_type call_default = {.forms = WF_TEXT | WF_BOOL | WF_NUMBER,
                                            .place = WH_PLACE_WORKFLOW};
static const struct wf_key call_input_keys[] = {
    {"description", &text},     {"type", &call_input_type, true}, {"required", &boolean},
    {"default", &call_default}, {"deprecationMessage", &text},    END};
static const struct wf_type call_input = {.forms = WF_MAPPING, .place = WF_LITERAL, .keys = call_input_keys};
static const struct wf_type call_inputs = {
    .forms = WF_MAPPING | WF_NULL, .place = WF_LITERAL, .others = &call_input};
static const struct wf_key call_secret_keys[] = {{"description", &text}, {"required", &boolean}, END};
static const struct wf_type call_secret = {
    .forms = WF_NULL | WF_MAPPING, .place = WF_LITERAL, .keys = call_secret_keys};
static const struct wf_type call_secrets = {
    .forms = WF_MAPPING | WF_NULL, .place = WF_LITERAL, .others = &call_secret};
static const struct wf_type call_value = {.forms = WF_TEXT, .place = WH_PLACE_WORKFLOW_OUTPUTS};
static const struct wf_key call_output_keys[] = {{"description", &text}, {"value", &call_value, true}, END};
static const struct wf_type call_output = {
    .forms = WF_MAPPING, .place = WF_LITERAL, .keys = call_output_keys};
static const struct wf_type call_outputs = {
    .forms = WF_MAPPING | WF_NULL, .place = WF_LITERAL, .others = &call_output};
static const struct wf_key call_keys[] = {
    {"inputs", &call_inputs}, {"secrets", &call_secrets}, {"outputs", &call_outputs}, END};
static const struct wf_type workflow_call = {
    .forms = WF_NULL | WF_MAPPING, .place = WF_LITERAL, .keys = call_keys};

static const char *const input_words[] = {"string", "boolean", "number", "environment", "choice", NULL};
static const struct wf_type input_type = {.forms = WF_STRING, .place = WF_LITERAL, .words = input_words};
static const struct wf_type input_default = {.forms = WF_TEXT | WF_BOOL | WF_NUMBER, .place = WF_LITERAL};
static const struct wf_key input_keys[] = {{"description", &text},
                                           {"type", &input_type},
                                           {"required", &boolean},
                                           {"default", &input_default},
                                           {"options", &word_list},
                                           {"deprecationMessage", &text},
                                           END};
static const struct wf_type input = {.forms = WF_NULL | WF_MAPPING, .place = WF_LITERAL, .keys = input_keys};
static const struct wf_type inputs = {.forms = WF_NULL | WF_MAPPING, .place = WF_LITERAL, .others = &input};
static const struct wf_key workflow_dispatch_keys[] = {{"inputs", &inputs}, END};
static const struct wf_type workflow_dispatch = {
    .forms = WF_NULL | WF_MAPPING, .place = WF_LITERAL, .keys = workflow_dispatch_keys};

/* ---- on ---- */

#define EVENTS(X)                                                                                            \
    X(branch_protection_rule, branch_protection_rule)                                                        \
    X(check_run, check_run)                                                                                  \
    X(check_suite, check_suite)                                                                              \
    X(create, plain)                                                                                         \
    X(delete, plain)                                                                                         \
    X(deployment, plain)                                                                                     \
    X(deployment_status, plain)                                                                              \
    X(discussion, discussion)                                                                                \
    X(discussion_comment, comment)                                                                           \
    X(fork, plain)                                                                                           \
    X(gollum, plain)                                                                                         \
    X(image_version, image_version)                                                                          \
    X(issue_comment, comment)                                                                                \
    X(issues, issues)                                                                                        \
    X(label, comment)                                                                                        \
    X(merge_group, merge_group)                                                                              \
    X(milestone, milestone)                                                                                  \
    X(page_build, plain)                                                                                     \
    X(project, project)                                                                                      \
    X(project_card, project_card)                                                                            \
    X(project_column, project_column)                                                                        \
    X(public, plain)                                                                                         \
    X(pull_request, pull_request)                                                                            \
    X(pull_request_comment, comment)                                                                         \
    X(pull_request_review, review)                                                                           \
    X(pull_request_review_comment, comment)                                                                  \
    X(pull_request_target, pull_request)                                                                     \
    X(push, push)                                                                                            \
    X(registry_package, registry_package)                                                                    \
    X(release, release)                                                                                      \
    X(repository_dispatch, repository_dispatch)                                                              \
    X(schedule, schedule)                                                                                    \
    X(status, plain)                                                                                         \
    X(watch, watch)                                                                                          \
    X(workflow_call, workflow_call)                                                                          \
    X(workflow_dispatch, workflow_dispatch)                                                                  \
    X(workflow_run, workflow_run)

#define NAME(event, type) #event,
const char *const wf_events[] = {EVENTS(NAME) NULL};
#undef NAME

static const struct wf_type event_name = {.forms = WF_STRING, .place = WF_LITERAL, .words = wf_events};
#define KEY(event, type) {#event, &(type)},
static const struct wf_key on_keys[] = {EVENTS(KEY) END};
#undef KEY

const struct wf_type wf_on = {.forms = WF_STRING | WF_SEQUENCE | WF_MAPPING,
                              .place = WF_LITERAL,
                              .keys = on_keys,
                              .item = &event_name,
                              .words = wf_events};
