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

static const char help[] =
    "usage: docker COMMAND [OPTION...]\n\n"
    "This is wherry's own docker command, for jobs: images and containers of one job, "
    "over wherry's store and\n"
    "crun. They end with the job.\n\n"
    "  build, buildx build      build an image from a Dockerfile (as `wherry build`)\n"
    "  buildx version|ls|inspect|create|use|rm\n"
    "  pull, push, tag, images, inspect, save, load, login, logout\n"
    "  run, exec, ps, logs, port, wait, stop, kill, rm\n"
    "  network create|ls|rm\n"
    "  image, container         ls, inspect and the commands above by their long names\n"
    "  version, info\n\n"
    "Anything else, `docker compose` too, is said not to be supported. Options that a command\n"
    "has not are named.\n";

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
    if (docker_ask(docker_request("list", NULL, NULL), NULL, 0, &result) != 0)
        return 1;
    printf("Server Version: wherry %s\nStorage Driver: overlay (wherry's store)\nRuntimes: crun\nNetwork: "
           "bridge, host, "
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
        /* Docker's actions look for a version here, and then ask for what it has: of this one, all is there.
         */
        printf("github.com/docker/buildx v0.12.1 wherry-%s\n", WH_VERSION);
        return 0;
    }
    if (verb[0] == '\0') { /* as they ask whether there is a buildx at all */
        puts("Usage:  docker buildx [build|version|ls|inspect|create|use|rm]: what `wherry build` does");
        return 0;
    }
    if (wh_streq(verb, "inspect")) {
        printf(
            "Name:          default\nDriver:        docker-container\n\nNodes:\nName:             default0\n"
            "Endpoint:         wherry\nStatus:           running\nBuildKit version: wherry %s\n",
            WH_VERSION);
        return 0;
    }
    if (wh_streq(verb, "ls")) {
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

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {{"build", docker_build},     {"buildx", do_buildx}, {"pull", docker_pull},
                {"push", docker_push},       {"tag", docker_tag},   {"images", docker_images},
                {"inspect", docker_inspect}, {"save", docker_save}, {"load", docker_load},
                {"login", do_login},         {"logout", do_logout}, {"run", docker_run},
                {"exec", docker_exec},       {"ps", docker_ps},     {"logs", docker_logs},
                {"port", docker_port},       {"wait", docker_wait}, {"stop", docker_stop},
                {"kill", docker_stop},       {"rm", docker_rm},     {"network", docker_network},
                {"version", do_version},     {"info", do_info}};

/* What is known by other names, and why it is not here: people look for these most. */
static const struct {
    const char *name, *why;
} absent[] = {
    {"compose", "start what it describes as services: of the job, or by docker run and docker network"},
    {"cp", "mount a folder (-v) instead"},
    {"commit", "build an image from a Dockerfile instead"},
    {"swarm", "containers end with the job"},
    {"volume", "a volume is made by its first use (-v name:/folder) and ends with the job"},
};

static const struct command *command_of(const char *name)
{
    for (size_t i = 0; i < WH_COUNT(commands); i++)
        if (wh_streq(commands[i].name, name))
            return &commands[i];
    return NULL;
}

/* `docker image ls`, `docker container run`... */
static const struct command *command_of_words(int argc, char **argv, int *skip)
{
    const bool image = wh_streq(argv[1], "image");
    *skip = 1;
    if (argc < 3 || (!image && !wh_streq(argv[1], "container")))
        return command_of(argv[1]);
    *skip = 2;
    if (wh_streq(argv[2], "ls") || wh_streq(argv[2], "list"))
        return command_of(image ? "images" : "ps");
    static const char *const of_images[] = {"build", "pull", "push", "tag", "inspect", "save", "load"};
    bool is_images = false;
    for (size_t i = 0; i < WH_COUNT(of_images); i++)
        is_images = is_images || wh_streq(argv[2], of_images[i]);
    return image == is_images || wh_streq(argv[2], "inspect") ? command_of(argv[2]) : NULL;
}

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
    int skip;
    const struct command *command = command_of_words(argc, argv, &skip);
    if (command)
        return command->run(argc - skip, argv + skip);
    if (argv[1][0] == '-')
        return docker_refuse("", argv[1]);
    for (size_t i = 0; i < WH_COUNT(absent); i++) {
        if (!wh_streq(absent[i].name, argv[1]))
            continue;
        fprintf(stderr, "docker: the command `%s` is not supported by wherry's docker command: %s\n", argv[1],
                absent[i].why);
        return 125;
    }
    fprintf(stderr,
            "docker: the command `%s%s%s` is not supported by wherry's docker command; `docker --help` lists "
            "what is\n",
            argv[1], skip == 2 ? " " : "", skip == 2 ? argv[2] : "");
    return 125;
}
