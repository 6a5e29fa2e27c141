/* Records of a run without a service: lines go to a descriptor, the rest to a file if one is wanted. */
#include <unistd.h>

#include "wherry/base/fs.h"
#include "worker/record.h"

#define WRITE_SIZE ((size_t)32 << 10)

struct local {
    struct wh_sink sink;
    int fd;
    int result;  /* what completejob would say is written here; -1: nowhere */
    bool tagged; /* lines and states as agent/cmd/exec_show.c reads them */
    cJSON *summaries;
    struct wh_str out;
};

static void write_out(struct local *l)
{
    if (l->out.len > 0)
        (void)wh_write_all(l->fd, l->out.data, l->out.len,
                           NULL); /* a reader that went away is no failure of the job */
    wh_str_clear(&l->out);
}

static void add_name(struct local *l, const char *name)
{
    for (; name && *name; name++)
        wh_str_addc(&l->out, (unsigned char)*name < ' ' ? ' ' : *name);
}

static void state(struct wh_sink *s, const struct wh_timeline *r)
{
    struct local *l = (struct local *)s;
    const char *conclusion = wh_task_result_text(r->conclusion);
    bool completed = r->status == WH_STEP_COMPLETED;
    if (l->tagged && r->status != WH_STEP_PENDING) {
        wh_str_addf(&l->out, "S%d\t%s\t%s\t", r->number, completed ? "completed" : "started",
                    completed && conclusion ? conclusion : "");
        add_name(l, r->name);
        wh_str_addc(&l->out, '\n');
    }
    write_out(l);
}

static void flush(struct wh_sink *s, wh_sink_done_fn done, void *data)
{
    write_out((struct local *)s);
    done(data, NULL);
}

static void line(struct wh_sink *s, const struct wh_timeline *r, uint64_t number, const char *text,
                 size_t len)
{
    (void)number;
    struct local *l = (struct local *)s;
    const char *end = text + len;
    do { /* several lines in one text get a tag each */
        const char *newline = l->tagged ? memchr(text, '\n', (size_t)(end - text)) : NULL;
        const char *stop = newline ? newline : end;
        if (l->tagged)
            wh_str_addf(&l->out, "L%d\t", r->number);
        wh_str_addn(&l->out, text, (size_t)(stop - text));
        wh_str_addc(&l->out, '\n');
        text = stop + 1;
    } while (text <= end);
    if (l->out.len >= WRITE_SIZE)
        write_out(l);
}

/* Called once a turn of the loop: what was gathered is shown then. */
static void log_lines(struct wh_sink *s, struct wh_timeline *r, const char *data, size_t len, uint64_t lines)
{
    (void)r;
    (void)data;
    (void)len;
    (void)lines;
    write_out((struct local *)s);
}

static void log_end(struct wh_sink *s, struct wh_timeline *r)
{
    (void)r;
    write_out((struct local *)s);
}

static void summary(struct wh_sink *s, const struct wh_timeline *r, const char *text, size_t len)
{
    struct local *l = (struct local *)s;
    if (l->result < 0)
        return;
    wh_autofree char *copy = wh_strndup(text, len);
    wh_json_add_string(l->summaries, r->id, copy);
}

static void write_result(struct local *l, const struct wh_github_completion *completion)
{
    wh_autojson *json = wh_github_completejob_body(completion);
    cJSON_AddItemToObject(json, "summaries", wh_steal(&l->summaries));
    wh_autofree char *text = cJSON_Print(json);
    (void)wh_write_all(l->result, text, strlen(text), NULL);
}

static void finish(struct wh_sink *s, const struct wh_github_completion *completion, wh_sink_done_fn done,
                   void *data)
{
    struct local *l = (struct local *)s;
    if (l->result >= 0)
        write_result(l, completion);
    write_out(l);
    done(data, NULL);
}

static void local_free(struct wh_sink *s)
{
    struct local *l = (struct local *)s;
    write_out(l);
    wh_str_free(&l->out);
    cJSON_Delete(l->summaries);
    if (l->result >= 0)
        close(l->result);
    free(l);
}

static const struct wh_sink_ops ops = {.state = state,
                                       .flush = flush,
                                       .line = line,
                                       .log = log_lines,
                                       .log_end = log_end,
                                       .summary = summary,
                                       .finish = finish,
                                       .free = local_free};

struct wh_sink *wh_sink_local(int fd, int result, bool tagged)
{
    struct local *l = wh_calloc(1, sizeof *l);
    l->sink.ops = &ops;
    l->fd = fd;
    l->result = result;
    l->tagged = tagged;
    l->summaries = cJSON_CreateObject();
    return &l->sink;
}
