/* The forms in which a secret may show up in a log (job-execution.md §8). */
#ifndef WH_JOB_MASK_FORMS_H
#define WH_JOB_MASK_FORMS_H

#include "wherry/base/str.h"

typedef void (*wh_mask_form)(void *arg, const char *form, size_t len);
/* Hands over each derived form (not the value itself); empty ones and ones equal to the value are left out.
 */
void wh_mask_forms(const char *value, size_t len, wh_mask_form form, void *arg);

#endif
