/* What people see of a local run: lines with the job's name in front, JSON lines, or a display that is drawn
 * anew in place. A worker's output is lines with a tag in front: "L<step>\t<text>" for one of its log,
 * "S<step>\t<phase>\t<conclusion>\t<name>" for a step that begins or ends. */
#include <stdio.h>
#include <unistd.h>

#include "cmd/exec.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"
#include "wherry/progress/render.h"

#define MAX_LINE ((size_t)1 << 20) /* longer ones are shown in pieces */
#define STEPS_OF_A_JOB 1000000u    /* apart in the numbers of vertices */

struct exec_show {
    enum exec_style style;
    struct wh_masker *masker;
    struct wh_progress *progress;
    bool quiet, color;
    unsigned jobs;
    unsigned ends[WH_GRAPH_SKIPPED + 1]; /* by result */
    uint64_t started;
    struct wh_str out;
};

struct exec_show_job {
    struct exec_show *show;
    char *name;   /* masked */
    char *prefix; /* of its lines */
    unsigned number;
    int log;
    struct wh_str line; /* as far as it came */
};

struct exec_show *exec_show_new(enum exec_style style, struct wh_masker *masker, bool quiet)
{
    struct exec_show *s = wh_calloc(1, sizeof *s);
    s->style = style;
    s->masker = masker;
    s->quiet = quiet;
    s->color = wh_color_ok(STDOUT_FILENO);
    s->started = wh_mono_ns();
    if (style == EXEC_TTY) {
        s->progress = wh_progress_new(WH_STYLE_TTY, STDOUT_FILENO, NULL);
        wh_progress_title(s->progress, "Running");
    }
    return s;
}

void exec_show_free(struct exec_show *s)
{
    wh_progress_free(s->progress);
    wh_str_free(&s->out);
    free(s);
}

static void flush(struct exec_show *s)
{
    if (s->out.len > 0) /* a reader that went away is no failure of the run */
        (void)wh_write_all(STDOUT_FILENO, s->out.data, s->out.len, NULL);
    wh_str_clear(&s->out);
}

/* ---- JSON lines ---- */

static cJSON *new_event(const char *event, const char *job)
{
    char now[40];
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "time", wh_time_iso(wh_now_ns(), 3, now));
    cJSON_AddStringToObject(json, "event", event);
    wh_json_add_string(json, "job", job);
    return json;
}

static void say_event(struct exec_show *s, cJSON *json_taken)
{
    wh_autojson *json = json_taken;
    wh_autofree char *text = wh_json_print(json);
    wh_str_addf(&s->out, "%s\n", text);
}

/* ---- the display ---- */

static void feed(struct exec_show_job *j, const struct wh_progress_event *event, uint64_t step)
{
    struct wh_progress_event ev = *event;
    ev.vertex = (uint64_t)j->number * STEPS_OF_A_JOB + step % STEPS_OF_A_JOB;
    wh_progress_feed(j->show->progress, &ev);
}

static void feed_step(struct exec_show_job *j, uint64_t step, const char *conclusion, const char *name)
{
    wh_autofree char *shown = wh_printf("[%s] %s", j->name, name);
    struct wh_progress_event ev = {.kind = WH_PROGRESS_VERTEX, .name = shown, .state = WH_VERTEX_STARTED};
    if (wh_streq(conclusion, "skipped"))
        return;
    if (wh_streq(conclusion, "failed")) {
        ev.state = WH_VERTEX_ERROR;
        ev.error = "it failed";
    } else if (wh_streq(conclusion, "canceled")) {
        ev.state = WH_VERTEX_CANCELED;
    } else if (conclusion) {
        ev.state = WH_VERTEX_DONE;
    }
    feed(j, &ev, step);
}

/* ---- a job's lines ---- */

static void show_line(struct exec_show_job *j, uint64_t step, const char *text)
{
    struct exec_show *s = j->show;
    if (j->log >= 0) {
        wh_autofree char *line = wh_printf("%s\n", text);
        (void)wh_write_all(j->log, line, strlen(line), NULL);
    }
    if (s->style == EXEC_JSON) {
        cJSON *json = new_event("line", j->name);
        wh_json_add_int(json, "step", (int64_t)step);
        cJSON_AddStringToObject(json, "text", text);
        say_event(s, json);
    } else if (s->style == EXEC_TTY) {
        wh_autofree char *line = wh_printf("%s\n", text);
        struct wh_progress_event ev = {
            .kind = WH_PROGRESS_LOG, .stream = 1, .data = line, .len = strlen(line)};
        feed(j, &ev, step);
    } else {
        wh_str_addf(&s->out, "%s%s\n", j->prefix, text);
    }
}

static void show_step(struct exec_show_job *j, uint64_t step, const char *conclusion, const char *name)
{
    struct exec_show *s = j->show;
    if (s->style == EXEC_TTY) {
        feed_step(j, step, conclusion, name);
    } else if (s->style == EXEC_JSON) {
        cJSON *json = new_event("step", j->name);
        wh_json_add_int(json, "step", (int64_t)step);
        cJSON_AddStringToObject(json, "name", name);
        cJSON_AddStringToObject(json, "state", conclusion ? "completed" : "started");
        wh_json_add_string(json, "conclusion", conclusion);
        say_event(s, json);
    }
}

/* Cuts text at the next tab: the part before it, which ends there now. */
static char *next_field(char **text)
{
    char *field = *text;
    char *tab = strchr(field, '\t');
    if (!tab)
        return NULL;
    *tab = '\0';
    *text = tab + 1;
    return field;
}

static void take_line(struct exec_show_job *j, char *line)
{
    char *rest = line + 1;
    uint64_t step = 0;
    char *number = line[0] == 'L' || line[0] == 'S' ? next_field(&rest) : NULL;
    if (!number || !wh_parse_u64(number, STEPS_OF_A_JOB, &step)) {
        if (number)
            number[strlen(number)] = '\t';
        show_line(j, 0, line); /* what the worker says itself */
        return;
    }
    if (line[0] == 'L') {
        show_line(j, step, rest);
        return;
    }
    char *phase = next_field(&rest);
    char *conclusion = phase ? next_field(&rest) : NULL;
    if (conclusion)
        show_step(j, step, wh_streq(phase, "completed") ? conclusion : NULL, rest);
}

void exec_show_bytes(struct exec_show_job *j, const char *data, size_t len)
{
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t n = end ? (size_t)(end - data) : len;
        wh_str_addn(&j->line, data, n);
        if (end || j->line.len > MAX_LINE) {
            wh_str_addc(&j->line, '\0');
            take_line(j, j->line.data);
            wh_str_clear(&j->line);
        }
        n += end ? 1 : 0;
        data += n;
        len -= n;
    }
    flush(j->show);
}

/* ---- jobs ---- */

static void say_job(struct exec_show *s, const char *name, const char *state, const char *result,
                    const char *reason, uint64_t took_ns)
{
    cJSON *json = new_event("job", name);
    cJSON_AddStringToObject(json, "state", state);
    wh_json_add_string(json, "result", result);
    wh_json_add_string(json, "reason", reason);
    if (took_ns > 0)
        cJSON_AddNumberToObject(json, "seconds", (double)took_ns / 1e9);
    say_event(s, json);
    flush(s);
}

static char *prefix_of(const struct exec_show *s, const char *name, unsigned number)
{
    static const unsigned colors[] = {36, 33, 35, 32, 34, 96, 93, 95, 92, 94};
    if (!s->color)
        return wh_printf("[%s] ", name);
    return wh_printf("\033[%um[%s]\033[0m ", colors[number % WH_COUNT(colors)], name);
}

struct exec_show_job *exec_show_start(struct exec_show *s, const char *name, int log)
{
    struct exec_show_job *j = wh_calloc(1, sizeof *j);
    *j = (struct exec_show_job){
        .show = s, .name = wh_mask_text(s->masker, name), .number = ++s->jobs, .log = log};
    j->prefix = s->style == EXEC_LONE ? wh_strdup("") : prefix_of(s, j->name, j->number);
    if (s->style == EXEC_JSON)
        say_job(s, j->name, "started", NULL, NULL, 0);
    return j;
}

void exec_show_end(struct exec_show_job *j, const char *result, uint64_t took_ns)
{
    struct exec_show *s = j->show;
    if (j->line.len > 0) {
        wh_str_addc(&j->line, '\0');
        take_line(j, j->line.data);
        flush(s);
    }
    char took[32];
    wh_duration_text(took_ns, took);
    s->ends[wh_graph_result_parse(result)]++;
    if (s->style == EXEC_JSON)
        say_job(s, j->name, "completed", wh_graph_result_text(wh_graph_result_parse(result)), NULL, took_ns);
    else if (!s->quiet && s->style != EXEC_TTY)
        fprintf(stderr, "wherry: job '%s' %s in %s\n", j->name, result, took);
    wh_close_fd(&j->log);
    wh_str_free(&j->line);
    free(j->prefix);
    free(j->name);
    free(j);
}

void exec_show_note(struct exec_show *s, const char *name, enum wh_graph_result result, const char *reason)
{
    static const char *const words[] = {[WH_GRAPH_NONE] = "is not run",
                                        [WH_GRAPH_SUCCESS] = "succeeded",
                                        [WH_GRAPH_FAILURE] = "failed",
                                        [WH_GRAPH_CANCELLED] = "is cancelled",
                                        [WH_GRAPH_SKIPPED] = "is skipped"};
    wh_autofree char *shown = wh_mask_text(s->masker, name);
    wh_autofree char *why = reason ? wh_mask_text(s->masker, reason) : NULL;
    s->ends[result]++;
    if (s->style == EXEC_JSON)
        say_job(s, shown, "completed", wh_graph_result_text(result), why, 0);
    else if (s->style == EXEC_TTY && result != WH_GRAPH_FAILURE)
        return;
    else if (result == WH_GRAPH_FAILURE || !s->quiet)
        exec_show_say(s, "job '%s' %s%s%s", shown, words[result], why ? ": " : "", why ? why : "");
}

void exec_show_say(struct exec_show *s, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    wh_autofree char *text = wh_vprintf(fmt, args);
    va_end(args);
    wh_autofree char *shown = wh_mask_text(s->masker, text);
    if (s->style == EXEC_JSON) {
        cJSON *json = new_event("note", NULL);
        cJSON_AddStringToObject(json, "text", shown);
        say_event(s, json);
        flush(s);
    } else if (s->style == EXEC_TTY) { /* told when the display is done */
        struct wh_progress_event ev = {.kind = WH_PROGRESS_WARNING, .text = shown};
        wh_progress_feed(s->progress, &ev);
    } else {
        fprintf(stderr, "wherry: %s\n", shown);
    }
}

void exec_show_tick(struct exec_show *s)
{
    if (s->progress)
        wh_progress_tick(s->progress);
}

/* "3 jobs succeeded, 1 failed, 2 were skipped in 12.3s" */
static void say_sum(const struct exec_show *s)
{
    static const struct {
        enum wh_graph_result result;
        const char *words;
    } parts[] = {{WH_GRAPH_SUCCESS, "succeeded"},
                 {WH_GRAPH_FAILURE, "failed"},
                 {WH_GRAPH_CANCELLED, "cancelled"},
                 {WH_GRAPH_SKIPPED, "skipped"}};
    wh_autostr text = {0};
    for (size_t i = 0; i < WH_COUNT(parts); i++)
        if (s->ends[parts[i].result] > 0)
            wh_str_addf(&text, "%s%u %s", text.len > 0 ? ", " : "", s->ends[parts[i].result], parts[i].words);
    char took[32];
    fprintf(stderr, "wherry: jobs: %s in %s\n", wh_str_text(&text),
            wh_duration_text(wh_mono_ns() - s->started, took));
}

void exec_show_finish(struct exec_show *s, const char *result)
{
    if (s->progress)
        wh_progress_finish(s->progress, wh_streq(result, "success"));
    if (s->style == EXEC_JSON) {
        cJSON *json = new_event("run", NULL);
        cJSON_AddStringToObject(json, "result", result);
        say_event(s, json);
        flush(s);
    } else if (!s->quiet && (s->style == EXEC_PLAIN || s->style == EXEC_TTY)) {
        say_sum(s);
    }
}
