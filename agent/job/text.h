/* UTF-8 walking and .NET's view of characters (UTF-16 lengths, white space, simple upper case) for the
 * rooms's own use. */
#ifndef WH_JOB_TEXT_H
#define WH_JOB_TEXT_H

#include "wherry/base/str.h"

/* Takes the code point at *pos (which must be < len) and moves on; a malformed byte counts as one U+FFFD. */
uint32_t wh_utf8_next(const char *data, size_t len, size_t *pos);
void wh_utf8_add(struct wh_str *out, uint32_t cp);
bool wh_is_space(uint32_t cp); /* Char.IsWhiteSpace */
/* Simple upper-case mapping; letters outside ASCII never map into it (as .NET's ordinal comparison). */
uint32_t wh_upper(uint32_t cp);
/* White space of any kind cut at both ends (String.Trim). */
struct wh_view wh_view_trim_unicode(struct wh_view v);
/* Ordinal search without regard to case; true also for an empty needle. */
bool wh_view_contains_ci(struct wh_view hay, struct wh_view needle);
bool wh_view_starts_ci(struct wh_view text, struct wh_view prefix);
bool wh_view_ends_ci(struct wh_view text, struct wh_view suffix);
uint32_t wh_hash_ci(const char *data, size_t len);

#endif
