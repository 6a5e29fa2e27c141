/* What is kept of a running job on disk, so that an agent that dies at any instant finishes it after its
 * restart (docs/protocol.md, "A runner's files"). Two sealed files in the runner's folder: `job.sealed` is
 * the agent's own, from the announcement on; `completion.sealed` is what the worker wants to complete the job
 * with, as it said it: bytes that only another worker reads. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"
#include "wherry/config/sealed.h"

#define JOB_FILE "job.sealed"
#define COMPLETION_FILE "completion.sealed"
#define KEPT_FORMAT 1
#define MAX_JOB_FILE ((size_t)4 << 20)
#define WANTED_SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)

static int folder(const struct runner *r)
{
    return wh_runner_dir_open(r->d->options->state, r->name, false, NULL);
}

/* ---- flushing, beside the loop ----
 * A killed agent needs no flush; a power cut does. The worker does not wait for it: between the two lie
 * milliseconds, and a job that is only known to GitHub then ends when its lock runs out. */

struct flush {
    uv_work_t work;
    int dir;
    const char *file;
};

static void flush_work(uv_work_t *work)
{
    struct flush *f = work->data;
    wh_autoclose int fd = openat(f->dir, f->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0)
        (void)fsync(fd);
    (void)fsync(f->dir);
}

static void flush_done(uv_work_t *work, int status)
{
    struct flush *f = work->data;
    (void)status;
    close(f->dir);
    free(f);
}

static void write_sealed(struct runner *r, const char *file, const char *data, size_t len, bool lasting)
{
    wh_autoerror err = {0};
    wh_autoclose int dir = folder(r);
    if (dir < 0 || wh_sealed_write(dir, file, data, len, false, &err)) {
        wh_log_warning("should this agent die, it could not finish the job: %s", wh_error_text(&err));
        return;
    }
    if (!lasting)
        return;
    struct flush *f = wh_calloc(1, sizeof *f);
    f->work.data = f;
    f->file = file;
    f->dir = wh_steal_fd(&dir);
    if (uv_queue_work(&r->d->loop, &f->work, flush_work, flush_done))
        flush_done(&f->work, 0);
}

/* ---- writing ---- */

static void write_job(struct jobrun *j, bool lasting)
{
    wh_autofree char *text = wh_json_print(j->kept);
    write_sealed(j->r, JOB_FILE, text, strlen(text), lasting);
    wh_wipe(text, strlen(text));
}

static cJSON *describe(const struct jobrun *j)
{
    const struct wh_broker_message *job = &j->job;
    cJSON *kept = cJSON_CreateObject();
    wh_json_add_int(kept, "format", KEPT_FORMAT);
    wh_json_add_string(kept, "mark", j->mark);
    wh_json_add_string(kept, "requestId", job->request_id);
    wh_json_add_string(kept, "runServiceUrl", job->run_service_url);
    wh_json_add_string(kept, "billingOwnerId", job->billing_owner_id);
    wh_json_add_int(kept, "announced", wh_now_ns() / 1000000000);
    return kept;
}

void keep_announced(struct jobrun *j)
{
    cJSON_Delete(j->kept);
    j->kept = describe(j);
    write_job(j, false);
}

void keep_acquired(struct jobrun *j, const cJSON *message)
{
    if (!j->kept)
        j->kept = describe(j);
    cJSON_DeleteItemFromObjectCaseSensitive(j->kept, "message");
    cJSON_AddItemToObject(j->kept, "message", wh_github_job_excerpt(message));
    write_job(j, true);
}

/* Only a sealed memory file is read: its pages can't change or go, and no file system of the sender's stands
 * behind it that would keep this loop waiting. */
static int read_memfd(int fd, struct wh_str *out, struct wh_error *err)
{
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & WANTED_SEALS) != WANTED_SEALS)
        return wh_fail(err, WH_E_PROTOCOL, "the worker's completion comes in no sealed memory file");
    if (lseek(fd, 0, SEEK_SET) < 0)
        return wh_fail_errno(err, "the worker's completion");
    return wh_read_fd(fd, WH_MAX_COMPLETION, "the worker's completion", out, err);
}

void keep_completion(struct jobrun *j, int fd)
{
    wh_autoerror err = {0};
    struct wh_str text = {0};
    wh_str_addf(&text, "%s\n", j->mark); /* whose it is */
    if (j->kept && read_memfd(fd, &text, &err) == 0)
        write_sealed(j->r, COMPLETION_FILE, wh_str_text(&text), text.len, true);
    else if (err.code != WH_OK)
        wh_log_warning("%s", wh_error_text(&err));
    wh_str_wipe(&text);
}

void keep_forget(struct jobrun *j)
{
    if (!j->kept)
        return;
    wh_autoclose int dir = folder(j->r);
    /* In this order: a completion without its job is nothing, the other way round it would be a failed job.
     */
    if (dir >= 0 && unlinkat(dir, JOB_FILE, 0) && errno != ENOENT)
        wh_log_warning("%s: %s", JOB_FILE, strerror(errno));
    if (dir >= 0)
        (void)unlinkat(dir, COMPLETION_FILE, 0);
    cJSON_Delete(j->kept);
    j->kept = NULL;
}

/* ---- reading ---- */

void keep_drop(struct runner *r)
{
    wh_autoclose int dir = folder(r);
    if (dir < 0)
        return;
    (void)unlinkat(dir, JOB_FILE, 0);
    (void)unlinkat(dir, COMPLETION_FILE, 0);
}

cJSON *keep_read(struct runner *r, struct wh_error *err)
{
    struct wh_str text = {0};
    wh_autoclose int dir = folder(r);
    if (dir < 0 || wh_sealed_read(dir, JOB_FILE, MAX_JOB_FILE, &text, err)) {
        if (err->code != WH_E_NOT_FOUND)
            wh_wrap(err, "a job that was cut off: " JOB_FILE);
        return NULL;
    }
    cJSON *json = wh_json_parse(text.data, text.len, MAX_JOB_FILE, JOB_FILE, err);
    wh_str_wipe(&text);
    const char *mark = wh_json_string(json, "mark");
    if (json && (wh_json_int(json, "format", 0) != KEPT_FORMAT || !mark || strlen(mark) != 36)) {
        wh_fail(err, WH_E_CORRUPT, "a job that was cut off: " JOB_FILE " is of another version of wherry");
        cJSON_Delete(json);
        json = NULL;
    }
    return json;
}

int keep_open_completion(const struct jobrun *j)
{
    struct wh_str text = {0};
    size_t head = strlen(j->mark) + 1;
    wh_autoclose int dir = folder(j->r);
    wh_autoclose int fd = memfd_create("completion", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    bool there = dir >= 0 && fd >= 0 &&
                 wh_sealed_read(dir, COMPLETION_FILE, WH_MAX_COMPLETION + head, &text, NULL) == 0 &&
                 text.len > head && memcmp(text.data, j->mark, head - 1) == 0 &&
                 wh_write_all(fd, text.data + head, text.len - head, NULL) == 0 &&
                 lseek(fd, 0, SEEK_SET) == 0;
    wh_str_wipe(&text);
    return there ? wh_steal_fd(&fd) : -1;
}
