/* A process that writes to the store is killed at a random instant, over and over (WH_CRASH_ROUNDS, 20); what
 * it said to be committed must be there, and the store must open and verify. */
#include "store/store_test.h"

#include <signal.h>
#include <sys/wait.h>

#define MAX_MS 60

/* Does everything that a build does, and reports each blob and layer once it is committed. */
static void writer(const char *dir, int report, unsigned seed)
{
    struct wh_store *s = wh_store_open(&(struct wh_store_options){.dir = dir}, NULL);
    if (!s)
        _exit(3);
    wh_store_charge(s, "o/r");
    for (unsigned i = 0;; i++) {
        wh_autoerror err = {0};
        char text[64];
        int len = snprintf(text, sizeof(text), "%u of %u", i, seed);
        struct wh_digest d;
        if (wh_blob_put(s, text, (size_t)len, i % 3 ? WH_BLOB_LATER : 0, &d, &err) < 0)
            _exit(4);
        struct wh_tree *t = wh_tree_begin(s, &err);
        if (!t || wh_write_file(wh_tree_fd(t), "f", text, (size_t)len, 0644, &err) < 0)
            _exit(5);
        int64_t id = wh_tree_commit(t, &(struct wh_layer_info){.diffid = &d, .size = len}, &err);
        struct wh_record r = {.key = d, .scope = (char *)"s", .layer = id, .slot = (char *)"slot"};
        struct wh_layer_blob b = {.digest = d, .format = "none"};
        if (id < 0 || wh_record_put(s, &r, &err) < 0 || wh_layer_blob_add(s, &d, &b, &err) < 0)
            _exit(6);
        if (write(report, &d, sizeof(d)) != (ssize_t)sizeof(d))
            _exit(7);
        if (i % 5 == 4 && (wh_layer_delete(s, id, &err) < 0 || wh_blob_delete(s, &d, &err) < 0))
            _exit(8);
        if (i % 7 == 6) {
            struct wh_prune_result pruned;
            wh_store_unlease(s, &err);
            if (wh_store_prune(s, &(struct wh_prune){.max_bytes = 200}, &pruned, &err) < 0)
                _exit(9);
        }
        if (i % 11 == 10 && wh_store_flush(s, &err) < 0)
            _exit(10);
    }
}

static void complain(void *arg, const struct wh_verify_progress *p)
{
    (void)arg;
    if (p->bad)
        print_message("%s\n", p->bad);
}

static void one_round(const char *dir, unsigned seed)
{
    int report[2];
    assert_int_equal(pipe(report), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(report[0]);
        writer(dir, report[1], seed);
    }
    close(report[1]);
    usleep((unsigned)wh_jitter(1, MAX_MS * 1000));
    kill(pid, SIGKILL);
    int status;
    waitpid(pid, &status, 0);
    if (!WIFSIGNALED(status))
        fail_msg("the writer failed by itself: %d", WEXITSTATUS(status));

    wh_autoerror err = {0};
    wh_autostore *s = test_open(dir);
    struct wh_digest d;
    int committed = 0;
    while (read(report[0], &d, sizeof(d)) == (ssize_t)sizeof(d))
        committed++;
    close(report[0]);
    struct wh_verify_result r;
    ok(wh_store_verify(s, complain, NULL, &r, &err));
    assert_int_equal(r.damaged, 0);
    if (committed > 0) { /* the last one may have been collected, but never be half there */
        struct wh_record found = {0};
        int rc = (int)ok(wh_record_find(s, (const char *const[]){"s"}, 1, &d, &found, &err));
        if (rc == 1 && found.layer > 0) {
            wh_autoclose int fd = (int)ok(wh_layer_open(s, found.layer, &err));
            assert_int_equal(faccessat(fd, "f", F_OK, 0), 0);
        }
        wh_record_clear(&found);
    }
}

static void test_kill_rounds(void **state)
{
    const char *text = getenv("WH_CRASH_ROUNDS");
    uint64_t rounds = 20;
    if (text && !wh_parse_u64(text, 100000, &rounds))
        fail_msg("WH_CRASH_ROUNDS=%s is no number", text);
    wh_store_close(test_open(*state));
    for (unsigned i = 0; i < rounds; i++)
        one_round(*state, i);
    wh_store_close(test_open(*state));
    wh_autofree char *ingest = wh_path_join(*state, "ingest");
    assert_int_equal(rmdir(ingest), 0);
}

/* Killed while it creates the store. */
static void test_kill_at_creation(void **state)
{
    for (unsigned i = 0; i < 20; i++) {
        char name[32];
        snprintf(name, sizeof(name), "store%u", i);
        wh_autofree char *dir = wh_path_join(*state, name);
        pid_t pid = fork();
        if (pid == 0) {
            wh_store_close(wh_store_open(&(struct wh_store_options){.dir = dir}, NULL));
            _exit(0);
        }
        usleep((unsigned)wh_jitter(0, 6000));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        wh_store_close(test_open(dir));
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, test_dir_setup, test_dir_teardown)
    const struct CMUnitTest tests[] = {T(test_kill_rounds), T(test_kill_at_creation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
