/* What no single value can tell: names that others refer to, fields that exclude each other. */
#include "config/settings_internal.h"

static void problem(struct wh_settings_report *report, const struct wh_setting_value *at, const char *path,
                    const char *fmt, const char *word)
{
    /* fmt has one %s at most: the word. */
    wh_autostr text = {0};
    const char *hole = strstr(fmt, "%s");
    wh_str_addn(&text, fmt, hole ? (size_t)(hole - fmt) : strlen(fmt));
    if (hole) {
        wh_str_add(&text, word);
        wh_str_add(&text, hole + 2);
    }
    settings_problem(report, false, at->place ? at->place : "settings", path, "%s", wh_str_text(&text));
}

static void check_credential(const struct wh_setting_value *v, struct wh_settings_report *report)
{
    wh_autofree char *path = wh_printf("credentials.%s", v->name);
    size_t n = 0;
    for (size_t i = 0; i < v->nitems; i++)
        n += wh_setting_is_set(v->items[i]);
    if (n != 1)
        problem(report, v, path, "it wants one of token, pat and app%s", n ? ", and only one" : "");
}

/* Every {word} of a runner's name must be one that we fill in. */
static void check_name(const struct wh_setting_value *name, const char *path,
                       struct wh_settings_report *report)
{
    static const char *const words[] = {"host", "index", "arch", NULL};
    for (const char *p = name->text; *p; p++) {
        if (*p == '}') {
            problem(report, name, path, "a '}' has no '{' before it", "");
            return;
        }
        if (*p != '{')
            continue;
        size_t len = strcspn(p + 1, "{}");
        wh_autofree char *word = wh_strndup(p + 1, len);
        if (p[1 + len] != '}' || !wh_strv_has((char *const *)words, word)) {
            problem(report, name, path, "{%s} stands for nothing: there are {host}, {index} and {arch}",
                    word);
            return;
        }
        p += len + 1;
    }
}

static void check_labels(const struct wh_setting_value *runner, const char *path,
                         struct wh_settings_report *report)
{
    const struct wh_setting_value *labels = wh_setting_field(runner, "labels");
    const struct wh_setting_value *bare = wh_setting_field(runner, "no-default-labels");
    if (bare->number && labels->nitems == 0)
        problem(report, bare, path, "no-default-labels without labels leaves none: name some in labels", "");
    for (size_t i = 0; i < labels->nitems; i++) {
        const char *text = labels->items[i]->text;
        if (text && (strlen(text) > 256 || strchr(text, ',')))
            problem(report, labels->items[i], path, "a label has 256 characters at most and no comma", "");
    }
}

static void check_runner(const struct wh_setting_value *root, const struct wh_setting_value *runner,
                         size_t index, struct wh_settings_report *report)
{
    wh_autofree char *path = wh_printf("runners[%zu]", index);
    const struct wh_setting_value *credentials = wh_setting_field(root, "credentials");
    const char *name = wh_setting_text(runner, "credentials");
    const struct wh_setting_value *found = name                       ? wh_setting_entry(credentials, name)
                                           : credentials->nitems == 1 ? credentials->items[0]
                                                                      : NULL;
    if (name && !found)
        problem(report, wh_setting_field(runner, "credentials"), path,
                "there is no entry '%s' in credentials", name);
    else if (!found && credentials->nitems > 1)
        problem(report, runner, path, "it wants credentials: there are several", "");
    if (!wh_setting_text(runner, "url") && !wh_setting_text(wh_setting_field(root, "service"), "url"))
        problem(report, runner, path, "it has no url, and there is no service.url", "");
    if (wh_setting_field(runner, "ephemeral")->number && found &&
        wh_setting_is_set(wh_setting_field(found, "token")))
        problem(report, runner, path,
                "an ephemeral runner registers again and again: a token is good for an hour, "
                "'%s' wants a pat or an app",
                found->name);
    if (wh_setting_text(runner, "name"))
        check_name(wh_setting_field(runner, "name"), path, report);
    check_labels(runner, path, report);
}

void settings_check(const struct wh_setting_value *root, struct wh_settings_report *report)
{
    const struct wh_setting_value *credentials = wh_setting_field(root, "credentials");
    for (size_t i = 0; i < credentials->nitems; i++)
        check_credential(credentials->items[i], report);
    const struct wh_setting_value *runners = wh_setting_field(root, "runners");
    for (size_t i = 0; i < runners->nitems; i++)
        check_runner(root, runners->items[i], i, report);
}
