/* Containers by the docker that is installed (settings: containers.engine), with the calls and the words of
 * GitHub's runner (job-execution.md §7.4, §10). */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "wherry/base/clock.h"
#include "wherry/base/digest.h"
#include "wherry/base/fs.h"
#include "worker/container.h"

#define TRIES 3
#define BACK_OFF_LEAST_MS 1000u
#define BACK_OFF_MOST_MS 10000u
#define LEAST_API "1.35"
#define SOCKET "/var/run/docker.sock"

/* ---- calls ---- */

struct capture {
    struct wh_job *job;
    char **lines; /* owned; what is not empty */
};

static void on_line(void *data, const char *text, size_t len)
{
    struct capture *c = data;
    if (len == 0)
        return;
    wh_say_text(c->job, "", text, len);
    wh_strv_take(&c->lines, wh_strndup(text, len));
}

static char **docker_words(const struct wh_job *j)
{
    char **words = NULL;
    wh_strv_add(&words, j->docker);
    return words;
}

static void add(char ***words, const char *first, const char *second)
{
    wh_strv_add(words, first);
    if (second)
        wh_strv_add(words, second);
}

/* Says the call and its lines; the exit code, or negative where it could not start. lines: may be NULL. */
static int run_docker(struct wh_job *j, char *const *words, const char *input, char ***lines,
                      struct wh_error *err)
{
    struct capture capture = {.job = j};
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    wh_autofree char *shown = wh_strv_join(words, " ");
    wh_autoclose int in = input ? memfd_create("input", MFD_CLOEXEC) : -1;
    wh_say(j, "##[command]%s", shown);
    if (input && (in < 0 || wh_write_all(in, input, strlen(input), err) < 0 || lseek(in, 0, SEEK_SET) < 0))
        return wh_fail(err, WH_E_IO, "hand docker its input");
    options.path = words[0];
    options.argv = (char **)(uintptr_t)words;
    options.env = j->base_env;
    options.cwd = j->dirs.workspace;
    options.stdin_fd = in;
    const struct wh_child_events events = {.line = on_line, .data = &capture};
    struct wh_child *child = wh_child_start(&j->loop, &options, NULL, NULL, &events, NULL, err);
    if (!child)
        return -1;
    while (!wh_child_finished(child)) {
        wh_job_turn(j);
        if (j->cancel != WH_CANCEL_NONE)
            wh_child_cancel(child);
    }
    int code = wh_child_exit(child)->code;
    wh_child_free(child);
    if (lines)
        *lines = capture.lines;
    else
        wh_strv_free(capture.lines);
    return code;
}

/* A call that must succeed. */
static int must(struct wh_job *j, char *const *words, const char *what, char ***lines, struct wh_error *err)
{
    int code = run_docker(j, words, NULL, lines, err);
    if (code > 0)
        wh_fail(err, WH_E_FAILED, "Docker %s failed with exit code %d", what, code);
    return code == 0 ? 0 : -1;
}

/* Three times, some seconds apart. */
static int try_thrice(struct wh_job *j, char *const *words, const char *input, const char *what,
                      struct wh_error *err)
{
    int code = 0;
    for (int i = 0; i < TRIES; i++) {
        code = run_docker(j, words, input, NULL, err);
        if (code <= 0 || j->cancel != WH_CANCEL_NONE || i == TRIES - 1)
            break;
        uint64_t ms = wh_jitter(BACK_OFF_LEAST_MS, BACK_OFF_MOST_MS);
        wh_say_warning(j, "Docker %s failed with exit code %d, back off %.3g seconds before retry.", what,
                       code, (double)ms / 1000);
        wh_container_pause(j, ms);
    }
    if (code > 0)
        wh_fail(err, WH_E_FAILED, "Docker %s failed with exit code %d", what, code);
    return code == 0 ? 0 : -1;
}

/* What marks the containers of this runner, so that those of a job that broke off are found. */
static char *label_of(const struct wh_job *j)
{
    const char *name = wh_json_string(j->runner, "name");
    wh_autofree char *text = wh_printf("%s %s", name ? name : "", j->dirs.work);
    struct wh_digest digest;
    char hex[WH_DIGEST_TEXT];
    wh_digest_of(text, strlen(text), &digest);
    return wh_strndup(wh_digest_text(&digest, hex) + strlen("sha256:"), 6);
}

int wh_container_docker_choose(struct wh_job *j, struct wh_error *err)
{
    if (j->docker)
        return 0;
    j->docker = wh_find_program("docker", wh_env_get(j->base_env, "PATH"), false);
    if (j->docker)
        return 0;
    return wh_fail(
        err, WH_E_NOT_FOUND,
        "containers.engine is docker, and there is no docker on PATH: install it, or let wherry run "
        "containers itself (containers.engine: builtin)");
}

/* ---- the network ---- */

static int check_version(struct wh_job *j, struct wh_error *err)
{
    static const char *const asked[][2] = {{"Server", "daemon"}, {"Client", "client"}};
    unsigned major = 0;
    unsigned minor = 0;
    wh_say(j, "##[group]Checking docker version");
    for (size_t i = 0; i < WH_COUNT(asked); i++) {
        wh_autostrv char **words = docker_words(j);
        wh_autostrv char **lines = NULL;
        add(&words, "version", "--format");
        wh_strv_take(&words, wh_printf("{{.%s.APIVersion}}", asked[i][0]));
        if (must(j, words, "version", &lines, err) < 0)
            return -1;
        const char *version = lines ? lines[0] : "";
        wh_say(j, "Docker %s API version: %s", asked[i][1], version);
        if (sscanf(version, "%u.%u", &major, &minor) != 2 || major < 1 || (major == 1 && minor < 35))
            return wh_fail(err, WH_E_UNSUPPORTED,
                           "Min required docker engine API %s version is '" LEAST_API
                           "', your docker ('%s') %s version is '%s'",
                           i == 0 ? "server" : "client", j->docker, i == 0 ? "server" : "client", version);
    }
    wh_say(j, "##[endgroup]");
    return 0;
}

static void clean_up(struct wh_job *j, const char *label)
{
    wh_autostrv char **words = docker_words(j);
    wh_autostrv char **stale = NULL;
    wh_autofree char *filter = wh_printf("label=%s", label);
    wh_say(j, "##[group]Clean up resources from previous jobs");
    add(&words, "ps", "--all");
    add(&words, "--quiet", "--no-trunc");
    add(&words, "--filter", filter);
    (void)run_docker(j, words, NULL, &stale, NULL);
    for (size_t i = 0; stale && stale[i]; i++) {
        wh_autostrv char **remove = docker_words(j);
        add(&remove, "rm", "--force");
        wh_strv_add(&remove, stale[i]);
        int code = run_docker(j, remove, NULL, NULL, NULL);
        if (code != 0)
            wh_say_warning(
                j, "Delete stale containers failed, docker rm fail with exit code %d for container %s", code,
                stale[i]);
    }
    wh_autostrv char **prune = docker_words(j);
    add(&prune, "network", "prune");
    add(&prune, "--force", "--filter");
    wh_strv_add(&prune, filter);
    int code = run_docker(j, prune, NULL, NULL, NULL);
    if (code != 0)
        wh_say_warning(
            j, "Delete stale container networks failed, docker network prune fail with exit code %d", code);
    wh_say(j, "##[endgroup]");
}

static int open_network(struct wh_job *j, struct wh_error *err)
{
    wh_autofree char *label = label_of(j);
    wh_autostrv char **words = docker_words(j);
    if (check_version(j, err) < 0)
        return -1;
    clean_up(j, label);
    wh_say(j, "##[group]Create local container network");
    add(&words, "network", "create");
    add(&words, "--label", label);
    wh_strv_add(&words, j->network);
    int n = must(j, words, "network create", NULL, err);
    wh_say(j, "##[endgroup]");
    return n;
}

static void close_network(struct wh_job *j)
{
    wh_autostrv char **words = docker_words(j);
    wh_say(j, "Remove container network: %s", j->network);
    add(&words, "network", "rm");
    wh_strv_add(&words, j->network);
    int code = run_docker(j, words, NULL, NULL, NULL);
    if (code != 0)
        wh_say_warning(j, "Docker network rm failed with exit code %d", code);
}

/* ---- starting one ---- */

/* A login of the pull's own, in a folder that is gone after it. config: owned by the caller; NULL: none. */
static int log_in(struct wh_job *j, const struct wh_jobcontainer *c, char **config, struct wh_error *err)
{
    char guid[37];
    if (!c->user || !c->user[0] || !c->password || !c->password[0])
        return 0;
    wh_autofree char *registry = wh_container_registry(c->image);
    wh_autostrv char **words = docker_words(j);
    *config = wh_printf("%s/.docker_%s", j->dirs.temp, wh_guid(guid));
    if (wh_mkdir_p(*config, 0700, err) < 0)
        return -1;
    add(&words, "--config", *config);
    wh_strv_add(&words, "login");
    if (registry[0])
        wh_strv_add(&words, registry);
    add(&words, "-u", c->user);
    wh_strv_add(&words, "--password-stdin");
    wh_autofree char *what = wh_printf("login for '%s'", registry);
    return try_thrice(j, words, c->password, what, err);
}

static int pull(struct wh_job *j, const struct wh_jobcontainer *c, struct wh_error *err)
{
    wh_autofree char *config = NULL;
    wh_autostrv char **words = docker_words(j);
    int n = log_in(j, c, &config, err);
    if (config)
        add(&words, "--config", config);
    add(&words, "pull", c->image);
    if (n == 0)
        n = try_thrice(j, words, NULL, "pull", err);
    if (config)
        (void)wh_remove_tree(AT_FDCWD, config, NULL);
    return n;
}

static void add_env(char ***words, const struct wh_jobcontainer *c)
{
    for (size_t i = 0; i < wh_value_count(c->env); i++) {
        wh_autofree char *value = wh_value_to_string(wh_object_value_at(c->env, i));
        wh_strv_add(words, "-e");
        wh_strv_take(words, value[0] ? wh_printf("%s=%s", wh_object_key_at(c->env, i), value)
                                     : wh_strdup(wh_object_key_at(c->env, i)));
    }
    add(words, "-e", "GITHUB_ACTIONS=true");
    if (!wh_object_has(c->env, "CI"))
        add(words, "-e", "CI=true");
}

static void add_job(const struct wh_job *j, char ***words)
{
    struct wh_container_folder folders[WH_CONTAINER_FOLDERS];
    size_t n = wh_container_folders(j, folders);
    add(words, "-e", "HOME=/github/home");
    add(words, "-v", SOCKET ":" SOCKET);
    for (size_t i = 0; i < n; i++) {
        wh_strv_add(words, "-v");
        wh_strv_take(words, wh_printf("%s:%s%s", folders[i].source, folders[i].target,
                                      folders[i].readonly ? ":ro" : ""));
    }
    wh_container_folders_clear(folders, n);
}

static char **create_words(const struct wh_job *j, const struct wh_jobcontainer *c)
{
    char **words = docker_words(j);
    wh_autofree char *label = label_of(j);
    wh_autofree char *folder = wh_container_path(j, j->dirs.workspace);
    wh_strv_add(&words, "create");
    add(&words, "--name", c->name);
    add(&words, "--label", label);
    if (!c->alias)
        add(&words, "--workdir", folder);
    add(&words, "--network", j->network);
    if (c->alias)
        add(&words, "--network-alias", c->alias);
    for (size_t i = 0; c->ports && c->ports[i]; i++)
        add(&words, "-p", c->ports[i]);
    wh_autostrv char **options = c->options ? wh_split_arguments(c->options) : NULL;
    for (size_t i = 0; options && options[i]; i++)
        wh_strv_add(&words, options[i]);
    add_env(&words, c);
    for (size_t i = 0; c->volumes && c->volumes[i]; i++)
        add(&words, "-v", c->volumes[i]);
    if (!c->alias)
        add_job(j, &words);
    const char *entrypoint = c->alias ? c->entrypoint : "tail";
    if (entrypoint && entrypoint[0])
        add(&words, "--entrypoint", entrypoint);
    wh_strv_add(&words, c->image);
    if (!c->alias)
        add(&words, "-f", "/dev/null");
    wh_autostrv char **args = c->alias && c->command ? wh_split_arguments(c->command) : NULL;
    for (size_t i = 0; args && args[i]; i++)
        wh_strv_add(&words, args[i]);
    return words;
}

static void check_running(struct wh_job *j, const struct wh_jobcontainer *c)
{
    wh_autostrv char **words = docker_words(j);
    wh_autostrv char **lines = NULL;
    wh_autofree char *filter = wh_printf("id=%s", c->id);
    add(&words, "ps", "--all");
    add(&words, "--filter", filter);
    add(&words, "--filter", "status=running");
    add(&words, "--no-trunc", "--format");
    wh_strv_add(&words, "{{.ID}} {{.Status}}");
    if (run_docker(j, words, NULL, &lines, NULL) == 0 && lines && wh_starts_with(lines[0], c->id))
        return;
    wh_autostrv char **logs = docker_words(j);
    add(&logs, "logs", "--details");
    wh_strv_add(&logs, c->id);
    (void)run_docker(j, logs, NULL, NULL, NULL);
    wh_say_warning(j, "Docker container %s is not in running state.", c->id);
}

/* "80/tcp -> 0.0.0.0:49153" */
static void take_port(struct wh_jobcontainer *c, const char *line)
{
    const char *slash = strchr(line, '/');
    const char *arrow = strstr(line, " -> ");
    const char *colon = strrchr(line, ':');
    if (!slash || !arrow || !colon || slash > arrow || colon < arrow)
        return;
    wh_autofree char *inner = wh_strndup(line, (size_t)(slash - line));
    wh_object_set_text(c->mapped, inner, colon + 1);
}

static int look_into(struct wh_job *j, struct wh_jobcontainer *c, struct wh_error *err)
{
    wh_autostrv char **words = docker_words(j);
    wh_autostrv char **lines = NULL;
    if (c->alias) {
        add(&words, "port", c->id);
        c->mapped = wh_value_object();
        if (must(j, words, "port", &lines, err) < 0)
            return -1;
        for (size_t i = 0; lines && lines[i]; i++)
            take_port(c, lines[i]);
        return 0;
    }
    add(&words, "inspect", "--format");
    add(&words, "{{range .Config.Env}}{{println .}}{{end}}", c->id);
    if (must(j, words, "inspect", &lines, err) < 0)
        return -1;
    for (size_t i = 0; lines && lines[i]; i++)
        if (wh_starts_with(lines[i], "PATH=") && !c->path)
            c->path = wh_strdup(lines[i] + strlen("PATH="));
    return 0;
}

static int start(struct wh_job *j, struct wh_jobcontainer *c, struct wh_error *err)
{
    wh_autostrv char **words = create_words(j, c);
    wh_autostrv char **lines = NULL;
    wh_autostrv char **start_words = docker_words(j);
    if (pull(j, c, err) < 0 || must(j, words, "create", &lines, err) < 0)
        return -1;
    size_t n = wh_strv_len(lines);
    if (n == 0)
        return wh_fail(err, WH_E_FAILED, "docker create named no container");
    c->id = wh_strdup(lines[n - 1]); /* warnings come before it */
    c->network = wh_strdup(j->network);
    add(&start_words, "start", c->id);
    int code = run_docker(j, start_words, NULL, NULL, err);
    if (code != 0)
        return code < 0 ? -1 : wh_fail(err, WH_E_FAILED, "Docker start fail with exit code %d", code);
    check_running(j, c);
    return look_into(j, c, err);
}

/* ---- while it runs, and its end ---- */

static enum wh_health health(struct wh_job *j, const struct wh_jobcontainer *c, uint64_t wait_ms)
{
    wh_autostrv char **words = docker_words(j);
    wh_autostrv char **lines = NULL;
    if (wait_ms > 0)
        wh_container_pause(j, wait_ms);
    wh_strv_add(&words, "inspect");
    add(&words, "--format={{if .Config.Healthcheck}}{{print .State.Health.Status}}{{end}}", c->id);
    if (run_docker(j, words, NULL, &lines, NULL) != 0)
        return WH_HEALTH_UNHEALTHY;
    const char *text = lines ? lines[0] : NULL;
    if (!text)
        return WH_HEALTH_NONE;
    return wh_streq_ci(text, "healthy")    ? WH_HEALTH_HEALTHY
           : wh_streq_ci(text, "starting") ? WH_HEALTH_STARTING
                                           : WH_HEALTH_UNHEALTHY;
}

static void logs(struct wh_job *j, const struct wh_jobcontainer *c)
{
    wh_autostrv char **words = docker_words(j);
    add(&words, "logs", "--details");
    wh_strv_add(&words, c->id);
    int code = run_docker(j, words, NULL, NULL, NULL);
    if (code != 0)
        wh_say_warning(j, "Docker logs fail with exit code %d", code);
}

static int remove_one(struct wh_job *j, const struct wh_jobcontainer *c, struct wh_error *err)
{
    wh_autostrv char **words = docker_words(j);
    add(&words, "rm", "--force");
    wh_strv_add(&words, c->id);
    int code = run_docker(j, words, NULL, NULL, err);
    return code <= 0 ? code : wh_fail(err, WH_E_FAILED, "Docker rm fail with exit code %d", code);
}

static bool is_alpine(struct wh_job *j)
{
    wh_autostrv char **words = docker_words(j);
    wh_autostrv char **lines = NULL;
    bool is = false;
    add(&words, "exec", j->container->id);
    add(&words, "sh", "-c");
    wh_strv_add(&words, "cat /etc/*release | grep ^ID");
    int code = run_docker(j, words, NULL, &lines, NULL);
    for (size_t i = 0; code == 0 && lines && lines[i]; i++) {
        wh_ascii_lower(lines[i]);
        is = is || strstr(lines[i], "alpine");
    }
    return is;
}

/* ---- steps ---- */

/* Values go by the client's environment: its command line is for everybody to see. What the client itself
 * lives by stays as it is. */
static void pass_env(const cJSON *list, char ***words, char ***environment)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        const char *equals = cJSON_IsString(item) ? strchr(item->valuestring, '=') : NULL;
        wh_autofree char *name =
            equals ? wh_strndup(item->valuestring, (size_t)(equals - item->valuestring)) : NULL;
        if (!name)
            continue;
        bool plain = wh_streq(name, "PATH") || wh_streq(name, "HOME") || wh_starts_with(name, "DOCKER_");
        add(words, "-e", plain ? item->valuestring : name);
        if (!plain)
            wh_env_set(environment, name, equals + 1);
    }
}

static struct wh_child *run_step(struct wh_job *j, char *const *words, char *const *environment,
                                 struct wh_error *err)
{
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    options.path = words[0];
    options.argv = (char **)(uintptr_t)words;
    options.env = environment;
    options.cwd = j->dirs.workspace;
    return wh_run_child(j, &options, NULL, NULL, err);
}

static struct wh_child *exec(struct wh_job *j, char *const *argv, const cJSON *list, const char *folder,
                             struct wh_error *err)
{
    wh_autostrv char **words = docker_words(j);
    wh_autostrv char **environment = wh_strv_dup(j->base_env);
    add(&words, "exec", "-i");
    add(&words, "--workdir", folder);
    pass_env(list, &words, &environment);
    wh_strv_add(&words, j->container->id);
    for (size_t i = 0; argv[i]; i++)
        wh_strv_add(&words, argv[i]);
    return run_step(j, words, environment, err);
}

struct wh_child *wh_container_docker_run(struct wh_job *j, const cJSON *request, struct wh_error *err)
{
    if (wh_container_docker_choose(j, err) < 0)
        return NULL;
    wh_autostrv char **words = docker_words(j);
    wh_autostrv char **environment = wh_strv_dup(j->base_env);
    wh_autofree char *label = label_of(j);
    char guid[37];
    const char *image = wh_json_string(request, "image");
    const cJSON *item;
    wh_autofree char *clean = wh_container_clean_name(image);
    wh_autofree char *name = wh_printf("%.100s_%.6s", clean, wh_guid(guid));
    wh_strv_add(&words, "run");
    add(&words, "--name", name);
    add(&words, "--label", label);
    add(&words, "--workdir", wh_json_string(request, "workdir"));
    wh_strv_add(&words, "--rm");
    pass_env(wh_json_get(request, "env"), &words, &environment);
    const cJSON *entrypoint = cJSON_GetArrayItem(wh_json_get(request, "entrypoint"), 0);
    if (cJSON_IsString(entrypoint))
        add(&words, "--entrypoint", entrypoint->valuestring);
    if (j->network)
        add(&words, "--network", j->network);
    add(&words, "-v", SOCKET ":" SOCKET);
    cJSON_ArrayForEach(item, wh_json_get(request, "mounts"))
    {
        wh_strv_add(&words, "-v");
        wh_strv_take(&words,
                     wh_printf("%s:%s", wh_json_string(item, "source"), wh_json_string(item, "target")));
    }
    wh_strv_add(&words, image);
    cJSON_ArrayForEach(item, wh_json_get(request, "args")) wh_strv_add(&words, item->valuestring);
    wh_autofree char *shown = wh_strv_join(words, " ");
    wh_say(j, "##[command]%s", shown);
    return run_step(j, words, environment, err);
}

int wh_container_docker_pull(struct wh_job *j, const char *image, struct wh_error *err)
{
    if (wh_container_docker_choose(j, err) < 0)
        return -1;
    wh_autostrv char **words = docker_words(j);
    add(&words, "pull", image);
    return try_thrice(j, words, NULL, "pull", err);
}

char *wh_container_docker_build(struct wh_job *j, const char *file, const char *folder, struct wh_error *err)
{
    if (wh_container_docker_choose(j, err) < 0)
        return NULL;
    wh_autostrv char **words = docker_words(j);
    wh_autofree char *label = label_of(j);
    char guid[37];
    wh_guid(guid);
    wh_autofree char *tag =
        wh_printf("%s:%.8s%.4s%.4s%.4s%.12s", label, guid, guid + 9, guid + 14, guid + 19, guid + 24);
    wh_strv_add(&words, "build");
    add(&words, "-t", tag);
    add(&words, "-f", file);
    wh_strv_add(&words, folder);
    return try_thrice(j, words, NULL, "build", err) < 0 ? NULL : wh_steal(&tag);
}

const struct wh_container_host wh_container_docker = {
    open_network, start, health, logs, remove_one, close_network, exec, is_alpine,
};
