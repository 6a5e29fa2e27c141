/* Writing values as JSON with a bound on the size, for the functions of expressions. */
#ifndef WH_JOB_JSON_OUT_H
#define WH_JOB_JSON_OUT_H

#include "wherry/job/value.h"

/* As wh_value_add_json(); false once out has grown by more than max bytes (it holds a part then). */
bool wh_value_add_json_max(struct wh_str *out, const struct wh_value *v, size_t max);

#endif
