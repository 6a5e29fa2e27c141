/* A workflow's tree against the schema: keys, forms of values, words. */
#include "workflow/lint_walk.h"

#include "wherry/job/template.h"

/* ---- problems ---- */

static void add(struct wf_check *c, enum wh_lint_level level, const char *rule, unsigned line, unsigned col,
                unsigned length, char *text)
{
    struct wh_lint *l = c->out;
    if (l->count >= WH_MAX_LINT_PROBLEMS) {
        free(text);
        return;
    }
    if ((l->count & (l->count - 1)) == 0)
        l->problems = wh_reallocarray(l->problems, l->count ? l->count * 2 : 1, sizeof *l->problems);
    l->problems[l->count++] = (struct wh_lint_problem){level, rule, line, col, length, text};
    l->refused += level == WH_LINT_REFUSED;
    l->errors += level == WH_LINT_ERROR;
    l->warnings += level == WH_LINT_WARNING;
}

void wf_problem(struct wf_check *c, enum wh_lint_level level, const char *rule, const struct wh_yaml *at,
                const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    bool one_line = at->kind == WH_YAML_SCALAR && !strchr(at->text, '\n');
    add(c, level, rule, at->line, at->col, one_line ? (unsigned)strlen(at->text) + (at->plain ? 0 : 2) : 0,
        wh_vprintf(fmt, args));
    va_end(args);
}

/* The byte of the file at a line and column (in characters); len past its end. */
static size_t byte_at(const char *text, size_t len, unsigned line, unsigned col)
{
    size_t at = 0;
    for (unsigned i = 1; i < line && at < len; i++) {
        const char *end = memchr(text + at, '\n', len - at);
        at = end ? (size_t)(end - text) + 1 : len;
    }
    for (unsigned i = 1; i < col && at < len && text[at] != '\n'; i++)
        for (at++; at < len && ((unsigned char)text[at] & 0xc0) == 0x80;)
            at++;
    return at;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Where byte `byte` of the scalar's text stands in the file. YAML folds, indents and escapes: but what is not
 * white space stands there in the same order, so both are walked side by side. */
static size_t find_byte(const struct wf_check *c, const struct wh_yaml *scalar, size_t byte)
{
    size_t at = byte_at(c->text, c->len, scalar->line, scalar->col);
    if (at < c->len && (c->text[at] == '|' || c->text[at] == '>') && !scalar->plain) {
        const char *end = memchr(c->text + at, '\n', c->len - at);
        at = end ? (size_t)(end - c->text) + 1 : c->len;
    } else if (at < c->len && !scalar->plain && (c->text[at] == '"' || c->text[at] == '\'')) {
        at++;
    }
    for (size_t i = 0; scalar->text[i] && at < c->len; i++) {
        if (is_blank(scalar->text[i])) {
            if (i == byte)
                return at;
            continue;
        }
        while (at < c->len && c->text[at] != scalar->text[i])
            at++;
        if (i == byte || at == c->len)
            return at;
        at++;
    }
    return at;
}

void wf_problem_within(struct wf_check *c, enum wh_lint_level level, const char *rule,
                       const struct wh_yaml *scalar, size_t byte, size_t length, const char *fmt, ...)
{
    unsigned line = scalar->line;
    unsigned col = scalar->col;
    if (c->text) {
        size_t at = find_byte(c, scalar, byte);
        line = 1;
        col = 1;
        for (size_t i = 0; i < at; i++) {
            col += ((unsigned char)c->text[i] & 0xc0) != 0x80;
            if (c->text[i] == '\n') {
                line++;
                col = 1;
            }
        }
    }
    va_list args;
    va_start(args, fmt);
    add(c, level, rule, line, col, (unsigned)length, wh_vprintf(fmt, args));
    va_end(args);
}

char *wf_near(const char *name, const char *const *names)
{
    const char *near = wh_did_you_mean(name, names);
    return near ? wh_printf(" (did you mean '%s'?)", near) : wh_strdup("");
}

/* ---- values ---- */

static const char *kind_name(const struct wh_yaml *node)
{
    return node->kind == WH_YAML_MAPPING ? "mapping" : node->kind == WH_YAML_SEQUENCE ? "sequence" : "scalar";
}

static void check_word(struct wf_check *c, const struct wh_yaml *node, const struct wf_type *type)
{
    for (const char *const *w = type->words; *w; w++)
        if (wh_streq(*w, node->text))
            return;
    wh_autofree char *near = wf_near(node->text, type->words);
    wf_problem(c, type->forms & WF_LOOSE ? WH_LINT_ERROR : WH_LINT_REFUSED, "schema", node,
               "Unexpected value '%s'%s", node->text, near);
}

/* "a boolean or a number": what is expected where something else stands. */
static const char *wanted(unsigned forms)
{
    if (forms & WF_BOOL)
        return forms & WF_NUMBER ? "a boolean, number or string" : "true or false";
    if (forms & WF_NUMBER)
        return "a number";
    if (forms & WF_MAPPING)
        return forms & WF_SEQUENCE ? "a mapping or a sequence" : "a mapping";
    return "a sequence";
}

static void check_literal(struct wf_check *c, const struct wh_yaml *node, const struct wf_type *type)
{
    struct wh_yaml_value value;
    unsigned forms = type->forms;
    if (!wh_yaml_value(node, &value)) {
        wf_problem(c, WH_LINT_REFUSED, "schema", node, "Unexpected value '%s': its tag !!%s does not fit",
                   node->text, node->tag ? node->tag : "");
        return;
    }
    bool empty = value.type == WH_YAML_NULL || (value.type == WH_YAML_STRING && node->text[0] == '\0');
    if (value.type == WH_YAML_NULL && (forms & WF_NULL))
        return;
    if (empty ? (forms & WF_EMPTY) != 0 : (forms & WF_STRING) != 0) {
        if (type->words && !empty)
            check_word(c, node, type);
        return;
    }
    if ((value.type == WH_YAML_BOOL && (forms & WF_BOOL)) ||
        (value.type == WH_YAML_NUMBER && (forms & WF_NUMBER)))
        return;
    const char *what = forms & WF_STRING ? "a value" : wanted(forms);
    wf_problem(c, WH_LINT_REFUSED, "schema", node, "Unexpected value '%s': %s%s%s needs %s",
               value.type == WH_YAML_NULL ? "" : node->text, c->key ? "'" : "", c->key ? c->key : "this",
               c->key ? "'" : "", what);
}

static void check_scalar(struct wf_check *c, const struct wh_yaml *node, const struct wf_type *type)
{
    if (type->forms & WF_IF) {
        if (c->expressions)
            wf_check_expressions(c, node, true);
        return;
    }
    size_t at = 0;
    size_t start = 0;
    struct wh_view inner;
    int found = wh_template_next(node->text, strlen(node->text), &at, &start, &inner);
    if (found == 0) {
        if (!(type->forms & WF_ANY))
            check_literal(c, node, type);
        return;
    }
    if (c->place == WF_LITERAL) {
        wf_problem_within(c, WH_LINT_REFUSED, "expression", node, start, 3,
                          "A template expression is not allowed in this context");
        return;
    }
    bool whole = found > 0 && start == 0 && node->text[at] == '\0';
    if (!whole && found > 0 && !(type->forms & (WF_STRING | WF_ANY)))
        wf_problem(c, WH_LINT_ERROR, "schema", node,
                   "An expression with text around it is a string: %s is needed here", wanted(type->forms));
    if (c->expressions)
        wf_check_expressions(c, node, false);
}

static const struct wf_key *find_key(const struct wf_type *type, const char *name)
{
    for (const struct wf_key *k = type->keys; k && k->name; k++)
        if (wh_streq_ci(k->name, name))
            return k;
    return NULL;
}

static void unknown_key(struct wf_check *c, const struct wh_yaml *key, const struct wf_type *type)
{
    const char *names[64] = {NULL};
    size_t n = 0;
    for (const struct wf_key *k = type->keys; k && k->name && n + 1 < WH_COUNT(names); k++)
        names[n++] = k->name;
    wh_autofree char *near = wf_near(key->text, names);
    if (c->other && find_key(c->other, key->text)) {
        free(near);
        near = wh_printf(": it does not go %s '%s'", c->other == type->variant ? "without" : "with",
                         c->other_key);
    }
    wf_problem(c, WH_LINT_REFUSED, "schema", key, "Unexpected value '%s'%s", key->text, near);
}

static bool is_repeated(const struct wh_yaml *map, size_t at)
{
    for (size_t i = 0; i < at; i += 2)
        if (map->items[i]->kind == WH_YAML_SCALAR && wh_streq_ci(map->items[i]->text, map->items[at]->text))
            return true;
    return false;
}

static void check_pair(struct wf_check *c, const struct wh_yaml *map, size_t i, const struct wf_type *type)
{
    const struct wh_yaml *key = map->items[i];
    const struct wh_yaml *value = map->items[i + 1];
    static const struct wf_type any = {.forms = WF_ANY, .place = WF_INHERIT};
    if (key->kind != WH_YAML_SCALAR) {
        wf_problem(c, WH_LINT_REFUSED, "schema", key, "A %s was not expected", kind_name(key));
        return;
    }
    if (strstr(key->text, "${{")) { /* known only when it is evaluated */
        static const struct wf_type name = {.forms = WF_STRING, .place = WF_INHERIT};
        if (!wh_streq(key->text, "${{ insert }}") || c->place == WF_LITERAL)
            check_scalar(c, key, &name);
        wf_check_value(c, value, &any);
        return;
    }
    if (is_repeated(map, i))
        wf_problem(c, WH_LINT_REFUSED, "schema", key, "'%s' is already defined", key->text);
    const struct wf_key *known = find_key(type, key->text);
    c->key = key->text;
    if (known || type->others)
        wf_check_value(c, value, known ? known->type : type->others);
    else if (type->forms & WF_ANY)
        wf_check_value(c, value, &any);
    else
        unknown_key(c, key, type);
}

/* One of the keys is taken for a misspelled `name`: that it is missing is told with it. */
static bool is_misspelled(const struct wh_yaml *node, const struct wf_type *type, const char *name)
{
    const char *const names[] = {name, NULL};
    for (size_t i = 0; i + 1 < node->nitems; i += 2)
        if (node->items[i]->kind == WH_YAML_SCALAR && !find_key(type, node->items[i]->text) &&
            wh_did_you_mean(node->items[i]->text, names))
            return true;
    return false;
}

static void check_mapping(struct wf_check *c, const struct wh_yaml *node, const struct wf_type *type)
{
    for (size_t i = 0; i + 1 < node->nitems; i += 2) {
        if (type->others && (type->others->forms & WF_JOB) && node->items[i]->kind == WH_YAML_SCALAR)
            c->job_id = node->items[i]->text;
        check_pair(c, node, i, type);
    }
    for (const struct wf_key *k = type->keys; k && k->name; k++)
        if (k->required && !wh_yaml_get(node, k->name) && !is_misspelled(node, type, k->name))
            wf_problem(c, WH_LINT_REFUSED, "schema", node, "Required property is missing: %s%s%s", k->name,
                       type->variant_key ? ", or " : "", type->variant_key ? type->variant_key : "");
}

static void check_collection(struct wf_check *c, const struct wh_yaml *node, const struct wf_type *type)
{
    unsigned form = node->kind == WH_YAML_MAPPING ? WF_MAPPING : WF_SEQUENCE;
    if (!(type->forms & (form | WF_ANY))) {
        wf_problem(c, WH_LINT_REFUSED, "schema", node, "A %s was not expected", kind_name(node));
        return;
    }
    if (form == WF_MAPPING) {
        check_mapping(c, node, type);
        return;
    }
    static const struct wf_type any = {.forms = WF_ANY, .place = WF_INHERIT};
    for (size_t i = 0; i < node->nitems; i++)
        wf_check_value(c, node->items[i], type->item ? type->item : &any);
}

void wf_check_value(struct wf_check *c, const struct wh_yaml *node, const struct wf_type *type)
{
    if (++c->nodes > WH_MAX_YAML_NODES) {
        if (c->nodes == WH_MAX_YAML_NODES + 1)
            wf_problem(c, WH_LINT_REFUSED, "schema", node, "Maximum object size exceeded");
        return;
    }
    struct wf_check outer = *c;
    c->other = type->variant;
    c->other_key = type->variant_key;
    if (type->variant_key && wh_yaml_get(node, type->variant_key)) {
        c->other = type;
        type = type->variant;
    }
    if (type->place != WF_INHERIT)
        c->place = type->place;
    if (type->forms & WF_JOB)
        c->job = node;
    if (type->forms & WF_STEP)
        c->step = node;
    if (node->kind == WH_YAML_SCALAR)
        check_scalar(c, node, type);
    else
        check_collection(c, node, type);
    unsigned nodes = c->nodes;
    *c = outer;
    c->nodes = nodes;
}
