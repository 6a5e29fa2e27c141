/* A logical line's shape: keyword, flags, and the arguments in the grammar of their instruction (builder.md
 * §1.1's table). */
#include "dockerfile/read.h"

#include "dockerfile/lex.h"
#include "dockerfile/text.h"

static const char *const kind_names[WH_DF_KINDS + 1] = {
    "ADD",   "ARG",        "CMD",     "COPY", "ENTRYPOINT", "ENV",        "EXPOSE", "FROM",   "HEALTHCHECK",
    "LABEL", "MAINTAINER", "ONBUILD", "RUN",  "SHELL",      "STOPSIGNAL", "USER",   "VOLUME", "WORKDIR"};

const char *wh_df_kind_text(enum wh_df_kind kind)
{
    return kind_names[kind];
}

int df_kind_of(const char *keyword)
{
    for (int i = 0; i < WH_DF_KINDS; i++)
        if (wh_streq_ci(keyword, kind_names[i]))
            return i;
    return -1;
}

void df_node_clear(struct df_node *node)
{
    wh_df_instr_free(node->instr);
    wh_strv_free(node->flags);
    free(node->health_type);
    *node = (struct df_node){0};
}

static int too_many(struct wh_error *err, const char *keyword)
{
    return wh_fail(err, WH_E_LIMIT, "%s has more than %d words", keyword, WH_MAX_DOCKERFILE_WORDS);
}

/* ---- flags ---- */

/* One flag word: quotes and escapes are taken away. False at a bare `--`. */
static bool flag_word(struct wh_reader *r, char escape, struct wh_str *out, bool *keep)
{
    int quote = 0, c;
    *keep = false;
    while ((c = wh_reader_peek(r)) >= 0) {
        if (!quote && df_space(c))
            break;
        wh_reader_next(r);
        if (c == quote) {
            quote = 0;
        } else if (!quote && (c == '\'' || c == '"')) {
            quote = c;
            *keep = true;
        } else {
            if (c == (unsigned char)escape) {
                if (wh_reader_end(r))
                    break;
                c = wh_reader_next(r);
            }
            wh_str_addc(out, (char)c);
        }
    }
    *keep |= out->len > 0;
    return strcmp(wh_str_text(out), "--") != 0;
}

static int split_flags(const char *text, char escape, char ***flags, const char **rest, struct wh_error *err)
{
    struct wh_reader r = wh_reader_of(text, strlen(text));
    size_t n = 0;
    for (;;) {
        while (df_space(wh_reader_peek(&r)))
            wh_reader_next(&r);
        if (wh_reader_peek(&r) != '-' || wh_reader_peek_at(&r, 1) != '-')
            break;
        wh_autostr word = {0};
        bool keep;
        if (!flag_word(&r, escape, &word, &keep))
            break;
        if (keep)
            wh_strv_take(flags, wh_str_steal(&word));
        if (++n > WH_MAX_DOCKERFILE_WORDS)
            return wh_fail(err, WH_E_LIMIT, "more than %d flags", WH_MAX_DOCKERFILE_WORDS);
    }
    *rest = text + r.pos;
    return 0;
}

/* ---- arguments ---- */

/* Words with their quotes and escapes kept, cut at unquoted blanks. */
static int quoted_words(const char *text, char escape, const char *keyword, char ***out, struct wh_error *err)
{
    struct wh_reader r = wh_reader_of(text, strlen(text));
    size_t count = 0;
    for (;;) {
        while (df_space(wh_reader_peek(&r)))
            wh_reader_next(&r);
        if (wh_reader_end(&r))
            return 0;
        wh_autostr word = {0};
        int quote = 0, c;
        bool keep = false;
        while ((c = wh_reader_peek(&r)) >= 0 && (quote || !df_space(c))) {
            wh_reader_next(&r);
            if (c == quote) {
                quote = 0;
            } else if (!quote && (c == '\'' || c == '"')) {
                quote = c;
                keep = true;
            } else if (c == (unsigned char)escape && quote != '\'') {
                if (wh_reader_end(&r))
                    break; /* an escape character at the very end counts for nothing */
                wh_str_addc(&word, (char)c);
                c = wh_reader_next(&r);
            }
            wh_str_addc(&word, (char)c);
        }
        if (keep || word.len > 0)
            wh_strv_take(out, wh_str_steal(&word));
        if (++count > WH_MAX_DOCKERFILE_WORDS)
            return too_many(err, keyword);
    }
}

static void add_pair(struct wh_df_instr *in, char *name, char *value, bool no_delim)
{
    in->pairs = wh_reallocarray(in->pairs, in->npairs + 1, sizeof *in->pairs);
    in->pairs[in->npairs++] = (struct wh_df_pair){name, value, no_delim};
}

static int shape_pairs(const char *args, char escape, struct wh_df_instr *in, struct wh_error *err)
{
    wh_autostrv char **words = NULL;
    const char *name = wh_df_kind_text(in->kind);
    if (quoted_words(args, escape, name, &words, err) < 0)
        return -1;
    if (!words)
        return 0;
    if (!strchr(words[0], '=')) {
        wh_autostrv char **two = df_split_blank(args, 2);
        if (wh_strv_len(two) < 2)
            return wh_fail(err, WH_E_PARSE, "%s must have two arguments", name);
        add_pair(in, wh_strdup(two[0]), wh_strdup(two[1]), true);
        return 0;
    }
    for (size_t i = 0; words[i]; i++) {
        char *eq = strchr(words[i], '=');
        if (!eq) {
            wh_autostr quoted = {0};
            df_add_quoted(&quoted, words[i]);
            return wh_fail(err, WH_E_PARSE,
                           "Syntax error - can't find = in %s. Must be of the form: name=value",
                           wh_str_text(&quoted));
        }
        add_pair(in, wh_strndup(words[i], (size_t)(eq - words[i])), wh_strdup(eq + 1), false);
    }
    return 0;
}

static int shape_arg(const char *args, char escape, struct wh_df_instr *in, struct wh_error *err)
{
    wh_autostrv char **words = NULL;
    if (quoted_words(args, escape, "ARG", &words, err) < 0)
        return -1;
    for (size_t i = 0; words && words[i]; i++) {
        char *eq = strchr(words[i], '=');
        if (eq)
            add_pair(in, wh_strndup(words[i], (size_t)(eq - words[i])), wh_strdup(eq + 1), false);
        else
            add_pair(in, wh_strdup(words[i]), NULL, false);
    }
    return 0;
}

static int shape_list(const char *args, struct wh_df_instr *in, struct wh_error *err)
{
    if (args[0] == '\0')
        return 0;
    in->words = df_split_blank(args, WH_MAX_DOCKERFILE_WORDS + 1);
    return wh_strv_len(in->words) > WH_MAX_DOCKERFILE_WORDS ? too_many(err, wh_df_kind_text(in->kind)) : 0;
}

/* JSON if it is that; 0 means: no, take the other form. */
static int shape_json(const char *args, struct wh_df_instr *in, struct wh_error *err)
{
    int r = df_json_array(args, &in->words, err);
    in->json = r > 0;
    if (r > 0 && wh_strv_len(in->words) > WH_MAX_DOCKERFILE_WORDS)
        return too_many(err, wh_df_kind_text(in->kind));
    return r;
}

static int shape_json_or_string(const char *args, struct wh_df_instr *in, struct wh_error *err)
{
    if (args[0] == '\0')
        return 0;
    int r = shape_json(args, in, err);
    if (r == 0)
        wh_strv_add(&in->words, args);
    return r < 0 ? -1 : 0;
}

static int shape_health(const char *args, struct df_node *node, struct wh_error *err)
{
    size_t n = 0;
    while (args[n] && !df_space((unsigned char)args[n]))
        n++;
    if (n == 0)
        return 0;
    node->health_type = wh_strndup(args, n);
    while (df_space((unsigned char)args[n]))
        n++;
    return shape_json_or_string(args + n, node->instr, err);
}

static int shape_trigger(const char *args, char escape, struct df_node *node, struct wh_error *err)
{
    if (args[0] == '\0')
        return 0;
    /* ONBUILD ONBUILD ONBUILD ... nests as deep as the line is long: look at one level only, since a chain is
     * refused anyway. */
    struct df_node inner = {.instr = wh_calloc(1, sizeof *inner.instr)};
    wh_autostrv char **two = df_split_blank(args, 2);
    int r = wh_streq_ci(two[0], "ONBUILD") ? 0 : df_shape(args, escape, &inner, err);
    if (r == 0) {
        wh_strv_add(&node->instr->words, two[0]);
        enum wh_df_kind kind = inner.instr->kind;
        node->trigger_heredocs = inner.known && !inner.instr->json &&
                                 (kind == WH_DF_RUN || kind == WH_DF_COPY || kind == WH_DF_ADD);
    }
    df_node_clear(&inner);
    return r;
}

static int shape_args(const char *args, char escape, struct df_node *node, struct wh_error *err)
{
    struct wh_df_instr *in = node->instr;
    int r;
    switch (in->kind) {
    case WH_DF_RUN:
    case WH_DF_CMD:
    case WH_DF_ENTRYPOINT:
    case WH_DF_SHELL:
        return shape_json_or_string(args, in, err);
    case WH_DF_COPY:
    case WH_DF_ADD:
    case WH_DF_VOLUME:
        r = shape_json(args, in, err);
        return r == 0 ? shape_list(args, in, err) : r < 0 ? -1 : 0;
    case WH_DF_FROM:
    case WH_DF_EXPOSE:
        return shape_list(args, in, err);
    case WH_DF_ENV:
    case WH_DF_LABEL:
        return shape_pairs(args, escape, in, err);
    case WH_DF_ARG:
        return shape_arg(args, escape, in, err);
    case WH_DF_HEALTHCHECK:
        return shape_health(args, node, err);
    case WH_DF_ONBUILD:
        return shape_trigger(args, escape, node, err);
    default:
        if (args[0] != '\0')
            wh_strv_add(&in->words, args);
        return 0;
    }
}

int df_shape(const char *line, char escape, struct df_node *node, struct wh_error *err)
{
    struct wh_df_instr *in = node->instr;
    in->original = wh_strdup(line);
    wh_autofree char *trimmed = df_trim_dup(line);
    wh_autostrv char **two = df_split_blank(trimmed, 2);
    in->keyword = wh_strdup(two[0]);
    int kind = df_kind_of(two[0]);
    node->known = kind >= 0;
    if (node->known)
        in->kind = (enum wh_df_kind)kind;
    const char *rest = "";
    if (two[1] && split_flags(two[1], escape, &node->flags, &rest, err) < 0)
        return -1;
    wh_autofree char *args = df_trim_dup(rest);
    return node->known ? shape_args(args, escape, node, err) : 0;
}
