#include <stdlib.h>

#include "create_internal.h"
#include "wherry/base/fs.h"
#include "wherry/oci/reference.h"

/* ---- words ---- */

char **wh_create_split(const char *text, struct wh_error *err)
{
    wh_autostrv char **words = NULL;
    wh_autostr word = {0};
    bool open = false;
    char quote = 0;
    if (strlen(text) > WH_MAX_CREATE_TEXT) {
        (void)wh_fail(err, WH_E_LIMIT, "options can have %zu bytes", WH_MAX_CREATE_TEXT);
        return NULL;
    }
    for (const char *p = text; *p; p++) {
        if (quote ? *p == quote : *p == '"' || *p == '\'') {
            quote = quote ? 0 : *p;
            open = true;
        } else if (!quote && strchr(" \n\t\r", *p)) {
            if (open)
                wh_strv_add(&words, wh_str_text(&word));
            wh_str_clear(&word);
            open = false;
        } else {
            if (*p == '\\' && p[1] && quote != '\'')
                p++;
            wh_str_addc(&word, *p);
            open = true;
        }
    }
    if (quote) {
        (void)wh_fail(err, WH_E_ARGUMENT, "a quote is not closed: %.200s", text);
        return NULL;
    }
    if (open)
        wh_strv_add(&words, wh_str_text(&word));
    if (wh_strv_len(words) > WH_MAX_CREATE_WORDS) {
        (void)wh_fail(err, WH_E_LIMIT, "options can have %u words", WH_MAX_CREATE_WORDS);
        return NULL;
    }
    return wh_steal(&words);
}

/* ---- parts of a request ---- */

static cJSON *object_of(cJSON *request, const char *name)
{
    cJSON *object = cJSON_GetObjectItemCaseSensitive(request, name);
    return object ? object : cJSON_AddObjectToObject(request, name);
}

static cJSON *list_of(cJSON *request, const char *name)
{
    cJSON *list = cJSON_GetObjectItemCaseSensitive(request, name);
    return list ? list : cJSON_AddArrayToObject(request, name);
}

static void set_text(cJSON *object, const char *name, const char *value)
{
    cJSON_DeleteItemFromObjectCaseSensitive(object, name);
    wh_json_add_string(object, name, value);
}

static void set_number(cJSON *object, const char *name, int64_t value)
{
    cJSON_DeleteItemFromObjectCaseSensitive(object, name);
    wh_json_add_int(object, name, value);
}

void wh_create_env(cJSON *request, const char *text)
{
    const char *value = strchr(text, '=') ? NULL : getenv(text);
    wh_autofree char *entry = value ? wh_printf("%s=%s", text, value) : NULL;
    if (entry || strchr(text, '='))
        cJSON_AddItemToArray(list_of(request, "env"), cJSON_CreateString(entry ? entry : text));
}

/* ---- one option each ---- */

static int on_env(cJSON *request, const char *value, struct wh_error *err)
{
    (void)err;
    wh_create_env(request, value);
    return 0;
}

static int on_env_file(cJSON *request, const char *value, struct wh_error *err)
{
    wh_autostr text = {0};
    if (wh_read_file(AT_FDCWD, value, WH_MAX_CREATE_ENV_FILE, &text, err) < 0)
        return wh_wrap(err, "--env-file");
    struct wh_reader r = wh_reader_of(text.data, text.len);
    for (struct wh_view line; wh_reader_line(&r, &line);) {
        wh_autofree char *one = wh_view_dup(wh_view_trim(line));
        if (one[0] && one[0] != '#')
            wh_create_env(request, one);
    }
    return 0;
}

static int on_host(cJSON *request, const char *value, struct wh_error *err)
{
    const char *mark = strpbrk(value, ":=");
    if (!mark || mark == value || mark[1] == '\0')
        return wh_fail(err, WH_E_ARGUMENT, "--add-host '%s' is not name:address", value);
    wh_autofree char *name = wh_strndup(value, (size_t)(mark - value));
    cJSON *one = cJSON_CreateObject();
    wh_json_add_string(one, "name", name);
    wh_json_add_string(one, "address", mark + 1);
    cJSON_AddItemToArray(list_of(request, "hosts"), one);
    return 0;
}

static int on_alias(cJSON *request, const char *value, struct wh_error *err)
{
    (void)err;
    cJSON_AddItemToArray(list_of(request, "aliases"), cJSON_CreateString(value));
    return 0;
}

static int on_network(cJSON *request, const char *value, struct wh_error *err)
{
    if (!*value || wh_starts_with(value, "container:") || strchr(value, '='))
        return wh_fail(err, WH_E_UNSUPPORTED, "the network '%s' is not supported by wherry", value);
    set_text(request, "network", wh_streq(value, "default") ? "bridge" : value);
    return 0;
}

static int on_entrypoint(cJSON *request, const char *value, struct wh_error *err)
{
    (void)err;
    cJSON_DeleteItemFromObjectCaseSensitive(request, "entrypoint");
    cJSON *list = cJSON_AddArrayToObject(request, "entrypoint");
    if (*value)
        cJSON_AddItemToArray(list, cJSON_CreateString(value));
    return 0;
}

static int on_label(cJSON *request, const char *value, struct wh_error *err)
{
    const char *equals = strchr(value, '=');
    wh_autofree char *name = wh_strndup(value, equals ? (size_t)(equals - value) : strlen(value));
    if (!*name)
        return wh_fail(err, WH_E_ARGUMENT, "the label '%s' has no name", value);
    set_text(object_of(request, "labels"), name, equals ? equals + 1 : "");
    return 0;
}

static int on_health_cmd(cJSON *request, const char *value, struct wh_error *err)
{
    cJSON *health = object_of(request, "health");
    (void)err;
    cJSON_DeleteItemFromObjectCaseSensitive(health, "test");
    cJSON *test = cJSON_AddArrayToObject(health, "test");
    cJSON_AddItemToArray(test, cJSON_CreateString(*value ? "CMD-SHELL" : "NONE"));
    if (*value)
        cJSON_AddItemToArray(test, cJSON_CreateString(value));
    return 0;
}

static int health_duration(cJSON *request, const char *name, const char *value, struct wh_error *err)
{
    int64_t ms;
    if (!wh_create_duration(value, &ms))
        return wh_fail(err, WH_E_ARGUMENT, "--health-%s '%s' is no duration like 10s", name, value);
    set_number(object_of(request, "health"), name, ms);
    return 0;
}

static int on_health_interval(cJSON *request, const char *value, struct wh_error *err)
{
    return health_duration(request, "interval", value, err);
}

static int on_health_timeout(cJSON *request, const char *value, struct wh_error *err)
{
    return health_duration(request, "timeout", value, err);
}

static int on_health_start(cJSON *request, const char *value, struct wh_error *err)
{
    return health_duration(request, "start-period", value, err);
}

static int on_health_retries(cJSON *request, const char *value, struct wh_error *err)
{
    uint64_t number;
    if (!wh_parse_u64(value, 100000, &number))
        return wh_fail(err, WH_E_ARGUMENT, "--health-retries '%s' is no number", value);
    set_number(object_of(request, "health"), "retries", (int64_t)number);
    return 0;
}

static int on_shm_size(cJSON *request, const char *value, struct wh_error *err)
{
    uint64_t size;
    if (!wh_parse_size(value, &size) || size > (uint64_t)1 << 52)
        return wh_fail(err, WH_E_ARGUMENT, "--shm-size '%s' is no size", value);
    set_number(request, "shm-size", (int64_t)size);
    return 0;
}

static int on_pull(cJSON *request, const char *value, struct wh_error *err)
{
    if (!wh_streq(value, "always") && !wh_streq(value, "missing") && !wh_streq(value, "never"))
        return wh_fail(err, WH_E_ARGUMENT, "--pull '%s' is none of always, missing, never", value);
    cJSON_DeleteItemFromObjectCaseSensitive(request, "pull");
    if (wh_streq(value, "always"))
        cJSON_AddBoolToObject(request, "pull", true);
    return 0;
}

/* Machine code of another processor is not run: what is asked for must be what is here. */
static int on_platform(cJSON *request, const char *value, struct wh_error *err)
{
    struct wh_platform host;
    struct wh_platform wanted;
    (void)request;
    wh_platform_host(&host);
    if (wh_platform_parse(value, &wanted, err) < 0)
        return -1;
    return wh_platform_rank(&host, &wanted) >= 0
               ? 0
               : wh_fail(err, WH_E_UNSUPPORTED, "--platform %s is not supported by wherry on this machine",
                         value);
}

#define TEXT(field)                                                                                          \
    static int on_##field(cJSON *request, const char *value, struct wh_error *err)                           \
    {                                                                                                        \
        (void)err;                                                                                           \
        set_text(request, #field, value);                                                                    \
        return 0;                                                                                            \
    }
TEXT(name)
TEXT(user)
TEXT(workdir)
TEXT(hostname)
#undef TEXT

/* They change nothing for a job: names and logs of the engine, and a container that ended stays ended. */
static int on_nothing(cJSON *request, const char *value, struct wh_error *err)
{
    (void)request;
    (void)value;
    (void)err;
    return 0;
}

static const struct option {
    const char *name, *letter; /* letter NULL: none */
    int (*take)(cJSON *request, const char *value, struct wh_error *err);
} options[] = {
    {"--env", "-e", on_env},
    {"--env-file", NULL, on_env_file},
    {"--volume", "-v", wh_create_volume},
    {"--mount", NULL, create_mount},
    {"--tmpfs", NULL, create_tmpfs},
    {"--publish", "-p", wh_create_port},
    {"--add-host", NULL, on_host},
    {"--network", NULL, on_network},
    {"--net", NULL, on_network},
    {"--network-alias", NULL, on_alias},
    {"--net-alias", NULL, on_alias},
    {"--name", NULL, on_name},
    {"--user", "-u", on_user},
    {"--workdir", "-w", on_workdir},
    {"--hostname", "-h", on_hostname},
    {"--entrypoint", NULL, on_entrypoint},
    {"--label", "-l", on_label},
    {"--health-cmd", NULL, on_health_cmd},
    {"--health-interval", NULL, on_health_interval},
    {"--health-timeout", NULL, on_health_timeout},
    {"--health-start-period", NULL, on_health_start},
    {"--health-start-interval", NULL, on_nothing},
    {"--health-retries", NULL, on_health_retries},
    {"--shm-size", NULL, on_shm_size},
    {"--pull", NULL, on_pull},
    {"--platform", NULL, on_platform},
    {"--restart", NULL, on_nothing},
    {"--log-driver", NULL, on_nothing},
    {"--log-opt", NULL, on_nothing},
    {"--stop-signal", NULL, on_nothing},
    {"--stop-timeout", NULL, on_nothing},
};

static const struct {
    const char *name, *letter;
    const char *member; /* of the request; NULL: without effect */
} flags[] = {
    {"--detach", "-d", "detach"},
    {"--interactive", "-i", "interactive"},
    {"--tty", "-t", NULL},
    {"--rm", NULL, NULL},
    {"--init", NULL, NULL},
    {"--quiet", "-q", NULL},
    {"--read-only", NULL, "read-only"},
    {"--no-healthcheck", NULL, "no-healthcheck"},
};

static int unsupported(const char *name, struct wh_error *err)
{
    return wh_fail(err, WH_E_UNSUPPORTED,
                   "the option '%s' is not supported by wherry's own engine of containers", name);
}

static bool set_flag(cJSON *request, const char *name, bool on)
{
    for (size_t i = 0; i < WH_COUNT(flags); i++) {
        if (!wh_streq(name, flags[i].name) && !wh_streq(name, flags[i].letter))
            continue;
        if (flags[i].member) {
            cJSON_DeleteItemFromObjectCaseSensitive(request, flags[i].member);
            cJSON_AddBoolToObject(request, flags[i].member, on);
        }
        return true;
    }
    return false;
}

/* Letters in one word, flags all: -it, -dit. */
static bool set_letters(cJSON *request, const char *word)
{
    if (word[1] == '-' || strlen(word) < 3 || strspn(word + 1, "ditq") != strlen(word + 1))
        return false;
    for (const char *c = word + 1; *c; c++) {
        const char one[3] = {'-', *c, '\0'};
        (void)set_flag(request, one, true);
    }
    return true;
}

static const struct option *option_of(const char *name)
{
    for (size_t i = 0; i < WH_COUNT(options); i++)
        if (wh_streq(name, options[i].name) || wh_streq(name, options[i].letter))
            return &options[i];
    return NULL;
}

/* --name=value, --name value, -n value, -nvalue, -n=value. *more: the next word was its value. */
static int take_word(cJSON *request, const char *word, const char *next, bool *more, struct wh_error *err)
{
    const bool is_long = word[1] == '-';
    const char *equals = is_long ? strchr(word, '=') : NULL;
    size_t len = equals ? (size_t)(equals - word) : is_long ? strlen(word) : WH_MIN(strlen(word), (size_t)2);
    wh_autofree char *name = wh_strndup(word, len);
    const char *value = equals ? equals + 1 : word[len] ? word + len + (word[len] == '=') : NULL;
    *more = false;
    if (set_letters(request, word))
        return 0;
    if (is_long || !word[len]) {
        bool on = !equals || wh_streq_ci(value, "true") || wh_streq(value, "1");
        if (set_flag(request, name, on))
            return 0;
    }
    const struct option *option = option_of(name);
    if (!option)
        return unsupported(name, err);
    *more = !value;
    if (!value && !next)
        return wh_fail(err, WH_E_ARGUMENT, "the option '%s' needs a value", name);
    return option->take(request, value ? value : next, err);
}

int wh_create_options(cJSON *request, char *const *words, size_t *used, struct wh_error *err)
{
    size_t i = 0;
    while (words && words[i] && words[i][0] == '-' && words[i][1]) {
        bool more;
        if (wh_streq(words[i], "--")) {
            i++;
            break;
        }
        if (take_word(request, words[i], words[i + 1], &more, err) < 0)
            return -1;
        i += more ? 2 : 1;
    }
    *used = i;
    return 0;
}
