/* The users of jobs: one for each runner, their folders closed to others, their left-overs ended and nobody
 * else's. As root only: an ordinary agent runs jobs as itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/job_user.h"
#include "wherry/base/fs.h"

static char folder[] = "/tmp/wherry-job-user-XXXXXX";

static void choose(const char *name, size_t slot, struct job_user *out)
{
    wh_autoerror err = {0};
    wh_autofree char *work = wh_printf("%s/none", folder);
    if (job_user_choose(name, slot, work, out, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
}

static void runners_have_users_of_their_own(void **state)
{
    (void)state;
    struct job_user a, b, named, again;
    choose(NULL, 0, &a);
    choose(NULL, 1, &b);
    assert_true(a.alone && b.alone);
    assert_int_not_equal(a.user.uid, b.user.uid);
    /* Told to share one: they may, and then nobody's processes are ended by user alone. */
    choose("59800", 2, &named);
    choose("59800", 3, &again);
    assert_true(!named.alone && !again.alone);
    job_user_clear(&a);
    job_user_clear(&b);
    job_user_clear(&named);
    job_user_clear(&again);
}

static void the_work_folder_is_closed_to_others(void **state)
{
    (void)state;
    struct job_user u;
    struct stat st;
    wh_autoerror err = {0};
    wh_autofree char *work = wh_printf("%s/work", folder);
    choose("59801", 0, &u);
    assert_int_equal(mkdir(work, 0755), 0);
    if (job_user_prepare_work(&u, work, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
    assert_int_equal(stat(work, &st), 0);
    assert_int_equal(st.st_uid, 59801);
    assert_int_equal(st.st_mode & 07777, 0700);
    job_user_clear(&u);
}

/* A process of the user, with these variables; it sleeps. */
static pid_t sleeper(uid_t uid, const char *entry)
{
    char *argv[] = {"sleep", "60", NULL};
    char *env[] = {(char *)entry, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        if (setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0)
            execve("/bin/sleep", argv, env);
        _exit(127);
    }
    usleep(100000);
    return pid;
}

static bool ended_by_kill(pid_t pid)
{
    int status;
    for (int i = 0; i < 50; i++, usleep(10000))
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    return false;
}

static void leftovers_end_and_no_others(void **state)
{
    (void)state;
    struct job_user u;
    choose("59802", 0, &u);
    pid_t marked = sleeper(59802, WH_JOB_MARK "=this"), other = sleeper(59802, WH_JOB_MARK "=other");
    job_user_kill_left(&u, "this");
    assert_true(ended_by_kill(marked));
    assert_int_equal(waitpid(other, NULL, WNOHANG), 0);
    u.alone = true; /* now whatever the user runs is the job's, also what dropped its mark */
    job_user_kill_left(&u, "this");
    assert_true(ended_by_kill(other));
    job_user_clear(&u);
}

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder) || chmod(folder, 0755) < 0)
        return -1;
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return wh_remove_tree(AT_FDCWD, folder, NULL);
}

int main(void)
{
    if (geteuid() != 0) {
        puts("skipped: not root");
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(runners_have_users_of_their_own),
                                       cmocka_unit_test(the_work_folder_is_closed_to_others),
                                       cmocka_unit_test(leftovers_end_and_no_others)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
