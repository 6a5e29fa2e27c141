/* Problem matchers of a job: lines of output become annotations (job-execution.md §5.8). */
#include "wherry/job/matcher.h"

#include <unistd.h>

#include "wherry/base/fs.h"
#include "worker/job.h"

#define MAX_MATCHER_FILE ((size_t)1 << 20)
#define MAX_GIT_CONFIG ((size_t)1 << 20)
#define MAX_FOLDERS_UP 50

void wh_matchers_clear(struct wh_job *j)
{
    for (struct wh_matcher *next; j->matchers; j->matchers = next) {
        next = j->matchers->next;
        wh_matcher_free(j->matchers);
    }
}

static bool remove_owner(struct wh_job *j, const char *owner)
{
    for (struct wh_matcher **at = &j->matchers; *at; at = &(*at)->next) {
        struct wh_matcher *m = *at;
        if (!wh_streq_ci(m->owner, owner))
            continue;
        *at = m->next;
        wh_matcher_free(m);
        return true;
    }
    return false;
}

static struct wh_matcher *read_file(struct wh_job *j, const char *path, struct wh_error *err)
{
    wh_autofree char *full = wh_path_join(j->dirs.workspace, path);
    wh_autojson *json = wh_json_read_file(full, MAX_MATCHER_FILE, err);
    struct wh_matcher *list = NULL;
    return json && wh_matchers_read(json, &list, err) == 0 ? list : NULL;
}

static void add_owner(struct wh_str *owners, const char *owner)
{
    wh_str_addf(owners, "%s'%s'", owners->len ? ", " : "", owner);
}

int wh_matchers_add(struct wh_job *j, const char *path, struct wh_error *err)
{
    if (path[0] == '\0') {
        wh_say_warning(j, "File path must be specified.");
        return 0;
    }
    struct wh_matcher *list = read_file(j, path, err);
    if (!list)
        return err->code == WH_OK ? 0 : -1;
    wh_autostr owners = {0};
    unsigned count = 0;
    for (struct wh_matcher *m = j->matchers; m; m = m->next)
        count++;
    for (struct wh_matcher *m = list, *next; m; m = next) {
        next = m->next;
        count -= remove_owner(j, m->owner);
        if (count++ >= WH_MAX_MATCHERS) {
            wh_fail(err, WH_E_LIMIT, "More than %u problem matchers", WH_MAX_MATCHERS);
            for (; m; m = next) {
                next = m->next;
                wh_matcher_free(m);
            }
            return -1;
        }
        add_owner(&owners, m->owner);
        m->next = j->matchers; /* the newest is asked first */
        j->matchers = m;
    }
    wh_say_debug(
        j,
        "Added matchers: %s. Problem matchers scan action output for known warning or error strings and "
        "report these inline.",
        wh_str_text(&owners));
    return 0;
}

int wh_matchers_remove(struct wh_job *j, const char *owner, const char *path, struct wh_error *err)
{
    bool by_owner = owner && owner[0];
    bool by_path = path && path[0];
    if (by_owner && by_path)
        return wh_fail(
            err, WH_E_ARGUMENT,
            "Either specify an owner name or a file path in ##[remove-matcher] command. Both values "
            "cannot be set.");
    if (!by_owner && !by_path)
        return wh_fail(
            err, WH_E_ARGUMENT,
            "Either an owner name or a file path must be specified in ##[remove-matcher] command.");
    wh_autostr owners = {0};
    if (by_owner) {
        if (remove_owner(j, owner))
            add_owner(&owners, owner);
    } else {
        struct wh_matcher *list = read_file(j, path, err);
        if (!list && err->code != WH_OK)
            return -1;
        for (struct wh_matcher *next; list; list = next) {
            next = list->next;
            if (remove_owner(j, list->owner))
                add_owner(&owners, list->owner);
            wh_matcher_free(list);
        }
    }
    if (owners.len > 0)
        wh_say_debug(j, "Removed matchers: %s", owners.data);
    return 0;
}

/* ---- the file of a match ---- */

/* https://github.com and acme/web: does the repository's config name it? */
static bool names_repository(const struct wh_job *j, const char *config)
{
    wh_autostr text = {0};
    if (wh_read_file(AT_FDCWD, config, MAX_GIT_CONFIG, &text, NULL) < 0)
        return false;
    const char *server = wh_value_text(wh_object_get(j->github, "server_url"));
    const char *repository = wh_value_text(wh_object_get(j->github, "repository"));
    if (server[0] == '\0')
        server = "https://github.com";
    const char *scheme = strstr(server, "://");
    const char *host = scheme ? scheme + 3 : server;
    wh_autofree char *by_url = wh_printf("url = %s/%s", server, repository);
    wh_autofree char *by_ssh = wh_printf("url = git@%.*s:%s.git", (int)strcspn(host, ":/"), host, repository);
    struct wh_reader r = wh_reader_of(text.data, text.len);
    for (struct wh_view line; wh_reader_line(&r, &line);) {
        wh_autofree char *copy = wh_view_dup(wh_view_trim(line));
        if (wh_streq_ci(copy, by_url) || wh_streq_ci(copy, by_ssh))
            return true;
    }
    return false;
}

/* The nearest folder above that is a repository, if it is the workflow's. Owned; NULL. */
static char *repository_of(const struct wh_job *j, const char *file)
{
    wh_autofree char *folder = wh_strdup(file);
    for (int i = 0; i < MAX_FOLDERS_UP; i++) {
        char *slash = strrchr(folder, '/');
        if (!slash || slash == folder)
            return NULL;
        *slash = '\0';
        wh_autofree char *config = wh_printf("%s/.git/config", folder);
        if (access(config, F_OK) == 0)
            return names_repository(j, config) ? wh_steal(&folder) : NULL;
    }
    return NULL;
}

/* The match's file as it lies in the workflow's repository; NULL (and why, for those who debug). */
static char *file_in_repository(struct wh_job *j, const struct wh_match *m)
{
    const char *file = m->fields[WH_MATCH_FILE];
    const char *base = m->fields[WH_MATCH_FROM_PATH];
    if (!file || wh_view_trim(wh_view_of(file)).len == 0)
        return NULL;
    wh_autofree char *folder = wh_strdup(base ? base : "");
    char *slash = strrchr(folder, '/');
    *(slash ? slash : folder) = '\0';
    wh_autofree char *relative = folder[0] ? wh_path_join(folder, file) : wh_strdup(file);
    wh_autofree char *full = wh_path_join(j->dirs.workspace, relative);
    wh_autofree char *real = realpath(full, NULL);
    struct stat st;
    if (!real || stat(real, &st) < 0 || !S_ISREG(st.st_mode)) {
        wh_say_debug(j, "Dropping file value '%s'. Path does not exist", full);
        return NULL;
    }
    wh_autofree char *repository = repository_of(j, real);
    if (repository)
        return wh_strdup(real + strlen(repository) + 1);
    wh_say_debug(j, "Dropping file value '%s'. Path is not under the workflow repo.", real);
    return NULL;
}

/* ---- lines ---- */

static int64_t number_of(struct wh_job *j, const struct wh_match *m, enum wh_match_field field,
                         const char *what)
{
    const char *text = m->fields[field];
    int64_t n;
    if (!text || text[0] == '\0')
        return 0;
    if (wh_parse_i64(text, 0, INT32_MAX, &n))
        return n;
    wh_say_debug(j, "Unable to parse %s number '%s'", what, text);
    return 0;
}

static bool level_of(const struct wh_match *m, enum wh_annotation_level *level)
{
    const char *severity = m->fields[WH_MATCH_SEVERITY];
    *level = wh_streq_ci(severity, "notice")    ? WH_ANNOTATION_NOTICE
             : wh_streq_ci(severity, "warning") ? WH_ANNOTATION_WARNING
                                                : WH_ANNOTATION_FAILURE;
    return *level != WH_ANNOTATION_FAILURE || !severity || severity[0] == '\0' ||
           wh_streq_ci(severity, "error");
}

/* The whole line is shown, the message annotated. False: the line is plain output after all. */
static bool report(struct wh_job *j, const struct wh_match *m, const char *line, size_t len)
{
    enum wh_annotation_level level;
    const char *message = m->fields[WH_MATCH_MESSAGE];
    if (!message || wh_view_trim(wh_view_of(message)).len == 0) {
        wh_say_debug(j, "Skipping logging an issue for the matched line because the message is empty.");
        return false;
    }
    if (!level_of(m, &level)) {
        wh_say_debug(
            j, "Skipped logging an issue for the matched line because the severity '%s' is not supported.",
            m->fields[WH_MATCH_SEVERITY]);
        return false;
    }
    struct wh_issue where = {.line = number_of(j, m, WH_MATCH_LINE, "line"),
                             .col = number_of(j, m, WH_MATCH_COLUMN, "column"),
                             .file = file_in_repository(j, m)};
    wh_autofree char *shown = wh_strndup(line, len);
    wh_say_match(j, level, shown, message, &where);
    wh_issue_clear(&where);
    return true;
}

/* An expression that takes too long on a line takes as long on the next one. */
static void give_up(struct wh_job *j, const struct wh_matcher *m)
{
    wh_autofree char *owner = wh_strdup(m->owner);
    wh_say_warning(
        j,
        "Removing issue matcher '%s'. Matcher failed 3 times. Error: it takes more than %u steps for a line",
        owner, WH_MAX_MATCHER_STEPS);
    remove_owner(j, owner);
}

bool wh_matchers_line(struct wh_job *j, const char *line, size_t len)
{
    for (struct wh_matcher *m = j->matchers, *next; m; m = next) {
        next = m->next;
        struct wh_match match;
        int n = wh_matcher_line(m, line, len, &match);
        if (n < 0)
            give_up(j, m);
        if (n <= 0)
            continue;
        for (struct wh_matcher *other = j->matchers; other; other = other->next)
            if (other != m)
                wh_matcher_reset(other);
        bool reported = report(j, &match, line, len);
        wh_match_clear(&match);
        if (reported)
            return true;
    }
    return false;
}
