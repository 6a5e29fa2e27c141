/* The settings that the service gave a runner after it was registered: on disk, and in place of its own. */
#include "wherry/github/migrated.h"

#include <errno.h>
#include <unistd.h>

#include "github/official_fields.h"
#include "wherry/base/fs.h"

#define MIGRATED_FILES 2 /* the key never is one */

const char *wh_migrated_name(enum wh_official_file file)
{
    return file == WH_FILE_RUNNER ? ".runner_migrated" : ".credentials_migrated";
}

/* ---- reading ---- */

/* What stands in no file of the official runner, or is ours to say. */
static void take_own(struct wh_runner_config *to, const struct wh_runner_config *from)
{
    free(to->name);
    to->name = wh_strdup(from->name);
    to->agent_name = wh_strdup(from->agent_name);
    to->labels = wh_strv_dup(from->labels);
    to->work = wh_strdup(from->work);
    to->version = wh_strdup(from->version);
    to->job_user = wh_strdup(from->job_user);
    to->app_id = wh_strdup(from->app_id);
    to->app_installation = wh_strdup(from->app_installation);
    to->app_key_file = wh_strdup(from->app_key_file);
}

static struct wh_view view_of(const struct wh_str *text)
{
    return (struct wh_view){.data = wh_str_text(text), .len = text->len};
}

/* texts[i] is empty where the registration's own counts. */
static struct wh_runner_config *changed(const struct wh_runner_config *config,
                                        const struct wh_view texts[MIGRATED_FILES], struct wh_error *err)
{
    struct wh_str own[MIGRATED_FILES] = {{0}};
    struct wh_view views[MIGRATED_FILES];
    wh_autorunner *now = wh_calloc(1, sizeof *now);
    for (size_t i = 0; i < MIGRATED_FILES; i++) {
        if (texts[i].len == 0)
            gh_official_print_file(config, i, &own[i]);
        views[i] = texts[i].len ? texts[i] : view_of(&own[i]);
    }
    int code = gh_official_settings(views[WH_FILE_RUNNER], views[WH_FILE_CREDENTIALS], now, err);
    for (size_t i = 0; i < MIGRATED_FILES; i++)
        wh_str_wipe(&own[i]);
    return code ? NULL : wh_steal(&now);
}

static int other(struct wh_error *err, enum wh_official_file file, const char *field, const char *is,
                 const char *wanted)
{
    return wh_fail(err, WH_E_PROTOCOL, "%s: %s is %.80s, this runner's is %.80s", wh_migrated_name(file),
                   field, is ? is : "missing", wanted ? wanted : "missing");
}

/* The name may have changed on GitHub since the file came. */
static int check(const struct wh_runner_config *config, enum wh_official_file file, struct wh_view text,
                 bool name_too, struct wh_error *err)
{
    struct wh_view texts[MIGRATED_FILES] = {{0}};
    texts[file] = text;
    wh_autorunner *now = changed(config, texts, err);
    if (!now)
        return wh_wrap(err, "%s", wh_migrated_name(file));
    const char *name = config->agent_name ? config->agent_name : config->name;
    wh_autofree char *id = wh_printf("%lld", (long long)config->id);
    wh_autofree char *new_id = wh_printf("%lld", (long long)now->id);
    const struct {
        const char *field, *is, *wanted;
    } fixed[] = {{"agentId", new_id, id},
                 {"agentName", name_too ? now->name : name, name},
                 {"clientId", now->client_id, config->client_id},
                 {"authorizationUrl", now->authorization_url, config->authorization_url}};
    for (size_t i = 0; i < WH_COUNT(fixed); i++)
        if (!wh_streq(fixed[i].is, fixed[i].wanted))
            return other(err, file, fixed[i].field, fixed[i].is, fixed[i].wanted);
    return 0;
}

int wh_migrated_check(const struct wh_runner_config *config, enum wh_official_file file, struct wh_view text,
                      struct wh_error *err)
{
    return check(config, file, text, true, err);
}

/* An empty text where there is no such file. */
static int read_file(int dir, enum wh_official_file file, struct wh_str *text, struct wh_error *err)
{
    wh_autoerror why = {0};
    if (wh_read_file(dir, wh_migrated_name(file), WH_MAX_OFFICIAL_FILE, text, &why) >= 0 ||
        why.code == WH_E_NOT_FOUND)
        return 0;
    wh_error_move(err, &why);
    return wh_wrap(err, "%s", wh_migrated_name(file));
}

struct wh_runner_config *wh_migrated_apply(const char *state, const struct wh_runner_config *config,
                                           struct wh_error *err)
{
    struct wh_str texts[MIGRATED_FILES] = {{0}};
    struct wh_view views[MIGRATED_FILES];
    struct wh_runner_config *now = NULL;
    wh_autoclose int dir = wh_runner_dir_open(state, config->name, false, err);
    int code = dir < 0 ? -1 : 0;
    bool any = false;
    for (size_t i = 0; code == 0 && i < MIGRATED_FILES; i++) {
        code = read_file(dir, i, &texts[i], err);
        views[i] = view_of(&texts[i]);
        any |= texts[i].len > 0;
        if (code == 0 && texts[i].len > 0)
            code = check(config, i, views[i], false, err);
    }
    if (code == 0 && !any)
        wh_fail(err, WH_E_NOT_FOUND, "the service gave no other settings");
    else if (code == 0 && (now = changed(config, views, err)))
        take_own(now, config);
    for (size_t i = 0; i < MIGRATED_FILES; i++)
        wh_str_wipe(&texts[i]);
    return now;
}

/* ---- writing ---- */

int wh_migrated_save(const char *state, const char *name, enum wh_official_file file, struct wh_view text,
                     struct wh_error *err)
{
    wh_autoclose int dir = wh_runner_dir_open(state, name, false, err);
    return dir < 0 ? -1 : wh_write_file(dir, wh_migrated_name(file), text.data, text.len, 0600, err);
}

int wh_migrated_drop(const char *state, const char *name, struct wh_error *err)
{
    wh_autoclose int dir = wh_runner_dir_open(state, name, false, err);
    if (dir < 0)
        return -1;
    for (size_t i = 0; i < MIGRATED_FILES; i++)
        if (unlinkat(dir, wh_migrated_name(i), 0) && errno != ENOENT)
            return wh_fail_errno(err, "remove %s", wh_migrated_name(i));
    return 0;
}

int wh_migrated_export(const char *state, const char *name, const char *folder, struct wh_error *err)
{
    wh_autoclose int from = wh_runner_dir_open(state, name, false, err);
    wh_autoclose int to = from < 0 ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (to < 0)
        return from < 0 ? -1 : wh_fail_errno(err, "open the folder %s", folder);
    for (size_t i = 0; i < MIGRATED_FILES; i++) {
        wh_autostr text = {0};
        if (read_file(from, i, &text, err))
            return -1;
        if (faccessat(to, wh_migrated_name(i), F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            return wh_fail(err, WH_E_EXISTS,
                           "%s/%s is there already: give another folder, or remove it first", folder,
                           wh_migrated_name(i));
        if (text.len && wh_write_file(to, wh_migrated_name(i), text.data, text.len, 0600, err))
            return -1;
    }
    return 0;
}

int wh_migrated_import(const char *folder, const char *state, const struct wh_runner_config *config,
                       struct wh_error *err)
{
    wh_autoclose int from = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (from < 0)
        return wh_fail_errno(err, "open the folder %s", folder);
    for (size_t i = 0; i < MIGRATED_FILES; i++) {
        wh_autostr text = {0};
        if (read_file(from, i, &text, err))
            return -1;
        if (text.len == 0)
            continue;
        if (check(config, i, view_of(&text), false, err))
            return wh_wrap(err, "%s", folder);
        if (state && wh_migrated_save(state, config->name, i, view_of(&text), err))
            return -1;
    }
    return 0;
}
