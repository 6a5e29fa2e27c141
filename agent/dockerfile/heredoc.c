/* Heredoc words of a line: `<<EOF`, `3<<-"END"` (builder.md §1.1). */
#include "dockerfile/lex.h"
#include "dockerfile/read.h"
#include "dockerfile/text.h"

static size_t count_quotes(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\'' || *text == '"';
    return n;
}

/* Digits, <<, -, blanks, and a rest without `<`. False: the word is no heredoc. */
static bool cut_word(const char *word, struct wh_df_heredoc *out, const char **rest)
{
    uint64_t fd = 0;
    while (*word >= '0' && *word <= '9') {
        fd = fd > 100000 ? fd : fd * 10 + (uint64_t)(*word - '0');
        word++;
    }
    if (word[0] != '<' || word[1] != '<')
        return false;
    word += 2;
    out->fd = (unsigned)fd;
    out->chomp = *word == '-';
    word += out->chomp ? 1 : 0;
    while (df_space((unsigned char)*word))
        word++;
    *rest = word;
    return *word != '\0' && !strchr(word, '<');
}

int df_heredoc_word(const char *word, struct wh_df_heredoc *out, struct wh_error *err)
{
    *out = (struct wh_df_heredoc){0};
    const char *rest;
    if (!cut_word(word, out, &rest))
        return 0;
    /* Read once with quotes and once without: a difference means that some part of the delimiter is quoted.
     */
    wh_autostrv char **words = NULL, **raw = NULL;
    struct df_lex lex = {.escape = '\\', .skip_unset = true};
    if (df_lex_run(&lex, rest, NULL, &words, err) < 0)
        return -1;
    if (wh_strv_len(words) != 1)
        return 0;
    lex.raw_quotes = true;
    if (df_lex_run(&lex, rest, NULL, &raw, err) < 0)
        return -1;
    if (wh_strv_len(raw) != 1)
        return 0;
    out->name = wh_strdup(words[0]);
    out->expand = count_quotes(words[0]) == count_quotes(raw[0]);
    return 1;
}

int df_heredocs_of(const char *line, struct wh_df_instr *instr, struct wh_error *err)
{
    struct df_lex lex = {.escape = '\\', .raw_quotes = true, .raw_escapes = true, .skip_unset = true};
    wh_autostrv char **words = NULL;
    /* A line that the lexer can't read (a lone quote in a RUN is the shell's business) has no heredocs. */
    if (df_lex_run(&lex, line, NULL, &words, NULL) < 0)
        return 0;
    for (size_t i = 0; words && words[i]; i++) {
        struct wh_df_heredoc doc;
        int r = df_heredoc_word(words[i], &doc, err);
        if (r < 0)
            return -1;
        if (r == 0)
            continue;
        if (instr->nheredocs >= 256) {
            free(doc.name);
            return wh_fail(err, WH_E_LIMIT, "more than 256 heredocs in one instruction");
        }
        instr->heredocs = wh_reallocarray(instr->heredocs, instr->nheredocs + 1, sizeof doc);
        instr->heredocs[instr->nheredocs++] = doc;
    }
    return 0;
}
