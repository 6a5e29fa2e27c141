/* Credentials (actions.md §2.3, §2.5). The token never is in an argument list: git (or we for it) writes a
 * placeholder that the log shows, and the file gets the secret. v3 to v5 keep it in .git/config; v6 and later
 * in a file of RUNNER_TEMP that .git/config includes. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "actions/checkout.h"
#include "wherry/base/digest.h"
#include "wherry/base/fs.h"
#include "wherry/base/secret.h"
#include "wherry/git/config.h"

#define MAX_GITCONFIG ((size_t)4 << 20)
#define SHOWN "AUTHORIZATION: basic ***"

static bool separate_file(const struct checkout *c)
{
    return c->version.major >= 6;
}

/* ---- a HOME of our own, so that safe.directory stays in this step ---- */

static int make_home(struct checkout *c, struct wh_error *err)
{
    char id[37];
    c->home = wh_path_join(c->temp, wh_guid(id));
    if (wh_mkdir_p(c->home, 0755, err) < 0)
        return -1;
    const char *home = wh_action_env("HOME");
    wh_autofree char *from = wh_path_join(home[0] ? home : "/", ".gitconfig");
    wh_autofree char *to = wh_path_join(c->home, ".gitconfig");
    wh_autostr text = {0};
    wh_autoerror no = {0};
    if (wh_read_file(AT_FDCWD, from, MAX_GITCONFIG, &text, &no) == 0)
        wh_action_print("Copying '%s' to '%s'", from, to);
    else if (no.code != WH_E_NOT_FOUND)
        return wh_error_move(err, &no);
    wh_autoclose int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return wh_fail_errno(err, "%s", to);
    if (wh_write_all(fd, wh_str_text(&text), text.len, err) < 0)
        return wh_wrap(err, "%s", to);
    wh_action_print("Temporarily overriding HOME='%s' before making global git config changes", c->home);
    checkout_git_env(c, "HOME", c->home);
    return 0;
}

int checkout_safe_directory(struct checkout *c, struct wh_error *err)
{
    if (make_home(c, err) < 0)
        return -1;
    wh_action_print("Adding repository directory to the temporary git global config as a safe directory");
    const char *const args[] = {"config", "--global", "--add", "safe.directory", c->path, NULL};
    wh_autofree char *file = wh_path_join(c->home, ".gitconfig");
    wh_autogitconfig config = {0};
    if (!c->may_answer || wh_git_config_read(&config, file, NULL) < 0 ||
        wh_git_config_add(&config, "safe.directory", c->path, NULL) < 0 ||
        wh_git_config_write(&config, file, 0600, NULL) < 0) {
        wh_autoerror problem = {0};
        if (checkout_git(c, 0, NULL, &problem, args) < 0)
            wh_action_print("Failed to initialize safe directory with error: Error: %s",
                            wh_error_text(&problem));
        return 0;
    }
    checkout_echo(c, args);
    return 0;
}

void checkout_home_remove(struct checkout *c)
{
    if (!c->home)
        return;
    wh_action_debug("Unsetting HOME override");
    if (c->env)
        checkout_git_env(c, "HOME", NULL);
    wh_remove_tree(AT_FDCWD, c->home, NULL);
    free(wh_steal(&c->home));
}

/* ---- setting ---- */

/* "AUTHORIZATION: basic ..."; the encoded part is masked from here on. */
static char *header_value(const struct checkout *c)
{
    wh_autofree char *pair = wh_printf("x-access-token:%s", c->token);
    wh_autofree char *basic = wh_base64(pair, strlen(pair));
    wh_action_mask(basic);
    char *value = wh_printf("AUTHORIZATION: basic %s", basic);
    explicit_bzero(pair, strlen(pair));
    explicit_bzero(basic, strlen(basic));
    return value;
}

static int write_credentials(struct checkout *c, const char *value, struct wh_error *err)
{
    char id[37];
    c->credentials = wh_printf("%s/git-credentials-%s.config", c->temp, wh_guid(id));
    CHECKOUT_ECHO(c, "config", "--file", c->credentials, c->token_key, SHOWN);
    wh_autogitconfig config = {0};
    if (wh_git_config_add(&config, c->token_key, value, err) < 0)
        return -1;
    int rc = wh_git_config_write(&config, c->credentials, 0600, err);
    explicit_bzero(config.text.data, config.text.len);
    return rc;
}

/* Where the file is seen from here, and from a container of this job. */
static int include_credentials(struct checkout *c, struct wh_error *err)
{
    const char *rest = c->path + strlen(c->workspace);
    const char *file = strrchr(c->credentials, '/') + 1;
    wh_autofree char *inside = wh_printf("/github/workspace%s/.git", rest);
    wh_autofree char *inside_file = wh_printf("/github/runner_temp/%s", file);
    const struct {
        const char *gitdir, *file;
    } sides[] = {{c->gitdir, c->credentials}, {inside, inside_file}};
    for (size_t i = 0; i < WH_COUNT(sides); i++) {
        wh_autofree char *key = wh_printf("includeIf.gitdir:%s.path", sides[i].gitdir);
        wh_autofree char *worktrees = wh_printf("includeIf.gitdir:%s/worktrees/*.path", sides[i].gitdir);
        if (checkout_config_set(c, key, sides[i].file, err) < 0)
            return -1;
        if (checkout_at_least(c, 6, 0, 1) && checkout_config_set(c, worktrees, sides[i].file, err) < 0)
            return -1;
    }
    return 0;
}

int checkout_auth_configure(struct checkout *c, struct wh_error *err)
{
    if (checkout_auth_remove(c, err) < 0)
        return -1;
    wh_autofree char *value = header_value(c);
    int rc;
    if (separate_file(c)) {
        rc = write_credentials(c, value, err);
        if (rc == 0)
            rc = include_credentials(c, err);
    } else {
        rc = checkout_config_set_secret(c, c->token_key, value, SHOWN, err);
    }
    explicit_bzero(value, strlen(value));
    return rc;
}

/* ---- removing ---- */

static void remove_files(struct checkout *c, char *const *files)
{
    wh_autofree char *below = wh_printf("%s/", c->temp);
    for (char *const *f = files; f && *f; f++) {
        if (!wh_starts_with(*f, below) || strstr(*f, "/../")) {
            wh_action_debug("Skipping removal of credentials config '%s' - not under RUNNER_TEMP", *f);
            continue;
        }
        if (separate_file(c))
            wh_action_print("Removing credentials config '%s'", *f);
        if (unlink(*f) < 0 && errno != ENOENT)
            wh_action_warning("Failed to remove credentials config '%s'", *f);
    }
}

/* What v6 and later left is cleaned up by the newest v4 and v5 too. */
static bool cleans_files(const struct checkout *c)
{
    if (separate_file(c))
        return true;
    const char *skip = wh_action_env("ACTIONS_CHECKOUT_SKIP_V6_CLEANUP");
    if (wh_streq(skip, "1") || wh_streq_ci(skip, "true"))
        return false;
    return c->version.major == 5 ? checkout_at_least(c, 5, 0, 1) : checkout_at_least(c, 4, 3, 1);
}

int checkout_auth_remove(struct checkout *c, struct wh_error *err)
{
    if (separate_file(c))
        wh_action_print("Removing SSH command configuration");
    if (checkout_config_remove(c, "core.sshCommand", err) < 0)
        return -1;
    if (separate_file(c))
        wh_action_print("Removing HTTP extra header");
    if (checkout_config_remove(c, c->token_key, err) < 0)
        return -1;
    if (!cleans_files(c))
        return 0;
    if (separate_file(c))
        wh_action_print("Removing includeIf entries pointing to credentials config files");
    wh_autostrv char **files = NULL;
    if (checkout_config_drop_includes(c, &files, err) < 0)
        return -1;
    remove_files(c, files);
    return 0;
}
