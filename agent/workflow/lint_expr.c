/* The expressions of a workflow: syntax, and which contexts and functions may stand where (job-execution.md
 * §2.1, §2.7). */
#include "workflow/lint_walk.h"

#include "wherry/job/template.h"

struct visit {
    struct wf_check *check;
    const struct wh_yaml *scalar;
    size_t base; /* where the expression begins in the scalar's text */
};

/* "github, inputs, vars": what may stand here instead. */
static char *allowed_names(uint32_t allows, bool functions)
{
    static const char *const contexts[] = {"github",  "inputs", "vars", "needs",  "strategy", "matrix",
                                           "secrets", "steps",  "job",  "runner", "env",      "jobs"};
    static const char *const calls[] = {"case",    "contains",   "endsWith", "format", "fromJSON",
                                        "join",    "startsWith", "toJSON",   "always", "success",
                                        "failure", "cancelled",  "hashFiles"};
    const char *const *names = functions ? calls : contexts;
    wh_autostr out = {0};
    for (size_t i = 0; i < (functions ? WH_COUNT(calls) : WH_COUNT(contexts)); i++) {
        uint32_t needs = functions ? (i < 8 ? 0 : i < 12 ? WH_ALLOW_STATUS : WH_ALLOW_HASHFILES) : 1u << i;
        if (!(needs & ~allows))
            wh_str_addf(&out, "%s%s", out.len ? ", " : "", names[i]);
    }
    return wh_str_steal(&out);
}

/* What to put after the name of something that is not there at all. Owned. */
static char *near_allowed(const char *name, const char *list)
{
    wh_autostrv char **names = NULL;
    wh_autofree char *copy = wh_strdup(list);
    char *rest = copy;
    for (char *one; (one = strsep(&rest, ", ")) != NULL;)
        if (one[0] != '\0')
            wh_strv_add(&names, one);
    return names ? wf_near(name, (const char *const *)names) : wh_strdup("");
}

static void on_use(void *arg, const struct wh_expr_use *use)
{
    struct visit *v = arg;
    struct wf_check *c = v->check;
    if (use->allowed) {
        if (c->use)
            c->use(c, v->scalar, v->base, use);
        return;
    }
    wh_autofree char *name = wh_view_dup(use->name.name);
    wh_autofree char *list = allowed_names(wh_place_allows((enum wh_place)c->place), use->function);
    wh_autofree char *hint =
        use->known ? wh_printf(" is not available here; there is %s", list[0] ? list : "nothing")
                   : near_allowed(name, list);
    wf_problem_within(c, WH_LINT_REFUSED, "context", v->scalar, v->base + use->name.at, use->name.name.len,
                      "Unrecognized %s: '%s'%s", use->function ? "function" : "named-value", name, hint);
}

/* The expression at base of the scalar's text. */
static void check_one(struct wf_check *c, const struct wh_yaml *scalar, size_t base, size_t len)
{
    struct visit v = {c, scalar, base};
    wh_autoerror err = {0};
    size_t stopped = 0;
    uint32_t allows = wh_place_allows((enum wh_place)c->place);
    if (wh_expr_visit(scalar->text + base, len, allows, on_use, &v, NULL, &stopped, &err) < 0)
        wf_problem_within(c, WH_LINT_REFUSED, "expression", scalar, base + stopped, 1, "%s",
                          wh_error_text(&err));
}

static bool is_space(char ch)
{
    return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r';
}

/* All ${{ }} of the text. Returns their number; *outside: there is text beside them. */
static unsigned check_templates(struct wf_check *c, const struct wh_yaml *scalar, bool *outside)
{
    const char *text = scalar->text;
    size_t len = strlen(text);
    size_t at = 0;
    size_t start = 0;
    size_t end = 0;
    unsigned count = 0;
    struct wh_view inner;
    for (int found; (found = wh_template_next(text, len, &at, &start, &inner)) != 0; count++) {
        if (found < 0) {
            wf_problem_within(
                c, WH_LINT_REFUSED, "expression", scalar, start, 3,
                "The expression is not closed. An unescaped ${{ sequence was found, but the closing "
                "}} sequence was not found.");
            return count + 1;
        }
        *outside = *outside || start > end;
        end = at;
        size_t from = (size_t)(inner.data - text);
        size_t to = from + inner.len;
        while (from < to && is_space(text[from]))
            from++;
        while (to > from && is_space(text[to - 1]))
            to--;
        if (from == to)
            wf_problem_within(c, WH_LINT_REFUSED, "expression", scalar, start, 3,
                              "An expression was expected");
        else
            check_one(c, scalar, from, to - from);
    }
    *outside = *outside || end < len;
    return count;
}

void wf_check_expressions(struct wf_check *c, const struct wh_yaml *scalar, bool condition)
{
    bool outside = false;
    unsigned count = check_templates(c, scalar, &outside);
    if (!condition)
        return;
    if (count == 0)
        check_one(c, scalar, 0, strlen(scalar->text));
    else if (outside)
        wf_problem(c, WH_LINT_WARNING, "condition", scalar,
                   "This condition is always true: with text around ${{ }} it is a string that is not empty. "
                   "Put all "
                   "of it into one ${{ }}, or leave ${{ }} out");
}
