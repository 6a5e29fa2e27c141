/* Container hooks (job-execution.md §10): a program of the machine's owner runs the job's containers. It gets
 * a command as JSON on standard input, and answers in a file. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "wherry/base/digest.h"
#include "wherry/base/fs.h"
#include "worker/container.h"

#define MAX_RESPONSE ((size_t)4 << 20)
#define RESPONSES "_runner_hook_responses"

static const char failed_text[] = "Executing the custom container implementation failed. Please contact your "
                                  "self hosted runner administrator.";

bool wh_hooks_choose(struct wh_job *j)
{
    const char *path = wh_env_get(j->base_env, "ACTIONS_RUNNER_CONTAINER_HOOKS");
    /* GitHub turns them on by the job's variable; a local run has no such. */
    bool allowed =
        j->local || wh_message_variable_bool(j->message, "DistributedTask.AllowRunnerContainerHooks", false);
    if (path && path[0] && allowed)
        j->hooks = wh_strdup(path);
    return j->hooks != NULL;
}

/* ---- one call ---- */

static int make_response(struct wh_job *j, struct wh_error *err)
{
    char guid[37];
    wh_autofree char *folder = wh_path_join(j->dirs.temp, RESPONSES);
    if (wh_mkdir_p(folder, 0755, err) < 0)
        return -1;
    free(j->hook_response);
    j->hook_response = wh_printf("%s/%s.json", folder, wh_guid(guid));
    wh_autoclose int fd = open(j->hook_response, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return fd < 0 ? wh_fail_errno(err, "make %s", j->hook_response) : 0;
}

static int write_input(const struct wh_job *j, const char *command, cJSON *args_taken, struct wh_error *err)
{
    wh_autojson *input = cJSON_CreateObject();
    wh_json_add_string(input, "command", command);
    wh_json_add_string(input, "responseFile", j->hook_response);
    cJSON_AddItemToObject(input, "args", args_taken);
    if (j->hook_state)
        cJSON_AddItemToObject(input, "state", cJSON_Duplicate(j->hook_state, true));
    wh_autofree char *text = wh_json_print(input);
    wh_autoclose int fd = memfd_create("hook", MFD_CLOEXEC); /* it holds secrets: no file on a disk */
    if (fd < 0)
        return wh_fail_errno(err, "make a file in memory");
    if (wh_write_all(fd, text, strlen(text), err) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return -1;
    return wh_steal_fd(&fd);
}

static struct wh_child *start(struct wh_job *j, const char *command, cJSON *args_taken, struct wh_error *err)
{
    wh_autojson *args = args_taken;
    if (access(j->hooks, F_OK) < 0) {
        wh_fail(err, WH_E_NOT_FOUND,
                "File not found at '%s'. Set ACTIONS_RUNNER_CONTAINER_HOOKS to the path of an existing file.",
                j->hooks);
        return NULL;
    }
    wh_autostrv char **argv = wh_hook_argv(j, j->hooks);
    if (!argv) {
        wh_fail(err, WH_E_ARGUMENT,
                "Invalid file extension at '%s'. ACTIONS_RUNNER_CONTAINER_HOOKS must be a path to a file "
                "with one "
                "of the following extensions: .js, .sh, .ps1, and its interpreter must be installed",
                j->hooks);
        return NULL;
    }
    wh_say_debug(j, "Running container hook '%s' command '%s'", j->hooks, command);
    if (make_response(j, err) < 0)
        return NULL;
    wh_autoclose int input = write_input(j, command, wh_steal(&args), err);
    if (input < 0)
        return NULL;
    struct wh_run run = {.state = NULL};
    wh_autovalue *empty = wh_value_object_case_sensitive();
    run.env = empty;
    wh_autostrv char **environment = wh_environ_of(j, &run, NULL);
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    options.path = argv[0];
    options.argv = argv;
    options.env = environment;
    options.cwd = j->dirs.workspace;
    options.stdin_fd = input;
    return wh_run_child(j, &options, NULL, NULL, err);
}

/* The answer, which may be none: NULL without an error. */
static cJSON *take_response(struct wh_job *j, struct wh_error *err)
{
    wh_autofree char *path = wh_steal(&j->hook_response);
    wh_autostr text = {0};
    cJSON *response = NULL;
    if (!path)
        return NULL;
    int n = wh_read_file(AT_FDCWD, path, MAX_RESPONSE, &text, NULL);
    struct wh_view content = wh_view_trim(wh_view_of(wh_str_text(&text)));
    if (n >= 0 && content.len > 0) {
        response = wh_json_parse(content.data, content.len, MAX_RESPONSE, "the hook's response", err);
        const cJSON *state = wh_json_get(response, "state");
        if (cJSON_IsObject(state)) {
            cJSON_Delete(j->hook_state);
            j->hook_state = cJSON_Duplicate(state, true);
        }
    }
    (void)unlink(path);
    return response;
}

void wh_hooks_step_end(struct wh_job *j, struct wh_run *run)
{
    wh_autoerror err = {0};
    if (!j->hook_response)
        return;
    wh_autojson *response = take_response(j, &err);
    (void)response;
    if (err.code != WH_OK) {
        wh_say(j, "%s", wh_error_text(&err));
        run->result = WH_TASK_FAILED;
    }
    if (run->result == WH_TASK_FAILED)
        wh_say_error(j, "%s", failed_text);
}

/* In a step of the runner's own. */
static int call(struct wh_job *j, const char *command, cJSON *args_taken, cJSON **response,
                struct wh_error *err)
{
    struct wh_run *run = j->running;
    wh_autoerror why = {0};
    j->child = start(j, command, args_taken, &why);
    if (j->child) {
        wh_run_wait(j, run);
        if (run->result == WH_TASK_FAILED)
            wh_fail(&why, WH_E_FAILED,
                    "The hook script at '%s' running command '%s' did not execute successfully", j->hooks,
                    command);
        else
            *response = take_response(j, &why);
    }
    if (why.code == WH_OK)
        return 0;
    wh_say(j, "%s", wh_error_text(&why));
    return wh_fail(err, WH_E_FAILED, "%s", failed_text);
}

/* ---- a container, with the protocol's names ---- */

static void add_mount(cJSON *list, const char *source, const char *target, bool readonly)
{
    cJSON *one = cJSON_CreateObject();
    wh_json_add_string(one, "sourceVolumePath", source);
    wh_json_add_string(one, "targetVolumePath", target);
    cJSON_AddBoolToObject(one, "readOnly", readonly);
    cJSON_AddItemToArray(list, one);
}

/* As GitHub's runner takes a volume apart, which is less than docker does. */
static void add_volume(cJSON *list, const char *text)
{
    wh_autostrv char **parts = wh_strv_split(text, ':');
    size_t n = wh_strv_len(parts);
    bool readonly = (n == 3 && wh_streq_ci(parts[2], "ro")) || (n == 2 && wh_streq_ci(parts[1], "ro"));
    if (n == 3 || (n == 2 && !readonly))
        add_mount(list, parts[0], parts[1], readonly);
    else
        add_mount(list, NULL, n == 2 ? parts[0] : text, readonly);
    wh_json_add_string(cJSON_GetArrayItem(list, cJSON_GetArraySize(list) - 1), "userProvidedValue", text);
}

static void add_texts(cJSON *object, const char *name, char *const *texts)
{
    cJSON *list = cJSON_AddArrayToObject(object, name);
    for (size_t i = 0; texts && texts[i]; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(texts[i]));
}

/* Words at blanks, quotes and all, as GitHub's runner cuts them. */
static void add_words(cJSON *object, const char *name, const char *text)
{
    wh_autostrv char **words = text ? wh_strv_split(text, ' ') : NULL;
    cJSON *list = cJSON_AddArrayToObject(object, name);
    for (size_t i = 0; words && words[i]; i++)
        if (words[i][0])
            cJSON_AddItemToArray(list, cJSON_CreateString(words[i]));
}

static void add_job_folders(const struct wh_job *j, cJSON *list)
{
    struct wh_container_folder folders[WH_CONTAINER_FOLDERS];
    size_t n = wh_container_folders(j, folders);
    for (size_t i = 0; i < n; i++)
        add_mount(list, folders[i].source, folders[i].target, folders[i].readonly);
    wh_container_folders_clear(folders, n);
}

static cJSON *container_object(const struct wh_job *j, const struct wh_jobcontainer *c)
{
    cJSON *object = cJSON_CreateObject();
    wh_autofree char *directory = wh_container_path(j, j->dirs.workspace);
    wh_json_add_string(object, "contextName", c->alias);
    wh_json_add_string(object, "image", c->image);
    wh_json_add_string(object, "entryPoint", c->entrypoint);
    add_words(object, "entryPointArgs", c->command);
    if (!c->alias)
        wh_json_add_string(object, "workingDirectory", directory);
    wh_json_add_string(object, "createOptions", c->options);
    cJSON *env = cJSON_AddObjectToObject(object, "environmentVariables");
    for (size_t i = 0; i < wh_value_count(c->env); i++) {
        wh_autofree char *value = wh_value_to_string(wh_object_value_at(c->env, i));
        wh_json_add_string(env, wh_object_key_at(c->env, i), value);
    }
    if (!c->alias)
        wh_json_add_string(env, "HOME", "/github/home");
    cJSON *user = cJSON_AddArrayToObject(object, "userMountVolumes");
    cJSON *system = cJSON_AddArrayToObject(object, "systemMountVolumes");
    for (size_t i = 0; c->volumes && c->volumes[i]; i++)
        add_volume(user, c->volumes[i]);
    if (!c->alias)
        add_job_folders(j, system);
    add_texts(object, "portMappings", c->ports);
    if (c->user && c->user[0]) {
        wh_autofree char *registry = wh_container_registry(c->image);
        cJSON *login = cJSON_AddObjectToObject(object, "registry");
        wh_json_add_string(login, "username", c->user);
        wh_json_add_string(login, "password", c->password);
        wh_json_add_string(login, "serverUrl", registry);
    }
    return object;
}

/* ---- prepare_job, cleanup_job ---- */

static void take_service(struct wh_jobcontainer *c, const cJSON *answer)
{
    const cJSON *port;
    c->id = wh_strdup(wh_json_string(answer, "id") ? wh_json_string(answer, "id") : "");
    c->network = wh_strdup(wh_json_string(answer, "network"));
    c->mapped = wh_value_object();
    cJSON_ArrayForEach(port, wh_json_get(answer, "ports"))
    {
        wh_autofree char *value = wh_json_text(wh_json_get(answer, "ports"), port->string);
        if (value)
            wh_object_set_text(c->mapped, port->string, value);
    }
}

static void take_context(struct wh_job *j, const cJSON *context)
{
    const cJSON *container = wh_json_get(context, "container");
    const char *id = wh_json_string(container, "id");
    const char *network = wh_json_string(container, "network");
    if (j->container && id)
        j->container->id = wh_strdup(id);
    if (j->container && network)
        j->container->network = wh_strdup(network);
    if (network)
        j->network = wh_strdup(network);
    for (size_t i = 0; i < j->nservices; i++) {
        const cJSON *answer = cJSON_GetArrayItem(wh_json_get(context, "services"), (int)i);
        if (answer)
            take_service(j->services[i], answer);
    }
}

int wh_hooks_prepare_job(struct wh_job *j, struct wh_error *err)
{
    cJSON *args = cJSON_CreateObject();
    wh_autojson *response = NULL;
    if (j->container)
        cJSON_AddItemToObject(args, "container", container_object(j, j->container));
    cJSON *services = cJSON_AddArrayToObject(args, "services");
    for (size_t i = 0; i < j->nservices; i++)
        cJSON_AddItemToArray(services, container_object(j, j->services[i]));
    if (call(j, "prepare_job", args, &response, err) < 0)
        return -1;
    const cJSON *alpine = wh_json_get(response, "isAlpine");
    if (j->container && !cJSON_IsBool(alpine)) {
        wh_say(j, "The property 'isAlpine' is required but was not found in the response file.");
        return wh_fail(err, WH_E_FAILED, "%s", failed_text);
    }
    j->container_alpine = cJSON_IsTrue(alpine);
    take_context(j, wh_json_get(response, "context"));
    return 0;
}

int wh_hooks_cleanup_job(struct wh_job *j, struct wh_error *err)
{
    wh_autojson *response = NULL;
    return call(j, "cleanup_job", cJSON_CreateObject(), &response, err);
}

/* ---- steps ---- */

static cJSON *env_object(const cJSON *list)
{
    cJSON *object = cJSON_CreateObject();
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        const char *equals = cJSON_IsString(item) ? strchr(item->valuestring, '=') : NULL;
        wh_autofree char *name =
            equals ? wh_strndup(item->valuestring, (size_t)(equals - item->valuestring)) : NULL;
        if (!name)
            continue;
        cJSON_DeleteItemFromObjectCaseSensitive(object, name);
        wh_json_add_string(object, name, equals + 1);
    }
    return object;
}

struct wh_child *wh_hooks_script_step(struct wh_job *j, char *const *argv, const cJSON *environment,
                                      const char *folder, struct wh_error *err)
{
    cJSON *args = cJSON_CreateObject();
    add_texts(args, "entryPointArgs", argv + 1);
    wh_json_add_string(args, "entryPoint", argv[0]);
    cJSON_AddItemToObject(args, "environmentVariables", env_object(environment));
    cJSON *prepends = cJSON_AddArrayToObject(args, "prependPath");
    for (size_t i = wh_strv_len(j->prepends); i-- > 0;) {
        wh_autofree char *path = wh_container_path(j, j->prepends[i]);
        cJSON_AddItemToArray(prepends, cJSON_CreateString(path));
    }
    wh_json_add_string(args, "workingDirectory", folder);
    return start(j, "run_script_step", args, err);
}

struct wh_child *wh_hooks_container_step(struct wh_job *j, const cJSON *request, const char *args_text,
                                         const char *dockerfile, struct wh_error *err)
{
    cJSON *args = cJSON_CreateObject();
    const cJSON *item;
    if (dockerfile)
        wh_json_add_string(args, "dockerfile", dockerfile);
    else
        wh_json_add_string(args, "image", wh_json_string(request, "image"));
    const cJSON *entrypoint = cJSON_GetArrayItem(wh_json_get(request, "entrypoint"), 0);
    if (cJSON_IsString(entrypoint))
        wh_json_add_string(args, "entryPoint", entrypoint->valuestring);
    add_words(args, "entryPointArgs", args_text);
    wh_json_add_string(args, "workingDirectory", wh_json_string(request, "workdir"));
    cJSON_AddItemToObject(args, "environmentVariables", env_object(wh_json_get(request, "env")));
    (void)cJSON_AddArrayToObject(args, "userMountVolumes");
    cJSON *mounts = cJSON_AddArrayToObject(args, "systemMountVolumes");
    cJSON_ArrayForEach(item, wh_json_get(request, "mounts"))
        add_mount(mounts, wh_json_string(item, "source"), wh_json_string(item, "target"), false);
    (void)cJSON_AddArrayToObject(args, "portMappings");
    cJSON *prepends = cJSON_AddArrayToObject(args, "prependPath");
    for (size_t i = wh_strv_len(j->prepends); i-- > 0;)
        cJSON_AddItemToArray(prepends, cJSON_CreateString(j->prepends[i]));
    return start(j, "run_container_step", args, err);
}
