/* Sealed files: what processes seal at the same time in a new folder opens afterwards. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "wherry/base/fs.h"
#include "wherry/base/secret.h"
#include "wherry/config/sealed.h"

#define PROCESSES 8
#define ROUNDS 40
#define TEXT "of one runner"

static char folder[] = "/tmp/wherry-sealed-XXXXXX";

static int runner_folder(int round, int number)
{
    wh_autofree char *path = wh_printf("%s/%d/%d", folder, round, number);
    if (wh_mkdir_p(path, 0700, NULL) < 0)
        return -1;
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* All wait until the gate's writing end is closed. */
static int seal(int gate, int round, int number)
{
    char byte;
    wh_autoerror err = {0};
    wh_autoclose int dir = runner_folder(round, number);
    (void)!read(gate, &byte, 1);
    return dir >= 0 && wh_sealed_write(dir, "credentials.sealed", TEXT, strlen(TEXT), true, &err) == 0 ? 0
                                                                                                       : 1;
}

static void test_first_key_counts(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        int gate[2];
        pid_t pids[PROCESSES];
        assert_int_equal(pipe(gate), 0);
        for (int n = 0; n < PROCESSES; n++) {
            pids[n] = fork();
            if (pids[n] == 0) {
                (void)close(gate[1]);
                _exit(seal(gate[0], round, n));
            }
        }
        (void)close(gate[0]);
        (void)close(gate[1]);
        for (int n = 0; n < PROCESSES; n++) {
            int status;
            assert_int_equal(waitpid(pids[n], &status, 0), pids[n]);
            assert_int_equal(status, 0);
        }
        for (int n = 0; n < PROCESSES; n++) {
            wh_autoclose int dir = runner_folder(round, n);
            wh_autostr text = {0};
            wh_autoerror err = {0};
            if (wh_sealed_read(dir, "credentials.sealed", 4096, &text, &err) < 0)
                fail_msg("round %d: %s", round, wh_error_text(&err));
            assert_string_equal(wh_str_text(&text), TEXT);
        }
    }
}

int main(void)
{
    wh_secrets_init();
    if (!mkdtemp(folder))
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_first_key_counts)};
    int failed = cmocka_run_group_tests_name("sealed", tests, NULL, NULL);
    (void)wh_remove_tree(AT_FDCWD, folder, NULL);
    return failed;
}
