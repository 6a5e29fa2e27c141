/* All that is wrong with a workflow file. */
#include "wherry/workflow/lint.h"

#include <stdio.h>

#include "workflow/lint_walk.h"

void wh_lint_clear(struct wh_lint *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->problems[i].text);
    free(l->problems);
    *l = (struct wh_lint){0};
}

static int compare(const void *a, const void *b)
{
    const struct wh_lint_problem *x = a;
    const struct wh_lint_problem *y = b;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    if (x->col != y->col)
        return x->col < y->col ? -1 : 1;
    return strcmp(x->text, y->text);
}

/* An anchor's content is reached by each of its aliases: it is told once. */
static void drop_repeated(struct wh_lint *l)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->count; i++) {
        struct wh_lint_problem *p = &l->problems[i];
        if (kept == 0 || compare(p, &l->problems[kept - 1]) != 0) {
            l->problems[kept++] = *p;
            continue;
        }
        l->refused -= p->level == WH_LINT_REFUSED;
        l->errors -= p->level == WH_LINT_ERROR;
        l->warnings -= p->level == WH_LINT_WARNING;
        free(p->text);
    }
    l->count = kept;
}

/* "(Line: 3, Col: 7): text" of the parser, as a problem. */
static void add_syntax(struct wf_check *c, const char *message)
{
    struct wh_yaml at = {.kind = WH_YAML_MAPPING, .line = 1, .col = 1};
    const char *place = strstr(message, " (Line: ");
    const char *text = message;
    if (place && sscanf(place, " (Line: %u, Col: %u): ", &at.line, &at.col) == 2) {
        const char *end = strstr(place, "): ");
        text = end ? end + 3 : message;
    }
    wf_problem(c, WH_LINT_REFUSED, "syntax", &at, "%s", text);
}

void wf_check_all(struct wf_check *c, const char *folder)
{
    wf_check_value(c, c->root, &wf_workflow);
    wf_check_on(c);
    wf_check_jobs(c);
    wf_check_uses(c, folder);
    if (c->out->count > 1)
        qsort(c->out->problems, c->out->count, sizeof *c->out->problems, compare);
    drop_repeated(c->out);
}

void wh_lint_tree(const struct wh_yaml *root, const char *text, size_t len, const char *folder,
                  struct wh_lint *out)
{
    struct wf_check c = {.text = text,
                         .len = len,
                         .out = out,
                         .expressions = true,
                         .use = wf_check_use,
                         .root = root,
                         .place = WF_LITERAL};
    wf_check_all(&c, folder);
}

void wh_lint_workflow(const char *text, size_t len, const char *root, struct wh_lint *out)
{
    wh_autoyaml doc = {0};
    wh_autoerror err = {0};
    struct wf_check c = {.out = out};
    if (wh_yaml_parse(text, len, "", &doc, &err) < 0)
        add_syntax(&c, wh_error_text(&err));
    else if (!doc.root)
        add_syntax(&c, "the file is empty");
    else
        wh_lint_tree(doc.root, text, len, root, out);
}

char *wh_lint_excerpt(const char *text, size_t len, const struct wh_lint_problem *p)
{
    struct wh_reader r = wh_reader_of(text, len);
    struct wh_view line = {0};
    for (unsigned i = 0; i < p->line; i++)
        if (!wh_reader_line(&r, &line))
            return wh_strdup("");
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    wh_autostr out = {0};
    wh_str_addf(&out, "%6u | ", p->line);
    wh_str_addn(&out, line.data, line.len);
    wh_str_add(&out, "\n       | ");
    unsigned col = 1;
    size_t at = 0;
    for (; at < line.len && col < p->col;
         col++) { /* tabs stay tabs, so that the mark stands below its place */
        wh_str_addc(&out, line.data[at] == '\t' ? '\t' : ' ');
        for (at++; at < line.len && ((unsigned char)line.data[at] & 0xc0) == 0x80;)
            at++;
    }
    wh_str_addc(&out, '^');
    for (unsigned i = 1; i < p->length && at + i < line.len; i++)
        wh_str_addc(&out, '~');
    wh_str_addc(&out, '\n');
    return wh_str_steal(&out);
}
