#include "actions/handlebars.h"

#include <ctype.h>

struct state {
    struct wh_reader r;
    wh_handlebars_fn fn;
    void *data;
    bool eat_space; /* a `~}}` came just before */
    bool dry;       /* the branch that is not taken */
    unsigned depth;
};

/* What stands between the braces. */
struct tag {
    enum { TAG_VALUE, TAG_COMMENT, TAG_OPEN, TAG_ELSE, TAG_CLOSE } kind;
    bool plain;     /* not escaped */
    char *name;     /* owned */
    char *argument; /* owned; of a helper: its text; of a block: its condition's name */
    struct wh_handlebars_option options[WH_MAX_TEMPLATE_OPTIONS];
    size_t noptions;
    bool strip_before, strip_after;
};

static void tag_free(struct tag *t)
{
    free(t->name);
    free(t->argument);
    for (size_t i = 0; i < t->noptions; i++) {
        free(t->options[i].name);
        free(t->options[i].value);
    }
    *t = (struct tag){0};
}
#define autotag __attribute__((cleanup(tag_free))) struct tag

static void skip_space(struct wh_reader *r)
{
    while (isspace(wh_reader_peek(r)))
        wh_reader_next(r);
}

static bool is_name_char(int c)
{
    return c != -1 && !isspace(c) && !strchr("!\"#%&'()*+,;<=>@[\\]^`{|}~", c);
}

static char *take_name(struct wh_reader *r)
{
    wh_autostr s = {0};
    while (is_name_char(wh_reader_peek(r)))
        wh_str_addc(&s, (char)wh_reader_next(r));
    const char *text = wh_str_text(&s);
    if (wh_starts_with(text, "this."))
        text += strlen("this.");
    else if (wh_starts_with(text, "./"))
        text += strlen("./");
    return text[0] ? wh_strdup(text) : NULL;
}

/* 'text', "text", or a bare word (number, true, null); NULL with err. */
static char *take_literal(struct wh_reader *r, struct wh_error *err)
{
    int quote = wh_reader_peek(r);
    if (quote != '\'' && quote != '"') {
        char *word = take_name(r);
        if (!word)
            wh_fail(err, WH_E_ARGUMENT, "a value is missing or has a character that is not understood");
        return word;
    }
    wh_reader_next(r);
    wh_autostr s = {0};
    for (int c = wh_reader_next(r); c != quote; c = wh_reader_next(r)) {
        if (c == -1) {
            wh_fail(err, WH_E_ARGUMENT, "a quoted text does not end");
            return NULL;
        }
        if (c == '\\' && wh_reader_peek(r) == quote)
            c = wh_reader_next(r);
        wh_str_addc(&s, (char)c);
    }
    return wh_str_steal(&s);
}

static int take_option(struct wh_reader *r, struct tag *t, char *name, struct wh_error *err)
{
    if (t->noptions == WH_MAX_TEMPLATE_OPTIONS) {
        free(name);
        return wh_fail(err, WH_E_LIMIT, "more than %d options", WH_MAX_TEMPLATE_OPTIONS);
    }
    struct wh_handlebars_option *o = &t->options[t->noptions++];
    *o = (struct wh_handlebars_option){.name = name, .value = take_literal(r, err)};
    return o->value ? 0 : -1;
}

/* A word that is followed by = names an option; any other one is the argument. */
static int take_parameter(struct wh_reader *r, struct tag *t, struct wh_error *err)
{
    int c = wh_reader_peek(r);
    wh_autofree char *word = NULL;
    if (c == '\'' || c == '"') {
        word = take_literal(r, err);
        if (!word)
            return -1;
    } else {
        word = take_name(r);
        if (!word)
            return wh_fail(err, WH_E_ARGUMENT, "the character '%c' is not understood here", c);
        if (wh_reader_take(r, '='))
            return take_option(r, t, wh_steal(&word), err);
    }
    if (t->argument)
        return wh_fail(err, WH_E_UNSUPPORTED, "more than one argument is not supported by wherry");
    t->argument = wh_steal(&word);
    return 0;
}

static int take_close(struct wh_reader *r, bool triple, struct tag *t, struct wh_error *err)
{
    skip_space(r);
    bool inner = !triple || wh_reader_take(r, '}');
    t->strip_after = wh_reader_take(r, '~');
    if (!inner || !wh_reader_take_text(r, "}}"))
        return wh_fail(err, WH_E_ARGUMENT, "expected %s after '%s'", triple ? "}}}" : "}}", t->name);
    return 0;
}

static int take_comment(struct wh_reader *r, struct tag *t, struct wh_error *err)
{
    t->kind = TAG_COMMENT;
    bool dashes = wh_reader_take_text(r, "--");
    while (!wh_reader_end(r)) {
        struct wh_reader end = *r;
        bool closes = !dashes || wh_reader_take_text(&end, "--");
        bool strips = closes && wh_reader_take(&end, '~');
        if (closes && wh_reader_take_text(&end, "}}")) {
            *r = end;
            t->strip_after = strips;
            return 0;
        }
        wh_reader_next(r);
    }
    return wh_fail(err, WH_E_ARGUMENT, "a comment does not end");
}

/* Behind "{{". */
static int take_tag(struct wh_reader *r, struct tag *t, struct wh_error *err)
{
    t->strip_before = wh_reader_take(r, '~');
    bool triple = wh_reader_take(r, '{');
    t->plain = triple;
    if (!triple && wh_reader_take(r, '!'))
        return take_comment(r, t, err);
    if (!triple && wh_reader_take(r, '&'))
        t->plain = true;
    else if (!triple && wh_reader_take(r, '#'))
        t->kind = TAG_OPEN;
    else if (!triple && wh_reader_take(r, '/'))
        t->kind = TAG_CLOSE;
    else if (!triple && (wh_reader_peek(r) == '>' || wh_reader_peek(r) == '^'))
        return wh_fail(err, WH_E_UNSUPPORTED, "'{{%c' is not supported by wherry", wh_reader_peek(r));
    skip_space(r);
    t->name = take_name(r);
    if (!t->name)
        return wh_fail(err, WH_E_ARGUMENT, "a name is expected after {{");
    if (t->kind == TAG_VALUE && !t->plain && wh_streq(t->name, "else"))
        t->kind = TAG_ELSE;
    for (skip_space(r); !wh_reader_end(r) && wh_reader_peek(r) != '}' && wh_reader_peek(r) != '~';
         skip_space(r))
        if (take_parameter(r, t, err) < 0)
            return -1;
    return take_close(r, triple, t, err);
}

static void trim_end(struct wh_str *out)
{
    size_t len = out->len;
    while (len > 0 && isspace((unsigned char)out->data[len - 1]))
        len--;
    wh_str_truncate(out, len);
}

static void add_escaped(struct wh_str *out, const char *text)
{
    static const struct {
        char c;
        const char *entity;
    } entities[] = {{'&', "&amp;"},   {'<', "&lt;"},   {'>', "&gt;"},  {'"', "&quot;"},
                    {'\'', "&#x27;"}, {'`', "&#x60;"}, {'=', "&#x3D;"}};
    for (const char *p = text; *p; p++) {
        const char *entity = NULL;
        for (size_t i = 0; i < WH_COUNT(entities) && !entity; i++)
            entity = entities[i].c == *p ? entities[i].entity : NULL;
        if (entity)
            wh_str_add(out, entity);
        else
            wh_str_addc(out, *p);
    }
}

static int add_value(struct state *s, const struct tag *t, struct wh_str *out, struct wh_error *err)
{
    const struct wh_handlebars_call call = {
        .name = t->name, .argument = t->argument, .options = t->options, .noptions = t->noptions};
    wh_autoerror problem = {0};
    wh_autofree char *value = s->fn(s->data, &call, &problem);
    if (!value && problem.code != 0)
        return wh_error_move(err, &problem);
    if (!value && (t->argument || t->noptions > 0))
        return wh_fail(err, WH_E_ARGUMENT, "Missing helper: \"%s\"", t->name);
    if (value && t->plain)
        wh_str_add(out, value);
    else if (value)
        add_escaped(out, value);
    return 0;
}

enum stop { STOP_END, STOP_ELSE, STOP_CLOSE };
static int expand(struct state *s, struct wh_str *out, const char *block, enum stop *stop,
                  struct wh_error *err);

static int expand_block(struct state *s, const struct tag *t, struct wh_str *out, struct wh_error *err)
{
    bool unless = wh_streq(t->name, "unless"), dry = s->dry;
    if (!unless && !wh_streq(t->name, "if"))
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "the block '{{#%s}}' is not supported by wherry: if and unless are", t->name);
    if (!t->argument)
        return wh_fail(err, WH_E_ARGUMENT, "#%s requires exactly one argument", t->name);
    if (s->depth == WH_MAX_TEMPLATE_DEPTH)
        return wh_fail(err, WH_E_LIMIT, "blocks are nested more than %d deep", WH_MAX_TEMPLATE_DEPTH);
    const struct wh_handlebars_call call = {.name = t->argument};
    wh_autoerror problem = {0};
    wh_autofree char *value = s->fn(s->data, &call, &problem);
    if (problem.code != 0)
        return wh_error_move(err, &problem);
    bool taken = (value && value[0]) != unless;
    enum stop stop;
    s->depth++;
    s->dry = dry || !taken;
    if (expand(s, out, t->name, &stop, err) < 0)
        return -1;
    if (stop == STOP_ELSE) {
        s->dry = dry || taken;
        if (expand(s, out, t->name, &stop, err) < 0)
            return -1;
        if (stop == STOP_ELSE)
            return wh_fail(err, WH_E_ARGUMENT, "a second {{else}} in {{#%s}}", t->name);
    }
    s->depth--;
    s->dry = dry;
    return 0;
}

/* One tag's effect. 1: it ends the block that is read now. */
static int apply(struct state *s, const struct tag *t, struct wh_str *out, const char *block, enum stop *stop,
                 struct wh_error *err)
{
    struct wh_str none = {0};
    int status = 0;
    switch (t->kind) {
    case TAG_COMMENT:
        break;
    case TAG_VALUE:
        status = s->dry ? 0 : add_value(s, t, out, err);
        break;
    case TAG_OPEN:
        status = expand_block(s, t, s->dry ? &none : out, err);
        break;
    case TAG_ELSE:
    case TAG_CLOSE:
        if (!block || (t->kind == TAG_CLOSE && !wh_streq(block, t->name)))
            status = wh_fail(err, WH_E_ARGUMENT, "{{%s%s}} has no opening tag",
                             t->kind == TAG_CLOSE ? "/" : "", t->name);
        else if (t->kind == TAG_ELSE && (t->argument || t->noptions > 0))
            status =
                wh_fail(err, WH_E_UNSUPPORTED, "{{else ...}} with a condition is not supported by wherry");
        *stop = t->kind == TAG_ELSE ? STOP_ELSE : STOP_CLOSE;
        status = status < 0 ? status : 1;
        break;
    }
    wh_str_free(&none);
    return status;
}

static int expand(struct state *s, struct wh_str *out, const char *block, enum stop *stop,
                  struct wh_error *err)
{
    struct wh_reader *r = &s->r;
    *stop = STOP_END;
    while (!wh_reader_end(r)) {
        if (out->len > WH_MAX_TEMPLATE_TEXT)
            return wh_fail(err, WH_E_LIMIT, "it gives more than %zu bytes", WH_MAX_TEMPLATE_TEXT);
        bool escaped =
            wh_reader_peek(r) == '\\' && wh_reader_peek_at(r, 1) == '{' && wh_reader_peek_at(r, 2) == '{';
        if (escaped)
            wh_reader_next(r);
        if (escaped || !wh_reader_take_text(r, "{{")) {
            int c = wh_reader_next(r);
            bool eaten = s->eat_space && isspace(c);
            s->eat_space = eaten;
            if (!eaten && !s->dry)
                wh_str_addc(out, (char)c);
            if (escaped) /* the second brace must not open a tag with a third one */
                wh_str_addc(out, (char)wh_reader_next(r));
            continue;
        }
        autotag t = {0};
        if (take_tag(r, &t, err) < 0)
            return -1;
        if (t.strip_before)
            trim_end(out);
        s->eat_space = t.strip_after;
        int status = apply(s, &t, out, block, stop, err);
        if (status != 0)
            return status < 0 ? -1 : 0;
    }
    if (block)
        return wh_fail(err, WH_E_ARGUMENT, "{{#%s}} has no closing tag", block);
    return 0;
}

char *wh_handlebars(const char *text, wh_handlebars_fn fn, void *data, struct wh_error *err)
{
    if (!strstr(text, "{{"))
        return wh_strdup(text);
    struct state s = {.r = wh_reader_of(text, strlen(text)), .fn = fn, .data = data};
    wh_autostr out = {0};
    enum stop stop;
    if (expand(&s, &out, NULL, &stop, err) < 0) {
        wh_wrap(err, "template '%.200s'", text);
        return NULL;
    }
    return wh_str_steal(&out);
}

bool wh_handlebars_is_only(const char *text, const char *name)
{
    struct wh_reader r = wh_reader_of(text, strlen(text));
    autotag t = {0};
    return wh_reader_take_text(&r, "{{") && take_tag(&r, &t, NULL) == 0 && wh_reader_end(&r) &&
           t.kind == TAG_VALUE && wh_streq(t.name, name);
}
