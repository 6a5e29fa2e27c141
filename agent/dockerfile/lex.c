/* The word lexer: quotes, escapes, $NAME and ${NAME...} (builder.md §1.5). */
#include "dockerfile/lex.h"

#include "dockerfile/pattern.h"
#include "dockerfile/text.h"

struct state {
    const struct df_lex *lex;
    struct wh_reader r;
    bool raw_escapes; /* as the innermost ${} wants it */
    unsigned depth;
    uint64_t steps; /* pattern work so far */
    size_t produced;
};

/* What one level produces: the text, and (outermost only) words cut at unquoted blanks. */
struct sink {
    struct wh_str *text;
    struct wh_str word;
    char ***words;
    bool in_word;
};

static int until(struct state *s, int stop, bool raw_escapes, struct sink *out, struct wh_error *err);

static void end_word(struct sink *out)
{
    if (out->words && out->word.len > 0)
        wh_strv_take(out->words, wh_str_steal(&out->word));
    out->in_word = false;
}

static void add_char(struct sink *out, char c, bool quoted)
{
    wh_str_addc(out->text, c);
    if (!out->words)
        return;
    if (!quoted && df_space((unsigned char)c)) {
        if (out->in_word && out->word.len > 0)
            end_word(out);
        return;
    }
    wh_str_addc(&out->word, c);
    out->in_word = true;
}

static int add_text(struct state *s, struct sink *out, const char *text, size_t len, bool quoted,
                    struct wh_error *err)
{
    s->produced += len;
    if (s->produced > WH_MAX_EXPANSION)
        return wh_fail(err, WH_E_LIMIT, "the result is longer than %zu bytes", WH_MAX_EXPANSION);
    for (size_t i = 0; i < len; i++)
        add_char(out, text[i], quoted);
    if (quoted)
        out->in_word = true;
    return 0;
}

static const char *lookup(struct state *s, const char *name)
{
    const char *value = s->lex->env ? wh_env_get(s->lex->env, name) : NULL;
    struct wh_df_expansion *seen = s->lex->seen;
    if (seen) {
        char ***list = value ? &seen->used : &seen->unset;
        if (!wh_strv_has(*list, name))
            wh_strv_add(list, name);
    }
    return value;
}

static char *read_name(struct state *s)
{
    wh_autostr name = {0};
    int c = wh_reader_peek(&s->r);
    if (c >= '0' && c <= '9') {
        while ((c = wh_reader_peek(&s->r)) >= '0' && c <= '9')
            wh_str_addc(&name, (char)wh_reader_next(&s->r));
        return wh_str_steal(&name);
    }
    if (c > 0 && strchr("@*#?-$!", c)) {
        wh_str_addc(&name, (char)wh_reader_next(&s->r));
        return wh_str_steal(&name);
    }
    while (!wh_reader_end(&s->r)) {
        const char *at = (const char *)s->r.data + s->r.pos;
        int32_t cp;
        size_t n = df_decode(at, s->r.len - s->r.pos, &cp);
        if (!df_letter(cp) && cp != '_' && !(cp >= '0' && cp <= '9'))
            break;
        wh_str_addn(&name, at, n);
        s->r.pos += n;
    }
    return wh_str_steal(&name);
}

/* The text up to stop, expanded; a missing stop is reported in the words of the ${} that it belongs to. */
static int nested(struct state *s, char stop, bool raw_escapes, const char *missing, struct wh_str *out,
                  struct wh_error *err)
{
    struct sink sink = {.text = out};
    wh_autoerror inner = {0};
    if (until(s, stop, raw_escapes, &sink, &inner) == 0)
        return 0;
    if (wh_reader_end(&s->r) && inner.code != WH_E_LIMIT)
        return wh_fail(err, WH_E_PARSE, "syntax error: missing '%s", missing);
    return wh_error_move(err, &inner);
}

static int by_default(const char *name, const char *value, char op, bool null_is_unset, const char *word,
                      struct wh_str *out, struct wh_error *err)
{
    bool usable = value && !(null_is_unset && value[0] == '\0');
    if (op == '-') {
        wh_str_add(out, usable ? value : word);
    } else if (op == '+') {
        if (usable)
            wh_str_add(out, word);
    } else {
        if (!usable)
            return wh_fail(err, WH_E_ARGUMENT, "%s: %s", name,
                           word[0] ? word
                           : value ? "is not allowed to be empty"
                                   : "is not allowed to be unset");
        wh_str_add(out, value);
    }
    return 0;
}

static int replace(struct state *s, const char *name, struct wh_str *out, struct wh_error *err)
{
    bool all = wh_reader_take(&s->r, '/');
    wh_autostr pattern = {0}, by = {0};
    if (nested(s, '/', true, "/' in ${}", &pattern, err) < 0 || nested(s, '}', true, "}'", &by, err) < 0)
        return -1;
    const char *value = lookup(s, name);
    if (!value && s->lex->skip_unset) {
        wh_str_addf(out, "${%s/%s/%s}", name, wh_str_text(&pattern), wh_str_text(&by));
        return 0;
    }
    return df_pattern_replace(wh_str_text(&pattern), value ? value : "", wh_str_text(&by), all, &s->steps,
                              out, err);
}

/* Behind ${NAME: the modifier. */
static int modifier(struct state *s, const char *name, struct wh_str *out, struct wh_error *err)
{
    char text[8] = "";
    int c = wh_reader_next(&s->r);
    bool null_is_unset = false;
    if (c == '}') {
        const char *value = lookup(s, name);
        if (!value && s->lex->skip_unset)
            wh_str_addf(out, "${%s}", name);
        else if (value)
            wh_str_add(out, value);
        return 0;
    }
    if (c == '/')
        return replace(s, name, out, err);
    size_t n = 0;
    if (c == ':') {
        null_is_unset = true;
        text[n++] = ':';
        c = wh_reader_next(&s->r);
    } else if (c < 0 || !strchr("+-?#%", c)) {
        return wh_fail(err, WH_E_PARSE, "unsupported modifier (%.*s) in substitution", c < 0 ? 3 : 1,
                       c < 0 ? "\xef\xbf\xbd" : (const char *)&(char){(char)c});
    }
    bool trims = c == '#' || c == '%';
    if (c >= 0)
        text[n++] = (char)c;
    if (null_is_unset && trims)
        return wh_fail(err, WH_E_PARSE, "unsupported modifier (%s) in substitution", text);
    wh_autostr word = {0};
    if (nested(s, '}', trims, "}'", &word, err) < 0)
        return -1;
    const char *value = lookup(s, name), *w = wh_str_text(&word);
    if (!value && s->lex->skip_unset) {
        wh_str_addf(out, "${%s%s%s}", name, text, w);
        return 0;
    }
    if (trims) {
        bool greedy = w[0] == (char)c;
        return df_pattern_trim(w + (greedy ? 1 : 0), value ? value : "", greedy, c == '%', &s->steps, out,
                               err);
    }
    if (c != '-' && c != '+' && c != '?')
        return wh_fail(err, WH_E_PARSE, "unsupported modifier (%s) in substitution", text);
    return by_default(name, value, (char)c, null_is_unset, w, out, err);
}

/* At a '$'. */
static int dollar(struct state *s, struct wh_str *out, struct wh_error *err)
{
    wh_reader_next(&s->r);
    if (!wh_reader_take(&s->r, '{')) {
        wh_autofree char *name = read_name(s);
        const char *value = name[0] ? lookup(s, name) : NULL;
        if (name[0] == '\0' || (!value && s->lex->skip_unset))
            wh_str_addf(out, "$%s", name);
        else if (value)
            wh_str_add(out, value);
        return 0;
    }
    int c = wh_reader_peek(&s->r);
    if (c < 0)
        return wh_fail(err, WH_E_PARSE, "syntax error: missing '}'");
    if (c == '{' || c == '}' || c == ':')
        return wh_fail(err, WH_E_PARSE, "syntax error: bad substitution");
    if (++s->depth > WH_MAX_EXPANSION_DEPTH)
        return wh_fail(err, WH_E_LIMIT, "more than %d levels of ${}", WH_MAX_EXPANSION_DEPTH);
    wh_autofree char *name = read_name(s);
    int r = modifier(s, name, out, err);
    s->depth--;
    return r;
}

static int single_quote(struct state *s, struct sink *out, struct wh_error *err)
{
    size_t start = s->r.pos;
    wh_reader_next(&s->r);
    int c;
    while ((c = wh_reader_next(&s->r)) >= 0 && c != '\'')
        ;
    if (c < 0)
        return wh_fail(err, WH_E_PARSE,
                       "unexpected end of statement while looking for matching single-quote");
    size_t cut = s->lex->raw_quotes ? 0 : 1;
    return add_text(s, out, (const char *)s->r.data + start + cut, s->r.pos - start - 2 * cut, true, err);
}

static int double_quote(struct state *s, struct sink *out, struct wh_error *err)
{
    wh_autostr text = {0};
    wh_reader_next(&s->r);
    if (s->lex->raw_quotes)
        wh_str_addc(&text, '"');
    for (;;) {
        int c = wh_reader_peek(&s->r);
        if (c < 0)
            return wh_fail(err, WH_E_PARSE,
                           "unexpected end of statement while looking for matching double-quote");
        if (c == '$') {
            if (dollar(s, &text, err) < 0)
                return -1;
            continue;
        }
        wh_reader_next(&s->r);
        if (c == '"') {
            if (s->lex->raw_quotes)
                wh_str_addc(&text, '"');
            return add_text(s, out, wh_str_text(&text), text.len, true, err);
        }
        if (c == (unsigned char)s->lex->escape) {
            if (s->raw_escapes)
                wh_str_addc(&text, (char)c);
            int next = wh_reader_peek(&s->r);
            if (next < 0)
                continue;
            if (next == '"' || next == '$' || next == (unsigned char)s->lex->escape)
                c = wh_reader_next(&s->r);
        }
        wh_str_addc(&text, (char)c);
    }
}

/* `<< EOF` is one word: the blanks behind << don't cut. */
static void heredoc_mark(struct state *s, struct sink *out)
{
    add_char(out, (char)wh_reader_next(&s->r), true);
    if (wh_reader_peek(&s->r) != '<')
        return;
    add_char(out, (char)wh_reader_next(&s->r), true);
    int c;
    while ((c = wh_reader_peek(&s->r)) == ' ' || c == '\t' || c == '\r')
        add_char(out, (char)wh_reader_next(&s->r), true);
}

static int plain(struct state *s, struct sink *out, struct wh_error *err)
{
    char c = (char)wh_reader_next(&s->r);
    if (c != s->lex->escape)
        return add_text(s, out, &c, 1, false, err);
    if (s->raw_escapes)
        add_char(out, c, true);
    int next = wh_reader_next(&s->r);
    if (next < 0)
        return 0;
    c = (char)next;
    return add_text(s, out, &c, 1, true, err);
}

static int until(struct state *s, int stop, bool raw_escapes, struct sink *out, struct wh_error *err)
{
    bool outer_raw = s->raw_escapes;
    s->raw_escapes = raw_escapes;
    int c, r = 0;
    while (r == 0 && (c = wh_reader_peek(&s->r)) >= 0 && c != stop) {
        if (c == '$') {
            wh_autostr value = {0};
            r = dollar(s, &value, err);
            if (r == 0)
                r = add_text(s, out, wh_str_text(&value), value.len, false, err);
        } else if (c == '\'' && !s->lex->skip_quotes) {
            r = single_quote(s, out, err);
        } else if (c == '"' && !s->lex->skip_quotes) {
            r = double_quote(s, out, err);
        } else if (c == '<') {
            heredoc_mark(s, out);
        } else {
            r = plain(s, out, err);
        }
    }
    s->raw_escapes = outer_raw;
    if (r < 0)
        return -1;
    if (stop >= 0 && !wh_reader_take(&s->r, (char)stop))
        return wh_fail(err, WH_E_PARSE, "unexpected end of statement while looking for matching %c", stop);
    return 0;
}

int df_lex_run(const struct df_lex *lex, const char *word, struct wh_str *result, char ***words,
               struct wh_error *err)
{
    wh_autostr text = {0};
    struct state s = {.lex = lex, .r = wh_reader_of(word, strlen(word)), .raw_escapes = lex->raw_escapes};
    struct sink out = {.text = result ? result : &text, .words = words};
    wh_autoerror inner = {0};
    int r = until(&s, -1, lex->raw_escapes, &out, &inner);
    if (r == 0)
        end_word(&out);
    wh_str_free(&out.word);
    if (r == 0)
        return 0;
    wh_autostr quoted = {0};
    df_add_quoted(&quoted, word);
    if (quoted.len > 4096) {
        wh_str_truncate(&quoted, 4096);
        wh_str_add(&quoted, "...");
    }
    wh_error_move(err, &inner);
    return wh_wrap(err, "failed to process %s", wh_str_text(&quoted));
}

void wh_df_expansion_clear(struct wh_df_expansion *x)
{
    wh_strv_free(x->used);
    wh_strv_free(x->unset);
    *x = (struct wh_df_expansion){0};
}

int wh_df_expand(const char *word, char *const *env, char escape, enum wh_df_expand_mode mode, char **out,
                 struct wh_df_expansion *seen, struct wh_error *err)
{
    struct df_lex lex = {.escape = mode == WH_DF_EXPAND_HEREDOC ? '\\' : escape,
                         .raw_quotes = mode == WH_DF_EXPAND_RAW,
                         .skip_unset = mode == WH_DF_EXPAND_RAW,
                         .skip_quotes = mode == WH_DF_EXPAND_HEREDOC,
                         .env = env,
                         .seen = seen};
    wh_autostr text = {0};
    if (df_lex_run(&lex, word, &text, NULL, err) < 0)
        return -1;
    *out = wh_str_steal(&text);
    return 0;
}

int wh_df_expand_words(const char *word, char *const *env, char escape, char ***out,
                       struct wh_df_expansion *seen, struct wh_error *err)
{
    struct df_lex lex = {.escape = escape, .env = env, .seen = seen};
    char **words = NULL;
    if (df_lex_run(&lex, word, NULL, &words, err) < 0) {
        wh_strv_free(words);
        return -1;
    }
    *out = words;
    return 0;
}
