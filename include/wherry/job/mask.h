/* The secret masker (job-execution.md §8): every text of a job passes it before it leaves the worker. */
#ifndef WH_JOB_MASK_H
#define WH_JOB_MASK_H

#include "wherry/job/message.h"

#define WH_MAX_MASKS 200000u                 /* values with their derived forms */
#define WH_MAX_MASK_BYTES ((size_t)32 << 20) /* of all of them */
#define WH_MAX_MASK_REGEXES 1000u

struct wh_masker; /* one a job; not thread-safe */
struct wh_masker *wh_masker_new(void);
void wh_masker_free(struct wh_masker *m);
/* The value as it is, and its derived forms (base64, JSON, URL, XML, ...). Empty values are ignored. */
int wh_masker_add(struct wh_masker *m, const char *value, size_t len, struct wh_error *err);
/* A secret variable: the trimmed whole and each trimmed non-empty line. */
int wh_masker_add_secret(struct wh_masker *m, const char *value, struct wh_error *err);
/* ::add-mask:: — the untrimmed whole and each trimmed line; *blank true (and nothing added) for white space
 * alone. */
int wh_masker_add_command(struct wh_masker *m, const char *value, bool *blank, struct wh_error *err);
/* A `regex` mask: as regular expression and as value. A pattern that PCRE2 refuses still masks as a value;
 * err says so. */
int wh_masker_add_regex(struct wh_masker *m, const char *pattern, struct wh_error *err);
/* Everything that a message names as secret: variables, masks, endpoint parameters, x-access-token:<token>.
 */
int wh_masker_add_message(struct wh_masker *m, const struct wh_job_message *message, struct wh_error *err);

/* True: something matched and out (cleared first) holds the masked text. False: nothing matched, out is not
 * touched and the caller uses its text as it is. text is one line or one multi-line message; no state is kept
 * between calls. */
bool wh_mask(struct wh_masker *m, const char *text, size_t len, struct wh_str *out);
char *wh_mask_text(struct wh_masker *m, const char *text); /* owned copy, masked or not */

#endif
