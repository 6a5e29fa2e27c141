/* What the files of this room share. */
#ifndef OCI_OCI_H
#define OCI_OCI_H

#include "wherry/oci/image.h"

/* JSON members by exact name; null counts as absent. Borrowed. */
const cJSON *oci_member(const cJSON *object, const char *name);
const char *oci_text(const cJSON *object, const char *name);
/* Fails unless json is NULL or an object of strings. */
int oci_text_map(const cJSON *json, const char *what, struct wh_error *err);
/* Moves one member, or all that are left, to the end of another object. */
void oci_move_member(cJSON *to, cJSON *from, const char *name);
void oci_move_rest(cJSON *to, cJSON *from);
void oci_platform_read(const cJSON *json, struct wh_platform *out); /* normalised */

#endif
