/* A runner's identity on disk. */
#include "wherry/config/runner.h"

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <unistd.h>

#include "wherry/base/fs.h"

#define RUNNER_FILE "runner.json"
#define RUNNER_FORMAT 1 /* a file of a higher one is refused */

/* One row a text: its name in the file, its place, whether a runner is one without it. */
struct text_row {
    const char *field;
    size_t offset;
    bool needed;
};
#define TEXT(field, member, needed)                                                                          \
    {                                                                                                        \
        field, offsetof(struct wh_runner_config, member), needed                                             \
    }
static const struct text_row texts[] = {TEXT("name", name, true),
                                        TEXT("agentName", agent_name, false),
                                        TEXT("url", url, false),
                                        TEXT("group", group, false),
                                        TEXT("work", work, true),
                                        TEXT("workFolder", work_folder, false),
                                        TEXT("serverUrl", server_url, false),
                                        TEXT("serverUrlV2", server_url_v2, false),
                                        TEXT("authorizationUrl", authorization_url, true),
                                        TEXT("oauthEndpointUrl", oauth_endpoint_url, false),
                                        TEXT("authorizationUrlV2", authorization_url_v2, false),
                                        TEXT("clientId", client_id, true),
                                        TEXT("runnerVersion", version, false),
                                        TEXT("jobUser", job_user, false),
                                        TEXT("appId", app_id, false),
                                        TEXT("appInstallation", app_installation, false),
                                        TEXT("appKeyFile", app_key_file, false)};
/* `absent` is what a file says that lacks the field. */
struct flag_row {
    const char *field;
    size_t offset;
    bool absent;
};
#define FLAG(field, member, absent)                                                                          \
    {                                                                                                        \
        field, offsetof(struct wh_runner_config, member), absent                                             \
    }
static const struct flag_row flags[] = {FLAG("ephemeral", ephemeral, false),
                                        FLAG("disableUpdate", disable_update, false),
                                        FLAG("skipSessionRecover", skip_session_recover, false),
                                        FLAG("useV2Flow", use_v2, true),
                                        FLAG("useRunnerAdminFlow", runner_admin, true),
                                        FLAG("enableAuthMigrationByDefault", auth_migration, false),
                                        FLAG("requireFipsCryptography", ps256, true)};

static char **text_at(const struct wh_runner_config *c, const struct text_row *row)
{
    return (char **)((char *)c + row->offset);
}

static bool *flag_at(const struct wh_runner_config *c, const struct flag_row *row)
{
    return (bool *)((char *)c + row->offset);
}

void wh_runner_config_free(struct wh_runner_config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < WH_COUNT(texts); i++)
        free(*text_at(c, &texts[i]));
    wh_strv_free(c->labels);
    cJSON_Delete(c->foreign);
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

static cJSON *to_json(const struct wh_runner_config *c)
{
    cJSON *json = cJSON_CreateObject();
    wh_json_add_int(json, "format", RUNNER_FORMAT);
    for (size_t i = 0; i < WH_COUNT(texts); i++)
        wh_json_add_string(json, texts[i].field, *text_at(c, &texts[i]));
    /* As text: JSON numbers are doubles for some. */
    wh_autofree char *id = wh_printf("%lld", (long long)c->id);
    wh_json_add_string(json, "id", id);
    wh_json_add_int(json, "groupId", c->group_id);
    cJSON *labels = cJSON_AddArrayToObject(json, "labels");
    for (char **label = c->labels; label && *label; label++)
        cJSON_AddItemToArray(labels, cJSON_CreateString(*label));
    for (size_t i = 0; i < WH_COUNT(flags); i++)
        cJSON_AddBoolToObject(json, flags[i].field, *flag_at(c, &flags[i]));
    if (c->foreign)
        cJSON_AddItemToObject(json, "foreign", cJSON_Duplicate(c->foreign, true));
    return json;
}

int wh_runner_config_save(const char *state, const struct wh_runner_config *c, struct wh_error *err)
{
    wh_autoclose int dir = wh_runner_dir_open(state, c->name, true, err);
    if (dir < 0)
        return -1;
    wh_autojson *json = to_json(c);
    wh_autofree char *text = wh_json_print_indented(json);
    return wh_write_file(dir, RUNNER_FILE, text, strlen(text), 0600, err);
}

static int read_texts(const cJSON *json, const char *what, struct wh_runner_config *c, struct wh_error *err)
{
    for (size_t i = 0; i < WH_COUNT(texts); i++) {
        const char *text = wh_json_string(json, texts[i].field);
        if (texts[i].needed && !(text = wh_json_need_string(json, texts[i].field, what, err)))
            return -1;
        *text_at(c, &texts[i]) = wh_strdup(text);
    }
    if (!c->url)
        c->url = wh_strdup("");
    return 0;
}

static int check(const cJSON *json, const char *what, const struct wh_runner_config *c, struct wh_error *err)
{
    const char *missing = NULL;
    if (wh_json_int(json, "format", RUNNER_FORMAT) > RUNNER_FORMAT)
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "%s was written by a newer wherry (format %lld, this one knows %d): use that one, or "
                       "register the runner again with --replace",
                       what, (long long)wh_json_int(json, "format", 0), RUNNER_FORMAT);
    if (c->id <= 0)
        missing = "id";
    else if (c->use_v2 && !(c->server_url_v2 && *c->server_url_v2))
        missing = "serverUrlV2";
    else if (!c->use_v2 && !(c->server_url && *c->server_url))
        missing = "serverUrl";
    if (missing)
        return wh_fail(err, WH_E_CORRUPT, "%s: field %s is missing. Register the runner again with --replace",
                       what, missing);
    return 0;
}

static int read_fields(const cJSON *json, const char *what, struct wh_runner_config *c, struct wh_error *err)
{
    if (read_texts(json, what, c, err))
        return -1;
    c->id = wh_json_int(json, "id", 0);
    c->group_id = wh_json_int(json, "groupId", 0);
    for (size_t i = 0; i < WH_COUNT(flags); i++)
        *flag_at(c, &flags[i]) = wh_json_bool(json, flags[i].field, flags[i].absent);
    const cJSON *label;
    cJSON_ArrayForEach(label, wh_json_get(json, "labels")) if (cJSON_IsString(label))
        wh_strv_add(&c->labels, label->valuestring);
    const cJSON *foreign = wh_json_get(json, "foreign");
    if (cJSON_IsObject(foreign))
        c->foreign = cJSON_Duplicate(foreign, true);
    return check(json, what, c, err);
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
