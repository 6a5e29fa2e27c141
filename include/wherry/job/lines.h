/* Output of processes to lines (job-execution.md §9): ended by LF, CR or CRLF; bytes that are not UTF-8
 * become U+FFFD. */
#ifndef WH_JOB_LINES_H
#define WH_JOB_LINES_H

#include "wherry/base/str.h"

/* A longer line is handed over in parts of at most this many bytes, so that a program that never ends its
 * line can't take the worker's memory. A part never ends inside a UTF-8 sequence. */
#define WH_MAX_LINE ((size_t)1 << 20)

struct wh_line_splitter { /* starts zeroed; one a stream */
    struct wh_str rest;   /* the unfinished line */
    struct wh_str clean;  /* scratch for lines with invalid UTF-8 */
    bool skip_lf;         /* the last byte seen was a CR that ended a line */
};
/* line: valid UTF-8, no terminator, valid during the call. */
typedef void (*wh_line_fn)(void *arg, const char *line, size_t len);
void wh_lines_feed(struct wh_line_splitter *s, const char *data, size_t len, wh_line_fn line, void *arg);
void wh_lines_end(struct wh_line_splitter *s, wh_line_fn line,
                  void *arg); /* a last unterminated line counts */
void wh_lines_clear(struct wh_line_splitter *s);

#endif
