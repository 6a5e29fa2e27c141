/* The git room against git itself: what it reads must be what git says, what it writes must be what git
 * reads. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "wherry/base/fs.h"
#include "wherry/git/config.h"
#include "wherry/git/repo.h"

static char *dir;
static char **kept; /* texts that live until the tests end */

static const char *keep(char *text)
{
    wh_strv_take(&kept, text);
    return text;
}

static int group_setup(void **state)
{
    (void)state;
    char name[] = "/tmp/wherry-git-XXXXXX";
    dir = wh_strdup(mkdtemp(name));
    setenv("HOME", dir, 1);
    setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
    return dir ? 0 : -1;
}

static int group_teardown(void **state)
{
    (void)state;
    int rc = wh_remove_tree(AT_FDCWD, dir, NULL);
    wh_strv_free(kept);
    free(dir);
    return rc;
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
    pclose(f);
    return keep(wh_str_steal(&out));
}

/* "name\nvalue\0" of all, as `git config --list -z` prints them. */
static char *listed(const struct wh_git_config *c)
{
    wh_autostr out = {0};
    for (size_t i = 0; i < c->nentries; i++)
        wh_str_addf(&out, "%s%s%s|", c->entries[i].name, c->entries[i].value ? "=" : "",
                    c->entries[i].value ? c->entries[i].value : "");
    return wh_str_steal(&out);
}

static void same_as_git(const char *text)
{
    wh_autoerror err = {0};
    wh_autofree char *path = wh_path_join(dir, "config");
    assert_int_equal(wh_write_file(AT_FDCWD, path, text, strlen(text), 0644, &err), 0);
    const char *git = shell("git config --file %s --list -z 2>/dev/null | tr '\\n\\0' '=|'", path);
    wh_autogitconfig c = {0};
    int rc = wh_git_config_parse(&c, text, strlen(text), &err);
    if (rc < 0) {
        /* What we don't take, git must not take either: or we'd only ask it needlessly. */
        const char *fatal = shell("git config --file %s --list >/dev/null 2>&1 || echo bad", path);
        if (strcmp(fatal, "bad\n") != 0)
            print_message("stricter than git: %s\n", wh_error_text(&err));
        return;
    }
    wh_autofree char *ours = listed(&c);
    for (char *p = ours; *p; p++)
        if (*p == '\n')
            *p = '=';
    assert_string_equal(ours, git);
}

static const char *const samples[] = {
    "",
    "[core]\n\tbare = false\n",
    "\xef\xbb\xbf[core]\nx=1\n",
    "[a] x = 1\n[A \"Sub.X\"]\n\tKey = Va lue  # comment\n; all\n\tother\n",
    "[http \"https://github.com/\"]\n\textraheader = AUTHORIZATION: basic abc==\n",
    "[s]\n a = \" quoted ; # \" tail \n b = one\\\n two\n c = \"x\\ty\\\"z\\\\\"\n d =\n e = a;b\n",
    "[s \"q\\\"\\\\x\"]\nk=v\n",
    "[Old.Style]\nk=v\n",
    "[s]\r\nk = v\r\n",
    "[a]\nk = 1\nk = 2\n[b]\nk=3\n[a]\nk = 4",
    "x = 1\n", /* git takes this; we leave it to git */
};

static void test_reading(void **state)
{
    (void)state;
    for (size_t i = 0; i < WH_COUNT(samples); i++)
        same_as_git(samples[i]);
}

static void test_bad(void **state)
{
    (void)state;
    static const char *const bad[] = {"[a\nk=1\n",    "[a]\nk = \"x\n", "[a]\nk = \\q\n",
                                      "[a]\n1 = 2\n", "[]\nk=1\n",      "[a \"x]\n"};
    for (size_t i = 0; i < WH_COUNT(bad); i++) {
        wh_autoerror err = {0};
        wh_autogitconfig c = {0};
        assert_true(wh_git_config_parse(&c, bad[i], strlen(bad[i]), &err) < 0);
        assert_int_equal(err.code, WH_E_PARSE);
        wh_autofree char *path = wh_path_join(dir, "bad");
        assert_int_equal(wh_write_file(AT_FDCWD, path, bad[i], strlen(bad[i]), 0644, NULL), 0);
        const char *git = shell("git config --file %s --list >/dev/null 2>&1 || echo bad", path);
        if (strcmp(git, "bad\n") != 0)
            fail_msg("git takes %s", bad[i]);
    }
}

static void test_editing(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autogitconfig c = {0};
    const char *text = "# mine\n[core]\n\tbare = false ; yes\n[remote \"origin\"]\n\turl = u\n";
    assert_int_equal(wh_git_config_parse(&c, text, strlen(text), &err), 0);
    assert_string_equal(wh_git_config_get(&c, "REMOTE.origin.URL"), "u");
    assert_null(wh_git_config_get(&c, "remote.Origin.url"));
    assert_int_equal(wh_git_config_set(&c, "gc.auto", "0", &err), 0);
    assert_int_equal(wh_git_config_set(&c, "gc.auto", "1", &err), 0);
    assert_int_equal(wh_git_config_set(&c, "core.sshCommand", "ssh -o \"a;b\" ", &err), 0);
    assert_int_equal(wh_git_config_add(&c, "remote.origin.fetch", "+a:b", &err), 0);
    assert_int_equal(wh_git_config_add(&c, "remote.origin.fetch", "+c:d", &err), 0);
    assert_int_equal(wh_git_config_set(&c, "includeIf.gitdir:/P x/.git.path", "/f", &err), 0);
    assert_true(wh_git_config_set(&c, "remote.origin.fetch", "x", &err) < 0);
    wh_autofree char *path = wh_path_join(dir, "edited");
    assert_int_equal(wh_git_config_write(&c, path, 0640, &err), 0);
    const char *git = shell("git config --file %s --list", path);
    assert_string_equal(
        git,
        "core.bare=false\ncore.sshcommand=ssh -o \"a;b\" \nremote.origin.url=u\nremote.origin.fetch=+a:b\n"
        "remote.origin.fetch=+c:d\ngc.auto=1\nincludeif.gitdir:/P x/.git.path=/f\n");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);

    assert_int_equal(wh_git_config_unset(&c, "remote.origin.fetch", "+a:b", &err), 1);
    assert_int_equal(wh_git_config_unset(&c, "gc.auto", NULL, &err), 1);
    assert_int_equal(wh_git_config_unset(&c, "gc.auto", NULL, &err), 0);
    assert_null(strstr(wh_str_text(&c.text), "[gc]"));
    assert_int_equal(wh_git_config_unset(&c, "core.bare", NULL, &err), 1);
    assert_non_null(strstr(wh_str_text(&c.text), "# mine"));
    assert_int_equal(wh_git_config_write(&c, path, 0, &err), 0);
    git = shell("git config --file %s --list", path);
    assert_string_equal(git,
                        "core.sshcommand=ssh -o \"a;b\" \nremote.origin.url=u\nremote.origin.fetch=+c:d\n"
                        "includeif.gitdir:/P x/.git.path=/f\n");
    /* Another git holds it. */
    wh_autofree char *lock = wh_printf("%s.lock", path);
    assert_int_equal(wh_write_file(AT_FDCWD, lock, "", 0, 0644, &err), 0);
    assert_true(wh_git_config_write(&c, path, 0, &err) < 0);
    assert_int_equal(err.code, WH_E_BUSY);
}

static void test_limits(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autogitconfig c = {0};
    wh_autofree char *big = wh_malloc(WH_MAX_GIT_CONFIG + 1);
    memset(big, '\n', WH_MAX_GIT_CONFIG + 1);
    assert_int_equal(wh_git_config_parse(&c, big, WH_MAX_GIT_CONFIG, &err), 0);
    assert_true(wh_git_config_parse(&c, big, WH_MAX_GIT_CONFIG + 1, &err) < 0);
    assert_int_equal(err.code, WH_E_LIMIT);
}

static void test_refs_and_head(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    shell(
        "cd %s && git init -q -b main r && cd r && git config user.email a@b && git config user.name n && "
        "echo x > f && git add . && "
        "git commit -qm one && git branch topic/a && git tag v1 && git update-ref refs/remotes/origin/main "
        "HEAD && "
        "git pack-refs --all && git branch loose && git branch -D topic/a 2>/dev/null && git branch topic/b",
        dir);
    wh_autofree char *gitdir = wh_printf("%s/r/.git", dir);
    wh_autofree char *head = NULL, *object = NULL;
    assert_int_equal(wh_git_head(gitdir, &head, &err), 1);
    assert_string_equal(head, "refs/heads/main");
    assert_int_equal(wh_git_ref(gitdir, "HEAD", &object, &err), 1);
    const char *want = shell("git -C %s/r rev-parse HEAD | tr -d '\\n'", dir);
    assert_string_equal(object, want);
    static const char *const prefixes[] = {"refs/heads/", "refs/tags/", "refs/remotes/origin/"};
    for (size_t i = 0; i < WH_COUNT(prefixes); i++) {
        wh_autostrv char **names = NULL;
        assert_true(wh_git_refs(gitdir, prefixes[i], &names, &err) > 0);
        wh_autofree char *joined = wh_strv_join(names, "\n");
        const char *git =
            shell("git -C %s/r for-each-ref --format='%%(refname)' %s | head -c -1", dir, prefixes[i]);
        assert_string_equal(joined, git);
    }
    char *none = NULL;
    assert_int_equal(wh_git_ref(gitdir, "refs/heads/nope", &none, &err), 0);
    shell("cd %s/r && git checkout -q --detach", dir);
    free(wh_steal(&head));
    assert_int_equal(wh_git_head(gitdir, &head, &err), 0);
    assert_string_equal(head, want);
    /* What we can't know, we don't claim. */
    shell("cd %s/r && git symbolic-ref refs/remotes/origin/HEAD refs/remotes/origin/main", dir);
    wh_autostrv char **names = NULL;
    assert_true(wh_git_refs(gitdir, "refs/remotes/origin/", &names, &err) < 0);
    assert_true(wh_git_ref(gitdir, "../../etc/passwd", &none, &err) < 0);
}

static void count_name(void *data, const char *name, size_t len)
{
    size_t *count = data;
    assert_int_equal(strlen(name), len);
    assert_true(wh_starts_with(name, "file"));
    (*count)++;
}

static void test_index(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    struct wh_git_index index;
    wh_autofree char *gitdir = wh_printf("%s/i/.git", dir);
    shell("cd %s && git init -q i", dir);
    assert_int_equal(wh_git_index_scan(gitdir, &index, &err), 0);
    assert_int_equal(index.entries, 0);
    shell("cd %s/i && for i in $(seq 300); do echo $i > file$i; done && git add .", dir);
    for (int version = 2; version <= 4; version++) {
        shell("cd %s/i && git update-index --index-version %d", dir, version);
        assert_int_equal(wh_git_index_scan(gitdir, &index, &err), 0);
        assert_int_equal(index.entries, 300);
        size_t named = 0;
        assert_int_equal(wh_git_index_names(gitdir, count_name, &named, &index, &err), 0);
        assert_int_equal(named, 300);
        assert_false(index.gitlinks || index.skip_worktree);
    }
    shell("cd %s/i && git update-index --skip-worktree file7", dir);
    assert_int_equal(wh_git_index_scan(gitdir, &index, &err), 0);
    assert_true(index.skip_worktree);
    shell("cd %s/i && git update-index --no-skip-worktree file7 && git update-index --add --cacheinfo "
          "160000,0123456789012345678901234567890123456789,sub",
          dir);
    assert_int_equal(wh_git_index_scan(gitdir, &index, &err), 0);
    assert_true(index.gitlinks && !index.skip_worktree);
    shell("cd %s/i && git update-index --split-index", dir);
    assert_true(wh_git_index_scan(gitdir, &index, &err) < 0);
    wh_autofree char *path = wh_path_join(gitdir, "index");
    assert_int_equal(truncate(path, 200), 0);
    assert_true(wh_git_index_scan(gitdir, &index, &err) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reading),       cmocka_unit_test(test_bad),
                                       cmocka_unit_test(test_editing),       cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_refs_and_head), cmocka_unit_test(test_index)};
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
