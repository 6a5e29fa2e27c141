/* RUN --mount and --device records (builder.md §1.3). Private to the room. */
#ifndef WH_DOCKERFILE_MOUNT_H
#define WH_DOCKERFILE_MOUNT_H

#include "wherry/dockerfile/eval.h"

/* One CSV record with Go's rules for quotes. At least one field. */
int df_csv_fields(const char *text, char ***out, struct wh_error *err);
/* `from` of a record that is not expanded yet (owned; NULL if absent). Checks what can be checked without
 * values. */
int df_mount_from(const char *text, char **from, struct wh_error *err);
int df_device_check(const char *text, struct wh_error *err);

/* As the record says, defaults not filled in. */
struct df_mount_fields {
    enum wh_df_mount_type type;
    char *from, *source, *target, *id, *env;
    bool read_only, has_sharing, has_mode, has_uid, has_gid, required;
    enum wh_df_sharing sharing;
    uint64_t size;
    unsigned mode, uid, gid;
};
int df_mount_parse(const char *text, char *const *env, char escape, struct wh_df_expansion *seen,
                   struct df_mount_fields *out, struct wh_error *err);
void df_mount_fields_clear(struct df_mount_fields *m);

#endif
