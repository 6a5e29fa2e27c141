/* The work tree that was there before (actions.md §2.4). */
#include <ctype.h>
#include <unistd.h>

#include "actions/checkout.h"
#include "wherry/base/fs.h"
#include "wherry/git/repo.h"

/* rev-parse --symbolic-full-name --verify --quiet HEAD: the branch that HEAD is on; NULL: none. Owned. */
static char *on_branch(struct checkout *c)
{
    const char *const args[] = {"rev-parse", "--symbolic-full-name", "--verify", "--quiet", "HEAD", NULL};
    wh_autofree char *ref = NULL, *object = NULL;
    int head = c->may_answer ? wh_git_head(c->gitdir, &ref, NULL) : -1;
    int there = head == 1 ? wh_git_ref(c->gitdir, ref, &object, NULL) : head;
    if (head >= 0 && there >= 0) {
        checkout_echo(c, args);
        if (head == 0)
            wh_action_print("HEAD");
        else if (there == 1)
            wh_action_print("%s", ref);
        return head == 1 && there == 1 && wh_starts_with(ref, "refs/heads/") ? wh_steal(&ref) : NULL;
    }
    wh_autostr out = {0};
    checkout_git(c, CHECKOUT_ANY, &out, NULL, args);
    struct wh_view name = wh_view_trim((struct wh_view){wh_str_text(&out), out.len});
    return wh_starts_with(wh_str_text(&out), "refs/heads/") ? wh_view_dup(name) : NULL;
}

/* Full names of all refs/heads/ or refs/remotes/origin/; silent, as on GitHub. */
static int refs_below(struct checkout *c, const char *prefix, const char *option, char ***names,
                      struct wh_error *err)
{
    if (c->may_answer && wh_git_refs(c->gitdir, prefix, names, NULL) >= 0)
        return 0;
    wh_autostr out = {0};
    if (CHECKOUT_GIT(c, CHECKOUT_QUIET, &out, err, "rev-parse", "--symbolic-full-name", option) < 0)
        return -1;
    struct wh_reader r = wh_reader_of(wh_str_text(&out), out.len);
    struct wh_view line;
    while (wh_reader_line(&r, &line)) {
        line = wh_view_trim(line);
        if (line.len > 0)
            wh_strv_take(names, wh_view_dup(line));
    }
    return 0;
}

static bool is_folder_of(const char *name, const char *longer)
{
    size_t n = strlen(name);
    return strlen(longer) > n && longer[n] == '/' && wh_strcmp_ci(name, longer, n) == 0;
}

/* A branch foo can't be where foo/bar was, nor the reverse; case counts as little as on some file systems. */
static int remove_conflicting(struct checkout *c, struct wh_error *err)
{
    if (!c->ref[0])
        return 0;
    const char *branch = c->ref;
    if (wh_starts_with(branch, "refs/heads/"))
        branch += strlen("refs/heads/");
    else if (wh_starts_with(branch, "refs/"))
        return 0;
    wh_autostrv char **remotes = NULL;
    if (refs_below(c, "refs/remotes/origin/", "--remotes=origin", &remotes, err) < 0)
        return -1;
    for (char **r = remotes; r && *r; r++) {
        const char *origin = *r + strlen("refs/remotes/");
        if (!wh_starts_with(*r, "refs/remotes/origin/"))
            continue;
        const char *name = origin + strlen("origin/");
        if ((is_folder_of(name, branch) || is_folder_of(branch, name)) &&
            CHECKOUT_GIT(c, 0, NULL, err, "branch", "--delete", "--force", "--remote", origin) < 0)
            return -1;
    }
    return 0;
}

static int remove_branches(struct checkout *c, struct wh_error *err)
{
    wh_autofree char *ref = on_branch(c);
    int left = ref ? checkout_leave_branch(c, ref, err) : 0;
    if (left != 0)
        return left < 0 ? -1 : 0;
    if (ref && CHECKOUT_GIT(c, 0, NULL, err, "checkout", "--detach") < 0)
        return -1;
    wh_autostrv char **branches = NULL;
    if (refs_below(c, "refs/heads/", "--branches", &branches, err) < 0)
        return -1;
    for (char **b = branches; b && *b; b++) {
        const char *name = wh_starts_with(*b, "refs/heads/") ? *b + strlen("refs/heads/") : *b;
        if (CHECKOUT_GIT(c, 0, NULL, err, "branch", "--delete", "--force", name) < 0)
            return -1;
    }
    return 0;
}

static int remove_refs(struct checkout *c, struct wh_error *err)
{
    wh_action_group("Removing previously created refs, to avoid conflicts");
    if (remove_branches(c, err) < 0 || remove_conflicting(c, err) < 0)
        return -1;
    wh_action_group_end();
    return 0;
}

static bool submodules_are_fine(struct checkout *c)
{
    const char *const args[] = {"submodule", "status", NULL};
    if (checkout_no_submodules(c)) {
        checkout_echo(c, args);
        return true;
    }
    return checkout_git(c, CHECKOUT_ANY, NULL, NULL, args) == 0;
}

/* 1: it can be used; 0: it has to be made anew. */
static int make_usable(struct checkout *c, struct wh_error *err)
{
    if (remove_refs(c, err) < 0)
        return -1;
    bool usable = true;
    if (!submodules_are_fine(c)) {
        usable = false;
        wh_action_print("Bad Submodules found, removing existing files");
    }
    if (!c->clean)
        return usable;
    wh_action_group("Cleaning the repository");
    if (checkout_clean(c) != 0) {
        wh_action_debug("git clean -ffdx in '%s' failed: a file in use, rights, or too long a path", c->path);
        usable = false;
    } else if (checkout_reset(c) != 0) {
        usable = false;
    }
    wh_action_group_end();
    if (!usable)
        wh_action_warning(
            "Unable to clean or reset the repository. The repository will be recreated instead.");
    return usable;
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_same_remote(struct checkout *c)
{
    if (!is_folder(c->gitdir))
        return false;
    wh_autofree char *url = checkout_config_get(c, "remote.origin.url");
    return wh_streq(url, c->url);
}

int checkout_prepare(struct checkout *c, struct wh_error *err)
{
    bool usable = is_same_remote(c);
    if (usable) {
        static const char *const locks[] = {"index.lock", "shallow.lock"}; /* of a git that was killed */
        for (size_t i = 0; i < WH_COUNT(locks); i++) {
            wh_autofree char *lock = wh_path_join(c->gitdir, locks[i]);
            unlink(lock);
        }
        wh_autoerror problem = {0};
        int rc = make_usable(c, &problem);
        if (rc < 0) {
            wh_action_debug("%s", wh_error_text(&problem));
            wh_action_warning(
                "Unable to prepare the existing repository. The repository will be recreated instead.");
        }
        usable = rc == 1;
    }
    if (usable)
        return 0;
    wh_action_print("Deleting the contents of '%s'", c->path);
    return wh_remove_contents(AT_FDCWD, c->path, err);
}
