/* Reading a spool's logs, and freeing what nobody wants any more. */
#include "github/spool_internal.h"

#include <errno.h>
#include <unistd.h>

#include "wherry/base/fs.h"

#define NOT_ON_DISK UINT64_MAX

/* ---- reading ---- */

static const struct spool_extent *extent_at(const struct spool_log *log, uint64_t pos)
{
    size_t low = 0, high = log->nextents;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (log->extents[middle].at + log->extents[middle].len <= pos)
            low = middle + 1;
        else
            high = middle;
    }
    return low < log->nextents ? &log->extents[low] : NULL;
}

static const struct spool_segment *segment_at(const struct wh_spool *s, uint64_t at)
{
    size_t low = 0, high = s->nsegments;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->segments[middle].from + s->segments[middle].len <= at)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < s->nsegments && s->segments[low].from <= at;
    return found ? &s->segments[low] : NULL;
}

static ssize_t read_at(int fd, uint64_t at, char *buf, size_t cap, struct wh_error *err)
{
    ssize_t n;
    do
        n = pread(fd, buf, cap, (off_t)at);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return wh_fail_errno(err, "spool: read");
    return n > 0 ? n : wh_fail(err, WH_E_CORRUPT, "spool: a file is shorter than it was");
}

static ssize_t read_stream(struct wh_spool *s, uint64_t at, char *buf, size_t cap, struct wh_error *err)
{
    const struct spool_segment *segment = segment_at(s, at);
    if (!segment)
        return wh_fail(err, WH_E_CORRUPT, "spool: bytes at %llu are gone", (unsigned long long)at);
    int fd = s->out;
    if (segment != &s->segments[s->nsegments - 1]) {
        if (s->in < 0 || s->in_from != segment->from) {
            char name[32];
            spool_close(&s->in);
            spool_segment_name(segment->from, name);
            s->in = spool_open_regular(s->dir, name, O_RDONLY, err);
            s->in_from = segment->from;
        }
        fd = s->in;
    }
    if (fd < 0)
        return -1;
    uint64_t within = at - segment->from;
    return read_at(fd, within, buf, (size_t)WH_MIN((uint64_t)cap, segment->len - within), err);
}

static ssize_t read_text(struct wh_spool *s, size_t number, uint64_t pos, char *buf, size_t cap,
                         struct wh_error *err)
{
    char name[32];
    spool_text_name(number, name);
    wh_autoclose int fd = spool_open_regular(s->dir, name, O_RDONLY, err);
    return fd < 0 ? -1 : read_at(fd, pos, buf, cap, err);
}

ssize_t wh_spool_read(struct wh_spool *s, int number, uint64_t pos, char *buf, size_t cap,
                      struct wh_error *err)
{
    const struct spool_log *log = &s->logs[number];
    if (pos >= log->size || cap == 0)
        return 0;
    cap = (size_t)WH_MIN((uint64_t)cap, log->size - pos);
    if (log->kind == WH_SPOOL_JOB_LOG)
        return read_stream(s, pos, buf, cap, err);
    if (log->kind != WH_SPOOL_STEP_LOG)
        return read_text(s, (size_t)number, pos, buf, cap, err);
    const struct spool_extent *extent = extent_at(log, pos);
    if (!extent)
        return wh_fail(err, WH_E_CORRUPT, "spool: bytes of a log are gone");
    uint64_t within = pos - extent->at;
    return read_stream(s, extent->from + within, buf, (size_t)WH_MIN((uint64_t)cap, extent->len - within),
                       err);
}

/* ---- marks, and what nobody wants any more ---- */

struct wh_spool_mark wh_spool_mark(const struct wh_spool *s, int log, enum wh_spool_consumer consumer)
{
    return s->logs[log].marks[consumer];
}

static bool done_for_all(const struct spool_log *log)
{
    for (unsigned c = 0; c < WH_SPOOL_CONSUMERS; c++)
        if (!log->marks[c].done)
            return false;
    return true;
}

/* The first byte of the stream that this log still needs. */
static uint64_t needs_from(const struct spool_log *log)
{
    uint64_t pos = NOT_ON_DISK;
    if (log->kind != WH_SPOOL_JOB_LOG && log->kind != WH_SPOOL_STEP_LOG)
        return pos;
    for (unsigned c = 0; c < WH_SPOOL_CONSUMERS; c++)
        if (!log->marks[c].done)
            pos = WH_MIN(pos, log->marks[c].pos);
    if (pos >= log->size || log->kind == WH_SPOOL_JOB_LOG)
        return pos >= log->size ? NOT_ON_DISK : pos;
    const struct spool_extent *extent = extent_at(log, pos);
    return extent ? extent->from + (pos - extent->at) : NOT_ON_DISK;
}

void spool_release(struct wh_spool *s)
{
    uint64_t need = s->written;
    while (s->first_wanted < s->nlogs && s->logs[s->first_wanted].ended &&
           done_for_all(&s->logs[s->first_wanted]))
        s->first_wanted++;
    for (size_t i = s->first_wanted; i < s->nlogs; i++)
        need = WH_MIN(need, needs_from(&s->logs[i]));
    size_t gone = 0;
    while (gone + 1 < s->nsegments && s->segments[gone].from + s->segments[gone].len <= need) {
        char name[32];
        spool_segment_name(s->segments[gone].from, name);
        if (s->in >= 0 && s->in_from == s->segments[gone].from)
            spool_close(&s->in);
        unlinkat(s->dir, name, 0);
        gone++;
    }
    if (gone == 0)
        return;
    s->nsegments -= gone;
    memmove(s->segments, s->segments + gone, s->nsegments * sizeof *s->segments);
}

void wh_spool_set_mark(struct wh_spool *s, int number, enum wh_spool_consumer consumer,
                       const struct wh_spool_mark *mark)
{
    struct spool_log *log = &s->logs[number];
    log->marks[consumer] = *mark;
    spool_journal_mark(s, (size_t)number, consumer);
    bool text = log->kind == WH_SPOOL_SUMMARY || log->kind == WH_SPOOL_DIAGNOSTICS;
    if (text && done_for_all(log)) {
        char name[32];
        spool_text_name((size_t)number, name);
        unlinkat(s->dir, name, 0);
        s->text_bytes -= WH_MIN(s->text_bytes, log->size);
    }
    spool_release(s);
}
