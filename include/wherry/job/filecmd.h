/* File commands: GITHUB_ENV, GITHUB_OUTPUT, GITHUB_STATE (key/value grammar), GITHUB_PATH (lines) and
 * GITHUB_STEP_SUMMARY (job-execution.md §5.7). */
#ifndef WH_JOB_FILECMD_H
#define WH_JOB_FILECMD_H

#include "wherry/base/str.h"

#define WH_MAX_FILECMD_BYTES ((size_t)64 << 20) /* of one file; a larger one fails the step */
#define WH_MAX_SUMMARY_BYTES ((size_t)1024 * 1024)
/* Outputs, state and variables of all steps of a job together, names and values: what GitHub keeps of a whole
 * run's outputs. More fails the step. */
#define WH_MAX_KEPT_BYTES ((size_t)50 << 20)
/* Outputs of a job in UTF-16, as GitHub counts them: it keeps so many. More goes out with a warning, ... */
#define WH_JOB_OUTPUTS_UTF16 ((size_t)1 << 20)
/* ... and what would make the job's completion too large to be handed over stays here. In UTF-8. */
#define WH_MAX_JOB_OUTPUTS ((size_t)2 << 20)

/* Called per pair, in order, views into the text; a negative return ends the walk with err set. */
typedef int (*wh_filecmd_pair)(void *arg, struct wh_view name, struct wh_view value, struct wh_error *err);
/* Pairs before a bad line have been handed over. Errors carry the exact texts of §5.7 (without "Unable to
 * process file command ..."). */
int wh_filecmd_pairs(const char *text, size_t len, wh_filecmd_pair pair, void *arg, struct wh_error *err);
/* Each non-empty line (LF, CRLF or CR ended). */
typedef int (*wh_filecmd_line)(void *arg, struct wh_view line, struct wh_error *err);
int wh_filecmd_lines(const char *text, size_t len, wh_filecmd_line each, void *arg, struct wh_error *err);
/* GITHUB_STEP_SUMMARY: 1 to upload, 0 empty, negative: too large, with the text to show as error (the step
 * goes on). */
int wh_filecmd_summary(size_t bytes, struct wh_error *err);
/* NODE_OPTIONS (any case) may not be set by GITHUB_ENV: negative with the text to show as error (not fatal).
 */
int wh_filecmd_env_allowed(struct wh_view name, struct wh_error *err);

#endif
