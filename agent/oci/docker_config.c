/* Credentials in docker's config.json and its helpers (builder.md §7 Credentials). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oci/oci.h"
#include "wherry/base/fs.h"
#include "wherry/oci/registry.h"
#include "wherry/platform/process.h"

#define HUB_KEY "https://index.docker.io/v1/"
#define MAX_HELPER_OUTPUT ((size_t)256 << 10)

void wh_credential_clear(struct wh_credential *c)
{
    free(c->user);
    wh_secret_free(c->password);
    wh_secret_free(c->identity);
    wh_secret_free(c->registry);
    *c = (struct wh_credential){0};
}

static char *config_path(const char *dir)
{
    const char *env = getenv("DOCKER_CONFIG"), *home = getenv("HOME");
    if (!dir && env && env[0])
        dir = env;
    if (dir)
        return wh_path_join(dir, "config.json");
    return wh_path_join(home && home[0] ? home : "/", ".docker/config.json");
}

static bool is_hub(const char *host)
{
    return wh_streq(host, "docker.io") || wh_streq(host, "index.docker.io") ||
           wh_streq(host, "registry-1.docker.io");
}

/* Under which key docker itself files a host. */
static const char *file_key(const char *host)
{
    return is_hub(host) ? HUB_KEY : host;
}

/* "https://host/v1/" -> "host" */
static bool key_matches(const char *key, const char *host)
{
    const char *from = strstr(key, "://");
    from = from ? from + 3 : key;
    size_t len = strcspn(from, "/");
    if (is_hub(host))
        return wh_streq(key, HUB_KEY) || (len == 9 && memcmp(from, "docker.io", 9) == 0) ||
               (len == 15 && memcmp(from, "index.docker.io", 15) == 0);
    return len == strlen(host) && wh_strcmp_ci(from, host, len) == 0;
}

static const cJSON *find_key(const cJSON *object, const char *host)
{
    const cJSON *exact = cJSON_GetObjectItemCaseSensitive(object, file_key(host));
    if (exact || !cJSON_IsObject(object))
        return exact;
    for (const cJSON *child = object->child; child; child = child->next)
        if (key_matches(child->string, host))
            return child;
    return NULL;
}

static struct wh_secret *secret_of(const char *text)
{
    return text && text[0] ? wh_secret_new(text, strlen(text)) : NULL;
}

/* base64 of user:password */
static int read_auth(const char *auth, struct wh_credential *out, struct wh_error *err)
{
    struct wh_str plain = {0};
    const char *colon = NULL;
    if (wh_unbase64(auth, strlen(auth), &plain))
        colon = strchr(wh_str_text(&plain), ':');
    if (colon && strlen(plain.data) == plain.len) {
        out->user = wh_strndup(plain.data, (size_t)(colon - plain.data));
        out->password = wh_secret_new(colon + 1, strlen(colon + 1));
    }
    wh_str_wipe(&plain);
    return colon ? 0 : wh_fail(err, WH_E_PARSE, "auth is no base64 of user:password");
}

static int read_entry(const cJSON *entry, struct wh_credential *out, struct wh_error *err)
{
    const char *auth = oci_text(entry, "auth"), *user = oci_text(entry, "username");
    const char *password = oci_text(entry, "password");
    out->identity = secret_of(oci_text(entry, "identitytoken"));
    out->registry = secret_of(oci_text(entry, "registrytoken"));
    if (auth && auth[0])
        return read_auth(auth, out, err);
    if (user && user[0] && password) {
        out->user = wh_strdup(user);
        out->password = wh_secret_new(password, strlen(password));
    }
    return 0;
}

/* ---- helpers ---- */

static bool helper_name_ok(const char *name)
{
    return name[0] &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == strlen(name);
}

/* A helper reads the host from its standard input: a pipe that holds it already. */
static int host_pipe(const char *host, struct wh_error *err)
{
    int ends[2];
    if (wh_pipe(ends, false, err) < 0)
        return -1;
    int failed = wh_write_all(ends[1], host, strlen(host), err);
    close(ends[1]);
    if (failed < 0) {
        close(ends[0]);
        return -1;
    }
    return ends[0];
}

static int run_helper(const char *program, const char *host, struct wh_str *out, struct wh_error *err)
{
    wh_autostr errors = {0};
    char *argv[] = {(char *)(uintptr_t)program, (char *)(uintptr_t) "get", NULL};
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    wh_autofree char *path = wh_find_program(program, getenv("PATH"), false);
    if (!path)
        return wh_fail(err, WH_E_NOT_FOUND,
                       "%s is not in PATH; install it, or take it out of docker's config.json", program);
    wh_autoclose int input = host_pipe(file_key(host), err);
    if (input < 0)
        return -1;
    options.path = path;
    options.argv = argv;
    options.stdin_fd = input;
    int code = wh_process_run(&options, MAX_HELPER_OUTPUT, out, &errors, err);
    if (code <= 0)
        return code;
    /* Helpers say that there is nothing on either stream, with exit code 1. */
    if (strstr(wh_str_text(out), "credentials not found") ||
        strstr(wh_str_text(&errors), "credentials not found"))
        return 1;
    struct wh_view said = wh_view_trim((struct wh_view){wh_str_text(&errors), errors.len});
    return wh_fail(err, WH_E_FAILED, "%s get ended with exit code %d: %.*s", program, code,
                   (int)WH_MIN(said.len, (size_t)200), said.data);
}

static int read_helper_answer(const struct wh_str *answer, struct wh_credential *out, struct wh_error *err)
{
    wh_autojson *json = wh_json_parse(answer->data, answer->len, MAX_HELPER_OUTPUT, "its answer", err);
    if (!json)
        return -1;
    const char *user = wh_json_string(json, "Username"), *secret = wh_json_string(json, "Secret");
    if (!user || !secret)
        return wh_fail(err, WH_E_PARSE, "its answer lacks Username or Secret");
    if (wh_streq(user, "<token>")) {
        out->identity = secret_of(secret);
        return 0;
    }
    out->user = wh_strdup(user);
    out->password = wh_secret_new(secret, strlen(secret));
    return 0;
}

static int ask_helper(const char *name, const char *host, struct wh_credential *out, struct wh_error *err)
{
    struct wh_str answer = {0};
    if (!helper_name_ok(name))
        return wh_fail(err, WH_E_PARSE, "\"%.100s\" is no name of a credential helper", name);
    wh_autofree char *program = wh_printf("docker-credential-%s", name);
    int n = run_helper(program, host, &answer, err);
    if (n == 0 && read_helper_answer(&answer, out, err) < 0)
        n = wh_wrap(err, "%s", program);
    wh_str_wipe(&answer);
    return n < 0 ? -1 : 0;
}

/* ---- looking up ---- */

static int look_up(const cJSON *config, const char *host, struct wh_credential *out, struct wh_error *err)
{
    const cJSON *helper = find_key(oci_member(config, "credHelpers"), host);
    const char *store = oci_text(config, "credsStore");
    if (cJSON_IsString(helper) && helper->valuestring[0])
        return ask_helper(helper->valuestring, host, out, err);
    if (store && store[0]) {
        if (ask_helper(store, host, out, err) < 0)
            return -1;
        if (out->user || out->identity)
            return 0;
    }
    const cJSON *entry = find_key(oci_member(config, "auths"), host);
    return cJSON_IsObject(entry) ? read_entry(entry, out, err) : 0;
}

/* Absent: an empty object. */
static cJSON *read_config(const char *path, struct wh_error *err)
{
    struct wh_str text = {0};
    wh_autoerror why = {0};
    cJSON *config = NULL;
    if (wh_read_file(AT_FDCWD, path, WH_MAX_DOCKER_CONFIG, &text, &why) < 0) {
        if (why.code == WH_E_NOT_FOUND)
            return cJSON_CreateObject();
        wh_error_move(err, &why);
        return NULL;
    }
    if (wh_view_trim((struct wh_view){wh_str_text(&text), text.len}).len == 0)
        config = cJSON_CreateObject();
    else
        config = wh_json_parse(text.data, text.len, WH_MAX_DOCKER_CONFIG, path, err);
    if (config && !cJSON_IsObject(config)) {
        cJSON_Delete(config);
        config = NULL;
        wh_fail(err, WH_E_PARSE, "%s: it is no JSON object", path);
    }
    wh_str_wipe(&text);
    return config;
}

int wh_docker_config_credential(const char *dir, const char *host, struct wh_credential *out,
                                struct wh_error *err)
{
    wh_autofree char *path = config_path(dir);
    const char *env = getenv("DOCKER_AUTH_CONFIG");
    *out = (struct wh_credential){0};
    if (env && env[0]) {
        wh_autojson *config =
            wh_json_parse(env, strlen(env), WH_MAX_DOCKER_CONFIG, "DOCKER_AUTH_CONFIG", err);
        if (!config)
            return -1;
        const cJSON *entry = find_key(oci_member(config, "auths"), host);
        if (cJSON_IsObject(entry))
            return read_entry(entry, out, err) < 0 ? wh_wrap(err, "DOCKER_AUTH_CONFIG: %s", host) : 0;
    }
    wh_autojson *config = read_config(path, err);
    if (!config)
        return -1;
    if (look_up(config, host, out, err) == 0)
        return 0;
    wh_credential_clear(out);
    return wh_wrap(err, "credentials for %s (%s)", host, path);
}

/* ---- login and logout ---- */

static cJSON *auths_of(cJSON *config)
{
    cJSON *auths = cJSON_GetObjectItemCaseSensitive(config, "auths");
    if (cJSON_IsObject(auths))
        return auths;
    cJSON_DeleteItemFromObjectCaseSensitive(config, "auths");
    return cJSON_AddObjectToObject(config, "auths");
}

static int write_config(const char *path, const cJSON *config, struct wh_error *err)
{
    char *text = wh_json_print_indented(config);
    size_t len = strlen(text);
    wh_autofree char *dir = wh_strdup(path);
    *strrchr(dir, '/') = '\0';
    int failed = wh_mkdir_p(dir[0] ? dir : "/", 0700, err);
    if (failed == 0)
        failed = wh_write_file_quick(AT_FDCWD, path, text, len, 0600, err);
    wh_wipe(text, len);
    free(text);
    return failed;
}

int wh_docker_config_login(const char *dir, const char *host, const char *user,
                           const struct wh_secret *password, struct wh_error *err)
{
    wh_autofree char *path = config_path(dir);
    wh_autojson *config = read_config(path, err);
    if (!config)
        return -1;
    struct wh_str plain = {0};
    wh_str_reserve(&plain,
                   strlen(user) + wh_secret_len(password) + 2); /* no copies are left behind by growing */
    wh_str_addf(&plain, "%s:", user);
    wh_str_addn(&plain, wh_secret_text(password), wh_secret_len(password));
    char *auth = wh_base64(plain.data, plain.len);
    wh_str_wipe(&plain);
    cJSON *auths = auths_of(config), *entry = cJSON_CreateObject();
    cJSON_AddStringToObject(entry, "auth", auth);
    cJSON_DeleteItemFromObjectCaseSensitive(auths, file_key(host));
    cJSON_AddItemToObject(auths, file_key(host), entry);
    wh_wipe(auth, strlen(auth));
    free(auth);
    return write_config(path, config, err) < 0 ? wh_wrap(err, "save the login to %s", host) : 0;
}

int wh_docker_config_logout(const char *dir, const char *host, struct wh_error *err)
{
    wh_autofree char *path = config_path(dir);
    wh_autojson *config = read_config(path, err);
    if (!config)
        return -1;
    cJSON *auths = cJSON_GetObjectItemCaseSensitive(config, "auths");
    if (!cJSON_HasObjectItem(auths, file_key(host)))
        return 0;
    cJSON_DeleteItemFromObjectCaseSensitive(auths, file_key(host));
    return write_config(path, config, err) < 0 ? wh_wrap(err, "log out from %s", host) : 0;
}
