/* Several processes on one store: creation, ingest folders, leases, cache mounts. */
#include "store/store_test.h"

#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Starts a child that runs `body` and then waits to be killed; returns once it is ready. */
static pid_t child_start(void (*body)(const char *dir), const char *dir)
{
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        body(dir);
        if (write(ready[1], "r", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void child_kill(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void unfinished_writes(const char *dir)
{
    struct wh_store *s = test_open(dir);
    struct wh_blob_writer *w = wh_blob_begin(s, 0, NULL);
    wh_blob_write(w, "half", 4, NULL);
    struct wh_tree *t = wh_tree_begin(s, NULL);
    wh_write_file(wh_tree_fd(t), "half", "x", 1, 0600, NULL);
}

static size_t ingest_entries(const char *dir)
{
    char command[200];
    snprintf(command, sizeof(command), "ls -A %s/ingest | wc -l", dir);
    FILE *f = popen(command, "r");
    int n = -1;
    assert_int_equal(fscanf(f, "%d", &n), 1);
    pclose(f);
    return (size_t)n;
}

static void test_live_ingest_stays_dead_goes(void **state)
{
    wh_store_close(test_open(*state));
    pid_t pid = child_start(unfinished_writes, *state);
    assert_int_equal(ingest_entries(*state), 2);
    wh_store_close(test_open(*state));
    assert_int_equal(ingest_entries(*state), 2); /* its process lives */
    child_kill(pid);
    wh_store_close(test_open(*state));
    assert_int_equal(ingest_entries(*state), 0);
}

static struct wh_digest leased_digest(void)
{
    struct wh_digest d;
    wh_digest_of("leased", 6, &d);
    return d;
}

static void lease_things(const char *dir)
{
    struct wh_store *s = test_open(dir);
    struct wh_digest d = leased_digest();
    wh_store_lease_blob(s, &d, NULL);
    wh_layer_by_diffid(s, &d, NULL);
}

static void test_leases_of_another_process(void **state)
{
    wh_autoerror err = {0};
    struct wh_digest d = leased_digest();
    struct wh_store *s = test_open(*state);
    test_put(s, "leased");
    int64_t layer = test_layer(s, "tree", &d);
    wh_store_close(s);

    pid_t pid = child_start(lease_things, *state);
    wh_autostore *mine = test_open(*state);
    assert_true(wh_blob_delete(mine, &d, &err) < 0);
    assert_int_equal(err.code, WH_E_BUSY);
    assert_true(wh_layer_delete(mine, layer, &err) < 0);
    assert_int_equal(err.code, WH_E_BUSY);
    struct wh_prune_result pruned;
    ok(wh_store_prune(mine, &(struct wh_prune){.all = true}, &pruned, &err));
    assert_int_equal(pruned.items, 0);
    child_kill(pid); /* the kernel ends its leases */
    ok(wh_store_prune(mine, &(struct wh_prune){.all = true}, &pruned, &err));
    assert_int_equal(pruned.items, 2);
    assert_int_equal(ok(wh_blob_has(mine, &d, NULL, &err)), 0);
}

/* A builder that looks layers and blobs up, or makes them, while others collect everything they may: what it
 * was given stays until it lets go. Exit code 0, or which promise was broken. */
static int builder_body(const char *dir, unsigned seed)
{
    struct wh_store *s = test_open(dir);
    for (unsigned i = 0; i < 150; i++) {
        wh_autoerror err = {0};
        char text[16];
        int len = snprintf(text, sizeof(text), "%u", (i * 7 + seed) % 5);
        struct wh_digest d;
        wh_digest_of(text, (size_t)len, &d);
        int64_t layer = wh_layer_by_diffid(s, &d, &err);
        if (layer == 0) {
            struct wh_tree *t = wh_tree_begin(s, &err);
            if (!t || wh_write_file(wh_tree_fd(t), "f", text, (size_t)len, 0644, &err) < 0)
                return 1;
            layer = wh_tree_commit(t, &(struct wh_layer_info){.diffid = &d, .size = len}, &err);
        }
        if (layer <= 0 || wh_blob_put(s, text, (size_t)len, WH_BLOB_LATER, NULL, &err) < 0) {
            fprintf(stderr, "builder: %s\n", wh_error_text(&err));
            return 2;
        }
        usleep(300);
        wh_autoclose int fd = wh_layer_open(s, layer, &err);
        if (fd < 0 || faccessat(fd, "f", F_OK, 0) < 0)
            return 3;
        if (wh_blob_has(s, &d, NULL, &err) != 1)
            return 4;
        if (i % 3 == 2 && wh_store_unlease(s, &err) < 0)
            return 5;
    }
    wh_store_close(s);
    return 0;
}

static void test_collectors_against_builders(void **state)
{
    wh_store_close(test_open(*state));
    enum { N = 3 };
    pid_t pids[N];
    for (unsigned i = 0; i < N; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            _exit(builder_body(*state, i));
    }
    wh_autostore *s = test_open(*state);
    uint64_t dropped = 0;
    for (int left = N; left > 0;) {
        wh_autoerror err = {0};
        struct wh_prune_result r;
        ok(wh_store_prune(s, &(struct wh_prune){.all = true}, &r, &err));
        dropped += r.items;
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0)
            continue;
        assert_int_equal(status, 0);
        left--;
    }
    assert_true(dropped > 0);
    wh_autoerror err = {0};
    struct wh_verify_result v;
    ok(wh_store_verify(s, NULL, NULL, &v, &err));
    assert_int_equal(v.damaged, 0);
}

static void test_many_create_at_once(void **state)
{
    enum { N = 8 };
    pid_t pids[N];
    for (int i = 0; i < N; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            struct wh_store *s = test_open(*state);
            for (int k = 0; k < 10; k++) {
                char text[32];
                snprintf(text, sizeof(text), "%d of %d", k, i);
                test_put(s, text);
                test_put(s, "the same for all");
                test_layer(s, text, NULL);
            }
            wh_store_close(s);
            _exit(0);
        }
    }
    for (int i = 0; i < N; i++) {
        int status;
        waitpid(pids[i], &status, 0);
        assert_int_equal(status, 0);
    }
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    struct wh_store_usage u;
    ok(wh_store_du(s, &u, &err));
    assert_int_equal(u.blobs, N * 10 + 1);
    assert_int_equal(u.layers, N * 10);
    assert_int_equal(u.leased_bytes, 0);
}

static void *thread_body(void *arg)
{
    struct wh_store *s = arg;
    for (int k = 0; k < 20; k++) {
        wh_autoerror err = {0};
        char text[32];
        snprintf(text, sizeof(text), "%d of %lx", k, (unsigned long)pthread_self());
        test_put(s, text);
        int64_t layer = test_layer(s, text, NULL);
        struct wh_record r = {.scope = (char *)"s", .layer = layer};
        wh_digest_of(text, strlen(text), &r.key);
        ok(wh_record_put(s, &r, &err));
    }
    return NULL;
}

static void test_many_threads_on_one_handle(void **state)
{
    wh_autoerror err = {0};
    wh_autostore *s = test_open(*state);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, thread_body, s);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    struct wh_store_usage u;
    ok(wh_store_du(s, &u, &err));
    assert_int_equal(u.blobs, 80);
    assert_int_equal(u.records, 80);
}

static void test_newer_format_and_no_store(void **state)
{
    wh_autoerror err = {0};
    assert_null(wh_store_open(&(struct wh_store_options){.dir = *state, .must_exist = true}, &err));
    assert_int_equal(err.code, WH_E_NOT_FOUND);
    wh_store_close(test_open(*state));
    struct stat st;
    assert_int_equal(stat(*state, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    wh_autofree char *path = wh_path_join(*state, "index.db");
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 999", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_null(wh_store_open(&(struct wh_store_options){.dir = *state}, &err));
    assert_int_equal(err.code, WH_E_UNSUPPORTED);
    assert_non_null(strstr(wh_error_text(&err), "newer wherry"));
}

/* Root opens, creates and writes; all of it is the owner's, who opens it next. */
static void test_root_gives_to_the_owner(void **state)
{
    if (geteuid() != 0)
        skip();
    wh_autoerror err = {0};
    const uid_t uid = 54321;
    chmod(*state, 0755);
    wh_autofree char *dir = wh_path_join(*state, "state");
    wh_autofree char *runners = wh_path_join(dir, "runners");
    ok(wh_mkdir_p(runners, 0700, &err)); /* `register` was there first */
    struct wh_store_options o = {.dir = dir, .set_owner = true, .uid = uid, .gid = uid};
    struct wh_store *s = wh_store_open(&o, &err);
    assert_non_null(s);
    struct wh_digest d = test_put(s, "root's");
    test_layer(s, "root's", &d);
    wh_cache_mount_release(wh_cache_mount_acquire(s, (const char *const[]){"x"}, 1, "c", WH_SHARING_SHARED,
                                                  false, NULL, NULL, &err));
    pid_t pid = fork();
    if (pid == 0) {
        if (setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0)
            _exit(1);
        struct wh_store *mine = wh_store_open(&(struct wh_store_options){.dir = dir}, &err);
        if (!mine || wh_blob_has(mine, &d, NULL, &err) != 1 || wh_blob_delete(mine, &d, &err) == 0 ||
            wh_blob_put(mine, "mine", 4, 0, NULL, &err) < 0 || wh_layer_by_diffid(mine, &d, &err) != 1)
            _exit(2);
        wh_store_close(mine);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    wh_store_close(s);
    assert_null(wh_store_open(&(struct wh_store_options){.dir = "/proc/nowhere"}, &err));
}

static void test_open_is_cheap(void **state)
{
    struct wh_store *s = test_open(*state);
    for (int i = 0; i < 50; i++)
        test_layer(s, "x", NULL);
    wh_store_close(s);
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 10; i++) {
        uint64_t start = wh_mono_ns();
        wh_store_close(test_open(*state));
        best = WH_MIN(best, wh_mono_ns() - start);
    }
    print_message("open and close: %.2f ms\n", (double)best / 1e6);
    assert_true(best < 50000000); /* sanitizers and busy machines: the order counts */
}

static void acquire_locked(const char *dir)
{
    struct wh_store *s = test_open(dir);
    const char *scope[] = {"r@main"};
    wh_cache_mount_acquire(s, scope, 1, "locked", WH_SHARING_LOCKED, false, NULL, NULL, NULL);
    wh_cache_mount_acquire(s, scope, 1, "private", WH_SHARING_PRIVATE, false, NULL, NULL, NULL);
    wh_cache_mount_acquire(s, scope, 1, "shared", WH_SHARING_SHARED, false, NULL, NULL, NULL);
}

static bool at_once(void *arg)
{
    ++*(int *)arg;
    return *(int *)arg > 2;
}

static void test_cache_mounts(void **state)
{
    wh_autoerror err = {0};
    const char *scope[] = {"r@main"}, *pr[] = {"r@pr", "r@main"};
    pid_t pid = child_start(acquire_locked, *state);
    wh_autostore *s = test_open(*state);
    int asked = 0;
    assert_null(
        wh_cache_mount_acquire(s, scope, 1, "locked", WH_SHARING_LOCKED, false, at_once, &asked, &err));
    assert_int_equal(err.code, WH_E_CANCELED);
    struct wh_cache_mount *p =
        wh_cache_mount_acquire(s, scope, 1, "private", WH_SHARING_PRIVATE, false, NULL, NULL, &err);
    assert_true(wh_cache_mount_new(p)); /* a further directory */
    struct wh_cache_mount *sh =
        wh_cache_mount_acquire(s, scope, 1, "shared", WH_SHARING_SHARED, false, NULL, NULL, &err);
    assert_false(wh_cache_mount_new(sh)); /* the same one */
    struct wh_prune_result pruned;
    ok(wh_store_prune(s, &(struct wh_prune){.all = true}, &pruned, &err));
    assert_int_equal(access(wh_cache_mount_path(sh), F_OK), 0);
    child_kill(pid);

    wh_autofree char *file = wh_path_join(wh_cache_mount_path(sh), "kept");
    ok(wh_write_file(AT_FDCWD, file, "x", 1, 0644, &err));
    wh_cache_mount_release(sh);
    wh_cache_mount_release(p);

    /* A pull request's own directory starts with the base's content, and goes its own way. */
    struct wh_cache_mount *base =
        wh_cache_mount_acquire(s, scope, 1, "shared", WH_SHARING_SHARED, false, NULL, NULL, &err);
    wh_autofree char *more =
        wh_printf("cd %s && mkdir -m 700 d && echo deep > d/f && ln d/f d/g && ln -s f d/l && "
                  "touch -d @1000 d && mkfifo p",
                  wh_cache_mount_path(base));
    assert_int_equal(system(more), 0);
    wh_cache_mount_release(base);
    struct wh_cache_mount *own =
        wh_cache_mount_acquire(s, pr, 2, "shared", WH_SHARING_SHARED, false, NULL, NULL, &err);
    assert_non_null(own);
    assert_true(wh_cache_mount_new(own));
    wh_autofree char *same = wh_printf("cd %s && test -f kept && test \"$(cat d/f)\" = deep && test d/f -ef "
                                       "d/g && test $(readlink d/l) = f && "
                                       "test $(stat -c %%a.%%Y d) = 700.1000 && test ! -e p && echo pr > d/f",
                                       wh_cache_mount_path(own));
    assert_int_equal(system(same), 0);
    wh_cache_mount_release(own);
    base = wh_cache_mount_acquire(s, scope, 1, "shared", WH_SHARING_SHARED, false, NULL, NULL, &err);
    wh_autofree char *untouched = wh_printf("test \"$(cat %s/d/f)\" = deep", wh_cache_mount_path(base));
    assert_int_equal(system(untouched), 0);
    wh_cache_mount_release(base);

    /* no-cache: an empty one; but not while another uses it. */
    struct wh_cache_mount *a =
        wh_cache_mount_acquire(s, scope, 1, "shared", WH_SHARING_SHARED, false, NULL, NULL, &err);
    struct wh_cache_mount *b =
        wh_cache_mount_acquire(s, scope, 1, "shared", WH_SHARING_SHARED, true, NULL, NULL, &err);
    assert_int_equal(access(file, F_OK), 0);
    wh_cache_mount_release(a);
    wh_cache_mount_release(b);
    a = wh_cache_mount_acquire(s, scope, 1, "shared", WH_SHARING_SHARED, true, NULL, NULL, &err);
    assert_int_equal(access(file, F_OK), -1);
    assert_true(wh_cache_mount_new(a));
    wh_cache_mount_release(a);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, test_dir_setup, test_dir_teardown)
    const struct CMUnitTest tests[] = {T(test_live_ingest_stays_dead_goes),
                                       T(test_leases_of_another_process),
                                       T(test_collectors_against_builders),
                                       T(test_many_create_at_once),
                                       T(test_many_threads_on_one_handle),
                                       T(test_newer_format_and_no_store),
                                       T(test_root_gives_to_the_owner),
                                       T(test_open_is_cheap),
                                       T(test_cache_mounts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
