/* Renderers of build progress: BuildKit's plain lines, a terminal display that redraws in place, JSON lines,
 * and nothing. Memory is bounded: per vertex the last lines of its log, nothing of what was printed. One
 * thread at a time. */
#ifndef WH_PROGRESS_RENDER_H
#define WH_PROGRESS_RENDER_H

#include "wherry/progress/event.h"

enum wh_progress_style { WH_STYLE_PLAIN, WH_STYLE_TTY, WH_STYLE_JSON, WH_STYLE_QUIET };
/* "plain", "tty", "json" ("rawjson"), "quiet" ("none"); "auto" is tty if fd is a terminal, else plain. False:
 * another word. */
bool wh_progress_style_parse(const char *text, int fd, enum wh_progress_style *out);

struct wh_progress;
/* fd is borrowed (mostly 2). header (NULL: none) is what plain progress says as #0: `building with "NAME"
 * instance using DRIVER driver`. */
struct wh_progress *wh_progress_new(enum wh_progress_style style, int fd, const char *header);
/* What the terminal display says is going on, instead of "Building"; a constant. */
void wh_progress_title(struct wh_progress *p, const char *title);
void wh_progress_feed(struct wh_progress *p, const struct wh_progress_event *event);
/* The terminal display: call about ten times a second while the build runs. Nothing for the others. */
void wh_progress_tick(struct wh_progress *p);
/* Ends the display. ok: how the build ended. For a failed vertex prints its excerpt: `------`, ` > TITLE:`,
 * its last log lines,
 * `------`. */
void wh_progress_finish(struct wh_progress *p, bool ok);
void wh_progress_free(struct wh_progress *p);

#endif
