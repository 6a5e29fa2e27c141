/* Texts of a job's log that belong to the language: stamps, tags, names of steps, script listings
 * (job-execution.md §§5.2, 6, 7.2, 9). */
#ifndef WH_JOB_LOGTEXT_H
#define WH_JOB_LOGTEXT_H

#include "wherry/job/message.h"

#define WH_LOG_BOM "\xEF\xBB\xBF"
#define WH_LOG_PAGE_BYTES ((size_t)8 << 20)  /* pages of the log files roll here */
#define WH_LOG_BLOCK_BYTES ((size_t)2 << 20) /* and result blocks here */
#define WH_MAX_LIVE_LINE 1024                /* UTF-16 units of a live console line, then "..." */
#define WH_MAX_ISSUE_TEXT 4096               /* UTF-16 units of an issue's message */

/* "2026-11-24T13:05:09.1234567Z text\n"; embedded newlines get no stamp of their own. */
void wh_logtext_line(struct wh_str *out, int64_t ns, const char *text, size_t len);
/* The line for the live console: cut at WH_MAX_LIVE_LINE units and "...". Returns how many bytes of text to
 * take; *cut if "..." follows. */
size_t wh_logtext_live_len(const char *text, size_t len, bool *cut);
/* How many bytes of text make at most `units` UTF-16 units, never inside a character. */
size_t wh_utf16_prefix(const char *text, size_t len, size_t units);
size_t wh_utf16_length(const char *text, size_t len);

/* The first line of a script or name, leading blanks and newlines cut: "echo hi" of "\n  echo hi\nls". */
struct wh_view wh_logtext_first_line(const char *text, size_t len);
/* "Run <first line>", "Run owner/repo[/path]@ref", "Run ./path", "Run <image>"; "run" if there is nothing to
 * show. The step's name (evaluated by env if it can be, else with ${{ … }} shown) wins. Not masked yet.
 * Owned. */
char *wh_step_display_name(const struct wh_step *step, struct wh_template_env *env);
/* "actions/checkout@v4", "owner/repo/path@ref", "./path", "docker://image". Owned; NULL for scripts. */
char *wh_step_reference_text(const struct wh_step_reference *r);

/* The header of a `run` step (§6), one write per line through `line`: first ##[group]Run … and the listing in
 * colour; then, once the shell is found, shell:, env:, ##[endgroup]. env: object of name -> string, may be
 * NULL. */
typedef void (*wh_logtext_fn)(void *arg, const char *line, size_t len);
void wh_logtext_run_script(const char *script, wh_logtext_fn line, void *arg);
void wh_logtext_run_shell(const char *shell, const struct wh_value *env, wh_logtext_fn line, void *arg);
/* The header of an action (§7.2): ##[group]Run <reference>, with:, env:, ##[endgroup]. inputs: object in the
 * order to show. */
void wh_logtext_action_header(const char *reference, const struct wh_value *inputs,
                              const struct wh_value *env, wh_logtext_fn line, void *arg);

#endif
