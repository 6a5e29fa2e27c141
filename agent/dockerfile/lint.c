/* Lint rules that the tree alone answers, and the `check` directive (builder.md §1.8). */
#include "dockerfile/text.h"
#include "wherry/dockerfile/parse.h"

static bool all_lower(const char *text)
{
    for (; *text; text++)
        if (*text >= 'A' && *text <= 'Z')
            return false;
    return true;
}

static bool all_upper(const char *text)
{
    for (; *text; text++)
        if (*text >= 'a' && *text <= 'z')
            return false;
    return true;
}

static void lint_from(struct wh_dockerfile *df, const struct wh_df_stage *stage)
{
    const struct wh_df_instr *from = stage->from;
    if (!stage->name)
        return;
    const char *as = from->words[1], *name = from->words[2];
    if (!all_lower(name))
        wh_df_warn(df, "StageNameCasing", from->range, "Stage name '%s' should be lowercase", name);
    bool lower = all_lower(from->keyword), upper = all_upper(from->keyword);
    if ((lower && !all_lower(as)) || (upper && !all_upper(as)))
        wh_df_warn(df, "FromAsCasing", from->range, "'%s' and '%s' keywords' casing do not match", as,
                   from->keyword);
    if (strcmp(stage->name, "context") == 0 || strcmp(stage->name, "scratch") == 0)
        wh_df_warn(df, "ReservedStageName", from->range,
                   "Stage name should not use the same name as reserved stage \"%s\"", stage->name);
    for (size_t i = 0; i < stage->index; i++)
        if (wh_streq(df->stages[i].name, stage->name)) {
            wh_df_warn(df, "DuplicateStageName", from->range,
                       "Duplicate stage name \"%s\", stage names should be unique", stage->name);
            return;
        }
}

typedef void (*instr_fn)(struct wh_dockerfile *df, const struct wh_df_instr *in, void *arg);

static void each(struct wh_dockerfile *df, instr_fn fn, void *arg)
{
    for (size_t i = 0; i < df->nstages; i++) {
        fn(df, df->stages[i].from, arg);
        for (size_t k = 0; k < df->stages[i].ninstrs; k++)
            fn(df, df->stages[i].instrs[k], arg);
    }
}

static void count_case(struct wh_dockerfile *df, const struct wh_df_instr *in, void *arg)
{
    (void)df;
    int *balance = arg; /* lower less upper */
    if (all_lower(in->keyword))
        ++*balance;
    else if (all_upper(in->keyword))
        --*balance;
}

static void check_case(struct wh_dockerfile *df, const struct wh_df_instr *in, void *arg)
{
    bool lower = *(int *)arg > 0;
    if (lower ? !all_lower(in->keyword) : !all_upper(in->keyword))
        wh_df_warn(df, "ConsistentInstructionCasing", in->range,
                   "Command '%s' should match the case of the command majority (%s)", in->keyword,
                   lower ? "lowercase" : "uppercase");
}

void wh_df_lint(struct wh_dockerfile *df)
{
    int balance = 0;
    for (size_t i = 0; i < df->nstages; i++)
        lint_from(df, &df->stages[i]);
    each(df, count_case, &balance);
    each(df, check_case, &balance);
}

/* The value of one `key=` of "skip=A,B;error=true". */
static bool check_value(const char *check, const char *key, struct wh_view *out)
{
    struct wh_view rest = wh_view_of(check), part, name, value;
    for (bool more = true; more;) {
        more = wh_view_split(rest, ';', &part, &rest);
        if (wh_view_split(part, '=', &name, &value) && wh_view_eq(wh_view_trim(name), key)) {
            *out = wh_view_trim(value);
            return true;
        }
    }
    return false;
}

bool wh_df_rule_skipped(const char *check, const char *rule)
{
    struct wh_view list, name;
    if (!check || !check_value(check, "skip", &list))
        return false;
    for (bool more = true; more;) {
        more = wh_view_split(list, ',', &name, &list);
        name = wh_view_trim(name);
        wh_autofree char *copy = wh_view_dup(name);
        if (wh_streq_ci(copy, "all") || wh_streq_ci(copy, rule))
            return true;
    }
    return false;
}

int wh_df_lint_verdict(const struct wh_dockerfile *df, struct wh_error *err)
{
    struct wh_view value;
    if (!df->check || df->nwarnings == 0 || !check_value(df->check, "error", &value) ||
        !wh_view_eq(value, "true"))
        return 0;
    wh_autostrv char **rules = NULL;
    for (size_t i = 0; i < df->nwarnings; i++)
        if (!wh_strv_has(rules, df->warnings[i].rule))
            wh_strv_add(&rules, df->warnings[i].rule);
    wh_autofree char *list = wh_strv_join(rules, ", ");
    return wh_fail(err, WH_E_FAILED, "lint violation found for rules: %s", list);
}
