/* Which emulators the kernel has, from entries as it prints them. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "wherry/base/fs.h"
#include "wherry/platform/binfmt.h"

static char dir[64];

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/wh_binfmt_XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return wh_remove_tree(AT_FDCWD, dir, NULL);
}

static void put(const char *name, const char *state, const char *flags, const char *magic)
{
    wh_autofree char *path = wh_path_join(dir, name);
    wh_autofree char *text = wh_printf("%s\ninterpreter /usr/bin/%s-static\nflags: %s\noffset 0\nmagic %s\n"
                                       "mask ffffffffffffff00fffffffffffffffffeffffff\n",
                                       state, name, flags, magic);
    assert_int_equal(wh_write_file_quick(AT_FDCWD, path, text, strlen(text), 0644, NULL), 0);
}

#define ARM64 "7f454c460201010000000000000000000200b700"
#define ARM "7f454c4601010100000000000000000002002800"
#define S390X "7f454c4602020100000000000000000000020016"
#define RISCV64 "7f454c460201010000000000000000000200f300"

static void test_states(void **state)
{
    (void)state;
    put("qemu-aarch64", "enabled", "OCF", ARM64);
    put("qemu-arm", "enabled", "OC", ARM);
    put("qemu-s390x", "disabled", "OCF", S390X);
    put("python3.11", "enabled", "", "a70d0d0a");
    put("status", "enabled", "F", RISCV64); /* not an entry */
    assert_int_equal(wh_binfmt_state(dir, "arm64"), WH_BINFMT_READY);
    assert_int_equal(wh_binfmt_state(dir, "arm"), WH_BINFMT_OUTSIDE);
    assert_int_equal(wh_binfmt_state(dir, "s390x"), WH_BINFMT_DISABLED);
    assert_int_equal(wh_binfmt_state(dir, "riscv64"), WH_BINFMT_NONE);
    assert_int_equal(wh_binfmt_state(dir, "sparc"), WH_BINFMT_NONE);
    wh_autostrv char **ready = wh_binfmt_ready(dir);
    assert_int_equal(wh_strv_len(ready), 1);
    assert_string_equal(ready[0], "arm64");
}

/* A second entry for the same processor: the better one counts. */
static void test_best_entry(void **state)
{
    (void)state;
    put("a", "disabled", "F", ARM64);
    put("b", "enabled", "F", ARM64);
    put("c", "enabled", "", ARM64);
    assert_int_equal(wh_binfmt_state(dir, "arm64"), WH_BINFMT_READY);
}

static void test_broken_entries(void **state)
{
    (void)state;
    put("short", "enabled", "F", "7f454c4602");
    put("odd", "enabled", "F", "7f454c460201010000000000000000000200b7z");
    put("empty", "enabled", "F", "");
    assert_null(wh_binfmt_ready(dir));
    assert_null(wh_binfmt_ready("/nonexistent"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_states, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_best_entry, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_broken_entries, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
