/* A runner's identity on disk. */
#include "wherry/config/runner.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/base/json.h"

#define RUNNER_FILE "runner.json"

void wh_runner_config_free(struct wh_runner_config *c)
{
    if (!c)
        return;
    free(c->name);
    free(c->url);
    free(c->group);
    wh_strv_free(c->labels);
    free(c->work);
    free(c->server_url);
    free(c->authorization_url);
    free(c->client_id);
    free(c->version);
    free(c->job_user);
    free(c);
}

void wh_runner_config_free_ptr(struct wh_runner_config **c)
{
    wh_runner_config_free(*c);
    *c = NULL;
}

bool wh_runner_name_valid(const char *name)
{
    size_t len = name ? strlen(name) : 0;
    if (len == 0 || len > WH_MAX_RUNNER_NAME || name[0] == '.')
        return false;
    return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

char *wh_runner_dir(const char *state, const char *name)
{
    return wh_printf("%s/runners/%s", state, name);
}

char *wh_runner_work_dir(const char *state, const char *name, const char *work)
{
    if (work && work[0] == '/')
        return wh_strdup(work);
    size_t len = strlen(state);
    while (len > 1 && state[len - 1] == '/')
        len--;
    if (work && *work)
        return wh_printf("%.*s-work/%s/%s", (int)len, state, name, work);
    return wh_printf("%.*s-work/%s", (int)len, state, name);
}

static int check_ours(int fd, const char *path, struct wh_error *err)
{
    struct stat st;
    if (fstat(fd, &st))
        return wh_fail_errno(err, "%s", path);
    if (st.st_uid != geteuid())
        return wh_fail(
            err, WH_E_DENIED,
            "%s belongs to user %u, not to us (%u): it may have been replaced. Register again as the "
            "user that runs the agent",
            path, st.st_uid, geteuid());
    if (st.st_mode & 022)
        return wh_fail(err, WH_E_DENIED, "%s can be written by others: chmod 0700 it", path);
    return 0;
}

static int open_ours(int parent, const char *name, const char *path, bool create, struct wh_error *err)
{
    if (create && mkdirat(parent, name, 0700) && errno != EEXIST)
        return wh_fail_errno(err, "make %s", path);
    wh_autoclose int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return wh_fail_errno(err, "open %s", path);
    if (check_ours(fd, path, err))
        return -1;
    return wh_steal_fd(&fd);
}

int wh_runner_dir_open(const char *state, const char *name, bool create, struct wh_error *err)
{
    if (!wh_runner_name_valid(name))
        return wh_fail(
            err, WH_E_ARGUMENT,
            "\"%s\" cannot name a runner: 1 to %d letters, digits, dots, dashes and underscores, not "
            "starting with a dot",
            name ? name : "", WH_MAX_RUNNER_NAME);
    if (create && wh_mkdir_p(state, 0700, err))
        return -1;
    wh_autoclose int root = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return wh_fail_errno(err, "open the state folder %s", state);
    wh_autofree char *runners_path = wh_printf("%s/runners", state);
    wh_autoclose int runners = open_ours(root, "runners", runners_path, create, err);
    if (runners < 0)
        return -1;
    wh_autofree char *path = wh_runner_dir(state, name);
    return open_ours(runners, name, path, create, err);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int wh_runner_list(const char *state, char ***names, struct wh_error *err)
{
    wh_autofree char *path = wh_printf("%s/runners", state);
    DIR *dir = opendir(path);
    *names = wh_calloc(1, sizeof **names);
    if (!dir && errno == ENOENT)
        return 0;
    if (!dir)
        return wh_fail_errno(err, "read %s", path);
    const struct dirent *entry;
    while ((entry = readdir(dir))) {
        if (!wh_runner_name_valid(entry->d_name))
            continue;
        wh_autofree char *file = wh_printf("%s/%s/" RUNNER_FILE, path, entry->d_name);
        if (access(file, F_OK) == 0)
            wh_strv_add(names, entry->d_name);
    }
    closedir(dir);
    size_t count = wh_strv_len(*names);
    qsort(*names, count, sizeof **names, by_name);
    return (int)count;
}

int wh_runner_config_save(const char *state, const struct wh_runner_config *c, struct wh_error *err)
{
    wh_autoclose int dir = wh_runner_dir_open(state, c->name, true, err);
    if (dir < 0)
        return -1;
    wh_autojson *json = cJSON_CreateObject();
    wh_json_add_string(json, "name", c->name);
    wh_json_add_string(json, "url", c->url);
    wh_autofree char *id =
        wh_printf("%lld", (long long)c->id); /* as text: JSON numbers are doubles for some */
    wh_json_add_string(json, "id", id);
    wh_json_add_int(json, "groupId", c->group_id);
    wh_json_add_string(json, "group", c->group);
    cJSON *labels = cJSON_AddArrayToObject(json, "labels");
    for (char **label = c->labels; label && *label; label++)
        cJSON_AddItemToArray(labels, cJSON_CreateString(*label));
    wh_json_add_string(json, "work", c->work);
    cJSON_AddBoolToObject(json, "ephemeral", c->ephemeral);
    cJSON_AddBoolToObject(json, "useV2Flow", c->use_v2);
    wh_json_add_string(json, "serverUrlV2", c->server_url);
    wh_json_add_string(json, "authorizationUrl", c->authorization_url);
    wh_json_add_string(json, "clientId", c->client_id);
    cJSON_AddBoolToObject(json, "requireFipsCryptography", c->ps256);
    wh_json_add_string(json, "runnerVersion", c->version);
    wh_json_add_string(json, "jobUser", c->job_user);
    wh_autofree char *text = wh_json_print_indented(json);
    return wh_write_file(dir, RUNNER_FILE, text, strlen(text), 0600, err);
}

static int read_fields(const cJSON *json, const char *what, struct wh_runner_config *c, struct wh_error *err)
{
    const struct {
        const char *field;
        char **to;
        bool needed;
    } texts[] = {{"name", &c->name, true},
                 {"url", &c->url, true},
                 {"group", &c->group, false},
                 {"work", &c->work, true},
                 {"serverUrlV2", &c->server_url, true},
                 {"authorizationUrl", &c->authorization_url, true},
                 {"clientId", &c->client_id, true},
                 {"runnerVersion", &c->version, false},
                 {"jobUser", &c->job_user, false}};
    for (size_t i = 0; i < WH_COUNT(texts); i++) {
        const char *text = wh_json_string(json, texts[i].field);
        if (texts[i].needed && !(text = wh_json_need_string(json, texts[i].field, what, err)))
            return -1;
        *texts[i].to = wh_strdup(text);
    }
    c->id = wh_json_int(json, "id", 0);
    c->group_id = wh_json_int(json, "groupId", 0);
    c->ephemeral = wh_json_bool(json, "ephemeral", false);
    c->use_v2 = wh_json_bool(json, "useV2Flow", true);
    c->ps256 = wh_json_bool(json, "requireFipsCryptography", true);
    const cJSON *label;
    cJSON_ArrayForEach(label, wh_json_get(json, "labels")) if (cJSON_IsString(label))
        wh_strv_add(&c->labels, label->valuestring);
    if (c->id <= 0)
        return wh_fail(err, WH_E_CORRUPT, "%s: field id is missing. Register the runner again with --replace",
                       what);
    return 0;
}

struct wh_runner_config *wh_runner_config_load(const char *state, const char *name, struct wh_error *err)
{
    wh_autoclose int dir = wh_runner_dir_open(state, name, false, err);
    if (dir < 0)
        return NULL;
    wh_autofree char *path = wh_printf("%s/runners/%s/" RUNNER_FILE, state, name);
    wh_autostr text = {0};
    if (wh_read_file(dir, RUNNER_FILE, WH_MAX_RUNNER_FILE, &text, err)) {
        wh_wrap(err, "%s", path);
        return NULL;
    }
    wh_autojson *json = wh_json_parse(text.data, text.len, WH_MAX_RUNNER_FILE, path, err);
    if (!json)
        return NULL;
    wh_autorunner *c = wh_calloc(1, sizeof *c);
    if (read_fields(json, path, c, err))
        return NULL;
    return wh_steal(&c);
}

int wh_runner_config_delete(const char *state, const char *name, struct wh_error *err)
{
    if (!wh_runner_name_valid(name))
        return wh_fail(err, WH_E_ARGUMENT, "\"%s\" cannot name a runner", name);
    wh_autofree char *path = wh_runner_dir(state, name);
    return wh_remove_tree(AT_FDCWD, path, err);
}
