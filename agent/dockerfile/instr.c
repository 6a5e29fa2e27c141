/* Instructions checked by kind: number of arguments, names, nested forms (builder.md §1.2-1.6). */
#include "dockerfile/mount.h"
#include "dockerfile/read.h"
#include "dockerfile/text.h"

static int at_least_one(const char *name, struct wh_error *err)
{
    return wh_fail(err, WH_E_PARSE, "%s requires at least one argument", name);
}

static int exactly_one(struct df_node *node, struct wh_error *err)
{
    if (wh_strv_len(node->instr->words) != 1)
        return wh_fail(err, WH_E_PARSE, "%s requires exactly one argument",
                       wh_df_kind_text(node->instr->kind));
    return df_flags(node, err);
}

static int type_from(struct df_node *node, struct wh_error *err)
{
    struct wh_df_instr *in = node->instr;
    size_t n = wh_strv_len(in->words);
    if (n == 3 && wh_streq_ci(in->words[1], "as")) {
        in->as = wh_strdup(in->words[2]);
        wh_ascii_lower(in->as);
        bool ok = in->as[0] >= 'a' && in->as[0] <= 'z';
        for (const char *p = in->as; *p && ok; p++)
            ok = (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || strchr("-_.", *p);
        if (!ok) {
            wh_autostr quoted = {0};
            df_add_quoted(&quoted, in->words[2]);
            return wh_fail(
                err, WH_E_PARSE,
                "invalid name for build stage: %s, name can't start with a number or contain symbols",
                wh_str_text(&quoted));
        }
    } else if (n != 1) {
        return wh_fail(err, WH_E_PARSE, "FROM requires either one or three arguments");
    }
    return df_flags(node, err);
}

static int type_pairs(struct df_node *node, struct wh_error *err)
{
    struct wh_df_instr *in = node->instr;
    const char *name = wh_df_kind_text(in->kind);
    if (df_flags(node, err) < 0)
        return -1;
    if (in->npairs == 0)
        return at_least_one(name, err);
    for (size_t i = 0; i < in->npairs; i++)
        if (in->pairs[i].name[0] == '\0')
            return wh_fail(err, WH_E_PARSE, "%s names can not be blank", name);
    return 0;
}

/* Takes a heredoc's leading tabs away, as <<- asks. */
static void chomp(struct wh_df_heredoc *doc)
{
    char *to = doc->content;
    bool line_start = true;
    for (const char *p = doc->content; *p; p++) {
        if (line_start && *p == '\t')
            continue;
        line_start = *p == '\n';
        *to++ = *p;
    }
    *to = '\0';
}

/* COPY and ADD: sources that are heredocs leave the list of words; their bodies go by name (the last of one
 * name wins). */
static int type_copy(struct df_node *node, struct wh_error *err)
{
    struct wh_df_instr *in = node->instr;
    const char *name = wh_df_kind_text(in->kind);
    size_t n = wh_strv_len(in->words);
    if (n < 2)
        return wh_fail(err, WH_E_PARSE,
                       "%s requires at least two arguments, but only one was provided. Destination could not "
                       "be determined",
                       name);
    if (df_flags(node, err) < 0)
        return -1;
    struct wh_df_heredoc doc;
    if (!in->json && df_heredoc_word(in->words[n - 1], &doc, NULL) > 0) {
        free(doc.name);
        return wh_fail(err, WH_E_PARSE, "%s cannot accept a heredoc as a destination", name);
    }
    struct wh_df_heredoc *docs = NULL;
    size_t ndocs = 0, keep = 0;
    for (size_t i = 0; i < n; i++) {
        if (i + 1 == n || df_heredoc_word(in->words[i], &doc, NULL) <= 0) {
            in->words[keep++] = in->words[i];
            continue;
        }
        const char *body = "";
        for (size_t k = 0; k < in->nheredocs; k++)
            if (strcmp(in->heredocs[k].name, doc.name) == 0)
                body = in->heredocs[k].content;
        doc.content = wh_strdup(body);
        if (doc.chomp)
            chomp(&doc);
        docs = wh_reallocarray(docs, ndocs + 1, sizeof *docs);
        docs[ndocs++] = doc;
        free(in->words[i]);
    }
    in->words[keep] = NULL;
    for (size_t k = 0; k < in->nheredocs; k++) {
        free(in->heredocs[k].name);
        free(in->heredocs[k].content);
    }
    free(in->heredocs);
    in->heredocs = docs;
    in->nheredocs = ndocs;
    return 0;
}

static int type_run(struct df_node *node, struct wh_error *err)
{
    struct wh_df_instr *in = node->instr;
    if (df_flags(node, err) < 0)
        return -1;
    if (in->network && strcmp(in->network, "default") != 0 && strcmp(in->network, "none") != 0 &&
        strcmp(in->network, "host") != 0)
        return wh_fail(err, WH_E_PARSE, "invalid network mode \"%s\"", in->network);
    if (in->security && strcmp(in->security, "sandbox") != 0 && strcmp(in->security, "insecure") != 0)
        return wh_fail(err, WH_E_PARSE, "security \"%s\" is not valid", in->security);
    for (size_t i = 0; in->mounts && in->mounts[i]; i++) {
        wh_autofree char *from = NULL;
        if (df_mount_from(in->mounts[i], &from, err) < 0)
            return -1;
    }
    for (size_t i = 0; in->devices && in->devices[i]; i++)
        if (df_device_check(in->devices[i], err) < 0)
            return -1;
    if (in->nheredocs > 0 && in->words && !in->words[1]) {
        struct wh_df_heredoc doc;
        if (df_heredoc_word(in->words[0], &doc, NULL) > 0) {
            in->heredoc_only = true;
            free(doc.name);
        }
    }
    return 0;
}

static int type_health(struct df_node *node, struct wh_error *err)
{
    struct wh_df_instr *in = node->instr;
    if (!node->health_type)
        return at_least_one("HEALTHCHECK", err);
    wh_autofree char *type = wh_strdup(node->health_type);
    wh_ascii_upper(type);
    if (strcmp(type, "NONE") == 0) {
        if (in->words && in->words[0])
            return wh_fail(err, WH_E_PARSE, "HEALTHCHECK NONE takes no arguments");
        in->health.none = true;
        return 0;
    }
    wh_autoerror flags_error = {0};
    int r = df_health_flags(node, &flags_error);
    if (r < 0)
        return wh_error_move(err, &flags_error);
    if (strcmp(type, "CMD") != 0) {
        wh_autostr quoted = {0};
        df_add_quoted(&quoted, type);
        return wh_fail(err, WH_E_PARSE, "Unknown type %s in HEALTHCHECK (try CMD)", wh_str_text(&quoted));
    }
    if (!in->words || !in->words[0])
        return wh_fail(err, WH_E_PARSE, "Missing command after HEALTHCHECK CMD");
    return 0;
}

/* ONBUILD keeps its text: what stands behind the keyword, heredocs appended. */
static int type_onbuild(struct df_node *node, struct wh_error *err)
{
    struct wh_df_instr *in = node->instr;
    if (!in->words)
        return at_least_one("ONBUILD", err);
    if (df_flags(node, err) < 0)
        return -1;
    if (wh_streq_ci(in->words[0], "ONBUILD"))
        return wh_fail(err, WH_E_PARSE, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
    if (wh_streq_ci(in->words[0], "FROM") || wh_streq_ci(in->words[0], "MAINTAINER")) {
        wh_ascii_upper(in->words[0]);
        return wh_fail(err, WH_E_PARSE, "%s isn't allowed as an ONBUILD trigger", in->words[0]);
    }
    const char *text = in->original;
    while (df_space((unsigned char)*text))
        text++;
    text += strlen("ONBUILD");
    while (df_space((unsigned char)*text))
        text++;
    wh_autostr all = {0};
    wh_str_add(&all, text);
    for (size_t i = 0; i < in->nheredocs; i++)
        wh_str_addf(&all, "\n%s%s", in->heredocs[i].content, in->heredocs[i].name);
    free(in->words[0]);
    in->words[0] = wh_str_steal(&all);
    return 0;
}

static int type_volume(struct df_node *node, struct wh_error *err)
{
    struct wh_df_instr *in = node->instr;
    if (!in->words || !in->words[0])
        return at_least_one("VOLUME", err);
    if (df_flags(node, err) < 0)
        return -1;
    for (size_t i = 0; in->words[i]; i++) {
        char *trimmed = df_trim_dup(in->words[i]);
        free(in->words[i]);
        in->words[i] = trimmed;
        if (trimmed[0] == '\0')
            return wh_fail(err, WH_E_PARSE, "VOLUME specified can not be an empty string");
    }
    return 0;
}

static int compare_words(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int type_expose(struct df_node *node, struct wh_error *err)
{
    struct wh_df_instr *in = node->instr;
    if (!in->words || !in->words[0])
        return at_least_one("EXPOSE", err);
    qsort(in->words, wh_strv_len(in->words), sizeof(char *), compare_words);
    return df_flags(node, err);
}

static int type_shell(struct df_node *node, struct wh_error *err)
{
    struct wh_df_instr *in = node->instr;
    if (df_flags(node, err) < 0)
        return -1;
    if (!in->words || !in->words[0])
        return at_least_one("SHELL", err);
    if (!in->json)
        return wh_fail(err, WH_E_PARSE, "SHELL requires the arguments to be in JSON form");
    return 0;
}

static int unknown(struct df_node *node, struct wh_error *err)
{
    const char *names[WH_DF_KINDS + 1] = {NULL};
    for (int i = 0; i < WH_DF_KINDS; i++)
        names[i] = wh_df_kind_text((enum wh_df_kind)i);
    const char *keyword = node->instr->keyword;
    wh_autofree char *upper = wh_strdup(keyword);
    wh_ascii_upper(upper);
    wh_autofree char *near = wh_strdup(df_nearest(upper, names));
    if (!near)
        return wh_fail(err, WH_E_PARSE, "unknown instruction: %s", keyword);
    wh_autofree char *lower = wh_strdup(keyword);
    wh_ascii_lower(lower);
    if (strcmp(lower, keyword) == 0)
        wh_ascii_lower(near);
    return wh_fail(err, WH_E_PARSE, "unknown instruction: %s (did you mean %s?)", keyword, near);
}

int df_type(struct df_node *node, struct wh_dockerfile *df, struct wh_error *err)
{
    if (!node->known)
        return unknown(node, err);
    switch (node->instr->kind) {
    case WH_DF_FROM:
        return type_from(node, err);
    case WH_DF_ENV:
    case WH_DF_LABEL:
    case WH_DF_ARG:
        return type_pairs(node, err);
    case WH_DF_COPY:
    case WH_DF_ADD:
        return type_copy(node, err);
    case WH_DF_RUN:
        return type_run(node, err);
    case WH_DF_HEALTHCHECK:
        return type_health(node, err);
    case WH_DF_ONBUILD:
        return type_onbuild(node, err);
    case WH_DF_VOLUME:
        return type_volume(node, err);
    case WH_DF_EXPOSE:
        return type_expose(node, err);
    case WH_DF_SHELL:
        return type_shell(node, err);
    case WH_DF_MAINTAINER:
        if (df)
            wh_df_warn(df, "MaintainerDeprecated", node->instr->range,
                       "Maintainer instruction is deprecated in favor of using label");
        return exactly_one(node, err);
    case WH_DF_USER:
    case WH_DF_WORKDIR:
    case WH_DF_STOPSIGNAL:
        return exactly_one(node, err);
    default:
        return df_flags(node, err); /* CMD, ENTRYPOINT: anything goes */
    }
}
