/* Workflow commands: both forms, decoded, and the state that switches them off (job-execution.md §5.8). */
#include "wherry/job/command.h"

#include "text.h"
#include "wherry/job/value.h"

static const struct {
    const char *name;
    enum wh_command_kind kind;
} commands[] = {
    {"debug", WH_COMMAND_DEBUG},
    {"notice", WH_COMMAND_NOTICE},
    {"warning", WH_COMMAND_WARNING},
    {"error", WH_COMMAND_ERROR},
    {"group", WH_COMMAND_GROUP},
    {"endgroup", WH_COMMAND_ENDGROUP},
    {"add-mask", WH_COMMAND_ADD_MASK},
    {"set-output", WH_COMMAND_SET_OUTPUT},
    {"save-state", WH_COMMAND_SAVE_STATE},
    {"set-env", WH_COMMAND_SET_ENV},
    {"add-path", WH_COMMAND_ADD_PATH},
    {"stop-commands", WH_COMMAND_STOP_COMMANDS},
    {"echo", WH_COMMAND_ECHO},
    {"add-matcher", WH_COMMAND_ADD_MATCHER},
    {"remove-matcher", WH_COMMAND_REMOVE_MATCHER},
};

void wh_command_clear(struct wh_command *c)
{
    for (size_t i = 0; i < c->nproperties; i++) {
        free(c->properties[i].name);
        free(c->properties[i].value);
    }
    free(c->properties);
    free(c->data);
    *c = (struct wh_command){0};
}

const char *wh_command_property(const struct wh_command *c, const char *name)
{
    for (size_t i = 0; i < c->nproperties; i++) {
        if (wh_streq_ci(c->properties[i].name, name))
            return c->properties[i].value;
    }
    return NULL;
}

/* ---- the parts of a line ---- */

struct parts {
    struct wh_view name, properties, data;
    char separator; /* ',' of ::name k=v::, ';' of ##[name k=v] */
};

static void split_info(struct parts *p, struct wh_view info)
{
    if (!wh_view_split(info, ' ', &p->name, &p->properties))
        p->name = info;
}

/* ::name k=v,k2=v2::data */
static bool find_colons(struct wh_view line, struct parts *p)
{
    size_t at = 0;
    while (at < line.len) {
        size_t next = at;
        if (!wh_is_space(wh_utf8_next(line.data, line.len, &next)))
            break;
        at = next;
    }
    line.data += at;
    line.len -= at;
    if (line.len < 4 || memcmp(line.data, "::", 2) != 0)
        return false;
    const char *end = memmem(line.data + 2, line.len - 2, "::", 2);
    if (!end)
        return false;
    p->separator = ',';
    split_info(p, (struct wh_view){line.data + 2, (size_t)(end - line.data) - 2});
    p->properties = wh_view_trim_unicode(p->properties);
    p->data = (struct wh_view){end + 2, line.len - (size_t)(end + 2 - line.data)};
    return true;
}

/* …##[name k=v;k2=v2]data */
static bool find_brackets(struct wh_view line, struct parts *p)
{
    const char *start = memmem(line.data, line.len, "##[", 3);
    if (!start)
        return false;
    start += 3;
    size_t left = line.len - (size_t)(start - line.data);
    const char *end = memchr(start, ']', left);
    if (!end)
        return false;
    p->separator = ';';
    split_info(p, (struct wh_view){start, (size_t)(end - start)});
    p->data = (struct wh_view){end + 1, left - (size_t)(end + 1 - start)};
    return true;
}

/* ---- decoding ---- */

/* One escape, everywhere, as the sender's library undoes them one after the other. */
static void replace_all(struct wh_str *s, const char *escape, char c)
{
    size_t out = 0;
    for (size_t i = 0; i < s->len; out++) {
        if (s->len - i >= 3 && memcmp(s->data + i, escape, 3) == 0) {
            s->data[out] = c;
            i += 3;
        } else {
            s->data[out] = s->data[i++];
        }
    }
    if (s->data)
        wh_str_truncate(s, out);
}

static char *decode(struct wh_view v, char separator, bool property, size_t *len)
{
    struct wh_str s = {0};
    wh_str_addn(&s, v.data, v.len);
    if (v.len > 0 && memchr(v.data, '%', v.len)) {
        if (separator == ';')
            replace_all(&s, "%3B", ';');
        replace_all(&s, "%0D", '\r');
        replace_all(&s, "%0A", '\n');
        if (separator == ';')
            replace_all(&s, "%5D", ']');
        if (separator == ',' && property) {
            replace_all(&s, "%3A", ':');
            replace_all(&s, "%2C", ',');
        }
        replace_all(&s, "%25", '%');
    }
    if (len)
        *len = s.len;
    return wh_str_steal(&s);
}

static struct wh_view skip_equals(struct wh_view v)
{
    while (v.len > 0 && v.data[0] == '=') {
        v.data++;
        v.len--;
    }
    return v;
}

/* A later property of the same name wins. */
static void set_property(struct wh_command *c, struct wh_view name, struct wh_view value, char separator)
{
    for (size_t i = 0; i < c->nproperties; i++) {
        if (wh_text_equal_ci(name, wh_view_of(c->properties[i].name))) {
            free(c->properties[i].value);
            c->properties[i].value = decode(value, separator, true, NULL);
            return;
        }
    }
    if (c->nproperties == WH_MAX_COMMAND_PROPERTIES)
        return;
    c->properties = wh_reallocarray(c->properties, c->nproperties + 1, sizeof *c->properties);
    c->properties[c->nproperties++] =
        (struct wh_command_property){wh_view_dup(name), decode(value, separator, true, NULL)};
}

static void read_properties(struct wh_command *c, const struct parts *p)
{
    struct wh_view one, rest = p->properties, name, value;
    bool more = rest.len > 0;
    while (more) {
        more = wh_view_split(rest, p->separator, &one, &rest);
        if (!wh_view_split(skip_equals(one), '=', &name, &value))
            continue;
        value = skip_equals(value); /* as the field's splitter drops empty pieces */
        if (value.len > 0)
            set_property(c, name, value, p->separator);
    }
}

static ptrdiff_t find_command(struct wh_view name)
{
    for (size_t i = 0; i < WH_COUNT(commands); i++) {
        if (wh_text_equal_ci(name, wh_view_of(commands[i].name)))
            return (ptrdiff_t)i;
    }
    return -1;
}

/* True: the line names a command, or `token` (which may be NULL). *is_token says which. */
static bool parse(struct wh_view line, const char *token, bool *is_token, struct wh_command *out)
{
    static bool (*const forms[])(struct wh_view, struct parts *) = {find_colons, find_brackets};
    for (size_t i = 0; i < WH_COUNT(forms); i++) {
        struct parts p = {0};
        if (!forms[i](line, &p))
            continue;
        *is_token = token && wh_text_equal_ci(p.name, wh_view_of(token));
        ptrdiff_t at = find_command(p.name);
        if (*is_token)
            return true;
        if (at < 0)
            continue;
        *out = (struct wh_command){.kind = commands[at].kind, .name = commands[at].name};
        read_properties(out, &p);
        out->data = decode(p.data, p.separator, false, &out->data_len);
        return true;
    }
    return false;
}

/* The first place of a short mark; memchr() is many times as fast as memmem() where there is none. */
static const char *find_mark(struct wh_view line, const char *mark, size_t mark_len)
{
    const char *end = line.data + line.len, *at = line.data;
    while ((size_t)(end - at) >= mark_len && (at = memchr(at, mark[0], (size_t)(end - at) - mark_len + 1))) {
        if (memcmp(at, mark, mark_len) == 0)
            return at;
        at++;
    }
    return NULL;
}

/* Most lines of a log hold neither mark. */
static bool may_hold_command(struct wh_view line)
{
    return find_mark(line, "::", 2) || find_mark(line, "##[", 3);
}

bool wh_command_parse(const char *line, size_t len, struct wh_command *out)
{
    struct wh_view v = {line, len};
    bool is_token;
    *out = (struct wh_command){0};
    return len > 0 && may_hold_command(v) && parse(v, NULL, &is_token, out);
}

/* ---- state ---- */

void wh_command_state_clear(struct wh_command_state *s)
{
    free(s->stop_token);
    *s = (struct wh_command_state){0};
}

enum wh_line_kind wh_command_line(struct wh_command_state *s, const char *line, size_t len,
                                  struct wh_command *out)
{
    struct wh_view v = {line, len};
    bool is_token = false;
    *out = (struct wh_command){0};
    if (len == 0 || !may_hold_command(v) || !parse(v, s->stop_token, &is_token, out))
        return WH_LINE_TEXT;
    if (!s->stop_token)
        return WH_LINE_COMMAND;
    wh_command_clear(out);
    if (!is_token)
        return WH_LINE_STOPPED;
    free(s->stop_token);
    s->stop_token = NULL;
    return WH_LINE_RESUME;
}

int wh_command_stop(struct wh_command_state *s, const char *token, bool allow_unsecure, struct wh_error *err)
{
    bool bad = *token == '\0' || wh_streq_ci(token, "pause-logging") || find_command(wh_view_of(token)) >= 0;
    if (bad && !allow_unsecure)
        return wh_fail(
            err, WH_E_ARGUMENT,
            "You cannot use a endToken that is an empty string, the string 'pause-logging', or another "
            "workflow command. For more information see: "
            "https://docs.github.com/actions/learn-github-actions/"
            "workflow-commands-for-github-actions#example-stopping-and-starting-workflow-commands or opt "
            "into insecure command execution by setting the `ACTIONS_ALLOW_UNSECURE_STOPCOMMAND_TOKENS` "
            "environment variable to `true`.");
    free(s->stop_token);
    s->stop_token = wh_strdup(token);
    return 0;
}

int wh_command_echo(struct wh_command_state *s, const char *data, struct wh_error *err)
{
    wh_autofree char *word = wh_view_dup(wh_view_trim_unicode(wh_view_of(data)));
    if (!wh_streq_ci(word, "on") && !wh_streq_ci(word, "off"))
        return wh_fail(
            err, WH_E_ARGUMENT,
            "Invalid echo command value. Possible values can be: 'on', 'off'. Current value is: '%s'.", data);
    s->echo = wh_streq_ci(word, "on");
    return 0;
}

bool wh_command_is_echoed(const struct wh_command_state *s, enum wh_command_kind kind)
{
    return s->echo && kind != WH_COMMAND_DEBUG && kind != WH_COMMAND_NOTICE && kind != WH_COMMAND_WARNING &&
           kind != WH_COMMAND_ERROR;
}

bool wh_command_plain_text(const char *line, size_t len, struct wh_str *out)
{
    static const char *const marks[] = {"##[start-action", "##[end-action"};
    struct wh_view v = {line, len};
    const char *tag = len > 0 ? find_mark(v, "##[", 3) : NULL;
    bool found = false;
    for (size_t i = 0; tag && i < WH_COUNT(marks); i++)
        found = found || memmem(tag, (size_t)(line + len - tag), marks[i], strlen(marks[i]));
    if (!found)
        return false;
    wh_str_clear(out);
    while (v.len > 0) {
        size_t hit = 0;
        for (size_t i = 0; i < WH_COUNT(marks) && hit == 0; i++) {
            if (v.len >= strlen(marks[i]) && memcmp(v.data, marks[i], strlen(marks[i])) == 0)
                hit = strlen(marks[i]);
        }
        if (hit > 0) {
            wh_str_add(out, "##[\\");
            wh_str_addn(out, v.data + 3, hit - 3);
        } else {
            wh_str_addc(out, v.data[0]);
            hit = 1;
        }
        v.data += hit;
        v.len -= hit;
    }
    return true;
}
