/* The named limits of this room that have no other test: one at each, one past it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "wherry/job/mask.h"
#include "wherry/job/matcher.h"
#include "wherry/job/template.h"

/* ---- problem matchers ---- */

static int read_matchers(unsigned matchers, unsigned patterns, struct wh_error *err)
{
    wh_autojson *json = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(json, "problemMatcher");
    for (unsigned i = 0; i < matchers; i++) {
        cJSON *m = cJSON_CreateObject();
        wh_autofree char *owner = wh_printf("m%u", i);
        cJSON_AddStringToObject(m, "owner", owner);
        cJSON *of = cJSON_AddArrayToObject(m, "pattern");
        for (unsigned k = 0; k < patterns; k++) {
            cJSON *p = cJSON_CreateObject();
            cJSON_AddStringToObject(p, "regexp", "^(.*)$");
            if (k + 1 == patterns)
                cJSON_AddNumberToObject(p, "message", 1);
            cJSON_AddItemToArray(of, p);
        }
        cJSON_AddItemToArray(list, m);
    }
    struct wh_matcher *found = NULL;
    int n = wh_matchers_read(json, &found, err);
    while (found) {
        struct wh_matcher *next = found->next;
        wh_matcher_free(found);
        found = next;
    }
    return n;
}

static void test_matchers(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    assert_int_equal(read_matchers(WH_MAX_MATCHERS, 1, &err), 0);
    assert_int_equal(read_matchers(WH_MAX_MATCHERS + 1, 1, &err), -1);
    assert_int_equal(err.code, WH_E_LIMIT);
    wh_error_clear(&err);
    assert_int_equal(read_matchers(1, WH_MAX_MATCHER_PATTERNS, &err), 0);
    assert_int_equal(read_matchers(1, WH_MAX_MATCHER_PATTERNS + 1, &err), -1);
    assert_string_equal(wh_error_text(&err), "Matcher 'm0' has 21 patterns: at most 20 are taken");
}

/* (x+x+)+[yz] takes twice the steps for each further x: some count is the last that is within
 * WH_MAX_MATCHER_STEPS, and from there on all are told as too slow, in the time of so many steps and not of
 * the line's 2^n. */
static void test_matcher_steps(void **state)
{
    (void)state;
    wh_autojson *json =
        cJSON_Parse("{\"problemMatcher\":[{\"owner\":\"o\",\"pattern\":[{\"regexp\":\"^(x+x+)+([yz])\","
                    "\"message\":2}]}]}");
    struct wh_matcher *m = NULL;
    assert_int_equal(wh_matchers_read(json, &m, NULL), 0);
    bool slow = false;
    size_t first = 0;
    for (size_t len = 2; len < 60; len++) {
        char line[64];
        memset(line, 'x', len);
        struct wh_match match = {0};
        int n = wh_matcher_line(m, line, len, &match);
        wh_match_clear(&match);
        assert_true(slow ? n < 0 : n <= 0);
        if (n < 0 && !slow)
            first = len;
        slow = n < 0;
    }
    assert_in_range(first, 10, 40);
    wh_matcher_free(m);
}

/* ---- masks ---- */

static void test_masks(void **state)
{
    (void)state;
    struct wh_masker *m = wh_masker_new();
    wh_autoerror err = {0};
    unsigned added = 0;
    for (; added <= WH_MAX_MASKS; added++) {
        char value[16];
        snprintf(value, sizeof value, "%08x", added * 2654435761u);
        if (wh_masker_add(m, value, 8, &err) < 0)
            break;
    }
    /* A value of plain letters has itself and three forms of base64. */
    assert_in_range(added, WH_MAX_MASKS / 4 - 1, WH_MAX_MASKS / 4 + 1);
    assert_int_equal(err.code, WH_E_LIMIT);
    char last[16];
    snprintf(last, sizeof last, "%08x", (added - 1) * 2654435761u);
    wh_autofree char *masked = wh_mask_text(m, last);
    assert_string_equal(masked, "***");
    wh_masker_free(m);
}

/* ---- templates ---- */

static struct wh_token *sequence_of(size_t n)
{
    struct wh_token *t = wh_token_new(WH_TOKEN_SEQUENCE, 0, 0, 0);
    for (size_t i = 0; i < n; i++)
        wh_token_add_item(t, wh_token_new(WH_TOKEN_NULL, 0, 0, 0));
    return t;
}

static struct wh_token *read_back(size_t items, struct wh_error *err)
{
    wh_autostr text = {0};
    wh_str_add(&text, "{\"type\":1,\"seq\":[");
    for (size_t i = 0; i < items; i++)
        wh_str_add(&text, i ? ",1" : "1");
    wh_str_add(&text, "]}");
    wh_autojson *json = cJSON_Parse(wh_str_text(&text));
    return wh_token_from_json(json, "it", err);
}

static void test_events(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autotoken *fits = read_back(WH_MAX_TEMPLATE_EVENTS - 1, &err);
    if (!fits)
        fail_msg("%s", wh_error_text(&err));
    wh_autotoken *past = read_back(WH_MAX_TEMPLATE_EVENTS, &err);
    assert_null(past);
    assert_int_equal(err.code, WH_E_LIMIT);
    wh_autotoken *large = sequence_of(WH_MAX_TEMPLATE_EVENTS + 1);
    wh_autovalue *contexts = wh_value_object();
    struct wh_template_env env = {.eval = {.contexts = contexts}, .allows = wh_place_allows(WH_PLACE_ANY)};
    wh_error_clear(&err);
    wh_autovalue *v = wh_token_eval(large, &env, &err);
    wh_strv_free(env.errors);
    assert_null(v);
    assert_non_null(strstr(wh_error_text(&err), "Maximum object size exceeded"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_matchers), cmocka_unit_test(test_matcher_steps),
                                       cmocka_unit_test(test_masks), cmocka_unit_test(test_events)};
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
