/* The spool's journal: one JSON object a line, only ever added to. A line that a death cut off is not there.
 */
#include "github/spool_internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/base/log.h"

#define COUNT_BUFFER ((size_t)64 << 10)
#define MAX_SEGMENTS 65536

/* ---- writing ---- */

/* A journal that can't be written costs what a restart would need, and nothing now. */
static void put(struct wh_spool *s, const char *text, size_t len)
{
    wh_autoerror err = {0};
    if (s->journal >= 0 && wh_write_all(s->journal, text, len, &err) < 0)
        wh_log_debug("spool: journal: %s", wh_error_text(&err));
}

static void put_line(struct wh_spool *s, const char *fmt, ...) WH_PRINTF(2, 3);
static void put_line(struct wh_spool *s, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    wh_autofree char *line = wh_vprintf(fmt, args);
    va_end(args);
    put(s, line, strlen(line));
}

static void put_json(struct wh_spool *s, const cJSON *json)
{
    wh_autofree char *text = wh_json_print(json);
    wh_autofree char *line = wh_printf("%s\n", text);
    put(s, line, strlen(line));
}

#define U(value) ((unsigned long long)(value))

int spool_journal_start(struct wh_spool *s, struct wh_error *err)
{
    s->journal = spool_open_regular(s->dir, SPOOL_JOURNAL, O_WRONLY | O_CREAT | O_EXCL | O_APPEND, err);
    if (s->journal < 0)
        return -1;
    put_line(s, "{\"spool\":%d,\"consumers\":%u}\n", SPOOL_VERSION, s->options.consumers);
    return 0;
}

void spool_journal_log(struct wh_spool *s, size_t number)
{
    const struct spool_log *log = &s->logs[number];
    wh_autojson *json = cJSON_CreateObject();
    wh_json_add_int(json, "log", (int64_t)number);
    wh_json_add_int(json, "kind", log->kind);
    wh_json_add_string(json, "step", log->step_id);
    wh_json_add_string(json, "name", log->name);
    put_json(s, json);
}

void spool_journal_to(struct wh_spool *s)
{
    put_line(s, "{\"to\":%d,\"from\":%llu,\"lines\":%llu}\n", s->current, U(s->written),
             U(s->logs[WH_SPOOL_JOB].lines));
}

void spool_journal_segment(struct wh_spool *s)
{
    put_line(s, "{\"segment\":%llu,\"lines\":%llu}\n", U(s->written), U(s->logs[WH_SPOOL_JOB].lines));
}

void spool_journal_end(struct wh_spool *s, size_t number)
{
    put_line(s, "{\"end\":%zu}\n", number);
}

void spool_journal_mark(struct wh_spool *s, size_t number, enum wh_spool_consumer consumer)
{
    const struct wh_spool_mark *m = &s->logs[number].marks[consumer];
    put_line(s, "{\"mark\":%zu,\"by\":%d,\"pos\":%llu,\"flags\":%u,\"value\":%lld,\"done\":%d}\n", number,
             (int)consumer, U(m->pos), m->flags, (long long)m->value, m->done);
}

void spool_journal_step(struct wh_spool *s, const cJSON *step)
{
    wh_autojson *json = cJSON_CreateObject();
    cJSON_AddItemReferenceToObject(json, "record", (cJSON *)(uintptr_t)step);
    put_json(s, json);
}

/* ---- reading it again ---- */

struct replay {
    struct wh_spool *s;
    uint64_t to_from; /* where the current log's latest run of bytes began */
    uint64_t counted; /* the stream's offset at which the numbers of lines are known */
    bool started;
};

static struct spool_log *log_of(struct wh_spool *s, const cJSON *json, const char *name)
{
    int64_t number = wh_json_int(json, name, -1);
    return number >= 0 && (uint64_t)number < s->nlogs ? &s->logs[number] : NULL;
}

static uint64_t u64(const cJSON *json, const char *name)
{
    int64_t value = wh_json_int(json, name, 0);
    return value > 0 ? (uint64_t)value : 0;
}

/* Gives the bytes since the latest switch, up to `end`, to the log that was current. */
static void close_run(struct replay *r, uint64_t end)
{
    struct wh_spool *s = r->s;
    if (end > r->to_from && s->current != WH_SPOOL_JOB)
        spool_extend(s, &s->logs[s->current], r->to_from, end - r->to_from);
    r->to_from = end;
}

/* The job's log had so many lines at `at`; those since the last such word are the current log's too. */
static void take_lines(struct replay *r, const cJSON *json, uint64_t at)
{
    struct wh_spool *s = r->s;
    if (!s->logs)
        return;
    uint64_t lines = u64(json, "lines"), before = s->logs[WH_SPOOL_JOB].lines;
    if (lines < before || at < r->counted)
        return;
    if (s->current != WH_SPOOL_JOB)
        s->logs[s->current].lines += lines - before;
    s->logs[WH_SPOOL_JOB].lines = lines;
    r->counted = at;
}

static void take_log(struct replay *r, const cJSON *json)
{
    struct wh_spool *s = r->s;
    int64_t kind = wh_json_int(json, "kind", -1);
    const char *step = wh_json_string(json, "step");
    bool text = kind == WH_SPOOL_SUMMARY || kind == WH_SPOOL_DIAGNOSTICS;
    if (wh_json_int(json, "log", -1) != (int64_t)s->nlogs || s->nlogs >= WH_MAX_SPOOL_LOGS ||
        (kind != WH_SPOOL_STEP_LOG && !text))
        return;
    struct spool_log *log = spool_log_add(s, (enum wh_spool_kind)kind, step, wh_json_string(json, "name"));
    if (!text)
        return;
    char name[32];
    struct stat st;
    spool_text_name(s->nlogs - 1, name);
    wh_autoclose int fd = spool_open_regular(s->dir, name, O_RDONLY, NULL);
    log->ended = true;
    if (fd >= 0 && fstat(fd, &st) == 0 && (uint64_t)st.st_size <= WH_MAX_SPOOL_FILE)
        log->size = (uint64_t)st.st_size;
    s->text_bytes += log->size;
}

static void take_mark(struct replay *r, const cJSON *json)
{
    struct spool_log *log = log_of(r->s, json, "mark");
    int64_t by = wh_json_int(json, "by", -1);
    if (!log || by < 0 || by >= WH_SPOOL_CONSUMERS)
        return;
    log->marks[by] = (struct wh_spool_mark){.pos = u64(json, "pos"),
                                            .flags = (unsigned)u64(json, "flags"),
                                            .value = wh_json_int(json, "value", 0),
                                            .done = wh_json_bool(json, "done", false)};
}

static void take_line(struct replay *r, const cJSON *json)
{
    struct wh_spool *s = r->s;
    struct spool_log *log;
    if (wh_json_get(json, "log")) {
        take_log(r, json);
    } else if ((log = log_of(s, json, "to"))) {
        uint64_t from = u64(json, "from");
        if (from < r->to_from)
            return;
        close_run(r, from);
        take_lines(r, json, from);
        s->current = (int)(log - s->logs);
    } else if (wh_json_get(json, "segment")) {
        take_lines(r, json, u64(json, "segment"));
    } else if ((log = log_of(s, json, "end"))) {
        log->ended = true;
    } else if (wh_json_get(json, "mark")) {
        take_mark(r, json);
    } else if (cJSON_IsObject(wh_json_get(json, "record"))) {
        spool_take_step(s, cJSON_Duplicate(wh_json_get(json, "record"), true));
    }
}

static int take_head(struct wh_spool *s, const cJSON *json, struct wh_error *err)
{
    if (wh_json_int(json, "spool", 0) != SPOOL_VERSION)
        return wh_fail(err, WH_E_CORRUPT, "spool: the journal is of another version");
    s->options.consumers = (unsigned)u64(json, "consumers");
    spool_log_add(s, WH_SPOOL_JOB_LOG, NULL, NULL);
    return 0;
}

/* Returns how many bytes of the text are whole lines. */
static int read_lines(struct replay *r, const struct wh_str *text, size_t *whole, struct wh_error *err)
{
    struct wh_view rest = {wh_str_text(text), text->len};
    *whole = 0;
    for (const char *end; (end = memchr(rest.data, '\n', rest.len));) {
        size_t len = (size_t)(end - rest.data);
        wh_autojson *json = wh_json_parse(rest.data, len, WH_MAX_SPOOL_JOURNAL, "spool journal", NULL);
        if (!json || !cJSON_IsObject(json)) {
            if (!r->started)
                return wh_fail(err, WH_E_CORRUPT, "spool: the journal is none");
        } else if (!r->started) {
            if (take_head(r->s, json, err) < 0)
                return -1;
            r->started = true;
        } else {
            take_line(r, json);
        }
        rest.data += len + 1;
        rest.len -= len + 1;
        *whole += len + 1;
    }
    return r->started ? 0 : wh_fail(err, WH_E_CORRUPT, "spool: the journal is empty");
}

static int by_from(const void *a, const void *b)
{
    const struct spool_segment *x = a, *y = b;
    return x->from < y->from ? -1 : x->from > y->from;
}

static int find_segments(struct wh_spool *s, struct wh_error *err)
{
    int copy = dup(s->dir);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    if (!dir)
        return wh_fail_errno(err, "spool: %s", s->folder);
    rewinddir(dir);
    for (const struct dirent *e; (e = readdir(dir)) && s->nsegments < MAX_SEGMENTS;) {
        char name[32];
        struct stat st;
        if (strncmp(e->d_name, "stream.", 7) != 0)
            continue;
        uint64_t from = strtoull(e->d_name + 7, NULL, 16);
        spool_segment_name(from, name);
        if (from > INT64_MAX || !wh_streq(name, e->d_name))
            continue;
        wh_autoclose int fd = spool_open_regular(s->dir, name, O_RDONLY, NULL);
        if (fd >= 0 && fstat(fd, &st) == 0)
            spool_segment_add(s, from, (uint64_t)st.st_size);
    }
    closedir(dir);
    if (s->nsegments)
        qsort(s->segments, s->nsegments, sizeof *s->segments, by_from);
    /* After a power loss a file may be shorter than it was: what lies behind the hole stands in no order. */
    for (size_t i = 1; i < s->nsegments; i++) {
        if (s->segments[i].from != s->segments[i - 1].from + s->segments[i - 1].len)
            s->nsegments = i;
    }
    return 0;
}

/* The last write may have been cut off in a line: the line gets its end. */
static int mend_tail(struct wh_spool *s, struct wh_error *err)
{
    char name[32], last;
    if (s->nsegments == 0)
        return 0;
    struct spool_segment *segment = &s->segments[s->nsegments - 1];
    spool_segment_name(segment->from, name);
    s->out = spool_open_regular(s->dir, name, O_RDWR, err);
    if (s->out < 0)
        return -1;
    if (segment->len > 0 && pread(s->out, &last, 1, (off_t)segment->len - 1) == 1 && last != '\n' &&
        pwrite(s->out, "\n", 1, (off_t)segment->len) == 1)
        segment->len++;
    s->written = segment->from + segment->len;
    return 0;
}

static int count_rest(struct replay *r, struct wh_error *err)
{
    struct wh_spool *s = r->s;
    wh_autofree char *buf = wh_malloc(COUNT_BUFFER);
    uint64_t at = r->counted;
    s->logs[WH_SPOOL_JOB].size = s->written;
    while (at < s->written) {
        ssize_t n = wh_spool_read(s, WH_SPOOL_JOB, at, buf, COUNT_BUFFER, err);
        if (n <= 0)
            return -1;
        uint64_t lines = spool_count_lines(buf, (size_t)n);
        s->logs[WH_SPOOL_JOB].lines += lines;
        if (s->current != WH_SPOOL_JOB)
            s->logs[s->current].lines += lines;
        at += (uint64_t)n;
    }
    return 0;
}

static void mend_marks(struct wh_spool *s)
{
    for (size_t i = 0; i < s->nlogs; i++)
        for (unsigned c = 0; c < WH_SPOOL_CONSUMERS; c++)
            s->logs[i].marks[c].pos = WH_MIN(s->logs[i].marks[c].pos, s->logs[i].size);
}

int spool_replay(struct wh_spool *s, struct wh_error *err)
{
    struct replay r = {.s = s};
    wh_autostr text = {0};
    size_t whole = 0;
    s->journal = spool_open_regular(s->dir, SPOOL_JOURNAL, O_RDWR | O_APPEND, err);
    if (s->journal < 0 || wh_read_fd(s->journal, WH_MAX_SPOOL_JOURNAL, "spool journal", &text, err) < 0)
        return -1;
    if (read_lines(&r, &text, &whole, err) < 0 || find_segments(s, err) < 0 || mend_tail(s, err) < 0)
        return -1;
    if (whole < text.len && ftruncate(s->journal, (off_t)whole) < 0)
        return wh_fail_errno(err, "spool: journal");
    close_run(&r, s->written);
    if (count_rest(&r, err) < 0)
        return -1;
    mend_marks(s);
    spool_release(s);
    return 0;
}
