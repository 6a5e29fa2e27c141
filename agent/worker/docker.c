/* Docker actions: their images before the first step, their containers in its place (job-execution.md §7.4).
 */
#include <stdio.h>
#include <unistd.h>

#include "wherry/base/digest.h"
#include "wherry/base/fs.h"
#include "wherry/build/engine.h"
#include "wherry/build/request.h"
#include "wherry/progress/render.h"
#include "worker/container.h"

bool wh_is_docker(const struct wh_run *run)
{
    return run->step->reference.type == WH_REFERENCE_CONTAINER ||
           (run->foreign && run->foreign->manifest->kind == WH_MANIFEST_DOCKER);
}

static const char *prebuilt(const struct wh_run *run)
{
    if (run->step->reference.type == WH_REFERENCE_CONTAINER)
        return run->step->reference.image;
    const char *image = run->foreign->manifest->image;
    return wh_starts_with_ci(image, "docker://") ? image + strlen("docker://") : NULL;
}

/* ---- images ---- */

static int pull(struct wh_job *j, const char *image, struct wh_error *err)
{
    wh_autojson *request = cJSON_CreateObject();
    wh_json_add_string(request, "type", "pull");
    wh_json_add_string(request, "image", image);
    wh_engine_add_login(request, image);
    wh_say(j, "##[group]Pull down action image '%s'", image);
    int n = j->container_host == &wh_container_docker ? wh_container_docker_pull(j, image, err)
                                                      : wh_engine_ask(j, request, NULL, err);
    wh_say(j, "##[endgroup]");
    return n;
}

struct build {
    const char *engine, *file, *folder, *tag;
};

static void on_event(void *progress, const struct wh_progress_event *event)
{
    wh_progress_feed(progress, event);
}

static int build_main(void *data)
{
    const struct build *b = data;
    wh_autoerror err = {0};
    wh_autorequest *request = wh_build_request_new();
    struct wh_build_result result = {0};
    wh_autoclose int sock = wh_engine_connect(b->engine, &err);
    int n = sock < 0 ? -1 : wh_build_request_load(request, b->folder, b->file, &err);
    if (n == 0) {
        wh_strv_add(&request->tags, b->tag);
        (void)wh_build_request_add_output(request, "image", -1);
        struct wh_progress *progress = wh_progress_new(WH_STYLE_PLAIN, STDOUT_FILENO, NULL);
        struct wh_build_client client = {.data = progress, .event = on_event};
        n = wh_build_client_run(sock, request, &client, &result, &err);
        wh_progress_finish(progress, n == 0 && result.ok);
        wh_progress_free(progress);
        if (n == 0 && !result.ok)
            n = wh_fail(&err, WH_E_FAILED, "%s", result.error ? result.error : "the build failed");
    }
    wh_build_result_clear(&result);
    if (n < 0)
        printf("%s\n", wh_error_text(&err));
    return n < 0;
}

static bool is_dockerfile(const char *image)
{
    const char *slash = strrchr(image, '/');
    const char *last = slash ? slash + 1 : image;
    size_t len = strlen(last);
    return wh_starts_with_ci(last, "Dockerfile.") ||
           (len >= 10 && wh_streq_ci(last + len - 10, "Dockerfile"));
}

/* By our own builder. The image's name, owned. */
static char *build_here(struct wh_job *j, const char *file, const char *folder, struct wh_error *err)
{
    char guid[37];
    wh_autofree char *tag = wh_printf("wherry-action:%.8s", wh_guid(guid));
    if (wh_engine_ensure(j, err) < 0)
        return NULL;
    struct build b = {.engine = j->engine, .file = file, .folder = folder, .tag = tag};
    int code = wh_helper_run(j, build_main, &b, NULL, err);
    if (code > 0)
        wh_fail(err, WH_E_FAILED, "Docker build failed with exit code %d", code);
    return code == 0 ? wh_steal(&tag) : NULL;
}

/* Built once a job; the name that the image has then. */
static const char *build(struct wh_job *j, const struct wh_run *run, const char *title, struct wh_error *err)
{
    const char *image = run->foreign->manifest->image;
    if (!image || !is_dockerfile(image)) {
        wh_fail(err, WH_E_ARGUMENT, "'%s' should be either '[path]/Dockerfile' or 'docker://image[:tag]'.",
                image ? image : "");
        return NULL;
    }
    wh_autofree char *file = wh_path_join(run->foreign->directory, image);
    wh_autofree char *folder = wh_strndup(file, (size_t)(strrchr(file, '/') - file));
    if (!j->built)
        j->built = cJSON_CreateObject();
    const char *known = wh_json_string(j->built, file);
    if (known)
        return known;
    wh_say(j, "##[group]%s", title);
    wh_autofree char *tag = j->container_host == &wh_container_docker
                                ? wh_container_docker_build(j, file, folder, err)
                                : build_here(j, file, folder, err);
    wh_say(j, "##[endgroup]");
    if (!tag)
        return NULL;
    cJSON_AddStringToObject(j->built, file, tag);
    return wh_json_string(j->built, file);
}

/* ---- pulls and builds as steps of their own ---- */

static void conclude(struct wh_job *j, struct wh_run *run, int n, const struct wh_error *err)
{
    run->result = n < 0 ? WH_TASK_FAILED : WH_TASK_SUCCEEDED;
    if (n < 0)
        wh_say_error(j, "%s", wh_error_text(err));
}

static void execute_pull(struct wh_job *j, struct wh_run *run)
{
    wh_autoerror err = {0};
    conclude(j, run, pull(j, run->text, &err), &err);
}

static void execute_build(struct wh_job *j, struct wh_run *run)
{
    wh_autoerror err = {0};
    wh_autofree char *file = wh_path_join(run->foreign->directory, run->foreign->manifest->image);
    wh_autofree char *title = wh_printf("Build container for action use: '%s'.", file);
    conclude(j, run, build(j, run, title, &err) ? 0 : -1, &err);
}

static void add_pre(struct wh_job *j, const struct wh_run *run, char ***seen)
{
    static const struct wh_special puller = {.condition = "success()", .execute = execute_pull};
    static const struct wh_special builder = {.condition = "success()", .execute = execute_build};
    for (size_t i = 0; i < run->nchildren; i++)
        add_pre(j, run->children[i], seen);
    if (!wh_is_docker(run))
        return;
    const char *image = prebuilt(run);
    wh_autofree char *reference = wh_step_reference_text(&run->step->reference);
    const char *what = image ? image : reference;
    if (wh_strv_has(*seen, what))
        return;
    wh_strv_add(seen, what);
    wh_autofree char *display = wh_printf("%s %s", image ? "Pull" : "Build", what);
    struct wh_run *pre = wh_special_new(image ? &puller : &builder, display, image);
    pre->foreign = run->foreign;
    wh_special_add_pre(j, pre);
}

void wh_docker_add_pres(struct wh_job *j)
{
    wh_autostrv char **seen = NULL;
    if (j->hooks) /* they pull and build for themselves */
        return;
    for (size_t i = 0; i < j->nmains; i++)
        add_pre(j, j->mains[i], &seen);
}

/* ---- the environment ---- */

char *wh_mapped_path(const struct wh_mapping *map, size_t n, const char *path)
{
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(map[i].from);
        if (strncmp(path, map[i].from, len) == 0 && (path[len] == '/' || path[len] == '\0'))
            return wh_printf("%s%s", map[i].to, path + len);
    }
    return wh_strdup(path);
}

cJSON *wh_container_env(const struct wh_job *j, char *const *environment, const struct wh_mapping *map,
                        size_t n)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; environment[i]; i++) {
        const char *equals = strchr(environment[i], '=');
        if (!equals)
            continue;
        wh_autofree char *name = wh_strndup(environment[i], (size_t)(equals - environment[i]));
        const char *machines = wh_env_get(j->base_env, name);
        if (machines && wh_streq(machines, equals + 1))
            continue;
        wh_autofree char *value = wh_mapped_path(map, n, equals + 1);
        wh_autofree char *entry = wh_printf("%s=%s", name, value);
        cJSON_AddItemToArray(list, cJSON_CreateString(entry));
    }
    return list;
}

/* ---- the container ---- */

static void add_mount(cJSON *mounts, const char *source, const char *target)
{
    cJSON *one = cJSON_CreateObject();
    wh_json_add_string(one, "source", source);
    wh_json_add_string(one, "target", target);
    cJSON_AddItemToArray(mounts, one);
}

static const char *entrypoint_of(const struct wh_run *run, const struct wh_value *inputs)
{
    const struct wh_action_manifest *m = run->foreign ? run->foreign->manifest : NULL;
    if (m && run->stage == WH_STAGE_PRE)
        return m->pre;
    if (m && run->stage == WH_STAGE_POST)
        return m->post;
    if (m && m->main)
        return m->main;
    const struct wh_value *own = wh_object_get(inputs, "entryPoint");
    return own && wh_value_text(own)[0] ? wh_value_text(own) : NULL;
}

/* Of the manifest, seeing the inputs alone; else what the step's input `args` says. */
static int add_args(struct wh_job *j, const struct wh_run *run, const struct wh_value *inputs, cJSON *request,
                    struct wh_error *err)
{
    cJSON *args = cJSON_AddArrayToObject(request, "args");
    const struct wh_token *token = run->foreign ? run->foreign->manifest->args : NULL;
    if (!token) {
        const struct wh_value *own = wh_object_get(inputs, "args");
        wh_autostrv char **words = own ? wh_split_arguments(wh_value_text(own)) : NULL;
        for (size_t i = 0; words && words[i]; i++)
            cJSON_AddItemToArray(args, cJSON_CreateString(words[i]));
        return 0;
    }
    wh_autovalue *contexts = wh_value_object();
    wh_object_set(contexts, "inputs", inputs);
    struct wh_template_env env = wh_context_template(j, WH_PLACE_ACTION_ARGS);
    env.eval.contexts = contexts;
    wh_autovalue *list = wh_token_eval(token, &env, err);
    wh_strv_free(env.errors);
    if (!list)
        return -1;
    for (size_t i = 0; i < wh_value_count(list); i++) {
        wh_autofree char *text = wh_value_to_string(wh_array_at(list, i));
        cJSON_AddItemToArray(args, cJSON_CreateString(text));
    }
    return 0;
}

/* The manifest's env fills only what is unset. */
static int add_env(struct wh_job *j, const struct wh_run *run, const struct wh_value *inputs, cJSON *list,
                   char *const *environment, struct wh_error *err)
{
    const struct wh_token *token = run->foreign ? run->foreign->manifest->env : NULL;
    if (!token)
        return 0;
    wh_autovalue *contexts = wh_value_object();
    wh_object_set(contexts, "inputs", inputs);
    struct wh_template_env env = wh_context_template(j, WH_PLACE_ACTION_ARGS);
    env.eval.contexts = contexts;
    wh_autovalue *values = wh_token_eval_strings(token, true, &env, err);
    wh_strv_free(env.errors);
    if (!values)
        return -1;
    for (size_t i = 0; i < wh_value_count(values); i++) {
        const char *name = wh_object_key_at(values, i);
        if (wh_env_get(environment, name))
            continue;
        wh_autofree char *entry = wh_printf("%s=%s", name, wh_value_text(wh_object_value_at(values, i)));
        cJSON_AddItemToArray(list, cJSON_CreateString(entry));
    }
    return 0;
}

static cJSON *run_request(struct wh_job *j, struct wh_run *run, const struct wh_value *inputs,
                          const char *image, struct wh_error *err)
{
    wh_autofree char *workflow = wh_path_join(j->dirs.temp, "_github_workflow");
    const struct wh_mapping map[] = {{j->dirs.commands, "/github/file_commands"},
                                     {workflow, "/github/workflow"},
                                     {j->dirs.home, "/github/home"},
                                     {j->dirs.temp, "/github/runner_temp"},
                                     {j->dirs.workspace, "/github/workspace"}};
    wh_autojson *request = cJSON_CreateObject();
    wh_autostrv char **environment = wh_environ_of(j, run, inputs);
    if (!wh_object_has(run->env, "PATH")) /* what steps put before it is no path of the image */
        wh_env_set(&environment, "PATH", NULL);
    wh_json_add_string(request, "type", "run");
    wh_json_add_string(request, "image", image);
    wh_json_add_string(request, "workdir", "/github/workspace");
    wh_json_add_string(request, "network", j->network ? j->network : "bridge");
    cJSON_AddItemToObject(request, "loopback", wh_container_loopback(environment));
    if (prebuilt(run))
        wh_engine_add_login(request, image);
    const char *entrypoint = entrypoint_of(run, inputs);
    if (entrypoint)
        cJSON_AddItemToArray(cJSON_AddArrayToObject(request, "entrypoint"), cJSON_CreateString(entrypoint));
    cJSON *mounts = cJSON_AddArrayToObject(request, "mounts");
    for (size_t i = 0; i < WH_COUNT(map); i++)
        add_mount(mounts, map[i].from, map[i].to);
    cJSON *env = wh_container_env(j, environment, map, WH_COUNT(map));
    cJSON_AddItemToObject(request, "env", env);
    cJSON_AddItemToArray(env, cJSON_CreateString("HOME=/github/home"));
    cJSON *own = cJSON_AddArrayToObject(request, "own");
    cJSON_AddItemToArray(own, cJSON_CreateString(j->dirs.workspace));
    cJSON_AddItemToArray(own, cJSON_CreateString(j->dirs.temp));
    if (add_args(j, run, inputs, request, err) < 0 || add_env(j, run, inputs, env, environment, err) < 0)
        return NULL;
    return wh_steal(&request);
}

/* One command line, as GitHub's runner gives it to docker and, cut at its blanks, to hooks. Owned. */
static char *args_text(const struct wh_run *run, const struct wh_value *inputs, const cJSON *request)
{
    const struct wh_value *own = wh_object_get(inputs, "args");
    if (!run->foreign || !run->foreign->manifest->args)
        return own ? wh_value_to_string(own) : NULL;
    wh_autostr text = {0};
    const cJSON *arg;
    cJSON_ArrayForEach(arg, wh_json_get(request, "args"))
    {
        wh_str_add(&text, " \"");
        for (const char *c = arg->valuestring; *c; c++) {
            if (*c == '"')
                wh_str_addc(&text, '\\');
            wh_str_addc(&text, *c);
        }
        wh_str_addc(&text, '"');
    }
    return wh_str_steal(&text);
}

struct wh_child *wh_docker_start(struct wh_job *j, struct wh_run *run, struct wh_error *err)
{
    wh_autovalue *inputs = wh_inputs_evaluate(j, run, err);
    if (!inputs)
        return NULL;
    wh_inputs_say_header(j, run, inputs);
    const char *image = prebuilt(run);
    if (j->hooks) {
        wh_autofree char *file =
            image ? NULL : wh_path_join(run->foreign->directory, run->foreign->manifest->image);
        wh_autojson *asked = run_request(j, run, inputs, image, err);
        wh_autofree char *args = asked ? args_text(run, inputs, asked) : NULL;
        return asked ? wh_hooks_container_step(j, asked, args, file, err) : NULL;
    }
    if (!image)
        image = build(j, run, "Building docker image", err);
    wh_autojson *request = image ? run_request(j, run, inputs, image, err) : NULL;
    if (request && j->container_host == &wh_container_docker)
        return wh_container_docker_run(j, request, err);
    return request ? wh_engine_step(j, request, err) : NULL;
}
