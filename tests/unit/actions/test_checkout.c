/* actions/checkout against a real `git http-backend` (the server of tests/e2e/support), each stage as a
 * forked child with its own environment, as the worker runs it. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "actions/checkout.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/base/secret.h"

#define TOKEN "ghs_secretsecretsecret"

/* base64("x-access-token:" TOKEN): what must never be in an argument list. */
#define BASIC "eC1hY2Nlc3MtdG9rZW46Z2hzX3NlY3JldHNlY3JldHNlY3JldA=="

static char *root; /* of everything */
static char *url;  /* of the server */
static char *api;  /* of the REST API beside it */
static pid_t server;
static char *work; /* a copy to commit in */
static const char *first_commit, *second_commit, *tag_commit, *pull_commit;

static const char server_code[] =
    "import sys, pathlib, time\n"
    "sys.path.insert(0, sys.argv[1])\n"
    "from tests.e2e.support.gitserver import GitServer\n"
    "s = GitServer(pathlib.Path(sys.argv[2]))\n"
    "s.private.add('acme/app'); s.allow('" TOKEN "')\n"
    "from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer\n"
    "import json, threading\n"
    "class Api(BaseHTTPRequestHandler):\n"
    "    def log_message(self, *a): pass\n"
    "    def do_GET(self):\n"
    "        known = {'/repos/acme/lib': {'default_branch': 'main'}, '/repos/acme/lib/hash-algorithm': "
    "{'hash_algorithm': 'sha1'}}\n"
    "        good = self.headers.get('Authorization') == 'token " TOKEN "' and self.path in known\n"
    "        body = json.dumps(known[self.path] if good else {'message': 'Not Found'}).encode()\n"
    "        self.send_response(200 if good else 404)\n"
    "        self.send_header('Content-Type', 'application/json')\n"
    "        self.send_header('Content-Length', str(len(body)))\n"
    "        self.end_headers()\n"
    "        self.wfile.write(body)\n"
    "api = ThreadingHTTPServer(('127.0.0.1', 0), Api)\n"
    "threading.Thread(target=api.serve_forever, daemon=True).start()\n"
    "print(s.url, 'http://127.0.0.1:%d' % api.server_address[1], flush=True)\n"
    "while True:\n"
    "    time.sleep(0.02)\n"
    "    f = pathlib.Path(sys.argv[2]) / 'fail'\n"
    "    if f.exists():\n"
    "        s.fail_next += [int(n) for n in f.read_text().split()]; f.unlink()\n";

/* ---- the scene ---- */

static char **kept; /* texts that live until the tests end */

static const char *keep(char *text)
{
    wh_strv_take(&kept, text);
    return text;
}

static const char *shell(const char *fmt, ...) WH_PRINTF(1, 2);
static const char *shell(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    wh_autofree char *command = wh_vprintf(fmt, args);
    va_end(args);
    FILE *f = popen(command, "r");
    wh_autostr out = {0};
    char buf[4096];
    for (size_t n; (n = fread(buf, 1, sizeof(buf), f)) > 0;)
        wh_str_addn(&out, buf, n);
    if (pclose(f) != 0)
        fail_msg("%s failed: %s", command, wh_str_text(&out));
    return keep(wh_view_dup(wh_view_trim((struct wh_view){wh_str_text(&out), out.len})));
}

static void start_server(void)
{
    wh_autofree char *served = wh_path_join(root, "served");
    wh_autofree char *source = wh_printf("%s/../../..", WH_TEST_DATA);
    int out[2];
    assert_int_equal(pipe(out), 0);
    server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(out[1], STDOUT_FILENO);
        execl("/usr/bin/python3", "python3", "-c", server_code, source, served, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *f = fdopen(out[0], "r");
    char line[200];
    assert_non_null(fgets(line, sizeof(line), f));
    fclose(f);
    struct wh_view git_url, api_url;
    assert_true(wh_view_split(wh_view_trim(wh_view_of(line)), ' ', &git_url, &api_url));
    url = wh_view_dup(git_url);
    api = wh_view_dup(api_url);
}

static int group_setup(void **state)
{
    (void)state;
    char dir[] = "/tmp/wherry-checkout-XXXXXX";
    if (!mkdtemp(dir))
        return -1;
    root = wh_strdup(dir);
    setenv("HOME", root, 1);
    setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
    work = wh_printf("%s/work", root);
    shell("mkdir -p %s/served/acme %s/temp && cd %s && git config --global user.email a@b.c && git "
          "config --global user.name n && "
          "git init -q --bare -b main served/acme/app.git && git init -q -b main work && cd work && "
          "echo one > file && mkdir sub && echo x > sub/x && git add . && git commit -qm first && "
          "git remote add o ../served/acme/app.git && git push -q o main",
          root, root, root);
    first_commit = shell("git -C %s rev-parse HEAD", work);
    shell("cd %s && git tag -a v1 -m v1 && git push -q o v1", work);
    tag_commit = first_commit;
    shell("cd %s && echo two > file && git commit -qam second && git push -q o main && git push -q o "
          "main:feature/a",
          work);
    second_commit = shell("git -C %s rev-parse HEAD", work);
    shell("cd %s && git checkout -q -b pr && echo pr > pr && git add . && git commit -qm pr && git push -q o "
          "pr:refs/pull/7/merge && git checkout -q main",
          work);
    pull_commit = shell("git -C %s rev-parse pr", work);
    start_server();
    checkout_retry_min = checkout_retry_max = 0;
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    int rc = wh_remove_tree(AT_FDCWD, root, NULL);
    wh_strv_free(kept);
    free(root);
    free(url);
    free(api);
    free(work);
    return rc;
}

/* ---- a stage ---- */

struct result {
    int code;
    char *log, *outputs, *states;
    double ms;
};

static void result_free(struct result *r)
{
    free(r->log);
    free(r->outputs);
    free(r->states);
}
#define autoresult __attribute__((cleanup(result_free))) struct result

static char *slurp(const char *path)
{
    wh_autostr text = {0};
    wh_read_file(AT_FDCWD, path, 1 << 24, &text, NULL);
    return wh_str_steal(&text);
}

/* env: NULL-terminated "NAME=value" beyond the usual ones. */
static struct result stage(const char *ref, bool post, const char *const *env)
{
    extern char **environ;
    struct wh_action_version version;
    wh_autoerror err = {0};
    const struct wh_action *action = wh_action_find("actions/checkout", "", ref, &version, &err);
    if (!action)
        fail_msg("%s", wh_error_text(&err));
    wh_autofree char *out = wh_printf("%s/out", root), *outputs = wh_printf("%s/outputs", root);
    wh_autofree char *states = wh_printf("%s/states", root);
    const char *files[] = {out, outputs, states};
    for (size_t i = 0; i < 3; i++)
        wh_write_file(AT_FDCWD, files[i], "", 0, 0644, NULL);
    uint64_t start = wh_mono_ns();
    pid_t pid = fork();
    if (pid == 0) {
        wh_autofree char *workspace = wh_printf("%s/ws", root), *temp = wh_printf("%s/temp", root);
        int fd = open(out, O_WRONLY | O_APPEND);
        dup2(fd, 1);
        dup2(fd, 2);
        const char *const base[][2] = {{"HOME", root},
                                       {"PATH", getenv("PATH")},
                                       {"GITHUB_WORKSPACE", workspace},
                                       {"RUNNER_TEMP", temp},
                                       {"GITHUB_REPOSITORY", "acme/app"},
                                       {"GITHUB_SERVER_URL", url},
                                       {"GITHUB_API_URL", api},
                                       {"GITHUB_REF", "refs/heads/main"},
                                       {"GITHUB_SHA", second_commit},
                                       {"GITHUB_EVENT_NAME", "push"},
                                       {"GITHUB_OUTPUT", outputs},
                                       {"GITHUB_STATE", states},
                                       {"INPUT_REPOSITORY", "acme/app"},
                                       {"INPUT_TOKEN", TOKEN},
                                       {"INPUT_PERSIST-CREDENTIALS", "true"}};
        environ = NULL;
        for (size_t i = 0; i < WH_COUNT(base); i++)
            wh_env_set(&environ, base[i][0], base[i][1]);
        for (const char *const *e = env; e && *e; e++) {
            wh_autofree char *name = wh_strndup(*e, strcspn(*e, "="));
            wh_env_set(&environ, name, *e + strlen(name) + 1);
        }
        mkdir(workspace, 0755);
        if (chdir(workspace) != 0)
            _exit(99);
        struct wh_action_stage s = {
            .action = action, .version = version, .ref = ref, .post = post, .control = -1};
        _exit(wh_action_stage_main(&s));
    }
    int status;
    waitpid(pid, &status, 0);
    struct result r = {.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128,
                       .log = slurp(out),
                       .outputs = slurp(outputs),
                       .states = slurp(states),
                       .ms = (double)(wh_mono_ns() - start) / 1e6};
    return r;
}
#define STAGE(ref, post, ...) stage(ref, post, (const char *const[]){__VA_ARGS__, NULL})
#define STAGE_POST(ref)                                                                                      \
    ({                                                                                                       \
        wh_autofree char *path_ = wh_printf("STATE_repositoryPath=%s/ws", root);                             \
        STAGE(ref, true, path_, "STATE_isPost=true", "STATE_setSafeDirectory=true");                         \
    })

static void must_have(const struct result *r, const char *text)
{
    if (!strstr(r->log, text)) {
        fprintf(stderr, "%s\n", r->log);
        fail_msg("\"%s\" is not in the log", text);
    }
}

static void must_lack(const struct result *r, const char *text)
{
    if (strstr(r->log, text))
        fail_msg("\"%s\" is in:\n%s", text, r->log);
}

static void must_succeed(const struct result *r)
{
    if (r->code != 0) {
        fprintf(stderr, "%s\n", r->log);
        fail_msg("exit code %d", r->code);
    }
    if (strstr(r->log, "error:") || strstr(r->log, "fatal:"))
        fail_msg("complaints:\n%s", r->log);
}

/* The value of a file command's heredoc or NAME=value. */
static void must_say(const char *file, const char *name, const char *value)
{
    const char *line = strstr(file, name);
    if (!line || !strstr(line, value))
        fail_msg("no %s = %s in:\n%s", name, value, file);
}

static void fresh(void)
{
    shell("rm -rf %s/ws %s/temp && mkdir %s/ws %s/temp", root, root, root, root);
}

static void must_be_at(const char *commit)
{
    const char *head = shell("git -C %s/ws rev-parse HEAD", root);
    assert_string_equal(head, commit);
    shell("cd %s/ws && test -z \"$(git status --porcelain)\"", root);
}

/* ---- tests ---- */

static void test_cold_warm_post(void **state)
{
    (void)state;
    static const char *const versions[] = {"v3", "v4", "v5", "v6", "v7", "v4.1.0", "v6.0.1"};
    for (size_t i = 0; i < WH_COUNT(versions); i++) {
        const char *v = versions[i];
        bool separate = v[1] >= '6';
        fresh();
        autoresult cold = STAGE(v, false, NULL);
        must_succeed(&cold);
        must_be_at(second_commit);
        static const char *const lines[] = {"Syncing repository: acme/app",
                                            "::group::Getting Git version info",
                                            "[command]/usr/bin/git version",
                                            "Deleting the contents of",
                                            "::group::Initializing the repository",
                                            "[command]/usr/bin/git remote add origin",
                                            "::group::Disabling automatic garbage collection",
                                            "[command]/usr/bin/git config --local gc.auto 0",
                                            "::group::Setting up auth",
                                            "AUTHORIZATION: basic ***",
                                            "::group::Fetching the repository",
                                            "::group::Determining the checkout info",
                                            "::group::Checking out the ref",
                                            "checkout --progress --force -B main refs/remotes/origin/main"};
        const char *at = cold.log;
        for (size_t k = 0; k < WH_COUNT(lines); k++) {
            const char *next = strstr(at, lines[k]);
            if (!next)
                fail_msg("%s: \"%s\" is missing, or out of order:\n%s", v, lines[k], cold.log);
            at = next;
        }
        must_have(&cold, "::add-mask::" BASIC);
        /* The secret works for a step's own git, and is not in plain sight. */
        shell("cd %s/ws && git fetch -q origin", root);
        const char *config = shell("cat %s/ws/.git/config", root);
        assert_int_equal(strstr(config, BASIC) != NULL, !separate);
        assert_int_equal(strstr(config, "git-credentials-") != NULL, separate);
        shell("test $(stat -c %%a $(grep -l %s %s/ws/.git/config %s/temp/*.config 2>/dev/null)) = 600", BASIC,
              root, root);
        const char *gitconfigs = shell("ls -a %s/temp | grep -vE '^\\.|config$|json$' | wc -l", root);
        assert_string_equal(gitconfigs, "0"); /* no HOME is left */
        must_say(cold.states, "repositoryPath", "/ws");
        must_say(cold.states, "isPost", "true");
        if (v[1] > '3' && !wh_streq(v, "v4.1.0")) {
            must_say(cold.outputs, "commit", second_commit);
            must_say(cold.outputs, "ref", "refs/heads/main");
        }

        /* A later job in the same folder: with rubbish in it. */
        shell("cd %s/ws && echo changed > file && echo new > new && git checkout -q -b other", root);
        autoresult warm = STAGE(v, false, NULL);
        must_succeed(&warm);
        must_be_at(second_commit);
        must_have(&warm, "::group::Removing previously created refs, to avoid conflicts");
        must_have(&warm, "branch --delete --force other");
        must_have(&warm, "::group::Cleaning the repository");
        must_have(&warm, "[command]/usr/bin/git submodule status");
        must_lack(&warm, "Deleting the contents");
        assert_string_equal(shell("git -C %s/ws branch --show-current", root), "main");

        autoresult post = STAGE_POST(v);
        must_succeed(&post);
        shell("! grep -rq %s %s/ws/.git %s/temp && test $(stat -c %%a %s/ws/.git/config) = 644", BASIC, root,
              root, root);
        const char *after = shell("cat %s/ws/.git/config", root);
        assert_null(strstr(after, "git-credentials"));
        shell("! git -C %s/ws fetch -q origin 2>/dev/null", root);
        print_message("%s: cold %.0f ms, warm %.0f ms, post %.0f ms\n", v, cold.ms, warm.ms, post.ms);
    }
}

/* The same commit again: nothing is fetched, and what a step did to the work tree is undone all the same. */
static void test_unchanged(void **state)
{
    (void)state;
    static const char *const versions[] = {"v4", "v7"};
    for (size_t i = 0; i < WH_COUNT(versions); i++) {
        fresh();
        autoresult cold = STAGE(versions[i], false, NULL);
        must_succeed(&cold);
        must_lack(&cold, "nothing was fetched");
        const char *refs = shell("cd %s/ws && git for-each-ref && cat .git/config && cat .git/HEAD", root);

        autoresult warm = STAGE(versions[i], false, NULL);
        must_succeed(&warm);
        must_be_at(second_commit);
        must_have(&warm, "The commit is here already: nothing was fetched\n");
        must_have(&warm, "[command]/usr/bin/git checkout --detach\nHEAD is now at ");
        must_have(&warm, "[command]/usr/bin/git branch --delete --force main\nDeleted branch main (was ");
        must_have(&warm, "[command]/usr/bin/git reset --hard HEAD\nHEAD is now at ");
        must_have(&warm, "Switched to a new branch 'main'");
        if (versions[i][1] < '6') /* later ones name the credentials' new file */
            assert_string_equal(
                refs, shell("cd %s/ws && git for-each-ref && cat .git/config && cat .git/HEAD", root));

        shell("cd %s/ws && echo changed > file && rm sub/x && mkdir -p sub/new/er empty && echo n > "
              "sub/new/er/f",
              root);
        autoresult dirty = STAGE(versions[i], false, NULL);
        must_succeed(&dirty);
        must_be_at(second_commit);
        must_have(&dirty, "nothing was fetched");
        must_have(&dirty, "Removing empty/");
        shell("cd %s/ws && test -e sub/x && test ! -e sub/new && test ! -e empty && grep -q two file", root);

        /* Another state of the history, or none that is known: the server is asked. */
        shell("git -C %s/ws fetch -q --unshallow origin", root);
        autoresult other = STAGE(versions[i], false, NULL);
        must_succeed(&other);
        must_lack(&other, "nothing was fetched");
        autoresult deep = STAGE(versions[i], false, "INPUT_FETCH-DEPTH=0");
        must_succeed(&deep);
        must_lack(&deep, "nothing was fetched");
        autoresult back = STAGE(versions[i], false, NULL);
        must_succeed(&back);
        must_lack(&back, "nothing was fetched");
        must_be_at(second_commit);
    }
}

static void test_groups_by_version(void **state)
{
    (void)state;
    fresh();
    autoresult v7 = STAGE("v7", false, NULL);
    must_have(&v7, "::group::Determining repository object format");
    must_have(&v7,
              "-c protocol.version=2 fetch --no-tags --prune --no-recurse-submodules --depth=1 origin +");
    must_have(&v7, "Removing includeIf entries pointing to credentials config files");
    must_have(&v7, "/github/runner_temp/git-credentials-");
    must_have(&v7, "worktrees/*.path");
    must_have(&v7, "branch --list --remote origin/main\n  origin/main\n");
    fresh();
    autoresult v3 = STAGE("v3", false, NULL);
    must_have(&v3, "fetch --no-tags --prune --progress --no-recurse-submodules --depth=1 origin +");
    must_have(&v3, "log -1 --format='%H'");
    must_lack(&v3, "object format");
    must_lack(&v3, "sparse-checkout disable");
    fresh();
    autoresult v4 = STAGE("v4", false, NULL);
    must_have(&v4, "sparse-checkout disable");
    must_lack(&v4, "Removing HTTP extra header");
}

static void test_refs(void **state)
{
    (void)state;
    fresh();
    autoresult tag = STAGE("v4", false, "INPUT_REF=v1");
    must_succeed(&tag);
    must_be_at(tag_commit);
    must_have(&tag, "+refs/heads/v1*:refs/remotes/origin/v1* +refs/tags/v1*:refs/tags/v1*");
    must_have(&tag, "tag --list v1\nv1\n");

    autoresult pull = STAGE("v4", false, "GITHUB_REF=refs/pull/7/merge", "GITHUB_EVENT_NAME=pull_request",
                            keep(wh_printf("GITHUB_SHA=%s", pull_commit)));
    must_succeed(&pull);
    must_be_at(pull_commit);
    must_have(&pull, "checkout --progress --force refs/remotes/pull/7/merge");

    autoresult sha = STAGE("v7", false, keep(wh_printf("INPUT_REF=%s", first_commit)));
    must_succeed(&sha);
    must_be_at(first_commit);
    must_say(sha.outputs, "ref", "");

    autoresult branch = STAGE("v6", false, "INPUT_REF=feature/a");
    must_succeed(&branch);
    must_have(&branch, "-B feature/a refs/remotes/origin/feature/a");
    must_say(branch.outputs, "ref", "feature/a");

    /* A branch where a folder of branches was: the old one is in the way. */
    autoresult conflict = STAGE("v6", false, "INPUT_REF=refs/heads/feature");
    assert_int_equal(conflict.code, 1);
    must_have(&conflict, "branch --delete --force --remote origin/feature/a");

    autoresult missing = STAGE("v6", false, "INPUT_REF=nowhere");
    assert_int_equal(missing.code, 1);
    must_have(&missing, "The process '/usr/bin/git' failed with exit code 1"); /* git: nothing to fetch */

    autoresult event_tag =
        STAGE("v7", false, "GITHUB_REF=refs/tags/v1", keep(wh_printf("GITHUB_SHA=%s", tag_commit)));
    must_succeed(&event_tag);
    must_have(&event_tag, "rev-parse refs/tags/v1^{commit}");
    autoresult moved = STAGE("v7", false, "GITHUB_REF=refs/tags/v1");
    assert_int_equal(moved.code, 1);
    must_have(&moved, "The ref 'refs/tags/v1' does not point to the expected commit");
}

static void test_depth_and_tags(void **state)
{
    (void)state;
    fresh();
    autoresult shallow = STAGE("v4", false, NULL);
    must_succeed(&shallow);
    autoresult all = STAGE("v4", false, "INPUT_FETCH-DEPTH=0");
    must_succeed(&all);
    must_have(&all, "--unshallow origin +refs/heads/*:refs/remotes/origin/* +refs/tags/*:refs/tags/*");
    assert_string_equal(shell("git -C %s/ws rev-list --count HEAD", root), "2");
    assert_string_equal(shell("git -C %s/ws tag", root), "v1");
    fresh();
    autoresult tags =
        STAGE("v7", false, "INPUT_FETCH-TAGS=TRUE", "INPUT_FETCH-DEPTH=1.9", "INPUT_FILTER=blob:none");
    must_succeed(&tags);
    must_have(&tags, "--filter=blob:none --depth=1 origin +refs/tags/*:refs/tags/* +");
}

static void test_path_and_no_persist(void **state)
{
    (void)state;
    fresh();
    autoresult r = STAGE("v6", false, "INPUT_PATH=a/b", "INPUT_PERSIST-CREDENTIALS=false");
    must_succeed(&r);
    must_have(&r, "::group::Removing auth");
    must_have(&r, "Removing credentials config '");
    shell("test -f %s/ws/a/b/file && ! grep -rq %s %s/ws %s/temp", root, BASIC, root, root);
    autoresult out = STAGE("v6", false, "INPUT_PATH=../x");
    assert_int_equal(out.code, 1);
    must_have(&out, "is not under");
}

static void test_recreated(void **state)
{
    (void)state;
    fresh();
    shell("cd %s/ws && git init -q && git remote add origin http://other/x && echo old > old", root);
    autoresult other = STAGE("v4", false, NULL);
    must_succeed(&other);
    must_have(&other, "Deleting the contents of");
    shell("test ! -e %s/ws/old", root);
    /* A damaged one, and the locks of a git that was killed. */
    shell("cd %s/ws && touch .git/index.lock .git/shallow.lock", root);
    autoresult locked = STAGE("v4", false, NULL);
    must_succeed(&locked);
    must_lack(&locked, "Deleting the contents");
    shell("cd %s/ws && echo rubbish > .git/HEAD", root);
    autoresult damaged = STAGE("v4", false, NULL);
    must_have(&damaged, "The repository will be recreated instead.");
    assert_int_equal(damaged.code, 0);
    must_be_at(second_commit);
}

static void test_failures(void **state)
{
    (void)state;
    static const char *const unsupported[][2] = {{"INPUT_SSH-KEY=key", "'ssh-key'"},
                                                 {"INPUT_LFS=true", "'lfs'"},
                                                 {"INPUT_SUBMODULES=recursive", "'submodules'"},
                                                 {"INPUT_SPARSE-CHECKOUT=a\nb", "'sparse-checkout'"}};
    for (size_t i = 0; i < WH_COUNT(unsupported); i++) {
        autoresult r = STAGE("v4", false, unsupported[i][0]);
        assert_int_equal(r.code, 1);
        must_have(&r, "::error::");
        must_have(&r, unsupported[i][1]);
        must_have(&r, "not supported yet");
    }
    autoresult bad = STAGE("v4", false, "INPUT_REPOSITORY=a/b/c");
    assert_int_equal(bad.code, 1);
    must_have(&bad, "Invalid repository 'a/b/c'. Expected format {owner}/{repo}.");
    fresh();
    autoresult token = STAGE("v4", false, "INPUT_TOKEN=wrong");
    assert_int_equal(token.code, 1);
    must_have(&token, "The process '/usr/bin/git' failed with exit code 128");
    must_have(&token, "Waiting 0 seconds before trying again");
    autoresult none = STAGE("v4", false, "INPUT_TOKEN=");
    must_have(&none, "Input required and not supplied: token");
}

/* No ref and not the workflow's own repository: the service knows the default branch. */
static void test_another_repository(void **state)
{
    (void)state;
    shell("cp -r %s/served/acme/app.git %s/served/acme/lib.git", root, root);
    static const char *const versions[] = {"v4", "v7"};
    for (size_t i = 0; i < WH_COUNT(versions); i++) {
        fresh();
        autoresult r = STAGE(versions[i], false, "INPUT_REPOSITORY=acme/lib");
        must_succeed(&r);
        must_have(&r, "::group::Determining the default branch");
        must_have(&r, "Default branch 'main'");
        must_say(r.outputs, "ref", "refs/heads/main");
        must_be_at(second_commit);
    }
    autoresult none = STAGE("v4", false, "INPUT_REPOSITORY=acme/none");
    assert_int_equal(none.code, 1);
    must_have(&none, "404");
    must_have(&none, "Waiting 0 seconds before trying again");
    must_lack(&none, TOKEN);
}

static void test_retry(void **state)
{
    (void)state;
    fresh();
    wh_autofree char *fail = wh_printf("%s/served/fail", root);
    wh_write_file(AT_FDCWD, fail, "500 503", 7, 0644, NULL);
    for (int i = 0; i < 100 && access(fail, F_OK) == 0; i++)
        usleep(20000);
    autoresult r = STAGE("v4", false, NULL);
    assert_int_equal(r.code, 0);
    must_have(&r, "Waiting 0 seconds before trying again");
    must_be_at(second_commit);
}

static void test_guard(void **state)
{
    (void)state;
    wh_autofree char *event = wh_printf("%s/event.json", root);
    wh_autofree char *text =
        wh_printf("{\"repository\":{\"id\":1},\"pull_request\":{\"head\":{\"sha\":\"%s\",\"repo\":{\"id\":2,"
                  "\"full_name\":\"evil/app\"}}}}",
                  pull_commit);
    wh_write_file(AT_FDCWD, event, text, strlen(text), 0644, NULL);
    wh_autofree char *path = wh_printf("GITHUB_EVENT_PATH=%s", event);
    wh_autofree char *sha = wh_printf("INPUT_REF=%s", pull_commit);
    const char *name = "GITHUB_EVENT_NAME=pull_request_target";
    fresh();
    autoresult by_sha = STAGE("v4", false, path, name, sha);
    must_have(&by_sha, "Refusing to check out fork pull request code from a 'pull_request_target' workflow.");
    autoresult by_ref = STAGE("v7", false, path, name, "INPUT_REF=refs/pull/7/merge");
    must_have(&by_ref, "Refusing");
    autoresult by_name = STAGE("v7", false, path, name, "INPUT_REPOSITORY=Evil/App");
    must_have(&by_name, "Refusing");
    autoresult allowed = STAGE("v7", false, path, name, sha, "INPUT_ALLOW-UNSAFE-PR-CHECKOUT=true");
    must_succeed(&allowed);
    autoresult own = STAGE("v7", false, path, name);
    must_succeed(&own);
}

/* Every argument list that git gets, with and without our own reading of its files. */
static void test_token_is_in_no_argument_list(void **state)
{
    (void)state;
    shell("mkdir -p %s/bin && printf '#!/bin/sh\\necho \"$@\" >> %s/argv\\nexec /usr/bin/git \"$@\"\\n' > "
          "%s/bin/git && chmod 755 "
          "%s/bin/git",
          root, root, root, root);
    static const char *const versions[] = {"v4", "v7"};
    for (size_t i = 0; i < 2 * WH_COUNT(versions); i++) {
        fresh();
        const char *path = keep(wh_printf("PATH=%s/bin:%s", root, getenv("PATH")));
        autoresult r = STAGE(versions[i / 2], false, path, i % 2 ? "GIT_CEILING_DIRECTORIES=/x" : "X=1");
        must_succeed(&r);
        autoresult post = STAGE_POST(versions[i / 2]);
        must_succeed(&post);
        const char *argv = shell("cat %s/argv", root);
        assert_non_null(strstr(argv, "fetch"));
        assert_null(strstr(argv, TOKEN));
        assert_null(strstr(argv, BASIC));
    }
}

/* The same stage with and without our own reading of git's files leaves the same repository, and the same
 * log. */
static void test_same_as_git(void **state)
{
    (void)state;
    static const char *const versions[] = {"v4", "v6", "v7"};
    for (size_t i = 0; i < WH_COUNT(versions); i++) {
        char *logs[2] = {NULL, NULL};
        const char *trees[2];
        for (int k = 0; k < 2; k++) {
            fresh();
            const char *trace =
                k == 0 ? "X=1" : "GIT_CEILING_DIRECTORIES=/nowhere"; /* an unknown GIT_ variable: ask git */
            for (int round = 0; round < 2; round++) {
                autoresult r = STAGE(versions[i], false, trace);
                must_succeed(&r);
                autoresult post = STAGE_POST(versions[i]);
                must_succeed(&post);
                free(logs[k]);
                logs[k] = wh_strdup(r.log);
            }
            trees[k] = shell(
                "cd %s/ws && git config --local --list | sort && git for-each-ref && git status "
                "-sb && cat .git/HEAD && ls .git | grep -vE 'wherry-fetched|packed-refs' && cat .git/shallow",
                root);
            char *p = logs[k];
            for (char *at; (at = strstr(p, "-")) && strlen(at) > 36; p = at + 1)
                if (at[5] == '-' && at[10] == '-') /* GUIDs differ */
                    memset(at - 8, 'x', 36);
        }
        assert_string_equal(trees[0], trees[1]);
        /* Every command is in both; only the fetch of what is there says so. */
        wh_autofree char *a = wh_printf("%s/log-a", root), *b = wh_printf("%s/log-b", root);
        wh_write_file(AT_FDCWD, a, logs[0], strlen(logs[0]), 0644, NULL);
        wh_write_file(AT_FDCWD, b, logs[1], strlen(logs[1]), 0644, NULL);
        const char *diff = shell("diff -I 'nothing was fetched' %s %s || true", a, b);
        if (diff[0])
            fail_msg("%s: the logs differ:\n%s", versions[i], diff);
        free(logs[0]), free(logs[1]);
    }
}

int main(void)
{
    wh_secrets_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cold_warm_post),
        cmocka_unit_test(test_unchanged),
        cmocka_unit_test(test_groups_by_version),
        cmocka_unit_test(test_refs),
        cmocka_unit_test(test_depth_and_tags),
        cmocka_unit_test(test_path_and_no_persist),
        cmocka_unit_test(test_recreated),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_retry),
        cmocka_unit_test(test_another_repository),
        cmocka_unit_test(test_guard),
        cmocka_unit_test(test_token_is_in_no_argument_list),
        cmocka_unit_test(test_same_as_git),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
