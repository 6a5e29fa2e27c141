/* Lists in the inputs of Docker's actions (actions.md §1 "Lists"). */
#ifndef WH_ACTIONS_LISTS_H
#define WH_ACTIONS_LISTS_H

#include "wherry/base/str.h"

enum wh_list_mode {
    WH_LIST_CSV,  /* each field is an item; a record of one field is split at its commas even if quoted */
    WH_LIST_LINE, /* a record is an item, its fields joined by commas, their quotes gone */
    WH_LIST_RAW   /* LINE with the quotes kept */
};
/* Items without the empty ones, trimmed. Owned by the caller; NULL if there are none. Text that breaks the
 * format is taken literally, as the original does. */
char **wh_input_list(const char *text, enum wh_list_mode mode);

enum wh_list_comments {
    WH_LIST_COMMENT_LINES,   /* a record that begins with # */
    WH_LIST_COMMENT_ANYWHERE /* from any # on that is not in quotes */
};
/* The text without its comments, for wh_input_list(). Owned. */
char *wh_input_uncomment(const char *text, enum wh_list_comments comments);

#endif
