/* A full disk (a small file system in a loop file; needs root): every write fails with a clear sentence, the
 * store opens, verifies, prunes, and goes on. */
#include "store/store_test.h"

#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

static int mount_small(void **state)
{
    test_dir_setup(state);
    if (geteuid() != 0)
        return 0;
    char command[400];
    snprintf(command, sizeof(command),
             "truncate -s 24M %s/img && mkfs.ext4 -q -F -m 0 %s/img && mkdir %s/mnt && mount -o loop %s/img "
             "%s/mnt",
             (char *)*state, (char *)*state, (char *)*state, (char *)*state, (char *)*state);
    return system(command) == 0 ? 0 : 1; /* no loop devices here: the tests skip */
}

static int umount_small(void **state)
{
    wh_autofree char *mnt = wh_path_join(*state, "mnt");
    umount2(mnt, MNT_DETACH);
    return test_dir_teardown(state);
}

static bool mounted(const char *dir)
{
    wh_autofree char *mnt = wh_path_join(dir, "mnt");
    struct statvfs a, b;
    return statvfs(dir, &a) == 0 && statvfs(mnt, &b) == 0 && a.f_fsid != b.f_fsid;
}

static int fill(struct wh_store *s, struct wh_error *err)
{
    char *data = wh_calloc(1, 512 * 1024);
    int n = 0;
    for (int rc = 0; rc == 0;) {
        data[0] = (char)++n;
        data[1] = (char)(n >> 8);
        wh_error_clear(err);
        rc = wh_blob_put(s, data, 512 * 1024, n % 2 ? WH_BLOB_LATER : 0, NULL, err);
    }
    free(data);
    return n;
}

static void test_full_and_on(void **state)
{
    if (!mounted(*state))
        skip();
    wh_autoerror err = {0};
    wh_autofree char *dir = wh_printf("%s/mnt/state", (char *)*state);
    struct wh_store *s = test_open(dir);
    struct wh_prune_result pruned;
    ok(wh_store_prune(s, &(struct wh_prune){.max_age = 1LL << 60}, &pruned,
                      &err)); /* as an agent does: sets the reserve aside */
    assert_true(test_exists(dir, "reserve"));
    assert_true(fill(s, &err) > 10);
    assert_int_equal(err.code, WH_E_NO_SPACE);
    print_message("%s\n", wh_error_text(&err));
    /* Not a byte left at all. */
    wh_autofree char *rest = wh_printf("%s/mnt/rest", (char *)*state);
    wh_autofree char *command = wh_printf("dd if=/dev/zero of=%s bs=4k 2>/dev/null", rest);
    assert_int_not_equal(system(command), 0);
    wh_error_clear(&err);
    struct wh_tree *t = wh_tree_begin(s, &err);
    if (t) {
        char big[70000] = "";
        int rc = wh_write_file(wh_tree_fd(t), "f", big, sizeof(big), 0644, &err);
        assert_true(rc < 0);
        wh_tree_abort(t);
    }
    assert_int_equal(err.code, WH_E_NO_SPACE);
    wh_store_close(s);

    s = test_open(dir); /* a full disk keeps nobody from opening */
    struct wh_verify_result r;
    ok(wh_store_verify(s, NULL, NULL, &r, &err));
    assert_int_equal(r.damaged, 0);
    uint64_t blobs = r.blobs;
    ok(wh_store_prune(s, &(struct wh_prune){.max_bytes = 4 << 20}, &pruned, &err));
    assert_true(pruned.items > 0 && pruned.items < blobs);
    assert_true(pruned.left <= 4 << 20);
    assert_true(test_exists(dir, "reserve"));
    test_put(s, "there is room again");
    ok(wh_store_verify(s, NULL, NULL, &r, &err));
    assert_int_equal(r.damaged, 0);
    wh_store_close(s);
}

static void test_killed_while_full(void **state)
{
    if (!mounted(*state))
        skip();
    wh_autofree char *dir = wh_printf("%s/mnt/state", (char *)*state);
    for (int i = 0; i < 5; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            wh_autoerror err = {0};
            struct wh_store *s = test_open(dir);
            fill(s, &err);
            _exit(0); /* as if killed: nothing is closed */
        }
        waitpid(pid, NULL, 0);
        wh_autoerror err = {0};
        wh_autostore *s = test_open(dir);
        struct wh_verify_result r;
        ok(wh_store_verify(s, NULL, NULL, &r, &err));
        assert_int_equal(r.damaged, 0);
        struct wh_prune_result pruned;
        ok(wh_store_prune(s, &(struct wh_prune){.max_bytes = 8 << 20}, &pruned, &err));
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, mount_small, umount_small)
    const struct CMUnitTest tests[] = {T(test_full_and_on), T(test_killed_while_full)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
