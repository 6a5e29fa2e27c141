/* Reading git's configuration syntax. */
#include <ctype.h>

#include "wherry/base/fs.h"
#include "wherry/git/config.h"

#define MAX_NAME 1024 /* of a section or key; git's own buffer is of this order */

struct parser {
    struct wh_reader r;
    struct wh_git_config *out;
    struct wh_str section; /* the current one's name */
    bool in_section;
    struct wh_error *err;
};

static void drop_parsed(struct wh_git_config *c)
{
    for (size_t i = 0; i < c->nentries; i++) {
        free(c->entries[i].name);
        free(c->entries[i].value);
    }
    for (size_t i = 0; i < c->nsections; i++)
        free(c->sections[i].name);
    free(c->entries);
    free(c->sections);
    c->entries = NULL;
    c->sections = NULL;
    c->nentries = c->nsections = 0;
}

void wh_git_config_clear(struct wh_git_config *c)
{
    drop_parsed(c);
    wh_str_free(&c->text);
}

static int bad(struct parser *p, const char *what)
{
    return wh_fail(p->err, WH_E_PARSE, "git configuration, byte %zu: %s", p->r.pos, what);
}

static void skip_line(struct parser *p)
{
    int c;
    while ((c = wh_reader_next(&p->r)) != -1 && c != '\n')
        ;
}

/* [name], [name "sub"], [name.sub] (old: the sub in lower case). The bracket is taken already. */
static int parse_section(struct parser *p, size_t start)
{
    wh_str_clear(&p->section);
    int c;
    while ((c = wh_reader_next(&p->r)) != -1 && (isalnum(c) || c == '-' || c == '.')) {
        wh_str_addc(&p->section, (char)tolower(c));
        if (p->section.len > MAX_NAME)
            return bad(p, "a section's name is too long");
    }
    if (p->section.len == 0)
        return bad(p, "a section has no name");
    if (c == ' ' || c == '\t') {
        while (c == ' ' || c == '\t')
            c = wh_reader_next(&p->r);
        if (c != '"')
            return bad(p, "a section's name goes on without a quote");
        wh_str_addc(&p->section, '.');
        while ((c = wh_reader_next(&p->r)) != '"') {
            if (c == '\\')
                c = wh_reader_next(&p->r);
            if (c == -1 || c == '\n' || c == '\0')
                return bad(p, "a section's name doesn't end");
            wh_str_addc(&p->section, (char)c);
            if (p->section.len > MAX_NAME)
                return bad(p, "a section's name is too long");
        }
        c = wh_reader_next(&p->r);
    }
    if (c != ']')
        return bad(p, "a section's header doesn't end in ]");
    struct wh_git_config *o = p->out;
    o->sections = wh_reallocarray(o->sections, o->nsections + 1, sizeof(*o->sections));
    o->sections[o->nsections++] =
        (struct wh_git_config_section){.name = wh_strdup(p->section.data), .start = start, .end = p->r.pos};
    p->in_section = true;
    return 0;
}

/* One step inside a value: 1 goes on, 0 its end (the newline is taken), -1. */
struct value {
    struct wh_str text;
    size_t keep; /* length without blanks that may be trailing */
    bool quoted;
};

static int escaped(struct parser *p, struct value *v)
{
    int c = wh_reader_next(&p->r);
    switch (c) {
    case '\n':
        return 1; /* goes on in the next line */
    case 'n':
        c = '\n';
        break;
    case 't':
        c = '\t';
        break;
    case 'b':
        c = '\b';
        break;
    case '\\':
    case '"':
        break;
    default:
        return bad(p, "an unknown escape in a value");
    }
    wh_str_addc(&v->text, (char)c);
    v->keep = v->text.len;
    return 1;
}

static int value_step(struct parser *p, struct value *v)
{
    int c = wh_reader_next(&p->r);
    if (c == '\r' && wh_reader_peek(&p->r) == '\n')
        c = wh_reader_next(&p->r);
    if (c == '\n' || c == -1)
        return v->quoted ? bad(p, "a quote in a value doesn't end") : 0;
    if (c == '\0')
        return bad(p, "a NUL byte in a value");
    if (c == '"') {
        v->quoted = !v->quoted;
        v->keep = v->text.len;
        return 1;
    }
    if (c == '\\')
        return escaped(p, v);
    if (!v->quoted && (c == ';' || c == '#')) {
        skip_line(p);
        return 0;
    }
    if (!v->quoted && (c == ' ' || c == '\t')) {
        if (v->text.len > 0)
            wh_str_addc(&v->text, (char)c);
        return 1;
    }
    wh_str_addc(&v->text, (char)c);
    v->keep = v->text.len;
    return 1;
}

static int parse_value(struct parser *p, char **out)
{
    struct value v = {0};
    int rc;
    while ((rc = value_step(p, &v)) == 1)
        ;
    if (rc == 0) {
        wh_str_truncate(&v.text, v.keep);
        *out = wh_str_steal(&v.text);
    }
    wh_str_free(&v.text);
    return rc;
}

static int parse_entry(struct parser *p, int first, size_t start)
{
    if (!p->in_section)
        return bad(p, "a value before the first section");
    wh_autostr name = {0};
    wh_str_addf(&name, "%s.%c", wh_str_text(&p->section), tolower(first));
    int c;
    while ((c = wh_reader_peek(&p->r)) != -1 && (isalnum(c) || c == '-')) {
        wh_str_addc(&name, (char)tolower(wh_reader_next(&p->r)));
        if (name.len > 2 * MAX_NAME)
            return bad(p, "a key is too long");
    }
    while (wh_reader_peek(&p->r) == ' ' || wh_reader_peek(&p->r) == '\t')
        wh_reader_next(&p->r);
    char *value = NULL;
    c = wh_reader_next(&p->r);
    if (c == '\r' && wh_reader_peek(&p->r) == '\n')
        c = wh_reader_next(&p->r);
    if (c == '=') {
        if (parse_value(p, &value) < 0)
            return -1;
    } else if (c != '\n' && c != -1) {
        return bad(p, "neither = nor the end of the line after a key");
    }
    struct wh_git_config *o = p->out;
    if (o->nentries == WH_MAX_GIT_CONFIG_ENTRIES) {
        free(value);
        return wh_fail(p->err, WH_E_LIMIT, "git configuration: more than %d values",
                       WH_MAX_GIT_CONFIG_ENTRIES);
    }
    o->entries = wh_reallocarray(o->entries, o->nentries + 1, sizeof(*o->entries));
    o->entries[o->nentries++] = (struct wh_git_config_entry){.name = wh_str_steal(&name),
                                                             .value = value,
                                                             .start = start,
                                                             .end = p->r.pos,
                                                             .section = o->nsections - 1};
    return 0;
}

static int parse(struct wh_git_config *c, struct wh_error *err)
{
    drop_parsed(c);
    struct parser p = {.r = wh_reader_of(c->text.data, c->text.len), .out = c, .err = err};
    wh_reader_take_text(&p.r, "\xef\xbb\xbf");
    int rc = 0;
    size_t line = p.r.pos; /* where the current line begins */
    while (rc == 0 && !wh_reader_end(&p.r)) {
        int ch = wh_reader_next(&p.r);
        if (ch == '\n')
            line = p.r.pos;
        else if (ch == ' ' || ch == '\t' || ch == '\r')
            continue;
        else if (ch == '#' || ch == ';')
            skip_line(&p), line = p.r.pos;
        else if (ch == '[') {
            rc = parse_section(&p, p.r.pos - 1);
            line = p.r.pos; /* a value may follow in the same line */
        } else if (isalpha(ch)) {
            rc = parse_entry(&p, ch, line);
            line = p.r.pos;
        } else
            rc = bad(&p, "neither a section nor a key");
    }
    wh_str_free(&p.section);
    return rc;
}

int wh_git_config_parse(struct wh_git_config *out, const char *text, size_t len, struct wh_error *err)
{
    if (len > WH_MAX_GIT_CONFIG)
        return wh_fail(err, WH_E_LIMIT, "git configuration: more than %zu bytes", WH_MAX_GIT_CONFIG);
    struct wh_str copy = {0};
    wh_str_addn(&copy, text, len);
    wh_str_free(&out->text);
    out->text = copy;
    return parse(out, err);
}

int wh_git_config_read(struct wh_git_config *out, const char *path, struct wh_error *err)
{
    wh_autostr text = {0};
    wh_autoerror no = {0};
    if (wh_read_file(AT_FDCWD, path, WH_MAX_GIT_CONFIG, &text, &no) < 0 && no.code != WH_E_NOT_FOUND)
        return wh_error_move(err, &no);
    return wh_git_config_parse(out, wh_str_text(&text), text.len, err) < 0 ? wh_wrap(err, "%s", path) : 0;
}
