/* The first process of a container without an init of its own. */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wherry/platform/process.h"

static const int passed_on[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

/* Everything that ended; the exit code of `main_pid`, or -1 while it runs. */
static int reap_all(pid_t main_pid)
{
    int code = -1;
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid <= 0)
            return code;
        if (pid == main_pid)
            code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
}

int wh_init_split(struct wh_error *err)
{
    sigset_t all;
    sigset_t before;
    if (getpid() != 1)
        return 0;
    (void)sigemptyset(&all);
    (void)sigaddset(&all, SIGCHLD);
    for (size_t i = 0; i < WH_COUNT(passed_on); i++)
        (void)sigaddset(&all, passed_on[i]);
    if (sigprocmask(SIG_BLOCK, &all, &before) < 0)
        return wh_fail_errno(err, "block signals");
    pid_t child = fork();
    if (child < 0)
        return wh_fail_errno(err, "start the agent below the first process");
    if (child == 0) {
        (void)sigprocmask(SIG_SETMASK, &before, NULL);
        return 0;
    }
    for (int code = -1;;) {
        int number = sigwaitinfo(&all, NULL);
        if (number > 0 && number != SIGCHLD)
            (void)kill(child, number);
        code = reap_all(child);
        if (code >= 0)
            _exit(code);
    }
}
