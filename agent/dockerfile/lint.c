/* Lint rules that the tree alone answers (builder.md §1.8). */
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

/* A comment right above a stage or an ARG is taken for its description, which begins with the name. */
static void check_description(struct wh_dockerfile *df, const struct wh_df_instr *in, char *const *names)
{
    if (!in->comment || in->comment[0] == '\0' || !names || !names[0])
        return;
    const char *newline = strrchr(in->comment, '\n');
    const char *line = newline ? newline + 1 : in->comment;
    wh_autofree char *first = wh_strndup(line, strcspn(line, " "));
    if (!wh_strv_has(names, first))
        wh_df_warn(df, "InvalidDefinitionDescription", in->range,
                   "Comment for %s should follow the format: `# %s <description>`", wh_df_kind_text(in->kind),
                   names[1] ? "<arg_key>" : names[0]);
}

static void describe(struct wh_dockerfile *df, const struct wh_df_instr *in, void *arg)
{
    (void)arg;
    wh_autostrv char **names = NULL;
    for (size_t i = 0; in->kind == WH_DF_ARG && i < in->npairs; i++)
        wh_strv_add(&names, in->pairs[i].name);
    if (in->kind == WH_DF_FROM && in->as)
        wh_strv_add(&names, in->as);
    check_description(df, in, names);
}

void wh_df_lint(struct wh_dockerfile *df)
{
    int balance = 0;
    for (size_t i = 0; i < df->nstages; i++)
        lint_from(df, &df->stages[i]);
    each(df, count_case, &balance);
    each(df, check_case, &balance);
    for (size_t i = 0; i < df->nmeta; i++)
        describe(df, df->meta[i], NULL);
    each(df, describe, NULL);
}
