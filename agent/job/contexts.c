/* What a job message says beside its steps: variables, endpoints, and the contexts at the job's start
 * (job-execution.md §1, §3, §4). */
#include "text.h"
#include "wherry/job/message.h"

const char *wh_message_variable(const struct wh_job_message *m, const char *name)
{
    for (size_t i = m->nvariables; i-- > 0;) { /* a later one of the same name wins */
        if (wh_streq_ci(m->variables[i].name, name))
            return m->variables[i].value;
    }
    return NULL;
}

bool wh_message_variable_bool(const struct wh_job_message *m, const char *name, bool absent)
{
    const char *value = wh_message_variable(m, name);
    if (wh_streq_ci(value, "true"))
        return true;
    return wh_streq_ci(value, "false") ? false : absent;
}

const struct wh_endpoint *wh_message_system_endpoint(const struct wh_job_message *m)
{
    static const struct wh_endpoint none;
    for (size_t i = 0; i < m->nendpoints; i++) {
        if (wh_streq_ci(m->endpoints[i].name, "SystemVssConnection"))
            return &m->endpoints[i];
    }
    return &none;
}

const char *wh_message_access_token(const struct wh_job_message *m)
{
    return wh_value_text(wh_object_get(wh_message_system_endpoint(m)->parameters, "AccessToken"));
}

const char *wh_message_endpoint_data(const struct wh_job_message *m, const char *key)
{
    const char *text = wh_value_text(wh_object_get(wh_message_system_endpoint(m)->data, key));
    return *text ? text : NULL;
}

/* github starts with token and job of the variables, which the message may override. */
static struct wh_value *github_context(const struct wh_job_message *m)
{
    struct wh_value *github = wh_value_object();
    const char *token = wh_message_variable(m, "system.github.token"),
               *job = wh_message_variable(m, "system.github.job");
    const struct wh_value *sent = wh_object_get(m->context_data, "github");
    if (token)
        wh_object_set_text(github, "token", token);
    if (job)
        wh_object_set_text(github, "job", job);
    for (size_t i = 0; i < wh_value_count(sent); i++)
        wh_object_setn(github, wh_object_key_at(sent, i), wh_object_key_len_at(sent, i),
                       wh_object_value_at(sent, i));
    return github;
}

static struct wh_value *secrets_context(const struct wh_job_message *m)
{
    struct wh_value *secrets = wh_value_object();
    for (size_t i = 0; i < m->nvariables; i++) {
        const struct wh_variable *v = &m->variables[i];
        bool system =
            wh_streq_ci(v->name, "system.accessToken") || wh_streq_ci(v->name, "system.github.token");
        if (v->secret && !system)
            wh_object_set_text(secrets, v->name, v->value);
    }
    return secrets;
}

static void start_empty(struct wh_value *contexts, const char *name, const struct wh_job_message *m)
{
    const struct wh_value *sent = wh_object_get(m->context_data, name);
    struct wh_value *own = wh_value_kind(sent) == WH_OBJECT ? wh_value_copy_shallow(sent) : wh_value_object();
    wh_object_set_take(contexts, name, own);
}

struct wh_value *wh_message_contexts(const struct wh_job_message *m)
{
    struct wh_value *contexts = wh_value_object();
    for (size_t i = 0; i < wh_value_count(m->context_data); i++)
        wh_object_set(contexts, wh_object_key_at(m->context_data, i), wh_object_value_at(m->context_data, i));
    wh_object_set_take(contexts, "github", github_context(m));
    wh_object_set_take(contexts, "secrets", secrets_context(m));
    wh_object_set_take(contexts, "env", wh_value_object_case_sensitive());
    start_empty(contexts, "steps", m);
    start_empty(contexts, "job", m);
    start_empty(contexts, "runner", m);
    return contexts;
}

/* ---- the process environment ---- */

static const char *const exported[] = {
    "action",
    "action_path",
    "action_ref",
    "action_repository",
    "actor",
    "actor_id",
    "api_url",
    "artifacts",
    "artifacts_list",
    "base_ref",
    "env",
    "event_name",
    "event_path",
    "graphql_url",
    "head_ref",
    "job",
    "output",
    "path",
    "ref",
    "ref_name",
    "ref_protected",
    "ref_type",
    "repository",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
    "retention_days",
    "run_attempt",
    "run_id",
    "run_number",
    "server_url",
    "sha",
    "state",
    "step_summary",
    "triggering_actor",
    "workflow",
    "workflow_ref",
    "workflow_sha",
    "workspace",
};

static void set_variable(char ***env, const char *prefix, const char *name, const char *value)
{
    wh_autofree char *variable = wh_printf("%s%s", prefix, name);
    wh_ascii_upper(variable);
    wh_env_set(env, variable, value);
}

void wh_context_export(const struct wh_value *github, const struct wh_value *runner, char ***env)
{
    for (size_t i = 0; i < WH_COUNT(exported); i++) {
        const struct wh_value *v = wh_object_get(github, exported[i]);
        if (wh_value_kind(v) != WH_STRING && wh_value_kind(v) != WH_BOOL)
            continue;
        wh_autofree char *text = wh_value_to_string(v);
        set_variable(env, "GITHUB_", exported[i], text);
    }
    for (size_t i = 0; i < wh_value_count(runner); i++) {
        wh_autofree char *text = wh_value_to_string(wh_object_value_at(runner, i));
        set_variable(env, "RUNNER_", wh_object_key_at(runner, i), text);
    }
}
