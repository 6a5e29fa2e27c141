/* Parts that the readers of the job message share. */
#ifndef WH_JOB_MESSAGE_IMPL_H
#define WH_JOB_MESSAGE_IMPL_H

#include "wherry/job/message.h"

/* The member `name` as an array (or object) of at most max entries; absent or null: *out NULL. Returns the
 * count. */
int wh_message_list(const cJSON *json, const char *name, bool object, size_t max, const cJSON **out,
                    struct wh_error *err);
/* A template token; absent or null leaves *out. `what` is its full name in errors. */
int wh_message_token(const cJSON *json, const char *name, const char *what, struct wh_token **out,
                     struct wh_error *err);
/* True if the enum member is that word (any case) or number. */
bool wh_message_enum(const cJSON *json, const char *name, const char *word, int number);
int wh_message_read_steps(struct wh_job_message *m, const cJSON *json, struct wh_error *err);

#endif
