/* Which native action and version a `uses:` means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "actions/list.h"
#include "actions/releases.h"
#include "wherry/actions/action.h"

static void test_version_order(void **state)
{
    (void)state;
    struct wh_action_version v = {.major = 6, .minor = 9, .patch = 0};
    assert_true(wh_action_version_at_least(&v, 6, 9, 0));
    assert_true(wh_action_version_at_least(&v, 5, 40, 1));
    assert_false(wh_action_version_at_least(&v, 6, 9, 1));
    assert_false(wh_action_version_at_least(&v, 6, 10, 0));
    assert_false(wh_action_version_at_least(&v, 7, 0, 0));
}

static void test_releases(void **state)
{
    (void)state;
    assert_string_equal(wh_action_release_of("actions/checkout", "11bd71901bbe5b1630ceea73d27597364c9af683"),
                        "v4.2.2");
    assert_string_equal(
        wh_action_release_of("Docker/Build-Push-Action", "263435318D21B8E681C14492FE198D362A7D2C83"),
        "v6.18.0");
    assert_null(wh_action_release_of("actions/checkout", "263435318d21b8e681c14492fe198d362a7d2c83"));
    assert_null(wh_action_release_of("no/such", "11bd71901bbe5b1630ceea73d27597364c9af683"));
}

static void test_unknown_actions_are_refused(void **state)
{
    (void)state;
    struct wh_action_version v;
    wh_autoerror err = {0};
    assert_null(wh_action_find("some/action", "", "v1", &v, &err));
    assert_int_equal(err.code, WH_E_UNSUPPORTED);
    assert_string_equal(wh_error_text(&err),
                        "Action 'some/action@v1' is not supported yet by wherry: it has no native "
                        "implementation of it.");
    wh_error_clear(&err);
    assert_null(wh_action_find("some/action", "sub/dir", "v1", &v, &err));
    assert_non_null(strstr(wh_error_text(&err), "'some/action/sub/dir@v1'"));
}

struct ref_case {
    const char *ref;
    int major, minor, patch; /* major 0: refused */
    bool known;
};

/* Every registered action reads refs alike. */
static void test_refs(void **state)
{
    (void)state;
    static const struct wh_action *const registered[] = {
#define ROW(name) &wh_action_##name,
        WH_ACTIONS(ROW)
#undef ROW
            NULL};
    for (size_t a = 0; registered[a]; a++) {
        const struct wh_action *action = registered[a];
        int m = action->max_major;
        wh_autofree char *major = wh_printf("v%d", m);
        wh_autofree char *exact = wh_printf("v%d.1.2", m);
        wh_autofree char *minor = wh_printf("%d.3", m);
        wh_autofree char *full = wh_printf("refs/tags/v%d.1.2-beta.1", m);
        wh_autofree char *after = wh_printf("v%d", m + 1);
        wh_autofree char *bad = wh_printf("v%d.1.2x", m);
        const struct ref_case cases[] = {
            {major, m, WH_NEWEST, WH_NEWEST, true},
            {exact, m, 1, 2, true},
            {minor, m, 3, WH_NEWEST, true},
            {full, m, 1, 2, true},
            {"main", m, WH_NEWEST, WH_NEWEST, true},
            {"0123456789012345678901234567890123456789", m, WH_NEWEST, WH_NEWEST, false},
            {after, 0, 0, 0, false},
            {bad, 0, 0, 0, false},
            {"v0", 0, 0, 0, false},
            {"", 0, 0, 0, false},
            {"feature", 0, 0, 0, false},
            {"v99999999999999999999", 0, 0, 0, false},
        };
        for (size_t i = 0; i < WH_COUNT(cases); i++) {
            struct wh_action_version v = {0};
            wh_autoerror err = {0};
            const struct wh_action *found =
                wh_action_find(action->repository, action->path, cases[i].ref, &v, &err);
            if (cases[i].major == 0) {
                assert_null(found);
                assert_int_equal(err.code, WH_E_UNSUPPORTED);
                continue;
            }
            assert_ptr_equal(found, action);
            assert_int_equal(v.major, cases[i].major);
            assert_int_equal(v.minor, cases[i].minor);
            assert_int_equal(v.patch, cases[i].patch);
            assert_int_equal(v.known, cases[i].known);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_version_order), cmocka_unit_test(test_releases),
                                       cmocka_unit_test(test_unknown_actions_are_refused),
                                       cmocka_unit_test(test_refs)};
    return cmocka_run_group_tests_name("find", tests, NULL, NULL);
}
