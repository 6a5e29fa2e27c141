/* Texts of a job's log (job-execution.md §5.2, §6, §7.2, §9). */
#include "wherry/job/logtext.h"

#include "text.h"
#include "wherry/base/clock.h"

void wh_logtext_line(struct wh_str *out, int64_t ns, const char *text, size_t len)
{
    char stamp[40];
    wh_str_add(out, wh_time_iso(ns, 7, stamp));
    wh_str_addc(out, ' ');
    wh_str_addn(out, text, len);
    wh_str_addc(out, '\n');
}

size_t wh_logtext_live_len(const char *text, size_t len, bool *cut)
{
    size_t keep = wh_utf16_prefix(text, len, WH_MAX_LIVE_LINE);
    *cut = keep < len;
    return keep;
}

struct wh_view wh_logtext_first_line(const char *text, size_t len)
{
    size_t at = 0;
    while (at < len) {
        size_t next = at;
        if (!wh_is_space(wh_utf8_next(text, len, &next)))
            break;
        at = next;
    }
    size_t end = at;
    while (end < len && text[end] != '\n' && text[end] != '\r')
        end++;
    return (struct wh_view){text + at, end - at};
}

char *wh_step_reference_text(const struct wh_step_reference *r)
{
    if (r->type == WH_REFERENCE_SCRIPT)
        return NULL;
    if (r->type == WH_REFERENCE_CONTAINER)
        return wh_printf("docker://%s", r->image);
    if (!r->name || !*r->name)
        return wh_strdup(r->path ? r->path : "");
    const char *slash = r->path && *r->path ? "/" : "";
    return wh_printf("%s%s%s@%s", r->name, slash, r->path ? r->path : "", r->ref ? r->ref : "");
}

/* A token's text: evaluated if it can be, else with its expressions shown. Owned. */
static char *token_text(const struct wh_token *t, struct wh_template_env *env)
{
    char *text = NULL;
    if (t && t->type == WH_TOKEN_STRING)
        return wh_strndup(t->text, t->text_len);
    if (t && env && wh_token_eval_string(t, env, &text, NULL) == 0 && text)
        return text;
    return wh_token_display(t);
}

/* What the step does, where it has no name of its own. */
static char *default_name(const struct wh_step *step, struct wh_template_env *env)
{
    if (step->reference.type == WH_REFERENCE_SCRIPT)
        return token_text(wh_token_get(step->inputs, "script"), env);
    if (step->reference.type == WH_REFERENCE_CONTAINER)
        return wh_strdup(step->reference.image ? step->reference.image : "");
    return wh_step_reference_text(&step->reference);
}

char *wh_step_display_name(const struct wh_step *step, struct wh_template_env *env)
{
    wh_autofree char *text = NULL;
    const char *prefix = "";
    if (step->display_name && *step->display_name) {
        text = wh_strdup(step->display_name);
    } else if (step->display_name_token) {
        text = token_text(step->display_name_token, env);
    }
    if (!text || !*text) {
        free(text);
        text = default_name(step, env);
        prefix = "Run ";
    }
    struct wh_view line = wh_logtext_first_line(text, strlen(text));
    if (line.len == 0)
        return wh_strdup("run");
    return wh_printf("%s%.*s", prefix, (int)WH_MIN(line.len, 100000), line.data);
}

/* ---- headers of steps ---- */

struct header {
    wh_logtext_fn line;
    void *arg;
    struct wh_str text;
};

static void put(struct header *h, const char *a, struct wh_view b, const char *c)
{
    wh_str_clear(&h->text);
    wh_str_add(&h->text, a);
    wh_str_addn(&h->text, b.data, b.len);
    wh_str_add(&h->text, c);
    h->line(h->arg, wh_str_text(&h->text), h->text.len);
}

static void put_pairs(struct header *h, const char *title, const struct wh_value *pairs, bool skip_empty)
{
    bool titled = false;
    for (size_t i = 0; i < wh_value_count(pairs); i++) {
        wh_autofree char *value = wh_value_to_string(wh_object_value_at(pairs, i));
        if (skip_empty && !*value)
            continue;
        if (!titled)
            put(h, title, wh_view_of(""), "");
        titled = true;
        wh_str_clear(&h->text);
        wh_str_addf(&h->text, "  %s: %s", wh_object_key_at(pairs, i), value);
        h->line(h->arg, wh_str_text(&h->text), h->text.len);
    }
}

/* The script in colour, CRLF as LF, newlines at the end cut. */
static void put_listing(struct header *h, const char *script)
{
    struct wh_view rest = wh_view_of(script), one;
    while (rest.len > 0 && (rest.data[rest.len - 1] == '\n' || rest.data[rest.len - 1] == '\r'))
        rest.len--;
    bool more = true;
    while (more) {
        more = wh_view_split(rest, '\n', &one, &rest);
        if (more && one.len > 0 && one.data[one.len - 1] == '\r')
            one.len--;
        put(h, "\x1b[36;1m", one, "\x1b[0m");
    }
}

void wh_logtext_run_script(const char *script, wh_logtext_fn line, void *arg)
{
    struct header h = {.line = line, .arg = arg};
    put(&h, "##[group]Run ", wh_logtext_first_line(script, strlen(script)), "");
    put_listing(&h, script);
    wh_str_free(&h.text);
}

void wh_logtext_run_shell(const char *shell, const struct wh_value *env, wh_logtext_fn line, void *arg)
{
    struct header h = {.line = line, .arg = arg};
    put(&h, "shell: ", wh_view_of(shell), "");
    put_pairs(&h, "env:", env, false);
    put(&h, "##[endgroup]", wh_view_of(""), "");
    wh_str_free(&h.text);
}

void wh_logtext_action_header(const char *reference, const struct wh_value *inputs,
                              const struct wh_value *env, wh_logtext_fn line, void *arg)
{
    struct header h = {.line = line, .arg = arg};
    put(&h, "##[group]Run ", wh_view_of(reference), "");
    put_pairs(&h, "with:", inputs, true);
    put_pairs(&h, "env:", env, false);
    put(&h, "##[endgroup]", wh_view_of(""), "");
    wh_str_free(&h.text);
}
