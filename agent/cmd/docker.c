/* `docker` for jobs on machines that have none: build, run and the rest over the store and crun, by the job's
 * engine. What it does not know is named, never passed over. */
#include "cmd/docker.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "cmd/build.h"
#include "cmd/commands.h"
#include "wherry/base/fs.h"
#include "wherry/base/secret.h"
#include "wherry/oci/registry.h"

static const char help[] = "usage: docker COMMAND [OPTION...]\n\n"
                           "This is wherry's own docker command, for jobs: images and containers of one job, "
                           "over wherry's store and\n"
                           "crun. Containers share the machine's network.\n\n"
                           "  build, buildx build      build an image from a Dockerfile (as `wherry build`)\n"
                           "  buildx version|ls|inspect|create|use|rm\n"
                           "  pull, push, tag, images, inspect, save, login, logout\n"
                           "  run, exec, ps, logs, stop, kill, rm\n"
                           "  version, info\n";

int docker_refuse(const char *command, const char *what)
{
    fprintf(stderr, "docker %s: %s is not supported by wherry's docker command\n", command, what);
    return 125;
}

int docker_ask(cJSON *request_taken, const int *fds, size_t nfds, cJSON **result)
{
    wh_autojson *request = request_taken;
    wh_autoerror err = {0};
    const char *engine = getenv(WH_ENGINE_VARIABLE);
    wh_autojson *answer = NULL;
    if (!engine)
        wh_fail(&err, WH_E_NOT_FOUND,
                "there is no engine here: wherry's docker command is for steps of jobs");
    wh_autoclose int sock = engine ? wh_engine_connect(engine, &err) : -1;
    if (sock < 0 || wh_engine_call(sock, request, fds, nfds, &answer, &err) < 0) {
        fprintf(stderr, "Error response from daemon: %s\n", wh_error_text(&err));
        return 1;
    }
    if (result)
        *result = wh_steal(&answer);
    return 0;
}

static cJSON *request_of(const char *type, const char *name, const char *value)
{
    cJSON *request = cJSON_CreateObject();
    wh_json_add_string(request, "type", type);
    if (name)
        wh_json_add_string(request, name, value);
    return request;
}

/* ---- images ---- */

static int do_pull(int argc, char **argv)
{
    bool quiet = false;
    const char *image = NULL;
    for (int i = 1; i < argc; i++) {
        if (wh_streq(argv[i], "-q") || wh_streq(argv[i], "--quiet"))
            quiet = true;
        else if (argv[i][0] == '-')
            return docker_refuse("pull", argv[i]);
        else
            image = argv[i];
    }
    if (!image) {
        fputs("docker pull: an image is needed\n", stderr);
        return 1;
    }
    cJSON *request = request_of("pull", "image", image);
    wh_autojson *result = NULL;
    wh_engine_add_login(request, image);
    int code = docker_ask(request, NULL, 0, &result);
    if (code == 0 && !quiet)
        printf("Digest: %s\nStatus: Image is up to date for %s\n", wh_json_string(result, "digest"), image);
    if (code == 0)
        printf("%s\n", image);
    return code;
}

/* A build of what it is already, with another output: the layers are there, and no bytes are made anew. */
static int export_as(const char *image, const char *output, bool push)
{
    wh_autojson *result = NULL;
    cJSON *request = request_of("pull", "image", image);
    cJSON_AddBoolToObject(request, "pull", false);
    wh_engine_add_login(request, image);
    if (docker_ask(request, NULL, 0, &result) != 0)
        return 1;
    char folder[] = "/tmp/wherry-docker-XXXXXX";
    if (!mkdtemp(folder))
        return 1;
    wh_autofree char *file = wh_path_join(folder, "Dockerfile");
    wh_autofree char *text = wh_printf("FROM %s\n", wh_json_string(result, "name"));
    char *argv[] = {"build",
                    "--quiet",
                    "-t",
                    (char *)image,
                    (char *)(push ? "--push" : "--output"),
                    (char *)(push ? folder : output),
                    folder,
                    NULL};
    int code = 1;
    if (wh_write_file_quick(AT_FDCWD, file, text, strlen(text), 0600, NULL) == 0)
        code = docker_build(push ? 6 : 7, argv);
    (void)wh_remove_tree(AT_FDCWD, folder, NULL);
    return code;
}

static int do_push(int argc, char **argv)
{
    const char *image = NULL;
    for (int i = 1; i < argc; i++) {
        if (wh_streq(argv[i], "-q") || wh_streq(argv[i], "--quiet"))
            continue;
        if (argv[i][0] == '-')
            return docker_refuse("push", argv[i]);
        image = argv[i];
    }
    return image ? export_as(image, NULL, true) : docker_refuse("push", "a call without an image");
}

static int do_save(int argc, char **argv)
{
    const char *image = NULL;
    const char *file = NULL;
    for (int i = 1; i < argc; i++) {
        if ((wh_streq(argv[i], "-o") || wh_streq(argv[i], "--output")) && i + 1 < argc)
            file = argv[++i];
        else if (argv[i][0] == '-')
            return docker_refuse("save", argv[i]);
        else if (image)
            return docker_refuse("save", "more than one image");
        else
            image = argv[i];
    }
    if (!image)
        return docker_refuse("save", "a call without an image");
    wh_autofree char *output = wh_printf("type=docker,dest=%s", file ? file : "/dev/stdout");
    return export_as(image, output, false);
}

static int do_tag(int argc, char **argv)
{
    if (argc != 3)
        return docker_refuse("tag", "anything but SOURCE TARGET");
    cJSON *request = request_of("tag", "source", argv[1]);
    wh_json_add_string(request, "target", argv[2]);
    wh_engine_add_login(request, argv[1]);
    return docker_ask(request, NULL, 0, NULL);
}

static int do_images(int argc, char **argv)
{
    bool quiet = argc > 1 && (wh_streq(argv[1], "-q") || wh_streq(argv[1], "--quiet"));
    if (argc > (quiet ? 2 : 1))
        return docker_refuse("images", argv[argc - 1]);
    wh_autojson *result = NULL;
    if (docker_ask(request_of("list", NULL, NULL), NULL, 0, &result) != 0)
        return 1;
    if (!quiet)
        printf("%-50s %s\n", "NAME", "DIGEST");
    const cJSON *one;
    cJSON_ArrayForEach(one, wh_json_get(result, "images"))
    {
        const char *digest = cJSON_IsString(one) ? strchr(one->valuestring, '@') : NULL;
        wh_autoref ref = {0};
        wh_autofree char *name = wh_ref_parse(one->string, &ref, NULL) == 0 ? wh_ref_familiar(&ref) : NULL;
        if (quiet)
            printf("%s\n", digest ? digest + 1 : "");
        else
            printf("%-50s %s\n", name ? name : one->string, digest ? digest + 1 : "");
    }
    return 0;
}

static int print_container(const cJSON *c)
{
    wh_autojson *shown = cJSON_CreateArray();
    cJSON *one = cJSON_CreateObject();
    cJSON *state = cJSON_CreateObject();
    wh_autofree char *name = wh_printf("/%s", wh_json_string(c, "name"));
    const char *status = wh_json_string(c, "state");
    wh_json_add_string(one, "Id", wh_json_string(c, "id"));
    wh_json_add_string(one, "Name", name);
    wh_json_add_string(one, "Image", wh_json_string(c, "image"));
    wh_json_add_string(state, "Status", status);
    cJSON_AddBoolToObject(state, "Running", wh_streq(status, "running"));
    wh_json_add_int(state, "ExitCode", wh_json_int(c, "code", 0));
    cJSON_AddItemToObject(one, "State", state);
    cJSON_AddItemToArray(shown, one);
    wh_autofree char *text = wh_json_print_indented(shown);
    printf("%s\n", text);
    return 0;
}

static int do_inspect(int argc, char **argv)
{
    if (argc != 2 || argv[1][0] == '-')
        return docker_refuse("inspect", argc > 1 ? argv[1] : "a call without a name");
    wh_autojson *list = NULL;
    if (docker_ask(request_of("list", NULL, NULL), NULL, 0, &list) != 0)
        return 1;
    const cJSON *one;
    cJSON_ArrayForEach(one, wh_json_get(list, "containers"))
    {
        if (wh_streq(wh_json_string(one, "name"), argv[1]) ||
            wh_starts_with(wh_json_string(one, "id"), argv[1]))
            return print_container(one);
    }
    wh_autojson *result = NULL;
    cJSON *request = request_of("pull", "image", argv[1]);
    cJSON_AddBoolToObject(request, "pull", false);
    wh_engine_add_login(request, argv[1]);
    if (docker_ask(request, NULL, 0, &result) != 0)
        return 1;
    const cJSON *config = wh_json_get(result, "config");
    wh_autojson *shown = cJSON_CreateArray();
    cJSON *image = cJSON_CreateObject();
    wh_json_add_string(image, "Id", wh_json_string(result, "digest"));
    cJSON_AddItemToArray(cJSON_AddArrayToObject(image, "RepoDigests"),
                         cJSON_CreateString(wh_json_string(result, "name")));
    wh_json_add_string(image, "Architecture", wh_json_string(config, "architecture"));
    wh_json_add_string(image, "Os", wh_json_string(config, "os"));
    cJSON_AddItemToObject(image, "Config", cJSON_Duplicate(wh_json_get(config, "config"), true));
    cJSON_AddItemToArray(shown, image);
    wh_autofree char *text = wh_json_print_indented(shown);
    printf("%s\n", text);
    return 0;
}

/* ---- registries ---- */

static struct wh_secret *read_password(struct wh_error *err)
{
    wh_autostr text = {0};
    if (wh_read_fd(STDIN_FILENO, 64 << 10, "the password", &text, err) < 0)
        return NULL;
    while (text.len > 0 && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
        wh_str_truncate(&text, text.len - 1);
    struct wh_secret *secret = wh_secret_new(wh_str_text(&text), text.len);
    wh_str_wipe(&text);
    return secret;
}

static int do_login(int argc, char **argv)
{
    const char *user = NULL;
    const char *host = "docker.io";
    wh_autosecret *password = NULL;
    wh_autoerror err = {0};
    for (int i = 1; i < argc; i++) {
        if ((wh_streq(argv[i], "-u") || wh_streq(argv[i], "--username")) && i + 1 < argc)
            user = argv[++i];
        else if (wh_streq(argv[i], "--password-stdin"))
            password = read_password(&err);
        else if ((wh_streq(argv[i], "-p") || wh_streq(argv[i], "--password")) && i + 1 < argc) {
            i++;
            password = wh_secret_new(argv[i], strlen(argv[i]));
        } else if (argv[i][0] == '-')
            return docker_refuse("login", argv[i]);
        else
            host = argv[i];
    }
    if (!user || !password)
        return docker_refuse("login", "asking for a name and a password (give -u and --password-stdin)");
    struct wh_registry *registry = wh_registry_new(NULL, NULL, &err);
    int n = registry ? wh_registry_check_login(registry, host, user, password, &err) : -1;
    wh_registry_free(registry);
    if (n < 0 || wh_docker_config_login(NULL, host, user, password, &err) < 0) {
        fprintf(stderr, "Error response from daemon: %s\n", wh_error_text(&err));
        return 1;
    }
    puts("Login Succeeded");
    return 0;
}

static int do_logout(int argc, char **argv)
{
    const char *host = argc > 1 ? argv[1] : "docker.io";
    wh_autoerror err = {0};
    if (wh_docker_config_logout(NULL, host, &err) < 0) {
        fprintf(stderr, "%s\n", wh_error_text(&err));
        return 1;
    }
    printf("Removing login credentials for %s\n", host);
    return 0;
}

/* ---- containers ---- */

static int do_ps(int argc, char **argv)
{
    bool all = false;
    bool quiet = false;
    for (int i = 1; i < argc; i++) {
        if (wh_streq(argv[i], "-a") || wh_streq(argv[i], "--all"))
            all = true;
        else if (wh_streq(argv[i], "-q") || wh_streq(argv[i], "--quiet"))
            quiet = true;
        else if (wh_streq(argv[i], "-aq") || wh_streq(argv[i], "-qa"))
            all = quiet = true;
        else
            return docker_refuse("ps", argv[i]);
    }
    wh_autojson *result = NULL;
    if (docker_ask(request_of("list", NULL, NULL), NULL, 0, &result) != 0)
        return 1;
    if (!quiet)
        printf("%-14s %-30s %-12s %s\n", "CONTAINER ID", "IMAGE", "STATUS", "NAMES");
    const cJSON *one;
    cJSON_ArrayForEach(one, wh_json_get(result, "containers"))
    {
        const char *state = wh_json_string(one, "state");
        if (!all && !wh_streq(state, "running"))
            continue;
        if (quiet)
            puts(wh_json_string(one, "id"));
        else
            printf("%-14s %-30s %-12s %s\n", wh_json_string(one, "id"), wh_json_string(one, "image"), state,
                   wh_json_string(one, "name"));
    }
    return 0;
}

static int do_logs(int argc, char **argv)
{
    if (argc != 2 || argv[1][0] == '-')
        return docker_refuse("logs", argc > 1 ? argv[1] : "a call without a container");
    wh_autojson *result = NULL;
    int code = docker_ask(request_of("logs", "container", argv[1]), NULL, 0, &result);
    if (code == 0 && wh_json_string(result, "log"))
        fputs(wh_json_string(result, "log"), stdout);
    return code;
}

/* stop, kill, rm: of each that is named. */
static int each(int argc, char **argv, const char *request)
{
    int code = 0;
    for (int i = 1; i < argc; i++) {
        if (wh_streq(argv[i], "-f") || wh_streq(argv[i], "--force") || wh_streq(argv[i], "-v"))
            continue;
        if ((wh_streq(argv[i], "-t") || wh_streq(argv[i], "--time") || wh_streq(argv[i], "-s")) &&
            i + 1 < argc) {
            i++;
            continue;
        }
        if (argv[i][0] == '-')
            return docker_refuse(argv[0], argv[i]);
        if (docker_ask(request_of(request, "container", argv[i]), NULL, 0, NULL) != 0)
            code = 1;
        else
            puts(argv[i]);
    }
    return code;
}

static int do_stop(int argc, char **argv)
{
    return each(argc, argv, "stop");
}

static int do_rm(int argc, char **argv)
{
    return each(argc, argv, "rm");
}

/* ---- about ---- */

static int do_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf(
        "Client: wherry's docker command\n Version: %s\nServer: wherry's engine of one job\n Version: %s\n",
        WH_VERSION, WH_VERSION);
    return 0;
}

static int do_info(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    wh_autojson *result = NULL;
    if (docker_ask(request_of("list", NULL, NULL), NULL, 0, &result) != 0)
        return 1;
    printf(
        "Server Version: wherry %s\nStorage Driver: overlay (wherry's store)\nRuntimes: crun\nNetwork: host, "
        "none\nContainers: %d\nImages: %d\n",
        WH_VERSION, cJSON_GetArraySize(wh_json_get(result, "containers")),
        cJSON_GetArraySize(wh_json_get(result, "images")));
    return 0;
}

int docker_build(int argc, char **argv)
{
    struct build_options o;
    wh_autoerror err = {0};
    int code = 2;
    const char *engine = getenv(WH_ENGINE_VARIABLE);
    if (!engine) {
        fputs("docker build: there is no engine here: wherry's docker command is for steps of jobs\n",
              stderr);
        return 1;
    }
    if (build_options_parse(argc, argv, &o, &err) == 0 && o.help) {
        build_usage();
        code = 0;
    } else if (err.code == WH_OK && build_load_context(&o, &err) == 0 && build_open_outputs(&o, &err) == 0) {
        o.engine = engine;
        if (o.request->noutputs == 0) /* it stays here, for `docker run` */
            (void)wh_build_request_add_output(o.request, "image", -1);
        code = build_run(&o);
    } else {
        fprintf(stderr, "ERROR: %s\n", wh_error_text(&err));
        code = err.code == WH_E_ARGUMENT ? 125 : 1;
    }
    build_options_clear(&o);
    return code;
}

static int do_buildx(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    static const char *const quiet[] = {"create", "use", "rm", "stop"};
    if (wh_streq(verb, "build") || wh_streq(verb, "b"))
        return docker_build(argc - 1, argv + 1);
    if (wh_streq(verb, "version")) {
        printf("github.com/docker/buildx wherry-%s\n", WH_VERSION);
        return 0;
    }
    if (wh_streq(verb, "ls") || wh_streq(verb, "inspect")) {
        puts("NAME/NODE  DRIVER/ENDPOINT  STATUS   PLATFORMS\ndefault *  wherry           running  this "
             "machine's");
        return 0;
    }
    for (size_t i = 0; i < WH_COUNT(quiet); i++)
        if (wh_streq(verb, quiet[i]))
            return 0; /* there is one builder, and it is always there */
    wh_autofree char *what = wh_printf("`%s`", verb);
    return docker_refuse("buildx", what);
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"build", docker_build}, {"buildx", do_buildx},   {"pull", do_pull},       {"push", do_push},
    {"tag", do_tag},         {"images", do_images},   {"inspect", do_inspect}, {"login", do_login},
    {"logout", do_logout},   {"run", docker_run},     {"exec", docker_exec},   {"ps", do_ps},
    {"logs", do_logs},       {"stop", do_stop},       {"kill", do_stop},       {"rm", do_rm},
    {"save", do_save},       {"version", do_version}, {"info", do_info}};

int wh_cmd_docker(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2 || wh_streq(argv[1], "--help") || wh_streq(argv[1], "help")) {
        fputs(help, argc < 2 ? stderr : stdout);
        return argc < 2 ? 1 : 0;
    }
    if (wh_streq(argv[1], "--version") || wh_streq(argv[1], "-v")) {
        printf("Docker version wherry-%s\n", WH_VERSION);
        return 0;
    }
    for (size_t i = 0; i < WH_COUNT(commands); i++)
        if (wh_streq(commands[i].name, argv[1]))
            return commands[i].run(argc - 1, argv + 1);
    wh_autofree char *what = wh_printf("the command `%s`", argv[1]);
    fprintf(stderr, "docker: %s is not supported by wherry's docker command; `docker --help` lists what is\n",
            what);
    return 125;
}
