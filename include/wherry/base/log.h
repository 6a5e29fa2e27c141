/* The diagnostic log: what an operator reads, on standard error (journald takes the <N> prefix of each line
 * as priority when JOURNAL_STREAM is set). Job output never goes here, and no secret does. */
#ifndef WH_BASE_LOG_H
#define WH_BASE_LOG_H

#include "wherry/base/err.h"

enum wh_log_level { WH_LOG_ERROR, WH_LOG_WARNING, WH_LOG_INFO, WH_LOG_DEBUG };

void wh_log_start(void); /* reads the environment; before there are threads */
void wh_log_set_level(
    enum wh_log_level level); /* default INFO; WHERRY_LOG=debug|info|warning|error sets it too */
bool wh_log_enabled(enum wh_log_level level);
void wh_log(enum wh_log_level level, const char *fmt, ...) WH_PRINTF(2, 3);
#define wh_log_error(...) wh_log(WH_LOG_ERROR, __VA_ARGS__)
#define wh_log_warning(...) wh_log(WH_LOG_WARNING, __VA_ARGS__)
#define wh_log_info(...) wh_log(WH_LOG_INFO, __VA_ARGS__)
#define wh_log_debug(...) wh_log(WH_LOG_DEBUG, __VA_ARGS__)

/* From now on every line, also those below the level, is written to fd too (which stays the caller's); -1: no
 * more. */
void wh_log_copy(int fd);

/* Whom lines are about: "box1" prints "box1: ..." before each line of this thread until the next call; NULL
 * none. A request or a timer of the net room that is started meanwhile keeps it for its callbacks, so what
 * one runner set going speaks in its name. The text is copied once for ever: names of runners, never of jobs.
 * Returns what was set before, for giving it back. A child of ours inherits it by WHERRY_LOG_NAME. */
#define WH_LOG_NAME_ENV "WHERRY_LOG_NAME"
const char *wh_log_enter(const char *name);
const char *wh_log_name(void);

/* True if fd is a terminal and neither NO_COLOR nor TERM=dumb forbids colours. */
bool wh_color_ok(int fd);

#endif
