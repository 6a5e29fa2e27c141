/* Inputs of workflow_dispatch and workflow_call: declared types, defaults, what must be given. */
#include "workflow/workflow_internal.h"

static char *place_of(const struct wh_workflow *w, const struct wh_yaml *at)
{
    return wh_printf("%s (Line: %u, Col: %u)", w->file, at->line, at->col);
}

const struct wh_yaml *wh_workflow_event_node(const struct wh_workflow *w, const char *event)
{
    const struct wh_yaml *on = wh_yaml_get(w->root, "on");
    return on->kind == WH_YAML_MAPPING ? wh_yaml_get(on, event) : NULL;
}

enum input_type { INPUT_STRING, INPUT_BOOL, INPUT_NUMBER, INPUT_CHOICE, INPUT_ENVIRONMENT };

static enum input_type input_type_of(const struct wh_yaml *definition)
{
    const struct wh_yaml *type = wh_yaml_get(definition, "type");
    static const char *const names[] = {"string", "boolean", "number", "choice", "environment"};
    for (size_t i = 0; type && i < WH_COUNT(names); i++)
        if (type->kind == WH_YAML_SCALAR && wh_streq(type->text, names[i]))
            return (enum input_type)i;
    return INPUT_STRING;
}

static struct wh_value *empty_of(enum input_type type)
{
    return type == INPUT_BOOL     ? wh_value_bool(false)
           : type == INPUT_NUMBER ? wh_value_number(0)
                                  : wh_value_string("");
}

static bool is_option(const struct wh_yaml *definition, const char *text)
{
    const struct wh_yaml *options = wh_yaml_get(definition, "options");
    if (!options || options->kind != WH_YAML_SEQUENCE)
        return true;
    for (size_t i = 0; i < options->nitems; i++)
        if (options->items[i]->kind == WH_YAML_SCALAR && wh_streq(options->items[i]->text, text))
            return true;
    return false;
}

/* A value as the declared type has it; NULL: it is none. Texts become booleans and numbers where loose (they
 * come from a command line). */
static struct wh_value *typed(const struct wh_yaml *definition, const struct wh_value *v, bool loose)
{
    enum input_type type = input_type_of(definition);
    enum wh_kind kind = wh_value_kind(v);
    wh_autofree char *text = wh_value_to_string(v);
    if (!wh_value_is_primitive(v))
        return NULL;
    if (type == INPUT_BOOL) {
        if (kind == WH_BOOL)
            return wh_value_ref(v);
        bool yes = wh_streq_ci(text, "true");
        return loose && (yes || wh_streq_ci(text, "false")) ? wh_value_bool(yes) : NULL;
    }
    if (type == INPUT_NUMBER) {
        double n = kind == WH_NUMBER ? wh_value_as_number(v) : wh_number_parse(text, strlen(text));
        bool good = kind == WH_NUMBER || (loose && text[0] && n == n);
        return good ? wh_value_number(n) : NULL;
    }
    if (type == INPUT_CHOICE && !is_option(definition, text))
        return NULL;
    return wh_value_string(text);
}

static const char *type_wanted(const struct wh_yaml *definition)
{
    static const char *const texts[] = {"a string", "a boolean", "a number", "one of its options",
                                        "the name of an environment"};
    return texts[input_type_of(definition)];
}

struct inputs {
    const struct wh_workflow *w;
    const struct wh_value *given, *contexts;
    bool call;
    const char *from; /* who gives: in front of errors; NULL: the command line */
    struct wh_value *out;
};

static int bad_value(const struct inputs *in, const char *name, const struct wh_yaml *definition,
                     const struct wh_value *v, struct wh_error *err)
{
    wh_autofree char *text = wh_value_to_string(v);
    return wh_fail(err, in->call ? WH_E_PARSE : WH_E_ARGUMENT, "%s%sInput %s is %s, not '%s'",
                   in->from ? in->from : "", in->from ? ": " : "", name, type_wanted(definition), text);
}

static struct wh_value *default_of(const struct inputs *in, const struct wh_yaml *definition,
                                   struct wh_error *err)
{
    const struct wh_yaml *node = wh_yaml_get(definition, "default");
    if (!node) /* a choice without a default is its first option */
    {
        const struct wh_yaml *options =
            input_type_of(definition) == INPUT_CHOICE ? wh_yaml_get(definition, "options") : NULL;
        return options && options->kind == WH_YAML_SEQUENCE && options->nitems > 0
                   ? wh_value_string(options->items[0]->text)
                   : empty_of(input_type_of(definition));
    }
    enum wh_place place = in->call ? WH_PLACE_WORKFLOW : WH_PLACE_LITERAL;
    wh_autovalue *value = wh_workflow_eval(in->w, node, place, in->contexts, err);
    if (!value)
        return NULL;
    struct wh_value *out = typed(definition, value, !in->call);
    if (!out) {
        wh_autofree char *where = place_of(in->w, node);
        wh_autofree char *text = wh_value_to_string(value);
        wh_fail(err, WH_E_PARSE, "%s: The default is %s, not '%s'", where, type_wanted(definition), text);
    }
    return out;
}

static int add_input(struct inputs *in, const char *name, const struct wh_yaml *definition,
                     struct wh_error *err)
{
    bool given = wh_object_has(in->given, name);
    const struct wh_yaml *required = wh_yaml_get(definition, "required");
    bool must = required && required->kind == WH_YAML_SCALAR && wh_streq_ci(required->text, "true");
    if (!given && must && !wh_yaml_get(definition, "default"))
        return in->call
                   ? wh_fail(err, WH_E_PARSE, "%s: Input %s is required, but not provided while calling.",
                             in->from ? in->from : in->w->file, name)
                   : wh_fail(err, WH_E_ARGUMENT, "Input %s is required: give it by --input %s=...", name,
                             name);
    const struct wh_value *value = wh_object_get(in->given, name);
    struct wh_value *out = given ? typed(definition, value, !in->call) : default_of(in, definition, err);
    if (!out)
        return given ? bad_value(in, name, definition, value, err) : -1;
    wh_object_set_take(in->out, name, out);
    return 0;
}

static int check_given(const struct inputs *in, struct wh_error *err)
{
    for (size_t i = 0; i < wh_value_count(in->given); i++) {
        const char *name = wh_object_key_at(in->given, i);
        if (wh_object_has(in->out, name))
            continue;
        if (in->call)
            return wh_fail(err, WH_E_PARSE,
                           "%s: Invalid input, %s is not defined in the referenced workflow.",
                           in->from ? in->from : in->w->file, name);
        return wh_fail(err, WH_E_ARGUMENT, "--input %s: %s has no such input of workflow_dispatch", name,
                       in->w->file);
    }
    return 0;
}

struct wh_value *wh_workflow_inputs(const struct wh_workflow *w, const char *event,
                                    const struct wh_value *given, const struct wh_value *contexts,
                                    const char *from, struct wh_error *err)
{
    wh_autovalue *out = wh_value_object();
    struct inputs in = {.w = w,
                        .given = given,
                        .contexts = contexts,
                        .call = wh_streq(event, "workflow_call"),
                        .from = from,
                        .out = out};
    const struct wh_yaml *node = wh_workflow_event_node(w, event);
    const struct wh_yaml *list = node ? wh_yaml_get(node, "inputs") : NULL;
    for (size_t i = 0; list && list->kind == WH_YAML_MAPPING && i + 1 < list->nitems; i += 2)
        if (add_input(&in, list->items[i]->text, list->items[i + 1], err) < 0)
            return NULL;
    return check_given(&in, err) < 0 ? NULL : wh_steal(&out);
}
