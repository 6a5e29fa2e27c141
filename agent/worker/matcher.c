/* Problem matchers: regular expressions that turn lines of output into annotations (job-execution.md §5.8).
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "worker/job.h"

#define MAX_MATCHERS 100u
#define MAX_PATTERNS 20u
#define MAX_MATCHER_FILE ((size_t)1 << 20)
#define MATCH_LIMIT 1000000u /* steps of the matcher: what takes a second elsewhere */
#define MAX_OVERRUNS 3u

enum field {
    FILE_FIELD,
    LINE_FIELD,
    COLUMN_FIELD,
    SEVERITY_FIELD,
    CODE_FIELD,
    MESSAGE_FIELD,
    FROM_PATH_FIELD,
    FIELDS
};
static const char *const field_names[FIELDS] = {"file", "line",    "column",  "severity",
                                                "code", "message", "fromPath"};

struct pattern {
    pcre2_code *code;
    int group[FIELDS]; /* capture index; -1: not set */
    bool loop;
    unsigned overruns;
};

struct wh_matcher {
    struct wh_matcher *next;
    char *owner, *severity, *from_path;
    struct pattern patterns[MAX_PATTERNS];
    size_t npatterns;
    size_t at;            /* the pattern that the next line must match */
    char *values[FIELDS]; /* of the patterns before */
};

static void clear_values(struct wh_matcher *m)
{
    for (size_t i = 0; i < FIELDS; i++)
        wh_free_ptr(&m->values[i]);
    m->at = 0;
}

static void matcher_free(struct wh_matcher *m)
{
    for (size_t i = 0; i < m->npatterns; i++)
        pcre2_code_free(m->patterns[i].code);
    clear_values(m);
    free(m->owner);
    free(m->severity);
    free(m->from_path);
    free(m);
}

void wh_matchers_clear(struct wh_job *j)
{
    for (struct wh_matcher *next; j->matchers; j->matchers = next) {
        next = j->matchers->next;
        matcher_free(j->matchers);
    }
}

/* ---- reading ---- */

static int read_pattern(struct wh_matcher *m, const cJSON *json, bool last, bool *seen, struct wh_error *err)
{
    struct pattern *p = &m->patterns[m->npatterns];
    const char *regexp = wh_json_need_string(json, "regexp", m->owner, err);
    if (!regexp)
        return -1;
    int code;
    PCRE2_SIZE offset;
    p->code = pcre2_compile((PCRE2_SPTR)regexp, strlen(regexp), PCRE2_UTF | PCRE2_DOLLAR_ENDONLY, &code,
                            &offset, NULL);
    if (!p->code) {
        PCRE2_UCHAR text[128];
        pcre2_get_error_message(code, text, sizeof text);
        return wh_fail(err, WH_E_PARSE, "Problem matcher '%s': '%s' is not a regular expression (at %zu: %s)",
                       m->owner, regexp, (size_t)offset, (char *)text);
    }
    m->npatterns++;
    for (int i = 0; i < FIELDS; i++) {
        p->group[i] = (int)wh_json_int(json, field_names[i], -1);
        if (p->group[i] < -1 || p->group[i] > 99)
            return wh_fail(err, WH_E_PARSE, "Problem matcher '%s': '%s' is not a capture index", m->owner,
                           field_names[i]);
        if (p->group[i] >= 0 && seen[i])
            return wh_fail(err, WH_E_PARSE, "The property '%s' is set twice", field_names[i]);
        seen[i] = seen[i] || p->group[i] >= 0;
    }
    p->loop = wh_json_bool(json, "loop", false);
    if (p->loop && (!last || m->npatterns == 1))
        return wh_fail(err, WH_E_PARSE, "Only the last pattern in a multiline matcher may set 'loop'");
    if (p->loop && p->group[MESSAGE_FIELD] < 0)
        return wh_fail(err, WH_E_PARSE, "The loop pattern must set 'message'");
    return 0;
}

static struct wh_matcher *read_matcher(const cJSON *json, struct wh_error *err)
{
    const char *owner = wh_json_need_string(json, "owner", "problem matcher", err);
    if (!owner)
        return NULL;
    struct wh_matcher *m = wh_calloc(1, sizeof *m);
    m->owner = wh_strdup(owner);
    m->severity = wh_strdup(wh_json_string(json, "severity"));
    m->from_path = wh_strdup(wh_json_string(json, "fromPath"));
    const cJSON *patterns = wh_json_get(json, "pattern");
    int count = cJSON_GetArraySize(patterns);
    bool seen[FIELDS] = {false};
    int n = count > 0 && count <= (int)MAX_PATTERNS
                ? 0
                : wh_fail(err, WH_E_LIMIT, "Matcher '%s' has %d patterns", owner, count);
    int i = 0;
    for (const cJSON *p = n == 0 ? patterns->child : NULL; p && n == 0; p = p->next)
        n = read_pattern(m, p, ++i == count, seen, err);
    if (n == 0 && !seen[MESSAGE_FIELD])
        n = wh_fail(err, WH_E_PARSE, "Matcher '%s' has no pattern that sets 'message'", owner);
    if (n == 0)
        return m;
    matcher_free(m);
    return NULL;
}

static void remove_owner(struct wh_job *j, const char *owner)
{
    for (struct wh_matcher **at = &j->matchers; *at;) {
        struct wh_matcher *m = *at;
        if (wh_streq_ci(m->owner, owner)) {
            *at = m->next;
            matcher_free(m);
        } else {
            at = &m->next;
        }
    }
}

static cJSON *read_file(struct wh_job *j, const char *path, struct wh_error *err)
{
    wh_autofree char *full = wh_path_join(j->dirs.workspace, path);
    return wh_json_read_file(full, MAX_MATCHER_FILE, err);
}

int wh_matchers_add(struct wh_job *j, const char *path, struct wh_error *err)
{
    if (path[0] == '\0')
        return wh_fail(err, WH_E_ARGUMENT, "File path must be specified.");
    wh_autojson *json = read_file(j, path, err);
    if (!json)
        return -1;
    unsigned count = 0;
    for (struct wh_matcher *m = j->matchers; m; m = m->next)
        count++;
    const cJSON *list = wh_json_get(json, "problemMatcher");
    for (const cJSON *item = list ? list->child : NULL; item; item = item->next) {
        if (count++ >= MAX_MATCHERS)
            return wh_fail(err, WH_E_LIMIT, "More than %u problem matchers", MAX_MATCHERS);
        struct wh_matcher *m = read_matcher(item, err);
        if (!m)
            return -1;
        remove_owner(j, m->owner);
        m->next = j->matchers; /* the newest is asked first */
        j->matchers = m;
        wh_say_debug(j,
                     "Added matchers: '%s'. Problem matchers scan action output for known warning or error "
                     "strings and report "
                     "these inline.",
                     m->owner);
    }
    return 0;
}

int wh_matchers_remove(struct wh_job *j, const char *owner, const char *path, struct wh_error *err)
{
    bool by_owner = owner && owner[0];
    bool by_path = path && path[0];
    if (by_owner == by_path)
        return wh_fail(
            err, WH_E_ARGUMENT,
            by_owner
                ? "Either specify an owner name or a file path in ##[remove-matcher] command. Both values "
                  "cannot "
                  "be set."
                : "Either an owner name or a file path must be specified in ##[remove-matcher] command.");
    if (by_owner) {
        remove_owner(j, owner);
        return 0;
    }
    wh_autojson *json = read_file(j, path, err);
    if (!json)
        return -1;
    const cJSON *list = wh_json_get(json, "problemMatcher");
    for (const cJSON *item = list ? list->child : NULL; item; item = item->next)
        if (wh_json_string(item, "owner"))
            remove_owner(j, wh_json_string(item, "owner"));
    return 0;
}

/* ---- matching ---- */

/* 1: matched, captures are in values; 0: not. */
static int match(struct wh_job *j, struct wh_matcher *m, struct pattern *p, const char *line, size_t len)
{
    if (p->overruns >= MAX_OVERRUNS)
        return 0;
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(p->code, NULL);
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(context, MATCH_LIMIT);
    int n = pcre2_match(p->code, (PCRE2_SPTR)line, len, 0, PCRE2_NO_UTF_CHECK, data, context);
    if (n == PCRE2_ERROR_MATCHLIMIT && ++p->overruns == MAX_OVERRUNS)
        wh_say_warning(j, "Removing issue matcher '%s'. Matcher failed %u times.", m->owner, MAX_OVERRUNS);
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(data);
    for (int i = 0; i < FIELDS && n > 0; i++) {
        int g = p->group[i];
        if (g < 0)
            continue;
        wh_free_ptr(&m->values[i]);
        if (g < n && at[2 * g] != PCRE2_UNSET)
            m->values[i] = wh_strndup(line + at[2 * g], at[2 * g + 1] - at[2 * g]);
    }
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
    return n > 0;
}

/* True if a complete match stands in m->values. */
static bool advance(struct wh_job *j, struct wh_matcher *m, const char *line, size_t len)
{
    struct pattern *p = &m->patterns[m->at];
    if (!match(j, m, p, line, len)) {
        bool began = m->at > 0;
        clear_values(m);
        /* The line may begin a new problem. */
        return began && match(j, m, &m->patterns[0], line, len)
                   ? (m->npatterns == 1 ? true : (m->at = 1, false))
                   : false;
    }
    if (m->at + 1 < m->npatterns) {
        m->at++;
        return false;
    }
    return true;
}

/* The file as it lies in the repository, if it does. */
static char *file_in_repository(struct wh_job *j, const struct wh_matcher *m)
{
    const char *file = m->values[FILE_FIELD];
    if (!file || file[0] == '\0')
        return NULL;
    const char *base = m->values[FROM_PATH_FIELD] ? m->values[FROM_PATH_FIELD] : m->from_path;
    wh_autofree char *folder = wh_strdup(base ? base : "");
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[1] = '\0';
    else
        folder[0] = '\0';
    wh_autofree char *relative = wh_path_join(folder, file);
    wh_autofree char *full = wh_path_join(j->dirs.workspace, folder[0] ? relative : file);
    wh_autofree char *real = realpath(full, NULL);
    wh_autofree char *root = realpath(j->dirs.workspace, NULL);
    size_t len = root ? strlen(root) : 0;
    if (!real || !root || strncmp(real, root, len) != 0 || real[len] != '/')
        return NULL;
    return wh_strdup(real + len + 1);
}

static int64_t number_of(const char *text)
{
    int64_t n;
    return text && wh_parse_i64(text, 0, INT32_MAX, &n) ? n : 0;
}

static bool level_of(const struct wh_matcher *m, enum wh_annotation_level *level)
{
    const char *severity = m->values[SEVERITY_FIELD];
    if (!severity || severity[0] == '\0')
        severity = m->severity && m->severity[0] ? m->severity : "error";
    *level = wh_streq_ci(severity, "notice")    ? WH_ANNOTATION_NOTICE
             : wh_streq_ci(severity, "warning") ? WH_ANNOTATION_WARNING
                                                : WH_ANNOTATION_FAILURE;
    return *level != WH_ANNOTATION_FAILURE || wh_streq_ci(severity, "error");
}

/* The whole line is shown, the message annotated. */
static bool report(struct wh_job *j, struct wh_matcher *m, const char *line, size_t len)
{
    enum wh_annotation_level level;
    const char *message = m->values[MESSAGE_FIELD];
    if (!message || wh_view_trim(wh_view_of(message)).len == 0 || !level_of(m, &level))
        return false;
    struct wh_issue where = {.file = file_in_repository(j, m),
                             .line = number_of(m->values[LINE_FIELD]),
                             .col = number_of(m->values[COLUMN_FIELD])};
    wh_autofree char *shown = wh_strndup(line, len);
    wh_say_match(j, level, shown, message, &where);
    wh_issue_clear(&where);
    return true;
}

bool wh_matchers_line(struct wh_job *j, const char *line, size_t len)
{
    for (struct wh_matcher *m = j->matchers; m; m = m->next) {
        if (!advance(j, m, line, len))
            continue;
        bool reported = report(j, m, line, len);
        struct pattern *last = &m->patterns[m->npatterns - 1];
        if (last->loop && m->npatterns > 1)
            wh_free_ptr(&m->values[MESSAGE_FIELD]); /* stays at the last pattern for the next line */
        else
            clear_values(m);
        for (struct wh_matcher *other = j->matchers; other && reported; other = other->next)
            if (other != m)
                clear_values(other);
        return reported;
    }
    return false;
}
