/* Records and what is written to their logs: every text is masked here, and nowhere else. */
#include <stdio.h>

#include "wherry/base/clock.h"
#include "wherry/base/digest.h"
#include "worker/job.h"

#define HAND_ON ((size_t)256 << 10) /* of one record, within one turn of the loop */

struct wh_timeline *wh_job_record(struct wh_job *j, const char *id, const char *name, int number)
{
    struct wh_timeline *r = wh_calloc(1, sizeof *r);
    if (id)
        snprintf(r->id, sizeof r->id, "%s", id);
    else
        wh_guid(r->id);
    wh_autofree char *masked = wh_mask_text(j->masker, name);
    wh_timeline_set_name(r, masked);
    r->number = number;
    r->conclusion = WH_TASK_NONE;
    j->records = wh_reallocarray(j->records, j->nrecords + 1, sizeof(struct wh_timeline *));
    j->records[j->nrecords++] = r;
    return r;
}

void wh_job_start_record(struct wh_job *j, struct wh_timeline *r)
{
    r->status = WH_STEP_IN_PROGRESS;
    r->started_ns = wh_now_ns();
    j->current = r;
    j->sink->ops->state(j->sink, r);
    wh_job_send_state(j, r, "started");
}

static void hand_on(struct wh_job *j, struct wh_timeline *r)
{
    if (r->waiting_lines == 0)
        return;
    j->sink->ops->log(j->sink, r, r->waiting.data, r->waiting.len, r->waiting_lines);
    wh_str_clear(&r->waiting);
    r->waiting_lines = 0;
}

void wh_job_flush_record(struct wh_job *j, struct wh_timeline *r)
{
    hand_on(j, r);
}

void wh_job_flush_lines(struct wh_job *j)
{
    if (j->current && j->sink)
        hand_on(j, j->current);
    if (j->sink)
        wh_background_flush_lines(j);
}

void wh_job_complete_record(struct wh_job *j, struct wh_timeline *r, enum wh_task_result conclusion)
{
    r->status = WH_STEP_COMPLETED;
    r->conclusion = conclusion;
    r->completed_ns = WH_MAX(wh_now_ns(), r->started_ns); /* the clock may have been set back */
    if (r->started_ns == 0)
        r->started_ns = r->completed_ns;
    hand_on(j, r);
    j->sink->ops->log_end(j->sink, r);
    j->sink->ops->state(j->sink, r);
    j->completed = wh_reallocarray(j->completed, j->ncompleted + 1, sizeof(struct wh_timeline *));
    j->completed[j->ncompleted++] = r;
    if (j->current == r)
        j->current = NULL;
    wh_job_send_state(j, r, "completed");
}

static uint64_t count_lines(const char *text, size_t len)
{
    uint64_t n = 1;
    for (const char *p = text; (p = memchr(p, '\n', len - (size_t)(p - text))); p++)
        n++;
    return n;
}

/* Text that is masked already. */
static void write_lines(struct wh_job *j, struct wh_timeline *r, const char *text, size_t len)
{
    uint64_t lines = count_lines(text, len);
    uint64_t number = r->lines + 1;
    wh_logtext_line(&r->waiting, wh_now_ns(), text, len);
    r->lines += lines;
    r->waiting_lines += lines;
    struct wh_view rest = {text, len};
    struct wh_view line;
    for (bool more = true; more;) {
        more = wh_view_split(rest, '\n', &line, &rest);
        j->sink->ops->line(j->sink, r, number++, line.data, line.len);
    }
    if (r->waiting.len >= HAND_ON)
        hand_on(j, r);
}

void wh_say_text(struct wh_job *j, const char *prefix, const char *text, size_t len)
{
    struct wh_timeline *r = j->current;
    if (!r)
        return;
    wh_autostr whole = {0};
    if (prefix[0] != '\0') {
        wh_str_add(&whole, prefix);
        wh_str_addn(&whole, text, len);
        text = whole.data;
        len = whole.len;
    }
    wh_autostr masked = {0};
    if (wh_mask(j->masker, text, len, &masked))
        write_lines(j, r, wh_str_text(&masked), masked.len);
    else
        write_lines(j, r, text, len);
}

void wh_say_line(void *job, const char *line, size_t len)
{
    wh_say_text(job, "", line, len);
}

/* fmt and the arguments after it as owned text, in a function that has them. */
#define FORMAT(out)                                                                                          \
    do {                                                                                                     \
        va_list args;                                                                                        \
        va_start(args, fmt);                                                                                 \
        (out) = wh_vprintf(fmt, args);                                                                       \
        va_end(args);                                                                                        \
    } while (0)

void wh_say(struct wh_job *j, const char *fmt, ...)
{
    wh_autofree char *text = NULL;
    FORMAT(text);
    wh_say_text(j, "", text, strlen(text));
}

void wh_say_debug(struct wh_job *j, const char *fmt, ...)
{
    if (!j->debug)
        return;
    wh_autofree char *text = NULL;
    FORMAT(text);
    /* A line each: nothing of a text that a step made may stand without the tag. */
    struct wh_view rest = wh_view_of(text);
    struct wh_view line;
    for (bool more = true; more;) {
        more = wh_view_split(rest, '\n', &line, &rest);
        if (more && line.len > 0 && line.data[line.len - 1] == '\r')
            line.len--;
        wh_say_text(j, "##[debug]", line.data, line.len);
    }
}

/* ---- issues ---- */

static bool is_blank(const char *text)
{
    return wh_view_trim(wh_view_of(text)).len == 0;
}

void wh_say_match(struct wh_job *j, enum wh_annotation_level level, const char *shown, const char *message,
                  const struct wh_issue *where)
{
    static const char *const tags[] = {[WH_ANNOTATION_NOTICE] = "##[notice]",
                                       [WH_ANNOTATION_WARNING] = "##[warning]",
                                       [WH_ANNOTATION_FAILURE] = "##[error]"};
    struct wh_timeline *r = j->current;
    if (!r)
        return;
    wh_autofree char *masked = wh_mask_text(j->masker, message);
    masked[wh_utf16_prefix(masked, strlen(masked), WH_MAX_ISSUE_TEXT)] = '\0';
    if (shown == message) /* the log has as much as the annotation */
        shown = masked;
    int64_t log_line = shown[0] != '\0' ? (int64_t)r->lines + 1 : 0;
    if (shown[0] != '\0')
        wh_say_text(j, tags[level], shown, strlen(shown));
    if (is_blank(message))
        return;
    wh_autofree char *title = where && where->title ? wh_mask_text(j->masker, where->title) : NULL;
    wh_autofree char *path = where && where->file ? wh_mask_text(j->masker, where->file) : NULL;
    struct wh_annotation a = {
        .level = level, .message = masked, .title = title, .path = path, .log_line = log_line};
    if (where) {
        a.start_line = where->line;
        a.end_line = where->end_line ? where->end_line : where->line;
        a.start_column = where->col;
        a.end_column = where->end_col ? where->end_col : where->col;
    }
    wh_timeline_annotate(r, &a);
}

void wh_say_issue(struct wh_job *j, enum wh_annotation_level level, const char *message,
                  const struct wh_issue *where)
{
    wh_say_match(j, level, message, message, where);
}

void wh_say_error(struct wh_job *j, const char *fmt, ...)
{
    wh_autofree char *text = NULL;
    FORMAT(text);
    wh_say_issue(j, WH_ANNOTATION_FAILURE, text, NULL);
}

void wh_say_warning(struct wh_job *j, const char *fmt, ...)
{
    wh_autofree char *text = NULL;
    FORMAT(text);
    wh_say_issue(j, WH_ANNOTATION_WARNING, text, NULL);
}
