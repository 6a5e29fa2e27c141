/* Expressions and templates' text: parse, evaluate, wrap as a condition. */
#include "wherry/job/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *arg, const char *line)
{
    (void)arg;
    (void)line;
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
    struct wh_eval env = {.contexts = values, .trace = size % 2 ? ignore : NULL};
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
