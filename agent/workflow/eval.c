/* Values of a workflow file that are known only when a job is reached. */
#include "workflow/workflow_internal.h"

struct asked {
    struct wh_template_env env;
    struct wh_token *token;
    char *files[2];
};

static int ask(struct asked *a, const struct wh_workflow *w, const struct wh_yaml *node, enum wh_place place,
               const struct wh_value *contexts, struct wh_error *err)
{
    struct wh_convert t = {.file = w->file};
    *a = (struct asked){.files = {w->file, NULL}};
    a->token = wh_convert_token(&t, node, place, err);
    a->env = (struct wh_template_env){
        .eval = {.contexts = contexts}, .allows = wh_place_allows(place), .file_table = a->files};
    return a->token ? 0 : -1;
}

/* The single error says more than "The template is not valid" around it. */
static int answered(struct asked *a, int code, struct wh_error *err)
{
    if (code < 0 && a->env.errors && a->env.errors[0])
        wh_fail(err, WH_E_PARSE, "%s", a->env.errors[0]);
    wh_strv_free(a->env.errors);
    wh_token_free(a->token);
    return code;
}

struct wh_value *wh_workflow_eval(const struct wh_workflow *w, const struct wh_yaml *node,
                                  enum wh_place place, const struct wh_value *contexts, struct wh_error *err)
{
    struct asked a;
    if (ask(&a, w, node, place, contexts, err) < 0)
        return NULL;
    struct wh_value *value = wh_token_eval(a.token, &a.env, err);
    (void)answered(&a, value ? 0 : -1, err);
    return value;
}

char *wh_workflow_eval_text(const struct wh_workflow *w, const struct wh_yaml *node, enum wh_place place,
                            const struct wh_value *contexts, struct wh_error *err)
{
    struct asked a;
    char *text = NULL;
    if (ask(&a, w, node, place, contexts, err) < 0)
        return NULL;
    int code = wh_token_eval_string(a.token, &a.env, &text, err);
    if (answered(&a, code, err) < 0)
        return NULL;
    return text ? text : wh_strdup("");
}

int wh_workflow_eval_bool(const struct wh_workflow *w, const struct wh_yaml *node, enum wh_place place,
                          const struct wh_value *contexts, bool *out, struct wh_error *err)
{
    struct asked a;
    bool set = false;
    if (ask(&a, w, node, place, contexts, err) < 0)
        return -1;
    return answered(&a, wh_token_eval_bool(a.token, &a.env, &set, out, err), err);
}

int wh_workflow_eval_number(const struct wh_workflow *w, const struct wh_yaml *node, enum wh_place place,
                            const struct wh_value *contexts, double *out, struct wh_error *err)
{
    struct asked a;
    bool set = false;
    if (ask(&a, w, node, place, contexts, err) < 0)
        return -1;
    return answered(&a, wh_token_eval_number(a.token, &a.env, &set, out, err), err);
}

int wh_workflow_check_places(const struct wh_workflow *w, const struct wh_yaml *job, struct wh_error *err)
{
    static const struct {
        const char *key;
        enum wh_place place;
    } places[] = {{"name", WH_PLACE_JOB},
                  {"runs-on", WH_PLACE_JOB},
                  {"strategy", WH_PLACE_JOB_STRATEGY},
                  {"timeout-minutes", WH_PLACE_JOB},
                  {"continue-on-error", WH_PLACE_JOB},
                  {"concurrency", WH_PLACE_JOB},
                  {"with", WH_PLACE_JOB},
                  {"secrets", WH_PLACE_JOB_ENV}};
    struct wh_convert t = {.file = w->file};
    for (size_t i = 0; i < WH_COUNT(places); i++) {
        const struct wh_yaml *node = wh_yaml_get(job, places[i].key);
        wh_autotoken *token = node ? wh_convert_token(&t, node, places[i].place, err) : NULL;
        if (node && !token)
            return -1;
    }
    return 0;
}
