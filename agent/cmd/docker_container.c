/* Containers and networks of the job's engine, for the docker command. */
#include <stdio.h>

#include "cmd/docker.h"

#define WAIT_MS 20000 /* of one question; it is put again */

/* ---- ps ---- */

struct ps {
    bool all, quiet;
    char **filters; /* owned: "name=x", "status=x", "label=x", "id=x" */
};

static int parse_ps(struct ps *ps, int argc, char **argv)
{
    static const char *const known[] = {"name=", "status=", "label=", "id=", "health="};
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        const bool letters = word[0] == '-' && word[1] && strspn(word + 1, "aq") == strlen(word + 1);
        const char *filter = wh_starts_with(word, "--filter=") ? word + strlen("--filter=") : NULL;
        if (!filter && (wh_streq(word, "-f") || wh_streq(word, "--filter")) && i + 1 < argc)
            filter = argv[++i];
        if (filter) {
            bool found = false;
            for (size_t k = 0; k < WH_COUNT(known); k++)
                found = found || wh_starts_with(filter, known[k]);
            if (!found)
                return docker_refuse("ps", filter);
            wh_strv_add(&ps->filters, filter);
        } else if (wh_streq(word, "--all") || wh_streq(word, "--quiet") || wh_streq(word, "--no-trunc")) {
            ps->all = ps->all || wh_streq(word, "--all");
            ps->quiet = ps->quiet || wh_streq(word, "--quiet");
        } else if (letters) {
            ps->all = ps->all || strchr(word, 'a');
            ps->quiet = ps->quiet || strchr(word, 'q');
        } else {
            return docker_refuse("ps", word);
        }
    }
    return 0;
}

static bool has_label(const cJSON *labels, const char *wanted)
{
    const char *equals = strchr(wanted, '=');
    wh_autofree char *name = wh_strndup(wanted, equals ? (size_t)(equals - wanted) : strlen(wanted));
    const cJSON *label = cJSON_GetObjectItemCaseSensitive(labels, name);
    return cJSON_IsString(label) && (!equals || wh_streq(label->valuestring, equals + 1));
}

static bool matches(const cJSON *c, const char *filter)
{
    const char *value = strchr(filter, '=') + 1;
    const char *name = wh_json_string(c, "name");
    const char *health = wh_json_string(c, "health");
    if (wh_starts_with(filter, "name="))
        return name && strstr(name, value);
    if (wh_starts_with(filter, "status="))
        return wh_streq(wh_json_string(c, "state"), value);
    if (wh_starts_with(filter, "health="))
        return wh_streq(health ? health : "none", value);
    if (wh_starts_with(filter, "id="))
        return wh_starts_with(wh_json_string(c, "id"), value);
    return has_label(wh_json_get(c, "labels"), value);
}

static char *ports_text(const cJSON *ports)
{
    wh_autostr text = {0};
    const cJSON *port;
    cJSON_ArrayForEach(port, ports)
    {
        const char *address = wh_json_string(port, "address");
        bool v6 = address && strchr(address, ':');
        wh_str_addf(&text, "%s%s%s%s:%s->%s/%s", text.len ? ", " : "", v6 ? "[" : "", address, v6 ? "]" : "",
                    wh_json_string(port, "host"), wh_json_string(port, "container"),
                    wh_json_string(port, "protocol"));
    }
    return wh_str_steal(&text);
}

int docker_ps(int argc, char **argv)
{
    struct ps ps = {0};
    wh_autojson *result = NULL;
    int code = parse_ps(&ps, argc, argv);
    if (code == 0)
        code = docker_ask(docker_request("list", NULL, NULL), NULL, 0, &result);
    if (code == 0 && !ps.quiet)
        printf("%-14s %-30s %-20s %-24s %s\n", "CONTAINER ID", "IMAGE", "STATUS", "PORTS", "NAMES");
    const cJSON *one;
    cJSON_ArrayForEach(one, wh_json_get(result, "containers"))
    {
        const char *state = wh_json_string(one, "state");
        const char *health = wh_json_string(one, "health");
        bool shown = ps.all || wh_streq(state, "running");
        for (size_t i = 0; ps.filters && ps.filters[i]; i++) {
            if (wh_starts_with(ps.filters[i], "status="))
                shown = true;
            shown = shown && matches(one, ps.filters[i]);
        }
        if (!shown)
            continue;
        if (ps.quiet) {
            puts(wh_json_string(one, "id"));
            continue;
        }
        wh_autofree char *ports = ports_text(wh_json_get(one, "ports"));
        wh_autofree char *status = health ? wh_printf("%s (%s)", state, health) : wh_strdup(state);
        printf("%-14s %-30s %-20s %-24s %s\n", wh_json_string(one, "id"), wh_json_string(one, "image"),
               status, ports, wh_json_string(one, "name"));
    }
    wh_strv_free(ps.filters);
    return code;
}

/* ---- logs, wait, port ---- */

static const char *last_lines(const char *log, uint64_t lines)
{
    const char *at = log + strlen(log);
    if (at > log && at[-1] == '\n')
        at--;
    for (; at > log; at--)
        if (at[-1] == '\n' && lines-- <= 1)
            break;
    return lines == 0 && at == log ? log : at;
}

int docker_logs(int argc, char **argv)
{
    const char *name = NULL;
    bool follow = false;
    uint64_t tail = UINT64_MAX;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        const bool option = word[0] == '-';
        const char *lines = wh_starts_with(word, "--tail=") ? word + strlen("--tail=") : NULL;
        if (!lines && (wh_streq(word, "--tail") || wh_streq(word, "-n")) && i + 1 < argc)
            lines = argv[++i];
        if (lines) {
            if (!wh_streq(lines, "all") && !wh_parse_u64(lines, INT32_MAX, &tail))
                return docker_refuse("logs", "a --tail that is no number");
        } else if (wh_streq(word, "-f") || wh_streq(word, "--follow")) {
            follow = true;
        } else if (option && !wh_streq(word, "--details")) {
            return docker_refuse("logs", word);
        } else if (!option) {
            name = word;
        }
    }
    if (!name)
        return docker_refuse("logs", "a call without a container");
    int64_t from = 0;
    for (bool over = false; !over;) {
        wh_autojson *result = NULL;
        cJSON *request = docker_request("logs", "container", name);
        wh_json_add_int(request, "from", from);
        if (from > 0)
            wh_json_add_int(request, "wait", WAIT_MS);
        int code = docker_ask(request, NULL, 0, &result);
        const char *log = wh_json_string(result, "log");
        if (code != 0)
            return from > 0 && follow ? 0 : code; /* it was removed meanwhile */
        if (log)
            fputs(from > 0 || tail == UINT64_MAX ? log : tail == 0 ? "" : last_lines(log, tail), stdout);
        (void)fflush(stdout);
        from = WH_MAX(wh_json_int(result, "next", 0), 1);
        over = !follow || wh_json_bool(result, "over", true);
    }
    return 0;
}

int docker_wait(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        for (bool over = false; !over;) {
            wh_autojson *result = NULL;
            cJSON *request = docker_request("wait", "container", argv[i]);
            wh_json_add_int(request, "wait", WAIT_MS);
            if (argv[i][0] == '-')
                return docker_refuse("wait", argv[i]);
            if (docker_ask(request, NULL, 0, &result) != 0)
                return 1;
            over = wh_streq(wh_json_string(result, "state"), "exited");
            if (over)
                printf("%lld\n", (long long)wh_json_int(result, "code", 0));
        }
    }
    return argc > 1 ? 0 : docker_refuse("wait", "a call without a container");
}

int docker_port(int argc, char **argv)
{
    wh_autojson *result = NULL;
    if (argc < 2 || argc > 3 || argv[1][0] == '-')
        return docker_refuse("port", "anything but CONTAINER [PORT[/PROTOCOL]]");
    if (docker_ask(docker_request("wait", "container", argv[1]), NULL, 0, &result) != 0)
        return 1;
    bool found = argc == 2;
    const cJSON *port;
    cJSON_ArrayForEach(port, wh_json_get(result, "ports"))
    {
        const char *inner = wh_json_string(port, "container");
        const char *address = wh_json_string(port, "address");
        bool v6 = address && strchr(address, ':');
        wh_autofree char *key = wh_printf("%s/%s", inner, wh_json_string(port, "protocol"));
        if (argc == 3 && !wh_streq(argv[2], key) && !wh_streq(argv[2], inner))
            continue;
        found = true;
        if (argc == 2)
            printf("%s -> ", key);
        printf("%s%s%s:%s\n", v6 ? "[" : "", address, v6 ? "]" : "", wh_json_string(port, "host"));
    }
    if (!found)
        fprintf(stderr, "Error: No public port '%s' published for %s\n", argv[2], argv[1]);
    return found ? 0 : 1;
}

/* ---- stop, kill, rm: of each that is named ---- */

static int each(int argc, char **argv, const char *request)
{
    int code = 0;
    for (int i = 1; i < argc; i++) {
        if (wh_streq(argv[i], "-f") || wh_streq(argv[i], "--force") || wh_streq(argv[i], "-v") ||
            wh_streq(argv[i], "-fv") || wh_streq(argv[i], "-vf") || wh_starts_with(argv[i], "--time="))
            continue;
        if ((wh_streq(argv[i], "-t") || wh_streq(argv[i], "--time") || wh_streq(argv[i], "-s")) &&
            i + 1 < argc) {
            i++;
            continue;
        }
        if (argv[i][0] == '-')
            return docker_refuse(argv[0], argv[i]);
        if (docker_ask(docker_request(request, "container", argv[i]), NULL, 0, NULL) != 0)
            code = 1;
        else
            puts(argv[i]);
    }
    return code;
}

int docker_stop(int argc, char **argv)
{
    return each(argc, argv, "stop");
}

int docker_rm(int argc, char **argv)
{
    return each(argc, argv, "rm");
}

/* ---- networks ---- */

static int list_networks(void)
{
    wh_autojson *result = NULL;
    const cJSON *one;
    if (docker_ask(docker_request("networks", NULL, NULL), NULL, 0, &result) != 0)
        return 1;
    printf("%-50s %s\n", "NAME", "DRIVER");
    cJSON_ArrayForEach(one, wh_json_get(result, "networks")) printf(
        "%-50s %s\n", wh_json_string(one, "name"), wh_json_bool(one, "own", false) ? "bridge" : "host");
    return 0;
}

static int create_network(int argc, char **argv)
{
    const char *name = NULL;
    wh_autojson *result = NULL;
    for (int i = 2; i < argc; i++) {
        if ((wh_streq(argv[i], "--label") || wh_streq(argv[i], "-d") || wh_streq(argv[i], "--driver")) &&
            i + 1 < argc) {
            i++;
            if (!wh_streq(argv[i - 1], "--label") && !wh_streq(argv[i], "bridge"))
                return docker_refuse("network create", "a driver but bridge");
        } else if (wh_streq(argv[i], "--driver=bridge") || wh_starts_with(argv[i], "--label=")) {
            continue;
        } else if (argv[i][0] == '-') {
            return docker_refuse("network create", argv[i]);
        } else {
            name = argv[i];
        }
    }
    if (!name)
        return docker_refuse("network create", "a call without a name");
    if (docker_ask(docker_request("network", "name", name), NULL, 0, &result) != 0)
        return 1;
    if (wh_json_string(result, "why"))
        fprintf(stderr, "Containers share the machine's network: %s\n", wh_json_string(result, "why"));
    puts(name);
    return 0;
}

int docker_network(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    int code = 0;
    if (wh_streq(verb, "ls") || wh_streq(verb, "list"))
        return argc == 2 ? list_networks() : docker_refuse("network ls", argv[2]);
    if (wh_streq(verb, "create"))
        return create_network(argc, argv);
    if (!wh_streq(verb, "rm") && !wh_streq(verb, "remove")) {
        wh_autofree char *what = wh_printf("`%s`", verb);
        return docker_refuse("network", what);
    }
    for (int i = 2; i < argc; i++) {
        if (argv[i][0] == '-')
            return docker_refuse("network rm", argv[i]);
        if (docker_ask(docker_request("network-rm", "name", argv[i]), NULL, 0, NULL) != 0)
            code = 1;
        else
            puts(argv[i]);
    }
    return code;
}
