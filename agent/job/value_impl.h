/* How a value lies in memory; for the files of this room that make or walk values. */
#ifndef WH_JOB_VALUE_IMPL_H
#define WH_JOB_VALUE_IMPL_H

#include "wherry/job/value.h"

#define WH_VALUE_IMMORTAL UINT32_MAX /* null, true and false are shared and never freed */

struct wh_member {
    char *key; /* owned */
    size_t key_len;
    uint32_t hash; /* wh_hash_ci of the key */
    struct wh_value *value;
};

struct wh_value {
    uint32_t refs;
    unsigned char kind;  /* enum wh_kind */
    bool case_sensitive; /* objects */
    bool filtered;       /* arrays: made by a wildcard (§2.4) */
    union {
        bool boolean;
        double number;
        struct {
            char *text; /* own_text below, or a buffer of its own */
            size_t len;
        } string;
        struct {
            struct wh_value **items;
            size_t count, cap;
        } array;
        struct {
            struct wh_member *members; /* in order of insertion */
            size_t count, cap;
            uint32_t *index; /* open addressing, member number + 1; NULL while small */
            size_t index_size;
        } object;
    };
    char own_text[]; /* strings made by copy */
};

struct wh_value *wh_value_filtered_array(void);

#endif
