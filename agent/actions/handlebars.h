/* The part of Handlebars that Docker's metadata action is written in (actions.md §6, "Expressions"): values,
 * escaped `{{x}}` and plain `{{{x}}}`, helpers with one text and named options, comments, `~`, if and unless.
 * Everything else is an error that names it. */
#ifndef WH_ACTIONS_HANDLEBARS_H
#define WH_ACTIONS_HANDLEBARS_H

#include "wherry/base/str.h"

#define WH_MAX_TEMPLATE_DEPTH 16               /* nested blocks */
#define WH_MAX_TEMPLATE_OPTIONS 8              /* name=value pairs of one helper */
#define WH_MAX_TEMPLATE_TEXT ((size_t)1 << 20) /* bytes that one template may give */

struct wh_handlebars_option {
    char *name, *value; /* owned by the call */
};
struct wh_handlebars_call {
    const char *name;
    const char *argument; /* the first text; NULL: none, a plain value */
    const struct wh_handlebars_option *options;
    size_t noptions;
};
/* The value; owned by the caller of it. NULL without err: there is no such value; NULL with err: that
 * sentence. */
typedef char *(*wh_handlebars_fn)(void *data, const struct wh_handlebars_call *call, struct wh_error *err);

/* Owned text, or NULL with "template '...': ...". */
char *wh_handlebars(const char *text, wh_handlebars_fn fn, void *data, struct wh_error *err);
/* Nothing but one {{name}} or {{{name}}}. */
bool wh_handlebars_is_only(const char *text, const char *name);

#endif
