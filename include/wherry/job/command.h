/* Workflow commands in the output of steps (job-execution.md §5.8): parsing and the stop-commands and echo
 * state. Acting on them is the worker's. */
#ifndef WH_JOB_COMMAND_H
#define WH_JOB_COMMAND_H

#include "wherry/base/str.h"

#define WH_MAX_COMMAND_PROPERTIES 256

enum wh_command_kind {
    WH_COMMAND_DEBUG,
    WH_COMMAND_NOTICE,
    WH_COMMAND_WARNING,
    WH_COMMAND_ERROR,
    WH_COMMAND_GROUP,
    WH_COMMAND_ENDGROUP,
    WH_COMMAND_ADD_MASK,
    WH_COMMAND_SET_OUTPUT,
    WH_COMMAND_SAVE_STATE,
    WH_COMMAND_SET_ENV,
    WH_COMMAND_ADD_PATH,
    WH_COMMAND_STOP_COMMANDS,
    WH_COMMAND_ECHO,
    WH_COMMAND_ADD_MATCHER,
    WH_COMMAND_REMOVE_MATCHER,
};

struct wh_command_property {
    char *name, *value; /* decoded */
};
struct wh_command {
    enum wh_command_kind kind;
    const char *name; /* canonical, static */
    struct wh_command_property *properties;
    size_t nproperties;
    char *data; /* decoded; never NULL */
    size_t data_len;
};
void wh_command_clear(struct wh_command *c);
#define wh_autocommand __attribute__((cleanup(wh_command_clear))) struct wh_command
const char *wh_command_property(const struct wh_command *c, const char *name); /* any case; NULL if absent */

/* One line, no terminator. True: a known command, in out. */
bool wh_command_parse(const char *line, size_t len, struct wh_command *out);

/* The state of one step (nested steps have their own). Starts zeroed; echo = step debug. */
struct wh_command_state {
    char *stop_token; /* owned; commands are text while set */
    bool echo;
};
void wh_command_state_clear(struct wh_command_state *s);

enum wh_line_kind {
    WH_LINE_TEXT,    /* plain output: log it (wh_command_plain_text) */
    WH_LINE_COMMAND, /* in out: act on it */
    WH_LINE_STOPPED, /* a command while commands are stopped: plain output */
    WH_LINE_RESUME,  /* ::token:: after stop-commands: the state is reset; log the line as text */
};
enum wh_line_kind wh_command_line(struct wh_command_state *s, const char *line, size_t len,
                                  struct wh_command *out);
/* stop-commands: checks the token (`data`) and stores it. allow_unsecure:
 * ACTIONS_ALLOW_UNSECURE_STOPCOMMAND_TOKENS. */
int wh_command_stop(struct wh_command_state *s, const char *token, bool allow_unsecure, struct wh_error *err);
/* echo: "on" or "off". */
int wh_command_echo(struct wh_command_state *s, const char *data, struct wh_error *err);
/* True: the raw command line is to be logged before acting (echo is on and the kind is echoed). add-mask
 * shows "***". */
bool wh_command_is_echoed(const struct wh_command_state *s, enum wh_command_kind kind);
/* Plain output that holds ##[start-action or ##[end-action gets a backslash after ##[ ; true: out (cleared)
 * has it. */
bool wh_command_plain_text(const char *line, size_t len, struct wh_str *out);

/* ---- annotations: notice, warning, error ---- */
struct wh_issue {       /* numbers: 0 = absent */
    char *file, *title; /* owned; NULL if absent */
    int64_t line, end_line, col, end_col;
};
void wh_issue_clear(struct wh_issue *a);
/* Reads the properties, strips the workspace prefix from file and repairs invalid combinations. What was
 * repaired is appended to debug (one line each; may be NULL). */
void wh_issue_from_command(const struct wh_command *c, const char *workspace, struct wh_issue *out,
                           struct wh_str *debug);

#endif
