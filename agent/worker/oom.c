/* Processes that the kernel killed for want of memory (job-execution.md §9): a step that dies of it says so,
 * and not only "exit code 137". */
#include "worker/job.h"

void wh_oom_start(struct wh_job *j)
{
    bool own;
    j->oom_kills = wh_job_oom_kills(&own);
}

void wh_oom_note(struct wh_job *j)
{
    bool own;
    int64_t now = wh_job_oom_kills(&own);
    int64_t killed = now - j->oom_kills;
    if (now > 0 && j->oom_kills >= 0 && killed > 0)
        wh_say_warning(j,
                       "Out of memory: while this step ran, the kernel killed %lld %s for want of memory%s.",
                       (long long)killed, killed == 1 ? "process" : "processes",
                       own ? "" : ", somewhere on this machine");
    j->oom_kills = now;
}
