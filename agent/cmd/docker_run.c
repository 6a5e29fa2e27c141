/* `docker run` and `docker exec`: their options, to a request. */
#include <stdio.h>
#include <unistd.h>

#include "cmd/docker.h"
#include "wherry/base/fs.h"

#define MAX_ENV_FILE ((size_t)1 << 20)

struct parsed {
    const char *command;
    cJSON *request;
    cJSON *env, *mounts, *hosts;
    bool detach, keep_stdin;
};

/* K=V, or K: the caller's own. */
static void add_env(cJSON *env, const char *text)
{
    const char *value = strchr(text, '=') ? NULL : getenv(text);
    if (strchr(text, '=')) {
        cJSON_AddItemToArray(env, cJSON_CreateString(text));
    } else if (value) {
        wh_autofree char *entry = wh_printf("%s=%s", text, value);
        cJSON_AddItemToArray(env, cJSON_CreateString(entry));
    }
}

static int add_env_file(cJSON *env, const char *path)
{
    wh_autostr text = {0};
    wh_autoerror err = {0};
    if (wh_read_file(AT_FDCWD, path, MAX_ENV_FILE, &text, &err) < 0) {
        fprintf(stderr, "docker: %s\n", wh_error_text(&err));
        return 125;
    }
    struct wh_reader r = wh_reader_of(text.data, text.len);
    for (struct wh_view line; wh_reader_line(&r, &line);) {
        wh_autofree char *one = wh_view_dup(wh_view_trim(line));
        if (one[0] && one[0] != '#')
            add_env(env, one);
    }
    return 0;
}

static int add_volume(struct parsed *p, const char *text)
{
    wh_autostrv char **parts = wh_strv_split(text, ':');
    size_t n = wh_strv_len(parts);
    cJSON *one = cJSON_CreateObject();
    cJSON_AddItemToArray(p->mounts, one);
    if (n == 1 && parts[0][0] == '/') {
        wh_json_add_string(one, "target", parts[0]);
        return 0;
    }
    wh_autofree char *source = n >= 2 ? realpath(parts[0], NULL) : NULL;
    if (n < 2 || n > 3 || !strchr(parts[0], '/') || parts[1][0] != '/')
        return docker_refuse(p->command, "a named volume (give folder:target[:ro])");
    if (!source) {
        fprintf(stderr, "docker: %s is not there\n", parts[0]);
        return 125;
    }
    wh_json_add_string(one, "source", source);
    wh_json_add_string(one, "target", parts[1]);
    if (n == 3 && strstr(parts[2], "ro"))
        cJSON_AddBoolToObject(one, "readonly", true);
    return 0;
}

static int add_host(struct parsed *p, const char *text)
{
    struct wh_view name;
    struct wh_view address;
    if (!wh_view_split(wh_view_of(text), ':', &name, &address))
        return docker_refuse(p->command, "--add-host without name:address");
    wh_autofree char *first = wh_view_dup(name);
    wh_autofree char *second = wh_view_dup(address);
    cJSON *one = cJSON_CreateObject();
    wh_json_add_string(one, "name", first);
    wh_json_add_string(one, "address", second);
    cJSON_AddItemToArray(p->hosts, one);
    return 0;
}

static int set_network(struct parsed *p, const char *value)
{
    if (!wh_streq(value, "host") && !wh_streq(value, "none") && !wh_streq(value, "bridge") &&
        !wh_streq(value, "default"))
        return docker_refuse(p->command, "a network of its own (host and none are)");
    wh_json_add_string(p->request, "network", wh_streq(value, "none") ? "none" : "host");
    return 0;
}

static int set_option(struct parsed *p, const char *name, const char *value)
{
    static const char *const texts[][3] = {{"-w", "--workdir", "workdir"}, {"-u", "--user", "user"}};
    static const char *const passed_over[] = {"--pull", "--platform",   "--label",
                                              "-l",     "--log-driver", "--stop-signal",
                                              "-h",     "--hostname",   "--cidfile"};
    for (size_t i = 0; i < WH_COUNT(texts); i++) {
        if (wh_streq(name, texts[i][0]) || wh_streq(name, texts[i][1])) {
            wh_json_add_string(p->request, texts[i][2], value);
            return 0;
        }
    }
    if (wh_streq(name, "-e") || wh_streq(name, "--env")) {
        add_env(p->env, value);
        return 0;
    }
    if (wh_streq(name, "--env-file"))
        return add_env_file(p->env, value);
    if (p->mounts) {
        if (wh_streq(name, "-v") || wh_streq(name, "--volume"))
            return add_volume(p, value);
        if (wh_streq(name, "--add-host"))
            return add_host(p, value);
        if (wh_streq(name, "--network") || wh_streq(name, "--net"))
            return set_network(p, value);
        if (wh_streq(name, "--name")) {
            wh_json_add_string(p->request, "name", value);
            return 0;
        }
        if (wh_streq(name, "--entrypoint")) {
            cJSON_AddItemToArray(cJSON_AddArrayToObject(p->request, "entrypoint"), cJSON_CreateString(value));
            return 0;
        }
        for (size_t i = 0; i < WH_COUNT(passed_over); i++)
            if (wh_streq(name, passed_over[i]))
                return 0;
    }
    return docker_refuse(p->command, name);
}

static bool set_flag(struct parsed *p, const char *name)
{
    if (wh_streq(name, "-d") || wh_streq(name, "--detach"))
        p->detach = true;
    else if (wh_streq(name, "-i") || wh_streq(name, "--interactive"))
        p->keep_stdin = true;
    else
        return wh_streq(name, "--rm") || wh_streq(name, "-t") || wh_streq(name, "--tty") ||
               wh_streq(name, "--init");
    return true;
}

/* Flags in one word: -it, -dit. */
static bool set_flags(struct parsed *p, const char *word)
{
    if (wh_starts_with(word, "--") || strlen(word) < 3)
        return set_flag(p, word);
    for (const char *c = word + 1; *c; c++)
        if (!strchr("dit", *c))
            return false;
    for (const char *c = word + 1; *c; c++) {
        char one[3] = {'-', *c, '\0'};
        (void)set_flag(p, one);
    }
    return true;
}

/* The index of the first word that is no option; 0 where one was refused. */
static int parse(struct parsed *p, int argc, char **argv, int *code)
{
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (set_flags(p, argv[i]))
            continue;
        const char *equals = wh_starts_with(argv[i], "--") ? strchr(argv[i], '=') : NULL;
        wh_autofree char *name =
            equals ? wh_strndup(argv[i], (size_t)(equals - argv[i])) : wh_strdup(argv[i]);
        const char *value = equals ? equals + 1 : i + 1 < argc ? argv[i + 1] : NULL;
        *code = value ? set_option(p, name, value) : docker_refuse(p->command, name);
        if (*code != 0)
            return 0;
        i += equals ? 0 : 1;
    }
    return i;
}

static void add_words(cJSON *request, const char *name, int argc, char **argv)
{
    cJSON *list = cJSON_AddArrayToObject(request, name);
    for (int i = 0; i < argc; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(argv[i]));
}

int docker_run(int argc, char **argv)
{
    wh_autojson *request = cJSON_CreateObject();
    struct parsed p = {.command = "run",
                       .request = request,
                       .env = cJSON_AddArrayToObject(request, "env"),
                       .mounts = cJSON_AddArrayToObject(request, "mounts"),
                       .hosts = cJSON_AddArrayToObject(request, "hosts")};
    int code = 0;
    int at = parse(&p, argc, argv, &code);
    if (code != 0)
        return code;
    if (at >= argc)
        return docker_refuse("run", "a call without an image");
    wh_json_add_string(request, "type", "run");
    wh_json_add_string(request, "image", argv[at]);
    cJSON_AddBoolToObject(request, "detach", p.detach);
    wh_engine_add_login(request, argv[at]);
    add_words(request, "args", argc - at - 1, argv + at + 1);
    /* What it writes into mounted folders is the job user's afterwards. */
    cJSON *own = cJSON_AddArrayToObject(request, "own");
    const cJSON *mount;
    cJSON_ArrayForEach(mount, p.mounts)
    {
        if (wh_json_string(mount, "source") && !wh_json_bool(mount, "readonly", false))
            cJSON_AddItemToArray(own, cJSON_CreateString(wh_json_string(mount, "source")));
    }
    const int fds[] = {STDOUT_FILENO, STDERR_FILENO};
    wh_autojson *result = NULL;
    wh_engine_signals();
    if (docker_ask(wh_steal(&request), fds, p.detach ? 0 : 2, &result) != 0)
        return 125;
    if (p.detach) {
        puts(wh_json_string(result, "id"));
        return 0;
    }
    return (int)wh_json_int(result, "code", 0);
}

int docker_exec(int argc, char **argv)
{
    wh_autojson *request = cJSON_CreateObject();
    struct parsed p = {.command = "exec", .request = request, .env = cJSON_AddArrayToObject(request, "env")};
    int code = 0;
    int at = parse(&p, argc, argv, &code);
    if (code != 0)
        return code;
    if (p.detach)
        return docker_refuse("exec", "--detach");
    if (at + 1 >= argc)
        return docker_refuse("exec", "a call without a container and a command");
    wh_json_add_string(request, "type", "exec");
    wh_json_add_string(request, "container", argv[at]);
    add_words(request, "argv", argc - at - 1, argv + at + 1);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int fds[] = {p.keep_stdin ? STDIN_FILENO : null, STDOUT_FILENO, STDERR_FILENO};
    wh_autojson *result = NULL;
    wh_engine_signals();
    if (docker_ask(wh_steal(&request), fds, 3, &result) != 0)
        return 126;
    return (int)wh_json_int(result, "code", 0);
}
