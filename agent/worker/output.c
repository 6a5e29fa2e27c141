/* A line of a step's output: a workflow command, a problem, or text (job-execution.md §5.8). */
#include "worker/job.h"

static void say_plain(struct wh_job *j, const char *line, size_t len)
{
    wh_autostr escaped = {0};
    if (wh_room_leaves_out(j, len))
        return;
    if (wh_command_plain_text(line, len, &escaped))
        wh_say_text(j, "", wh_str_text(&escaped), escaped.len);
    else
        wh_say_text(j, "", line, len);
}

void wh_output_line(void *job, const char *line, size_t len)
{
    struct wh_job *j = job;
    struct wh_run *run = j->running;
    if (!run)
        return;
    wh_autocommand command = {0};
    switch (wh_command_line(&run->commands, line, len, &command)) {
    case WH_LINE_COMMAND:
        wh_command_act(j, run, &command, line, len);
        return;
    case WH_LINE_RESUME:
        wh_say_text(j, "", line, len);
        wh_say_debug(j, "Resume processing commands");
        return;
    case WH_LINE_STOPPED:
        wh_say_debug(j, "Process commands has been stopped and waiting for '##[%s]' to resume.",
                     run->commands.stop_token);
        break;
    default:
        break;
    }
    if (!wh_matchers_line(j, line, len))
        say_plain(j, line, len);
}
