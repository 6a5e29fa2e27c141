/* ACTIONS_RUNNER_DEBUG: the worker's own log, in full, as an archive that the service keeps with the job
 * (runner-protocol.md §5.3). Every line is masked. */
#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"
#include "worker/job.h"
#include "worker/zip.h"

#define MAX_DIAGNOSTICS ((size_t)16 << 20) /* of the log: its end, where it is longer */

static bool wanted(const struct wh_job *j)
{
    const char *variable = wh_message_variable(j->message, "ACTIONS_RUNNER_DEBUG");
    if (variable)
        return wh_streq_ci(variable, "true");
    const struct wh_value *vars = wh_object_get(j->contexts, "vars");
    return wh_streq_ci(wh_value_text(wh_object_get(vars, "ACTIONS_RUNNER_DEBUG")), "true");
}

void wh_diagnostics_start(struct wh_job *j)
{
    wh_autoerror err = {0};
    char name[64];
    time_t now = wh_now_ns() / 1000000000;
    struct tm tm;
    if (j->local || !wanted(j))
        return;
    wh_autofree char *folder = wh_path_join(j->dirs.work, "_diag");
    gmtime_r(&now, &tm);
    strftime(name, sizeof name, "Worker_%Y%m%d-%H%M%S-utc.log", &tm);
    j->diagnostics.name = wh_strdup(name);
    j->diagnostics.path = wh_path_join(folder, name);
    j->diagnostics.fd = -1;
    if (wh_mkdir_p(folder, 0755, &err) == 0)
        j->diagnostics.fd =
            open(j->diagnostics.path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (j->diagnostics.fd < 0) {
        wh_log_warning("no diagnostic log: %s", err.code ? wh_error_text(&err) : strerror(errno));
        return;
    }
    wh_log_copy(j->diagnostics.fd);
    wh_log_debug("job %s", wh_json_string(wh_json_get(j->frame.json, "message"), "jobId"));
}

/* ---- the archive ---- */

static int read_masked(const struct wh_job *j, struct wh_str *out, struct wh_error *err)
{
    struct stat st;
    wh_autostr text = {0};
    if (fstat(j->diagnostics.fd, &st) < 0)
        return wh_fail_errno(err, "%s", j->diagnostics.path);
    off_t from = st.st_size > (off_t)MAX_DIAGNOSTICS ? st.st_size - (off_t)MAX_DIAGNOSTICS : 0;
    wh_str_reserve(&text, (size_t)(st.st_size - from));
    ssize_t n = pread(j->diagnostics.fd, text.data, (size_t)(st.st_size - from), from);
    if (n < 0)
        return wh_fail_errno(err, "%s", j->diagnostics.path);
    struct wh_reader lines = wh_reader_of(text.data, (size_t)n);
    for (struct wh_view line; wh_reader_line(&lines, &line);) {
        wh_autostr masked = {0};
        bool hit = line.len > 0 && wh_mask(j->masker, line.data, line.len, &masked);
        wh_str_addn(out, hit ? masked.data : line.data, hit ? masked.len : line.len);
        wh_str_addc(out, '\n');
    }
    return 0;
}

static void describe(const struct wh_job *j, struct wh_str *out)
{
    static const char *const names[] = {"name", "version", "os", "arch", "group", "machine"};
    struct utsname u;
    for (size_t i = 0; i < WH_COUNT(names); i++) {
        const char *value = wh_json_string(j->runner, names[i]);
        wh_str_addf(out, "%s: %s\n", names[i], value ? value : "");
    }
    if (uname(&u) == 0)
        wh_str_addf(out, "kernel: %s %s %s\n", u.sysname, u.release, u.machine);
    wh_str_addf(out, "wherry: %s\n", WH_VERSION);
    wh_autofree char *masked = wh_mask_text(j->masker, wh_str_text(out));
    wh_str_clear(out);
    wh_str_add(out, masked);
}

static const char *variable_or(const struct wh_job *j, const char *name, const char *otherwise)
{
    const char *value = wh_message_variable(j->message, name);
    return value && *value ? value : otherwise;
}

static int upload(struct wh_job *j, struct wh_error *err)
{
    wh_autostr log = {0}, environment = {0};
    struct wh_zip zip = {0};
    int64_t now = wh_now_ns() / 1000000000;
    describe(j, &environment);
    if (read_masked(j, &log, err) < 0)
        return -1;
    wh_zip_add(&zip, j->diagnostics.name, now, wh_str_text(&log), log.len);
    wh_zip_add(&zip, "environment.txt", now, wh_str_text(&environment), environment.len);
    wh_zip_end(&zip);
    wh_autofree char *name =
        wh_printf("Build %s-%s.zip", variable_or(j, "build.buildNumber", "UnknownBuildNumber"),
                  variable_or(j, "system.phaseDisplayName", "UnknownPhaseName"));
    for (char *p = name; *p; p++)
        if (*p == '/' || *p == '\\' || (unsigned char)*p < ' ')
            *p = '_';
    j->sink->ops->diagnostics(j->sink, name, zip.out.data, zip.out.len);
    wh_zip_free(&zip);
    return 0;
}

void wh_diagnostics_end(struct wh_job *j)
{
    wh_autoerror err = {0};
    if (!j->diagnostics.path || !j->sink->ops->diagnostics)
        return;
    wh_say(j, "Uploading runner diagnostic logs");
    int n = j->diagnostics.fd >= 0 ? upload(j, &err) : -1;
    if (n < 0 && err.code)
        wh_log_warning("diagnostic log: %s", wh_error_text(&err));
    wh_say(j, n < 0 ? "Error uploading runner diagnostic logs" : "Completed runner diagnostic log upload");
}

void wh_diagnostics_clear(struct wh_job *j)
{
    if (!j->diagnostics.path)
        return;
    wh_log_copy(-1);
    if (j->diagnostics.fd >= 0) {
        close(j->diagnostics.fd);
        unlink(j->diagnostics.path);
    }
    free(j->diagnostics.path);
    free(j->diagnostics.name);
}
