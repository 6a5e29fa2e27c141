/* The spool's stream, its segments, and the logs in it. */
#include "github/spool_internal.h"

#include <errno.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/base/log.h"

#define OVER_BYTES ((uint64_t)16 << 20) /* the runner's own words beyond the bound */
#define ONE_TURN ((uint64_t)2 << 20)    /* a line of the greatest length, masked and stamped */
#define LOOK_EACH ((uint64_t)16 << 20)  /* bytes written between two looks at the disk */
#define KEEP_FREE_SHARE 20              /* on a small disk this part of it, where that is less */

/* ---- files ---- */

void spool_segment_name(uint64_t from, char name[32])
{
    snprintf(name, 32, "stream.%016llx", (unsigned long long)from);
}

void spool_text_name(size_t number, char name[32])
{
    snprintf(name, 32, "text.%zu", number);
}

/* What lies in the folder may have been put there by the job: no link is followed, no pipe is waited for. */
int spool_open_regular(int dir, const char *name, int flags, struct wh_error *err)
{
    struct stat st;
    int fd = openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd < 0)
        return wh_fail_errno(err, "spool: %s", name);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return wh_fail(err, WH_E_CORRUPT, "spool: %s is no regular file", name);
    }
    return fd;
}

/* ---- life ---- */

static struct wh_spool *spool_new(const char *folder, const struct wh_spool_options *options)
{
    struct wh_spool *s = wh_calloc(1, sizeof *s);
    s->folder = wh_strdup(folder);
    s->options = *options;
    if (!s->options.max_bytes)
        s->options.max_bytes = WH_SPOOL_BYTES;
    s->options.max_bytes = WH_MAX(s->options.max_bytes, WH_SPOOL_LEAST);
    if (!s->options.keep_free)
        s->options.keep_free = WH_SPOOL_KEEP_FREE;
    s->dir = s->journal = s->out = s->in = -1;
    s->steps = cJSON_CreateArray();
    return s;
}

static int open_folder(struct wh_spool *s, struct wh_error *err)
{
    s->dir = open(s->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return s->dir < 0 ? wh_fail_errno(err, "spool: %s", s->folder) : 0;
}

static int create(struct wh_spool *s, struct wh_error *err)
{
    if (mkdir(s->folder, 0700) < 0 && errno != EEXIST)
        return wh_fail_errno(err, "spool: %s", s->folder);
    if (open_folder(s, err) < 0 || wh_remove_contents(s->dir, ".", err) < 0)
        return -1;
    spool_log_add(s, WH_SPOOL_JOB_LOG, NULL, NULL);
    return spool_journal_start(s, err);
}

struct wh_spool *wh_spool_create(const char *folder, const struct wh_spool_options *options,
                                 struct wh_error *err)
{
    struct wh_spool *s = spool_new(folder, options);
    if (create(s, err) < 0) {
        wh_spool_free(s);
        return NULL;
    }
    return s;
}

struct wh_spool *wh_spool_open(const char *folder, const struct wh_spool_options *options,
                               struct wh_error *err)
{
    struct wh_spool *s = spool_new(folder, options);
    if (open_folder(s, err) < 0 || spool_replay(s, err) < 0) {
        wh_spool_free(s);
        return NULL;
    }
    return s;
}

void spool_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void wh_spool_free(struct wh_spool *s)
{
    if (!s)
        return;
    spool_close(&s->in);
    spool_close(&s->out);
    spool_close(&s->journal);
    spool_close(&s->dir);
    for (size_t i = 0; i < s->nlogs; i++) {
        free(s->logs[i].step_id);
        free(s->logs[i].name);
        free(s->logs[i].extents);
    }
    cJSON_Delete(s->steps);
    free(s->logs);
    free(s->segments);
    free(s->folder);
    free(s);
}

void wh_spool_delete(struct wh_spool *s)
{
    if (!s)
        return;
    wh_autoerror err = {0};
    if (wh_remove_tree(AT_FDCWD, s->folder, &err) < 0)
        wh_log_warning("%s", wh_error_text(&err));
    wh_spool_free(s);
}

/* ---- logs ---- */

struct spool_log *spool_log_add(struct wh_spool *s, enum wh_spool_kind kind, const char *step_id,
                                const char *name)
{
    if (s->nlogs == s->logs_cap) {
        s->logs_cap = s->logs_cap ? s->logs_cap * 2 : 16;
        s->logs = wh_reallocarray(s->logs, s->logs_cap, sizeof *s->logs);
    }
    struct spool_log *log = &s->logs[s->nlogs++];
    memset(log, 0, sizeof *log);
    log->kind = kind;
    log->step_id = wh_strdup(step_id);
    log->name = wh_strdup(name);
    for (unsigned c = 0; c < WH_SPOOL_CONSUMERS; c++)
        log->marks[c].done = !(s->options.consumers & 1u << c);
    return log;
}

static int add_log(struct wh_spool *s, enum wh_spool_kind kind, const char *step_id, const char *name,
                   struct wh_error *err)
{
    if (s->nlogs == WH_MAX_SPOOL_LOGS)
        return wh_fail(err, WH_E_LIMIT, "more than %d logs in one job", WH_MAX_SPOOL_LOGS);
    spool_log_add(s, kind, step_id, name);
    return (int)s->nlogs - 1;
}

int wh_spool_log(struct wh_spool *s, const char *step_id, struct wh_error *err)
{
    int number = add_log(s, WH_SPOOL_STEP_LOG, step_id, NULL, err);
    if (number >= 0)
        spool_journal_log(s, (size_t)number);
    return number;
}

int wh_spool_text(struct wh_spool *s, enum wh_spool_kind kind, const char *step_id, const char *name,
                  const char *data, size_t len, struct wh_error *err)
{
    char file[32];
    if (len > WH_MAX_SPOOL_FILE)
        return wh_fail(err, WH_E_LIMIT, "a text of %zu bytes", len);
    int number = add_log(s, kind, step_id, name, err);
    if (number < 0)
        return -1;
    spool_text_name((size_t)number, file);
    wh_autoclose int fd = spool_open_regular(s->dir, file, O_WRONLY | O_CREAT | O_TRUNC, err);
    struct spool_log *log = &s->logs[number];
    log->ended = true;
    if (fd < 0 || wh_write_all(fd, data, len, err) < 0) {
        for (unsigned c = 0; c < WH_SPOOL_CONSUMERS; c++)
            log->marks[c].done = true;
        return -1;
    }
    log->size = len;
    s->text_bytes += len;
    spool_journal_log(s, (size_t)number);
    return number;
}

size_t wh_spool_count(const struct wh_spool *s)
{
    return s->nlogs;
}

enum wh_spool_kind wh_spool_kind_of(const struct wh_spool *s, int log)
{
    return s->logs[log].kind;
}

const char *wh_spool_step_id(const struct wh_spool *s, int log)
{
    return s->logs[log].step_id;
}

const char *wh_spool_name(const struct wh_spool *s, int log)
{
    return s->logs[log].name;
}

uint64_t wh_spool_size(const struct wh_spool *s, int log)
{
    return s->logs[log].size;
}

uint64_t wh_spool_lines(const struct wh_spool *s, int log)
{
    return s->logs[log].lines;
}

bool wh_spool_ended(const struct wh_spool *s, int log)
{
    return s->logs[log].ended;
}

void wh_spool_end(struct wh_spool *s, int log)
{
    if (s->logs[log].ended)
        return;
    s->logs[log].ended = true;
    spool_journal_end(s, (size_t)log);
    for (size_t i = 1; log == WH_SPOOL_JOB && i < s->nlogs; i++)
        wh_spool_end(s, (int)i);
}

/* ---- writing ---- */

void spool_segment_add(struct wh_spool *s, uint64_t from, uint64_t len)
{
    if (s->nsegments == s->segments_cap) {
        s->segments_cap = s->segments_cap ? s->segments_cap * 2 : 16;
        s->segments = wh_reallocarray(s->segments, s->segments_cap, sizeof *s->segments);
    }
    s->segments[s->nsegments++] = (struct spool_segment){from, len};
}

static int segment_for_write(struct wh_spool *s, struct wh_error *err)
{
    if (s->out >= 0 && s->segments[s->nsegments - 1].len < WH_MIN(WH_SPOOL_SEGMENT, s->options.max_bytes / 8))
        return 0;
    char name[32];
    spool_segment_name(s->written, name);
    int fd = spool_open_regular(s->dir, name, O_RDWR | O_CREAT | O_TRUNC, err);
    if (fd < 0)
        return -1;
    spool_close(&s->out);
    s->out = fd;
    spool_segment_add(s, s->written, 0);
    spool_journal_segment(s);
    spool_release(s); /* the segment before may be wanted by nobody any more */
    return 0;
}

void spool_extend(struct wh_spool *s, struct spool_log *log, uint64_t from, uint64_t len)
{
    (void)s;
    struct spool_extent *last = log->nextents ? &log->extents[log->nextents - 1] : NULL;
    if (last && last->from + last->len == from) {
        last->len += len;
    } else {
        if (!log->extents || log->nextents == log->cap) {
            log->cap = log->cap ? log->cap * 2 : 2;
            log->extents = wh_reallocarray(log->extents, log->cap, sizeof *log->extents);
        }
        log->extents[log->nextents++] = (struct spool_extent){log->size, from, len};
    }
    log->size += len;
}

static int append(struct wh_spool *s, const char *data, size_t len, struct wh_error *err)
{
    struct spool_segment *segment = &s->segments[s->nsegments - 1];
    size_t done = 0;
    while (done < len) {
        ssize_t n = pwrite(s->out, data + done, len - done, (off_t)(segment->len + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                errno = ENOSPC;
            wh_fail_errno(err, "spool: write");
            if (ftruncate(s->out, (off_t)segment->len) < 0)
                wh_log_debug("spool: cannot undo a write");
            return -1;
        }
        done += (size_t)n;
    }
    segment->len += len;
    s->written += len;
    s->total += len;
    return 0;
}

uint64_t wh_spool_waiting(const struct wh_spool *s)
{
    uint64_t stream = s->nsegments ? s->written - s->segments[0].from : 0;
    return stream + s->text_bytes;
}

static void look_at_disk(struct wh_spool *s)
{
    struct statvfs fs;
    s->looked_at = s->total;
    s->low = false;
    if (fstatvfs(s->dir, &fs) < 0)
        return;
    uint64_t keep = WH_MIN(s->options.keep_free, (uint64_t)fs.f_blocks * fs.f_frsize / KEEP_FREE_SHARE);
    s->low = (uint64_t)fs.f_bavail * fs.f_frsize < keep;
}

bool wh_spool_full(struct wh_spool *s)
{
    /* While the disk is low nothing is written, so time must do what bytes do else: look each time. */
    if (s->low || s->total - s->looked_at >= LOOK_EACH || s->looked_at == 0)
        look_at_disk(s);
    return s->low || wh_spool_waiting(s) + ONE_TURN >= s->options.max_bytes;
}

int wh_spool_write(struct wh_spool *s, int log, const char *data, size_t len, uint64_t lines, bool over,
                   struct wh_error *err)
{
    uint64_t bound = s->options.max_bytes + (over ? OVER_BYTES : 0);
    if (s->logs[log].ended)
        return wh_fail(err, WH_E_FAILED, "spool: the log is at its end");
    if ((!over && s->low) || wh_spool_waiting(s) + len > bound)
        return wh_fail(err, WH_E_NO_SPACE, "spool: %llu MiB wait for their upload",
                       (unsigned long long)(wh_spool_waiting(s) >> 20));
    int before = s->current;
    bool first = s->out < 0;
    s->current = log;
    if (segment_for_write(s, err) < 0)
        return -1;
    if (log != before || first)
        spool_journal_to(s);
    uint64_t from = s->written;
    if (append(s, data, len, err) < 0)
        return -1;
    if (log != WH_SPOOL_JOB) {
        spool_extend(s, &s->logs[log], from, len);
        s->logs[log].lines += lines;
    }
    s->logs[WH_SPOOL_JOB].size = s->written;
    s->logs[WH_SPOOL_JOB].lines += lines;
    return 0;
}

/* ---- steps ---- */

void spool_take_step(struct wh_spool *s, cJSON *step)
{
    const char *id = wh_json_string(step, "id");
    cJSON *old;
    cJSON_ArrayForEach(old, s->steps)
    {
        if (id && wh_streq(wh_json_string(old, "id"), id)) {
            cJSON_ReplaceItemViaPointer(s->steps, old, step);
            return;
        }
    }
    if (id && cJSON_GetArraySize(s->steps) < WH_MAX_SPOOL_LOGS)
        cJSON_AddItemToArray(s->steps, step);
    else
        cJSON_Delete(step);
}

void wh_spool_note_step(struct wh_spool *s, const cJSON *step)
{
    spool_take_step(s, cJSON_Duplicate(step, true));
    spool_journal_step(s, step);
}

const cJSON *wh_spool_steps(const struct wh_spool *s)
{
    return s->steps;
}

uint64_t spool_count_lines(const char *data, size_t len)
{
    uint64_t lines = 0;
    for (const char *p = data; (p = memchr(p, '\n', len - (size_t)(p - data))); p++)
        lines++;
    return lines;
}
