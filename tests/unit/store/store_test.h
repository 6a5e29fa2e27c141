/* What the store's tests share: a state folder that goes with the test, and short ways to make things. */
#ifndef WH_TESTS_STORE_TEST_H
#define WH_TESTS_STORE_TEST_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/store/blob.h"
#include "wherry/store/gc.h"
#include "wherry/store/layer.h"
#include "wherry/store/mount.h"
#include "wherry/store/record.h"
#include "wherry/store/store.h"

#define ok(call)                                                                                             \
    ({                                                                                                       \
        long long ok_result_ = (long long)(call);                                                            \
        if (ok_result_ < 0)                                                                                  \
            fail_msg("%s: %s", #call, wh_error_text(&err));                                                  \
        ok_result_;                                                                                          \
    })

static inline int test_dir_setup(void **state)
{
    char *dir = wh_strdup("/tmp/wherry-store-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    *state = dir;
    return 0;
}

static inline int test_dir_teardown(void **state)
{
    wh_remove_tree(AT_FDCWD, *state, NULL);
    free(*state);
    return 0;
}

static inline struct wh_store *test_open(const char *dir)
{
    wh_autoerror err = {0};
    struct wh_store *s = wh_store_open(&(struct wh_store_options){.dir = dir}, &err);
    if (!s)
        fail_msg("open: %s", wh_error_text(&err));
    return s;
}

static inline struct wh_digest test_put(struct wh_store *s, const char *text)
{
    wh_autoerror err = {0};
    struct wh_digest digest;
    ok(wh_blob_put(s, text, strlen(text), 0, &digest, &err));
    return digest;
}

/* A layer with one file. */
static inline int64_t test_layer(struct wh_store *s, const char *content, const struct wh_digest *diffid)
{
    wh_autoerror err = {0};
    struct wh_tree *t = wh_tree_begin(s, &err);
    assert_non_null(t);
    ok(wh_write_file(wh_tree_fd(t), "file", content, strlen(content), 0644, &err));
    return ok(wh_tree_commit(t, &(struct wh_layer_info){.diffid = diffid, .size = -1}, &err));
}

static inline bool test_exists(const char *dir, const char *rest)
{
    wh_autofree char *path = wh_path_join(dir, rest);
    return access(path, F_OK) == 0;
}

#endif
