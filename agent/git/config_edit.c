/* Editing git's configuration files as text, so that comments and order stay. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/git/config.h"

/* Section and key in lower case, the subsection as it is. */
static char *normal(const char *name)
{
    char *text = wh_strdup(name);
    char *first = strchr(text, '.'), *last = strrchr(text, '.');
    for (char *p = text; *p; p++)
        if (!first || p < first || p > last)
            *p = (char)tolower((unsigned char)*p);
    return text;
}

const char *wh_git_config_get(const struct wh_git_config *c, const char *name)
{
    wh_autofree char *key = normal(name);
    for (size_t i = c->nentries; i > 0; i--)
        if (strcmp(c->entries[i - 1].name, key) == 0)
            return c->entries[i - 1].value;
    return NULL;
}

size_t wh_git_config_count(const struct wh_git_config *c, const char *name)
{
    wh_autofree char *key = normal(name);
    size_t n = 0;
    for (size_t i = 0; i < c->nentries; i++)
        n += strcmp(c->entries[i].name, key) == 0;
    return n;
}

static void add_value(struct wh_str *out, const char *value)
{
    bool quote = value[0] == ' ' || value[0] == '\t' || strpbrk(value, ";#") != NULL;
    size_t len = strlen(value);
    quote |= len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t' || strchr(value, '\r'));
    if (quote)
        wh_str_addc(out, '"');
    for (const char *p = value; *p; p++) {
        if (*p == '\n')
            wh_str_add(out, "\\n");
        else if (*p == '\t')
            wh_str_add(out, "\\t");
        else if (*p == '"' || *p == '\\')
            wh_str_addf(out, "\\%c", *p);
        else
            wh_str_addc(out, *p);
    }
    if (quote)
        wh_str_addc(out, '"');
}

static void add_line(struct wh_str *out, const char *name, const char *value)
{
    wh_str_addf(out, "\t%s = ", strrchr(name, '.') + 1);
    add_value(out, value);
    wh_str_addc(out, '\n');
}

static void add_header(struct wh_str *out, const char *name)
{
    const char *first = strchr(name, '.'), *last = strrchr(name, '.');
    wh_str_addf(out, "[%.*s", (int)(first - name), name);
    if (last > first) {
        wh_str_add(out, " \"");
        for (const char *p = first + 1; p < last; p++) {
            if (*p == '"' || *p == '\\')
                wh_str_addc(out, '\\');
            wh_str_addc(out, *p);
        }
        wh_str_addc(out, '"');
    }
    wh_str_add(out, "]\n");
}

/* Puts `text` in place of [start, end), and parses anew. */
static int replace_text(struct wh_git_config *c, size_t start, size_t end, const struct wh_str *text,
                        struct wh_error *err)
{
    wh_autostr now = {0};
    wh_str_addn(&now, wh_str_text(&c->text), start);
    wh_str_addn(&now, wh_str_text(text), text->len);
    wh_str_addn(&now, wh_str_text(&c->text) + end, c->text.len - end);
    return wh_git_config_parse(c, wh_str_text(&now), now.len, err);
}

int wh_git_config_add(struct wh_git_config *c, const char *name, const char *value, struct wh_error *err)
{
    if (!strchr(name, '.'))
        return wh_fail(err, WH_E_ARGUMENT, "git configuration: %s has no section", name);
    wh_autofree char *key = normal(name);
    wh_autofree char *section = wh_strndup(key, (size_t)(strrchr(key, '.') - key));
    size_t at = c->text.len;
    bool found = false;
    for (size_t i = c->nsections; i > 0 && !found; i--) {
        if (strcmp(c->sections[i - 1].name, section) != 0)
            continue;
        found = true;
        at = c->sections[i - 1].end;
        for (size_t e = 0; e < c->nentries; e++)
            if (c->entries[e].section == i - 1)
                at = c->entries[e].end;
    }
    wh_autostr text = {0};
    if (at == c->text.len && at > 1 && c->text.data[at - 1] == '\n' && c->text.data[at - 2] == '\\')
        wh_str_addc(&text, '\n'); /* the last value went on into a line that isn't there */
    if (at > 0 && c->text.data[at - 1] != '\n') {
        /* After a bare header: at the end of its line, unless something else is in it. */
        if (at < c->text.len && c->text.data[at] == '\n')
            at++;
        else
            wh_str_addc(&text, '\n');
    }
    if (!found)
        add_header(&text, name);
    add_line(&text, name, value);
    return replace_text(c, at, at, &text, err);
}

int wh_git_config_set(struct wh_git_config *c, const char *name, const char *value, struct wh_error *err)
{
    size_t n = wh_git_config_count(c, name);
    if (n > 1)
        return wh_fail(err, WH_E_EXISTS, "git configuration: %s has several values", name);
    if (n == 0)
        return wh_git_config_add(c, name, value, err);
    wh_autofree char *key = normal(name);
    for (size_t i = 0; i < c->nentries; i++) {
        const struct wh_git_config_entry *e = &c->entries[i];
        if (strcmp(e->name, key) != 0)
            continue;
        if (e->value && strcmp(e->value, value) == 0)
            return 0;
        wh_autostr text = {0};
        if (e->start > 0 && c->text.data[e->start - 1] != '\n')
            wh_str_addc(&text, '\n'); /* it stood behind its header */
        add_line(&text, name, value);
        return replace_text(c, e->start, e->end, &text, err);
    }
    return 0;
}

/* The header goes with its last value, if nothing but blanks is left between it and the next header. */
static int drop_empty_section(struct wh_git_config *c, size_t section, struct wh_error *err)
{
    for (size_t i = 0; i < c->nentries; i++)
        if (c->entries[i].section == section)
            return 0;
    size_t end = section + 1 < c->nsections ? c->sections[section + 1].start : c->text.len;
    for (size_t i = c->sections[section].end; i < end; i++)
        if (!isspace((unsigned char)c->text.data[i]))
            return 0; /* a comment of somebody's */
    struct wh_str nothing = {0};
    return replace_text(c, c->sections[section].start, end, &nothing, err);
}

int wh_git_config_unset(struct wh_git_config *c, const char *name, const char *value, struct wh_error *err)
{
    wh_autofree char *key = normal(name);
    int removed = 0;
    for (size_t i = c->nentries; i > 0; i--) {
        const struct wh_git_config_entry *e = &c->entries[i - 1];
        if (strcmp(e->name, key) != 0 || (value && (!e->value || strcmp(e->value, value) != 0)))
            continue;
        size_t section = e->section;
        struct wh_str nothing = {0};
        if (e->start > 0 && c->text.data[e->start - 1] != '\n')
            wh_str_addc(&nothing, '\n');
        int rc = replace_text(c, e->start, e->end, &nothing, err);
        wh_str_free(&nothing);
        if (rc < 0 || drop_empty_section(c, section, err) < 0)
            return -1;
        removed++;
    }
    return removed;
}

int wh_git_config_write(const struct wh_git_config *c, const char *path, unsigned mode, struct wh_error *err)
{
    struct stat st;
    if (mode == 0)
        mode = lstat(path, &st) == 0 ? st.st_mode & 0777 : 0644;
    wh_autofree char *lock = wh_printf("%s.lock", path);
    wh_autoclose int fd = open(lock, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0 && errno == EEXIST)
        return wh_fail(err, WH_E_BUSY,
                       "%s exists: another git process holds the configuration, or one was killed", lock);
    if (fd < 0)
        return wh_fail_errno(err, "%s", lock);
    if (fchmod(fd, mode) < 0 || wh_write_all(fd, wh_str_text(&c->text), c->text.len, err) < 0) {
        unlink(lock);
        return wh_wrap(err, "%s", lock);
    }
    if (rename(lock, path) < 0) {
        wh_fail_errno(err, "%s", path);
        unlink(lock);
        return -1;
    }
    return 0;
}
