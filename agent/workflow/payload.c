/* Event payloads, made of what the checkout tells: the members that workflows look at most, in the service's
 * own shapes. */
#include "workflow/workflow_internal.h"

static const char *text_or(const char *text, const char *other)
{
    return text ? text : other;
}

static cJSON *add_user(cJSON *object, const char *name, const char *login)
{
    cJSON *user = cJSON_AddObjectToObject(object, name);
    cJSON_AddStringToObject(user, "login", login);
    cJSON_AddStringToObject(user, "type", "User");
    return user;
}

static void add_repository(cJSON *object, const char *name, const struct wh_checkout *c)
{
    cJSON *repo = cJSON_AddObjectToObject(object, name);
    const char *slash = strchr(c->repository, '/');
    wh_autofree char *owner = wh_strndup(c->repository, slash ? (size_t)(slash - c->repository) : 0);
    wh_autofree char *html = wh_printf("%s/%s", text_or(c->server, "https://github.com"), c->repository);
    wh_autofree char *clone = wh_printf("%s.git", html);
    wh_json_add_string(repo, "full_name", c->repository);
    wh_json_add_string(repo, "name", slash ? slash + 1 : c->repository);
    wh_json_add_string(repo, "html_url", html);
    wh_json_add_string(repo, "clone_url", clone);
    wh_json_add_string(repo, "default_branch", c->default_branch);
    cJSON_AddBoolToObject(repo, "private", false);
    cJSON_AddBoolToObject(repo, "fork", false);
    add_user(repo, "owner", owner);
}

static void add_person(cJSON *object, const char *name, const struct wh_checkout *c)
{
    cJSON *person = cJSON_AddObjectToObject(object, name);
    wh_json_add_string(person, "name", text_or(c->author, c->actor));
    wh_json_add_string(person, "email", text_or(c->email, ""));
}

static cJSON *commit_of(const struct wh_checkout *c)
{
    cJSON *commit = cJSON_CreateObject();
    wh_json_add_string(commit, "id", c->sha);
    wh_json_add_string(commit, "message", text_or(c->message, ""));
    wh_json_add_string(commit, "timestamp", text_or(c->timestamp, ""));
    cJSON_AddBoolToObject(commit, "distinct", true);
    add_person(commit, "author", c);
    add_person(commit, "committer", c);
    return commit;
}

static void fill_push(cJSON *event, const struct wh_checkout *c)
{
    static const char zeros[] = "0000000000000000000000000000000000000000";
    wh_json_add_string(event, "ref", c->ref);
    wh_json_add_string(event, "before", text_or(c->before, zeros));
    wh_json_add_string(event, "after", c->sha);
    cJSON_AddNullToObject(event, "base_ref");
    cJSON_AddBoolToObject(event, "created", !c->before);
    cJSON_AddBoolToObject(event, "deleted", false);
    cJSON_AddBoolToObject(event, "forced", false);
    cJSON *commits = cJSON_AddArrayToObject(event, "commits");
    if (c->has_commit) {
        cJSON_AddItemToArray(commits, commit_of(c));
        cJSON_AddItemToObject(event, "head_commit", commit_of(c));
    } else {
        cJSON_AddNullToObject(event, "head_commit");
    }
    add_person(event, "pusher", c);
}

static void add_side(cJSON *pull, const char *name, const char *ref, const struct wh_checkout *c)
{
    cJSON *side = cJSON_AddObjectToObject(pull, name);
    const char *slash = strchr(c->repository, '/');
    wh_autofree char *owner = wh_strndup(c->repository, slash ? (size_t)(slash - c->repository) : 0);
    wh_autofree char *label = wh_printf("%s:%s", owner, ref);
    wh_json_add_string(side, "label", label);
    wh_json_add_string(side, "ref", ref);
    wh_json_add_string(side, "sha", c->sha);
    add_repository(side, "repo", c);
}

static void fill_pull_request(cJSON *event, const struct wh_checkout *c)
{
    cJSON_AddNumberToObject(event, "number", 1);
    cJSON *pull = cJSON_AddObjectToObject(event, "pull_request");
    const char *message = text_or(c->message, "");
    const char *branch = wh_starts_with(c->ref, "refs/heads/") ? c->ref + strlen("refs/heads/") : c->ref;
    wh_autofree char *title = wh_strndup(message, strcspn(message, "\n"));
    cJSON_AddNumberToObject(pull, "number", 1);
    wh_json_add_string(pull, "state", "open");
    wh_json_add_string(pull, "title", title);
    cJSON_AddNullToObject(pull, "body");
    cJSON_AddBoolToObject(pull, "draft", false);
    cJSON_AddBoolToObject(pull, "merged", false);
    cJSON_AddArrayToObject(pull, "labels");
    add_user(pull, "user", c->actor);
    add_side(pull, "head", branch, c);
    add_side(pull, "base", c->default_branch, c);
}

static void fill_release(cJSON *event, const struct wh_checkout *c)
{
    cJSON *release = cJSON_AddObjectToObject(event, "release");
    const char *tag = wh_starts_with(c->ref, "refs/tags/") ? c->ref + strlen("refs/tags/") : "v0.0.0";
    wh_json_add_string(release, "tag_name", tag);
    wh_json_add_string(release, "name", tag);
    wh_json_add_string(release, "target_commitish", c->default_branch);
    cJSON_AddBoolToObject(release, "draft", false);
    cJSON_AddBoolToObject(release, "prerelease", false);
}

static void fill_schedule(cJSON *event, const struct wh_workflow *w)
{
    const struct wh_yaml *list = wh_workflow_event_node(w, "schedule");
    const struct wh_yaml *cron = list && list->kind == WH_YAML_SEQUENCE && list->nitems > 0
                                     ? wh_yaml_get(list->items[0], "cron")
                                     : NULL;
    if (cron && cron->kind == WH_YAML_SCALAR)
        wh_json_add_string(event, "schedule", cron->text);
}

/* Of events that have one: the usual action, or the first that the workflow asks for. */
static void add_action(cJSON *event, const struct wh_workflow *w, const char *event_name)
{
    static const char *const usual[][2] = {{"pull_request", "opened"},
                                           {"pull_request_target", "opened"},
                                           {"pull_request_review", "submitted"},
                                           {"pull_request_review_comment", "created"},
                                           {"release", "published"},
                                           {"issues", "opened"},
                                           {"issue_comment", "created"},
                                           {"workflow_run", "completed"},
                                           {"check_run", "created"},
                                           {"check_suite", "completed"},
                                           {"label", "created"},
                                           {"milestone", "created"},
                                           {"discussion", "created"},
                                           {"merge_group", "checks_requested"},
                                           {"registry_package", "published"},
                                           {"watch", "started"}};
    const char *action = NULL;
    for (size_t i = 0; i < WH_COUNT(usual); i++)
        if (wh_streq(usual[i][0], event_name))
            action = usual[i][1];
    const struct wh_yaml *node = wh_workflow_event_node(w, event_name);
    const struct wh_yaml *types = node ? wh_yaml_get(node, "types") : NULL;
    const struct wh_yaml *first = !types                          ? NULL
                                  : types->kind == WH_YAML_SCALAR ? types
                                  : types->nitems > 0             ? types->items[0]
                                                                  : NULL;
    bool among = false;
    for (size_t i = 0; types && types->kind == WH_YAML_SEQUENCE && i < types->nitems; i++)
        among |= types->items[i]->kind == WH_YAML_SCALAR && wh_streq(types->items[i]->text, action);
    if (first && first->kind == WH_YAML_SCALAR && !among)
        action = first->text;
    wh_json_add_string(event, "action", action);
}

cJSON *wh_workflow_payload(const struct wh_checkout *c, const struct wh_workflow *w, const char *event_name)
{
    cJSON *event = cJSON_CreateObject();
    add_action(event, w, event_name);
    if (wh_streq(event_name, "push"))
        fill_push(event, c);
    else if (wh_streq(event_name, "pull_request") || wh_streq(event_name, "pull_request_target"))
        fill_pull_request(event, c);
    else if (wh_streq(event_name, "release"))
        fill_release(event, c);
    else if (wh_streq(event_name, "schedule"))
        fill_schedule(event, w);
    if (wh_streq(event_name, "workflow_dispatch")) {
        wh_json_add_string(event, "ref", c->ref);
        wh_json_add_string(event, "workflow", wh_workflow_file(w));
        cJSON_AddObjectToObject(event, "inputs");
    }
    add_repository(event, "repository", c);
    add_user(event, "sender", c->actor);
    return event;
}
