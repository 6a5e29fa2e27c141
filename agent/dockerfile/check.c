/* The `check` directive, and findings sifted by it (builder.md §1.8). */
#include "wherry/dockerfile/check.h"

#include "dockerfile/text.h"

void wh_df_check_clear(struct wh_df_check *check)
{
    wh_strv_free(check->skip);
    wh_strv_free(check->experimental);
    *check = (struct wh_df_check){0};
}

static void parse_list(struct wh_view value, bool *all, char ***list)
{
    value = wh_view_trim(value);
    if (wh_view_eq(value, "all")) {
        *all = true;
        return;
    }
    struct wh_view name;
    for (bool more = true; more;) {
        more = wh_view_split(value, ',', &name, &value);
        name = wh_view_trim(name);
        if (name.len > 0)
            wh_strv_take(list, wh_view_dup(name));
    }
}

static int parse_option(struct wh_df_check *check, struct wh_view part, struct wh_error *err)
{
    struct wh_view name, value;
    bool has_value = wh_view_split(part, '=', &name, &value);
    name = wh_view_trim(name);
    if (has_value && wh_view_eq(name, "skip")) {
        parse_list(value, &check->skip_all, &check->skip);
    } else if (has_value && wh_view_eq(name, "experimental")) {
        parse_list(value, &check->experimental_all, &check->experimental);
    } else if (has_value && wh_view_eq(name, "error")) {
        value = wh_view_trim(value);
        bool yes = wh_view_eq(value, "true") || wh_view_eq(value, "1");
        if (!yes && !wh_view_eq(value, "false") && !wh_view_eq(value, "0"))
            return wh_fail(err, WH_E_PARSE, "failed to parse check option \"%.*s\": it must be true or false",
                           (int)part.len, part.data);
        check->error = yes;
    } else {
        return wh_fail(err, WH_E_PARSE, "invalid check option \"%.*s\"", (int)name.len, name.data);
    }
    return 0;
}

int wh_df_check_parse(const char *text, struct wh_df_check *out, struct wh_error *err)
{
    *out = (struct wh_df_check){0};
    struct wh_view rest = wh_view_trim(wh_view_of(text ? text : "")), part;
    for (bool more = rest.len > 0; more;) {
        more = wh_view_split(rest, ';', &part, &rest);
        if (parse_option(out, part, err) < 0) {
            wh_df_check_clear(out);
            return -1;
        }
    }
    return 0;
}

char *wh_df_description(const char *comment, const char *name)
{
    struct wh_reader r = wh_reader_of(comment, strlen(comment));
    struct wh_view line;
    size_t n = strlen(name);
    while (n > 0 && wh_reader_line(&r, &line))
        if (line.len > n && memcmp(line.data, name, n) == 0 && line.data[n] == ' ')
            return wh_view_dup((struct wh_view){line.data + n + 1, line.len - n - 1});
    return NULL;
}

/* ---- sifting ---- */

static const struct wh_df_instr *instr_at(const struct wh_dockerfile *df, int line)
{
    for (size_t i = 0; i < df->nmeta; i++)
        if (df->meta[i]->range.line <= line && line <= df->meta[i]->range.end_line)
            return df->meta[i];
    for (size_t s = 0; s < df->nstages; s++) {
        const struct wh_df_stage *stage = &df->stages[s];
        if (stage->from->range.line <= line && line <= stage->from->range.end_line)
            return stage->from;
        for (size_t i = 0; i < stage->ninstrs; i++)
            if (stage->instrs[i]->range.line <= line && line <= stage->instrs[i]->range.end_line)
                return stage->instrs[i];
    }
    return NULL;
}

/* `# check=skip=A` in the comment above: the first such line counts, up to a blank. */
static void inline_options(const char *comment, struct wh_df_check *out)
{
    struct wh_reader r = wh_reader_of(comment, strlen(comment));
    struct wh_view line, name, value;
    *out = (struct wh_df_check){0};
    while (wh_reader_line(&r, &line)) {
        if (!wh_view_split(line, '=', &name, &value) || !wh_view_eq(wh_view_trim(name), "check"))
            continue;
        value = wh_view_trim(value);
        wh_autofree char *text = wh_strndup(value.data, value.len);
        text[strcspn(text, " ")] = '\0';
        (void)wh_df_check_parse(text, out, NULL);
        return;
    }
}

static bool listed(char *const *list, const char *rule)
{
    return list && wh_strv_has(list, rule);
}

static bool experimental(const char *rule)
{
    return strcmp(rule, "InvalidDefinitionDescription") == 0;
}

static bool left_out(const struct wh_df_check *check, const char *rule)
{
    if (experimental(rule))
        return !check->experimental_all && !listed(check->experimental, rule);
    return check->skip_all || listed(check->skip, rule);
}

static bool keep(const struct wh_dockerfile *df, const struct wh_df_check *check,
                 const struct wh_df_warning *w)
{
    const struct wh_df_instr *in = instr_at(df, w->range.line);
    struct wh_df_check own = {0};
    if (in && in->comment && strstr(in->comment, "check"))
        inline_options(in->comment, &own);
    bool out = left_out(check, w->rule);
    if (experimental(w->rule))
        out = out && left_out(&own, w->rule);
    else
        out = out || left_out(&own, w->rule);
    wh_df_check_clear(&own);
    return !out;
}

/* Few as they are, an insertion sort keeps those of one line in their order. */
static void sort(struct wh_dockerfile *df)
{
    for (size_t i = 1; i < df->nwarnings; i++) {
        struct wh_df_warning w = df->warnings[i];
        size_t k = i;
        for (; k > 0 && df->warnings[k - 1].range.line > w.range.line; k--)
            df->warnings[k] = df->warnings[k - 1];
        df->warnings[k] = w;
    }
}

void wh_df_lint_settle(struct wh_dockerfile *df, const struct wh_df_check *check)
{
    size_t kept = 0;
    for (size_t i = 0; i < df->nwarnings; i++) {
        if (keep(df, check, &df->warnings[i]))
            df->warnings[kept++] = df->warnings[i];
        else
            free(df->warnings[i].message);
    }
    df->nwarnings = kept;
    sort(df);
}

int wh_df_lint_verdict(const struct wh_dockerfile *df, const struct wh_df_check *check, struct wh_error *err)
{
    if (!check->error || df->nwarnings == 0)
        return 0;
    wh_autostrv char **rules = NULL;
    for (size_t i = 0; i < df->nwarnings; i++)
        if (!wh_strv_has(rules, df->warnings[i].rule))
            wh_strv_add(&rules, df->warnings[i].rule);
    wh_autofree char *list = wh_strv_join(rules, ", ");
    return wh_fail(err, WH_E_FAILED, "lint violation found for rules: %s", list);
}
