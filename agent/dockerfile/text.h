/* Private helpers of the dockerfile room: Go's idea of characters and quoting, which BuildKit's texts and
 * rules follow. */
#ifndef WH_DOCKERFILE_TEXT_H
#define WH_DOCKERFILE_TEXT_H

#include "wherry/base/str.h"

/* unicode.IsSpace for one byte: \t \n \v \f \r and blank. */
static inline bool df_space(int c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}
/* The character at s: its code point and its length in bytes. A byte that starts no valid sequence stands for
 * itself with *cp = -1 and length 1. len must not be 0. */
size_t df_decode(const char *s, size_t len, int32_t *cp);
/* unicode.IsLetter, near enough: ASCII letters and the code points of scripts; no symbols, punctuation or
 * blanks. */
bool df_letter(int32_t cp);
/* strconv.Quote: %q. */
void df_add_quoted(struct wh_str *out, const char *text);
/* fmt's %v of a []string: [a b c]. */
void df_add_list(struct wh_str *out, char *const *words);
/* One or more of \t \v \f \r and blank: the parser's white space (no newline). */
bool df_blank(int c);
/* strings.TrimSpace, in place on a copy; owned. */
char *df_trim_dup(const char *text);
/* Cuts text at white space as Go's regexp Split does: a leading or trailing blank gives an empty word. max <
 * 0: no limit. */
char **df_split_blank(const char *text, int max);
/* ": did you mean" in BuildKit's form: appends " (did you mean X?)" if a name of the list is near. */
void df_suggest(struct wh_str *out, const char *word, const char *const *names, bool ignore_case);
/* The name that is fewer than three edits away, by BuildKit's way of counting; NULL if there is none, or if
 * the word is one of the names. */
#define WH_MAX_SUGGESTED 64 /* bytes of a word that is compared */
const char *df_nearest(const char *word, const char *const *names);

#endif
