/* Problems of settings: all of them, each with its place. */
#include "config/settings_internal.h"

void settings_problem(struct wh_settings_report *report, bool warning, const char *place, const char *path,
                      const char *fmt, ...)
{
    report->nerrors += !warning;
    if (report->nproblems == WH_MAX_SETTINGS_PROBLEMS) {
        report->truncated = true;
        return;
    }
    report->problems =
        wh_reallocarray(report->problems, report->nproblems + 1, sizeof(struct wh_settings_problem));
    va_list args;
    va_start(args, fmt);
    report->problems[report->nproblems++] = (struct wh_settings_problem){.warning = warning,
                                                                         .place = wh_strdup(place),
                                                                         .path = wh_strdup(path),
                                                                         .text = wh_vprintf(fmt, args)};
    va_end(args);
}

void wh_settings_report_free(struct wh_settings_report *report)
{
    for (size_t i = 0; i < report->nproblems; i++) {
        free(report->problems[i].place);
        free(report->problems[i].path);
        free(report->problems[i].text);
    }
    free(report->problems);
    *report = (struct wh_settings_report){0};
}

void wh_settings_report_print(const struct wh_settings_report *report, FILE *out)
{
    for (size_t i = 0; i < report->nproblems; i++) {
        const struct wh_settings_problem *p = &report->problems[i];
        fprintf(out, "%s: %s: %s%s%s\n", p->place, p->warning ? "warning" : "error", p->path ? p->path : "",
                p->path ? ": " : "", p->text);
    }
    if (report->truncated)
        fprintf(out, "... and more: only the first %u are shown\n", WH_MAX_SETTINGS_PROBLEMS);
}
