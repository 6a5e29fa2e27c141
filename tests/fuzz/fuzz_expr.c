/* Expressions and templates' text: parse, evaluate, wrap as a condition; and what step debug shows of an
 * expression must be one again, that is shown alike. */
#include "wherry/job/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Keeps the first line: "Evaluating: <the expression>". */
static void keep_first(void *arg, const char *line)
{
    char **first = arg;
    if (!*first)
        *first = wh_strdup(line);
}

/* The expression as step debug shows it. Owned; NULL: it can't be parsed. */
static char *shown(const char *text, size_t len, const struct wh_value *values)
{
    wh_autofree char *first = NULL;
    wh_autoexpr *e = wh_expr_parse(text, len, wh_place_allows(WH_PLACE_ANY), NULL);
    struct wh_eval env = {.contexts = values, .trace = keep_first, .trace_arg = &first};
    wh_autoerror err = {0};
    wh_autovalue *v = e && !wh_expr_is_blank(e) ? wh_expr_eval(e, &env, &err) : NULL;
    (void)v;
    return first && wh_starts_with(first, "Evaluating: ") ? wh_strdup(first + strlen("Evaluating: ")) : NULL;
}

static void check_round_trip(const char *text, size_t len, const struct wh_value *values)
{
    wh_autofree char *once = shown(text, len, values);
    if (!once || strlen(once) > WH_MAX_EXPR_LENGTH)
        return;
    /* A literal in parentheses may be indexed, and is shown without them: that is no expression any more. */
    wh_autoerror err = {0};
    wh_autoexpr *again = wh_expr_parse(once, strlen(once), wh_place_allows(WH_PLACE_ANY), &err);
    if (!again && wh_starts_with(wh_error_text(&err), "Unexpected symbol"))
        return;
    wh_autofree char *twice = shown(once, strlen(once), values);
    if (!twice || !wh_streq(once, twice))
        abort();
}

static struct wh_value *contexts(void)
{
    static const char text[] =
        "{\"github\":{\"a\":[1,\"x\",{\"b\":null},[2]],\"ref\":\"main\",\"o\":{\"x\":{\"n\":1},\"y\":true}},"
        "\"env\":{\"A\":\"b\"}}";
    cJSON *json = cJSON_Parse(text);
    struct wh_value *v = wh_value_from_json(json, NULL);
    cJSON_Delete(json);
    return v;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t allows = wh_place_allows(WH_PLACE_ANY);
    wh_autofree char *text = wh_strndup((const char *)data, size);
    wh_autovalue *values = contexts();
    struct wh_eval env = {.contexts = values};
    check_round_trip(text, strlen(text), values);
    wh_autoerror err = {0};
    wh_autoexpr *e = wh_expr_parse(text, size, allows, &err);
    wh_autovalue *v = e ? wh_expr_eval(e, &env, &err) : NULL;
    wh_autotoken *t = wh_template_from_text(text, strlen(text), size % 3 == 0, allows, NULL);
    wh_autofree char *condition = wh_condition_from_text(text, allows, NULL);
    (void)v;
    (void)t;
    (void)condition;
    return 0;
}
