/* What a runner keeps in its folder while it runs: the lock, the session's id, the counts. */
#include <errno.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"

#define LOCK_FILE "lock"
#define SESSION_FILE "session"
#define COUNTS_FILE "counts.json"
#define WH_MAX_SESSION_FILE 1024
#define WH_MAX_COUNTS_FILE ((size_t)64 << 10)
#define WH_MAX_LOCK_FILE 64
#define WH_MAX_LOCKS_LIST ((size_t)4 << 20)

static int folder(const struct runner *r, struct wh_error *err)
{
    return wh_runner_dir_open(r->d->options->state, r->name, false, err);
}

/* ---- the lock: one agent a runner ---- */

static int held(int fd, const char *name, struct wh_error *err)
{
    wh_autostr text = {0};
    uint64_t pid = 0;
    if (wh_read_fd(fd, WH_MAX_LOCK_FILE, LOCK_FILE, &text, NULL) == 0)
        (void)wh_parse_u64(wh_str_text(&text), INT32_MAX, &pid);
    if (pid == 0)
        return wh_fail(err, WH_E_BUSY, "another agent runs \"%s\" on this machine already", name);
    return wh_fail(err, WH_E_BUSY, "another agent (process %llu) runs \"%s\" on this machine already",
                   (unsigned long long)pid, name);
}

int runner_lock(struct runner *r, struct wh_error *err)
{
    wh_autoclose int dir = folder(r, err);
    if (dir < 0)
        return -1;
    wh_autoclose int fd = openat(dir, LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return wh_fail_errno(err, "the lock of runner %s", r->name);
    if (flock(fd, LOCK_EX | LOCK_NB))
        return held(fd, r->name, err);
    /* Who holds it is for people: flock alone decides. */
    if (ftruncate(fd, 0) == 0)
        (void)dprintf(fd, "%d", (int)getpid());
    r->lock_fd = wh_steal_fd(&fd);
    return 0;
}

/* ---- the work folder's: two runners in one would delete each other's files ---- */

/* By the kernel's list of locks; 0: it does not say. */
static uint64_t holder_of(int fd)
{
    struct stat st;
    wh_autostr text = {0};
    if (fstat(fd, &st) || wh_read_file(AT_FDCWD, "/proc/locks", WH_MAX_LOCKS_LIST, &text, NULL) < 0)
        return 0;
    wh_autofree char *place =
        wh_printf(" %02x:%02x:%llu ", major(st.st_dev), minor(st.st_dev), (unsigned long long)st.st_ino);
    const char *at = strstr(wh_str_text(&text), place), *word = at;
    while (word && word > text.data && word[-1] >= '0' && word[-1] <= '9')
        word--;
    return word && word < at ? strtoull(word, NULL, 10) : 0;
}

int runner_lock_work(struct runner *r, struct wh_error *err)
{
    const char *work = r->config->work;
    wh_autoclose int fd = open(work, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return wh_fail_errno(err, "the work folder %s", work);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        r->work_fd = wh_steal_fd(&fd);
        return 0;
    }
    uint64_t pid = holder_of(fd);
    wh_autofree char *who = pid == (uint64_t)getpid() ? wh_strdup("another runner of this agent works")
                            : pid ? wh_printf("another agent (process %llu) works", (unsigned long long)pid)
                                  : wh_strdup("another runner works");
    return wh_fail(
        err, WH_E_BUSY,
        "%s in %s already, and two would delete each other's files: register this one with another "
        "--work DIR",
        who, work);
}

/* ---- the session's id: an agent that was killed leaves a session, which would be a conflict for minutes. No
 * fsync: losing it costs only that wait. ---- */

void runner_note_session(const struct runner *r, const char *id)
{
    wh_autoclose int dir = folder(r, NULL);
    if (dir < 0)
        return;
    if (!id) {
        unlinkat(dir, SESSION_FILE, 0);
        return;
    }
    (void)wh_write_file_quick(dir, SESSION_FILE, id, strlen(id), 0600, NULL);
}

char *runner_noted_session(const struct runner *r)
{
    wh_autoclose int dir = folder(r, NULL);
    wh_autostr text = {0};
    if (dir < 0 || wh_read_file(dir, SESSION_FILE, WH_MAX_SESSION_FILE, &text, NULL) < 0)
        return NULL;
    struct wh_view id = wh_view_trim((struct wh_view){.data = text.data, .len = text.len});
    return id.len ? wh_view_dup(id) : NULL;
}

/* ---- counts ---- */

void runner_counts_load(struct runner *r)
{
    struct runner_counts *c = &r->counts;
    wh_autoclose int dir = folder(r, NULL);
    wh_autostr text = {0};
    if (dir < 0 || wh_read_file(dir, COUNTS_FILE, WH_MAX_COUNTS_FILE, &text, NULL) < 0)
        return;
    wh_autojson *json = wh_json_parse(wh_str_text(&text), text.len, WH_MAX_COUNTS_FILE, COUNTS_FILE, NULL);
    const struct {
        const char *name;
        uint64_t *to;
    } numbers[] = {{"jobs", &c->jobs},
                   {"succeeded", &c->succeeded},
                   {"failed", &c->failed},
                   {"canceled", &c->canceled},
                   {"lost", &c->lost}};
    for (size_t i = 0; i < WH_COUNT(numbers); i++)
        *numbers[i].to = (uint64_t)WH_MAX(wh_json_int(json, numbers[i].name, 0), 0);
    const char *end = wh_json_string(json, "lastEnd");
    if (!end || !wh_time_parse_iso(end, &c->last_end_ns))
        c->last_end_ns = 0;
    free(c->last_job);
    free(c->last_result);
    c->last_job = wh_strdup(wh_json_string(json, "lastJob"));
    c->last_result = wh_strdup(wh_json_string(json, "lastResult"));
}

static void counts_save(const struct runner *r)
{
    const struct runner_counts *c = &r->counts;
    wh_autoclose int dir = folder(r, NULL);
    wh_autojson *json = cJSON_CreateObject();
    wh_autoerror err = {0};
    char stamp[40];
    wh_json_add_int(json, "jobs", (int64_t)c->jobs);
    wh_json_add_int(json, "succeeded", (int64_t)c->succeeded);
    wh_json_add_int(json, "failed", (int64_t)c->failed);
    wh_json_add_int(json, "canceled", (int64_t)c->canceled);
    wh_json_add_int(json, "lost", (int64_t)c->lost);
    wh_json_add_string(json, "lastEnd", wh_time_iso(c->last_end_ns, 3, stamp));
    wh_json_add_string(json, "lastJob", c->last_job);
    wh_json_add_string(json, "lastResult", c->last_result);
    wh_autofree char *text = wh_json_print(json);
    if (dir >= 0 && wh_write_file_quick(dir, COUNTS_FILE, text, strlen(text), 0600, &err))
        wh_log_warning("the counts of jobs: %s", wh_error_text(&err));
}

void runner_counts_add(struct runner *r, const char *job, const char *result)
{
    struct runner_counts *c = &r->counts;
    c->jobs++;
    if (wh_starts_with(result, "succeeded"))
        c->succeeded++;
    else if (wh_streq(result, "canceled"))
        c->canceled++;
    else if (wh_streq(result, "failed"))
        c->failed++;
    else
        c->lost++;
    c->last_end_ns = wh_now_ns();
    free(c->last_job);
    free(c->last_result);
    c->last_job = wh_strdup(job);
    c->last_result = wh_strdup(result);
    counts_save(r);
}
