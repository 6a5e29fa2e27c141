/* `docker run` and `docker exec`: their options, to a request. */
#include <stdio.h>
#include <unistd.h>

#include "cmd/docker.h"
#include "wherry/base/fs.h"
#include "wherry/container/create.h"

static void add_words(cJSON *request, const char *name, char *const *words)
{
    cJSON *list = cJSON_AddArrayToObject(request, name);
    for (size_t i = 0; words[i]; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(words[i]));
}

/* The options; 0, or the exit code. */
static int parse(cJSON *request, const char *command, char **argv, size_t *used)
{
    wh_autoerror err = {0};
    if (wh_create_options(request, argv + 1, used, &err) == 0)
        return 0;
    fprintf(stderr, "docker %s: %s\n", command, wh_error_text(&err));
    return 125;
}

int docker_run(int argc, char **argv)
{
    wh_autojson *request = cJSON_CreateObject();
    size_t used = 0;
    int code = parse(request, "run", argv, &used);
    if (code != 0)
        return code;
    char *const *words = argv + 1 + used;
    if (1 + used >= (size_t)argc)
        return docker_refuse("run", "a call without an image");
    bool detach = wh_json_bool(request, "detach", false);
    wh_json_add_string(request, "type", "run");
    wh_json_add_string(request, "image", words[0]);
    if (!wh_json_string(request, "network"))
        wh_json_add_string(request, "network", "bridge");
    wh_engine_add_login(request, words[0]);
    add_words(request, "args", words + 1);
    const int fds[] = {STDOUT_FILENO, STDERR_FILENO};
    wh_autojson *result = NULL;
    wh_engine_signals();
    if (docker_ask(wh_steal(&request), fds, detach ? 0 : 2, &result) != 0)
        return 125;
    if (detach) {
        puts(wh_json_string(result, "id"));
        return 0;
    }
    return (int)wh_json_int(result, "code", 0);
}

int docker_exec(int argc, char **argv)
{
    static const char *const takes[] = {"env", "user", "workdir", "interactive", "detach"};
    wh_autojson *options = cJSON_CreateObject();
    wh_autojson *request = cJSON_CreateObject();
    size_t used = 0;
    int code = parse(options, "exec", argv, &used);
    if (code != 0)
        return code;
    for (const cJSON *item = options->child; item; item = item->next) {
        size_t i = 0;
        while (i < WH_COUNT(takes) && !wh_streq(item->string, takes[i]))
            i++;
        wh_autofree char *what = wh_printf("--%s", item->string);
        if (i == WH_COUNT(takes))
            return docker_refuse("exec", what);
        cJSON_AddItemToObject(request, item->string, cJSON_Duplicate(item, true));
    }
    if (wh_json_bool(request, "detach", false))
        return docker_refuse("exec", "--detach");
    if (2 + used >= (size_t)argc)
        return docker_refuse("exec", "a call without a container and a command");
    wh_json_add_string(request, "type", "exec");
    wh_json_add_string(request, "container", argv[1 + used]);
    add_words(request, "argv", argv + 2 + used);
    wh_autoclose int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int fds[] = {wh_json_bool(request, "interactive", false) ? STDIN_FILENO : null, STDOUT_FILENO,
                       STDERR_FILENO};
    wh_autojson *result = NULL;
    wh_engine_signals();
    if (docker_ask(wh_steal(&request), fds, 3, &result) != 0)
        return 126;
    return (int)wh_json_int(result, "code", 0);
}
