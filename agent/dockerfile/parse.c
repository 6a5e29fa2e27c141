/* The whole file: nodes to stages (builder.md §1.1, §1.2). */
#include "dockerfile/read.h"
#include "dockerfile/text.h"

struct nodes {
    struct df_node *items;
    size_t n, cap;
};

static void nodes_free(struct nodes *nodes)
{
    for (size_t i = 0; i < nodes->n; i++)
        df_node_clear(&nodes->items[i]);
    free(nodes->items);
}

static void source_free(struct df_source *src)
{
    for (size_t i = 0; i < WH_COUNT(src->directive); i++)
        free(src->directive[i]);
}

static int read_all(struct df_source *src, struct nodes *nodes, struct wh_df_range *where,
                    struct wh_error *err)
{
    for (;;) {
        struct df_node node;
        int r = df_read_node(src, &node, where, err);
        if (r <= 0)
            return r;
        if (nodes->n == nodes->cap) {
            nodes->cap = nodes->cap ? nodes->cap * 2 : 32;
            nodes->items = wh_reallocarray(nodes->items, nodes->cap, sizeof node);
        }
        nodes->items[nodes->n++] = node;
        if (nodes->n > WH_MAX_DOCKERFILE_INSTRUCTIONS)
            return wh_fail(err, WH_E_LIMIT, "more than %d instructions", WH_MAX_DOCKERFILE_INSTRUCTIONS);
    }
}

static void add_instr(struct wh_df_instr ***list, size_t *n, struct wh_df_instr *instr)
{
    if ((*n & (*n - 1)) == 0)
        *list = wh_reallocarray(*list, *n ? *n * 2 : 1, sizeof(void *));
    (*list)[(*n)++] = instr;
}

static void add_stage(struct wh_dockerfile *df, struct wh_df_instr *from)
{
    if ((df->nstages & (df->nstages - 1)) == 0)
        df->stages = wh_reallocarray(df->stages, df->nstages ? df->nstages * 2 : 1, sizeof *df->stages);
    df->stages[df->nstages] = (struct wh_df_stage){
        .index = df->nstages, .from = from, .name = wh_strdup(from->as), .range = from->range};
    df->nstages++;
}

/* Moves a checked node's instruction to where it belongs. */
static int place(struct wh_dockerfile *df, struct df_node *node, struct wh_error *err)
{
    struct wh_df_instr *in = node->instr;
    if (in->kind != WH_DF_FROM && df->nstages == 0 && in->kind != WH_DF_ARG)
        return wh_fail(err, WH_E_PARSE, "no build stage in current context");
    node->instr = NULL;
    if (in->kind == WH_DF_FROM) {
        add_stage(df, in);
    } else if (df->nstages == 0) {
        add_instr(&df->meta, &df->nmeta, in);
    } else {
        struct wh_df_stage *stage = &df->stages[df->nstages - 1];
        add_instr(&stage->instrs, &stage->ninstrs, in);
        stage->range.end_line = in->range.end_line;
    }
    return 0;
}

/* The text that an error is about, to point at it in the line: a flag, or what stands in quotes. Else the
 * keyword stays. */
static void point_at(const char *text, size_t len, struct wh_df_range *where, const char *message)
{
    const char *at = strstr(message, " --");
    const char *from = at ? at + 1 : NULL;
    size_t n = from ? strcspn(from, " ,") : 0;
    if (!from && (at = strchr(message, '"'))) {
        from = at + 1;
        n = strcspn(from, "\"");
    }
    if (!from || n == 0)
        return;
    wh_autofree char *token = wh_strndup(from, n);
    df_locate(text, len, where, token);
}

static int check_syntax(struct df_source *src, struct wh_df_range *where, struct wh_error *err)
{
    const char *syntax = src->directive[0];
    if (!syntax)
        return 0;
    wh_autofree char *ref = wh_strndup(syntax, strcspn(syntax, " \t"));
    static const char *const same[] = {"docker/dockerfile", "docker.io/docker/dockerfile",
                                       "docker/dockerfile-upstream", "docker.io/docker/dockerfile-upstream"};
    for (size_t i = 0; i < WH_COUNT(same); i++) {
        size_t n = strlen(same[i]);
        if (strncmp(ref, same[i], n) == 0 && (ref[n] == '\0' || ref[n] == ':' || ref[n] == '@'))
            return 0;
    }
    *where = (struct wh_df_range){1, 1, 1};
    return wh_fail(err, WH_E_UNSUPPORTED,
                   "the frontend %s is not supported: only docker/dockerfile is, which is built in; take the "
                   "syntax line away "
                   "if the file is a plain Dockerfile",
                   ref);
}

static int type_all(struct wh_dockerfile *df, struct nodes *nodes, struct wh_df_range *where,
                    struct wh_error *err)
{
    for (size_t i = 0; i < nodes->n; i++) {
        struct df_node *node = &nodes->items[i];
        *where = node->instr->range;
        wh_autoerror inner = {0};
        if (df_type(node, df, &inner) < 0) {
            point_at(df->text, df->len, where, wh_error_text(&inner));
            wh_error_move(err, &inner);
            return wh_wrap(err, "dockerfile parse error on line %d", where->line);
        }
        if (place(df, node, err) < 0)
            return -1;
    }
    if (df->nstages == 0)
        return wh_fail(err, WH_E_PARSE, "dockerfile contains no stages to build");
    return 0;
}

static int parse(struct wh_dockerfile *df, struct df_source *src, struct nodes *nodes,
                 struct wh_df_range *where, struct wh_error *err)
{
    if (df->len > WH_MAX_DOCKERFILE_BYTES)
        return wh_fail(err, WH_E_LIMIT, "the Dockerfile is larger than %zu MiB",
                       WH_MAX_DOCKERFILE_BYTES >> 20);
    if (df->len == 0)
        return wh_fail(err, WH_E_PARSE, "the Dockerfile cannot be empty");
    if (read_all(src, nodes, where, err) < 0) {
        if (err)
            point_at(df->text, df->len, where, wh_error_text(err));
        return -1;
    }
    df->check = wh_steal(&src->directive[2]);
    if (check_syntax(src, where, err) < 0)
        return -1;
    if (nodes->n == 0)
        return wh_fail(err, WH_E_PARSE, "file with no instructions");
    if (type_all(df, nodes, where, err) < 0)
        return -1;
    df->escape = src->escape;
    df->syntax = wh_steal(&src->directive[0]);
    return 0;
}

int wh_df_parse(const char *text, size_t len, const char *filename, struct wh_dockerfile **out,
                struct wh_df_range *where, struct wh_error *err)
{
    struct wh_df_range nowhere = {0};
    if (!where)
        where = &nowhere;
    *where = (struct wh_df_range){0};
    struct wh_dockerfile *df = wh_calloc(1, sizeof *df);
    df->filename = wh_strdup(filename);
    df->text = wh_malloc(len + 1);
    if (len > 0)
        memcpy(df->text, text, len);
    df->text[len] = '\0';
    df->len = len;
    df->escape = '\\';
    struct df_source src = {.r = wh_reader_of(df->text, len), .escape = '\\', .df = df};
    struct nodes nodes = {0};
    int r = parse(df, &src, &nodes, where, err);
    nodes_free(&nodes);
    source_free(&src);
    if (r < 0) {
        wh_df_free(df);
        return -1;
    }
    *out = df;
    return 0;
}

int wh_df_parse_trigger(const char *text, struct wh_df_instr **out, struct wh_error *err)
{
    struct df_source src = {.r = wh_reader_of(text, strlen(text)), .escape = '\\'};
    struct df_node node = {0}, more = {0};
    struct wh_df_range where;
    int r = df_read_node(&src, &node, &where, err);
    if (r > 0 && df_type(&node, NULL, err) < 0)
        r = -1;
    if (r > 0) {
        int extra = df_read_node(&src, &more, &where, err);
        if (extra > 0)
            wh_fail(err, WH_E_PARSE, "onbuild trigger should be a single expression");
        r = extra == 0 ? 1 : -1;
    } else if (r == 0) {
        r = wh_fail(err, WH_E_PARSE, "file with no instructions");
    }
    if (r > 0 && node.instr->kind == WH_DF_FROM)
        r = wh_fail(err, WH_E_PARSE, "FROM isn't allowed as an ONBUILD trigger");
    if (r > 0)
        *out = wh_steal(&node.instr);
    df_node_clear(&node);
    df_node_clear(&more);
    source_free(&src);
    return r > 0 ? 0 : -1;
}

void wh_df_instr_free(struct wh_df_instr *in)
{
    if (!in)
        return;
    for (size_t i = 0; i < in->npairs; i++) {
        free(in->pairs[i].name);
        free(in->pairs[i].value);
    }
    for (size_t i = 0; i < in->nheredocs; i++) {
        free(in->heredocs[i].name);
        free(in->heredocs[i].content);
    }
    char *texts[] = {in->keyword, in->original, in->comment,  in->as,      in->platform, in->from,
                     in->chown,   in->chmod,    in->checksum, in->network, in->security};
    for (size_t i = 0; i < WH_COUNT(texts); i++)
        free(texts[i]);
    char **lists[] = {in->words, in->excludes, in->mounts, in->devices};
    for (size_t i = 0; i < WH_COUNT(lists); i++)
        wh_strv_free(lists[i]);
    free(in->pairs);
    free(in->heredocs);
    free(in);
}

void wh_df_free(struct wh_dockerfile *df)
{
    if (!df)
        return;
    for (size_t i = 0; i < df->nmeta; i++)
        wh_df_instr_free(df->meta[i]);
    for (size_t i = 0; i < df->nstages; i++) {
        struct wh_df_stage *stage = &df->stages[i];
        for (size_t k = 0; k < stage->ninstrs; k++)
            wh_df_instr_free(stage->instrs[k]);
        wh_df_instr_free(stage->from);
        free(stage->instrs);
        free(stage->name);
    }
    for (size_t i = 0; i < df->nwarnings; i++)
        free(df->warnings[i].message);
    free(df->warnings);
    free(df->meta);
    free(df->stages);
    free(df->filename);
    free(df->text);
    free(df->syntax);
    free(df->check);
    free(df);
}

void wh_df_free_ptr(struct wh_dockerfile **df)
{
    wh_df_free(*df);
}
