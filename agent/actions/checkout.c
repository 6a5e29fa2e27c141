/* actions/checkout: the order of things (actions.md §2.2). */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "actions/checkout.h"
#include "wherry/base/digest.h"
#include "wherry/base/fs.h"

#define MATCHER                                                                                              \
    "{\"problemMatcher\":[{\"owner\":\"checkout-git\",\"pattern\":[{\"regexp\":\"^(fatal|error): "           \
    "(.*)$\",\"message\":2}]}]}\n"

static int begin_group(struct checkout *c, const char *title,
                       int (*step)(struct checkout *, struct wh_error *), struct wh_error *err)
{
    wh_action_group("%s", title);
    if (step(c, err) < 0)
        return -1;
    wh_action_group_end();
    return 0;
}

/* Makes the folder; *existed says whether it was there. */
static int make_folder(struct checkout *c, bool *existed, struct wh_error *err)
{
    struct stat st;
    *existed = stat(c->path, &st) == 0 && S_ISDIR(st.st_mode);
    if (*existed)
        return 0;
    if (unlink(c->path) < 0 && errno != ENOENT) /* a file, or a link to nowhere */
        return wh_fail_errno(err, "%s is in the way", c->path);
    return wh_mkdir_p(c->path, 0755, err);
}

static int version(struct checkout *c, struct wh_error *err)
{
    wh_action_print("Working directory is '%s'", c->path);
    return checkout_git_start(c, err);
}

static int initialize(struct checkout *c, struct wh_error *err)
{
    wh_autofree char *format = wh_strdup("");
    if (checkout_at_least(c, 6, 0, 3)) {
        wh_action_group("Determining repository object format");
        free(format);
        format = checkout_object_format(c);
        if (format[0])
            wh_action_print("Detected SHA-256 repository object format");
        wh_action_group_end();
    }
    wh_action_group("Initializing the repository");
    int rc = format[0] ? CHECKOUT_GIT(c, 0, NULL, err, "init", "--object-format=sha256", c->path)
                       : CHECKOUT_GIT(c, 0, NULL, err, "init", c->path);
    if (rc < 0 || CHECKOUT_GIT(c, 0, NULL, err, "remote", "add", "origin", c->url) < 0)
        return -1;
    wh_action_group_end();
    return 0;
}

static int no_gc(struct checkout *c, struct wh_error *err)
{
    (void)err;
    if (checkout_config_set(c, "gc.auto", "0", NULL) < 0)
        wh_action_warning("Unable to turn off git automatic garbage collection. The git fetch operation may "
                          "trigger garbage "
                          "collection and cause a delay.");
    return 0;
}

static int check_out(struct checkout *c, struct wh_error *err)
{
    wh_autofree char *target = NULL, *start = NULL;
    if (checkout_target(c, &target, &start, err) < 0)
        return -1;
    if (checkout_at_least(c, 4, 1, 2) && checkout_git_at_least(c, 2, 28) &&
        checkout_sparse_disable(c, err) < 0)
        return -1;
    wh_action_group("Checking out the ref");
    int rc = start ? CHECKOUT_GIT(c, 0, NULL, err, "checkout", "--progress", "--force", "-B", target, start)
                   : CHECKOUT_GIT(c, 0, NULL, err, "checkout", "--progress", "--force", target);
    if (rc < 0)
        return -1;
    wh_action_group_end();
    return 0;
}

/* From here on credentials may lie around: the caller cleans up, whatever comes. */
static int source(struct checkout *c, bool existed, struct wh_error *err)
{
    if (c->safe_directory) {
        if (checkout_safe_directory(c, err) < 0 ||
            wh_action_save_state(c->run, "setSafeDirectory", "true", err) < 0)
            return -1;
    }
    if (existed && checkout_prepare(c, err) < 0)
        return -1;
    if (wh_action_save_state(c->run, "repositoryPath", c->path, err) < 0)
        return -1;
    struct stat st;
    if ((stat(c->gitdir, &st) < 0 || !S_ISDIR(st.st_mode)) && initialize(c, err) < 0)
        return -1;
    if (begin_group(c, "Disabling automatic garbage collection", no_gc, err) < 0 ||
        begin_group(c, "Setting up auth", checkout_auth_configure, err) < 0)
        return -1;
    if (!c->ref[0] && !c->commit[0] && checkout_default_branch(c, err) < 0)
        return -1;
    wh_autofree char *commit = NULL;
    if (checkout_fetch(c, err) < 0 || check_out(c, err) < 0 || checkout_commit(c, &commit, err) < 0)
        return -1;
    checkout_note_fetched(c);
    return checkout_at_least(c, 4, 2, 0) ? wh_action_set_output(c->run, "commit", commit, err) : 0;
}

static int run(struct checkout *c, struct wh_error *err)
{
    wh_action_print("Syncing repository: %s/%s", c->owner, c->name);
    bool existed = false;
    if (make_folder(c, &existed, err) < 0 || begin_group(c, "Getting Git version info", version, err) < 0)
        return -1;
    int rc = source(c, existed, err);
    if (!c->persist) {
        wh_autoerror problem = {0};
        if (begin_group(c, "Removing auth", checkout_auth_remove, &problem) < 0) {
            if (rc == 0)
                rc = wh_error_move(err, &problem);
            else
                wh_action_warning("%s", wh_error_text(&problem));
        }
    }
    checkout_home_remove(c);
    return rc;
}

/* git's complaints become annotations while the step runs. */
static void matcher_add(const struct checkout *c)
{
    char id[37];
    wh_autofree char *path = wh_printf("%s/checkout-git-matcher-%s.json", c->temp, wh_guid(id));
    if (wh_write_file_quick(AT_FDCWD, path, MATCHER, strlen(MATCHER), 0644, NULL) == 0)
        wh_action_print("::add-matcher::%s", path);
}

static int checkout_main(struct wh_action_run *r)
{
    struct checkout c = {.run = r, .version = *wh_action_version(r)};
    wh_autoerror err = {0};
    int rc = wh_action_save_state(r, "isPost", "true", &err);
    if (rc == 0)
        rc = checkout_inputs(&c, &err);
    if (rc == 0) {
        matcher_add(&c);
        rc = run(&c, &err);
        if (rc == 0 && checkout_at_least(&c, 4, 2, 0))
            rc = wh_action_set_output(r, "ref", c.ref, &err);
        wh_action_print("::remove-matcher owner=checkout-git::");
    }
    checkout_free(&c);
    return rc < 0 ? wh_action_fail(&err) : 0;
}

/* ---- the post step ---- */

/* Only what the clean-up needs; the server's URL is in the inputs still. */
static int post_settings(struct checkout *c, struct wh_error *err)
{
    const char *path = wh_action_state(c->run, "repositoryPath");
    wh_autofree char *config = wh_path_join(path, ".git/config");
    if (!path[0] || access(config, F_OK) < 0)
        return 0; /* nothing was checked out, or a step has removed it */
    if (checkout_inputs(c, err) < 0)
        return -1;
    free(c->path);
    free(c->gitdir);
    c->path = wh_strdup(path);
    c->gitdir = wh_path_join(path, ".git");
    return 1;
}

static int clean_up(struct checkout *c, struct wh_error *err)
{
    int rc = post_settings(c, err);
    if (rc <= 0)
        return rc;
    wh_autoerror no_git = {0};
    if (checkout_git_start(c, &no_git) < 0)
        return 0;
    if (wh_streq(wh_action_state(c->run, "setSafeDirectory"), "true") && checkout_safe_directory(c, err) < 0)
        return -1;
    rc = checkout_auth_remove(c, err);
    checkout_home_remove(c);
    return rc;
}

static int checkout_post(struct wh_action_run *r)
{
    struct checkout c = {.run = r, .version = *wh_action_version(r)};
    wh_autoerror err = {0};
    if (clean_up(&c, &err) < 0)
        wh_action_warning("%s", wh_error_text(&err));
    checkout_free(&c);
    return 0;
}

static const struct wh_action_input inputs[] = {
    {.name = "repository", .default_value = "${{ github.repository }}"},
    {.name = "ref"},
    {.name = "token", .default_value = "${{ github.token }}"},
    {.name = "ssh-key", .published = true},
    {.name = "ssh-known-hosts"},
    {.name = "ssh-strict", .default_value = "true"},
    {.name = "ssh-user", .default_value = "git", .min_major = 4},
    {.name = "persist-credentials", .default_value = "true"},
    {.name = "path"},
    {.name = "clean", .default_value = "true"},
    {.name = "filter", .min_major = 4},
    {.name = "sparse-checkout", .published = true},
    {.name = "sparse-checkout-cone-mode", .default_value = "true"},
    {.name = "fetch-depth", .default_value = "1"},
    {.name = "fetch-tags", .default_value = "false"},
    {.name = "show-progress", .default_value = "true", .min_major = 4},
    {.name = "lfs", .default_value = "false", .published = true},
    {.name = "submodules", .default_value = "false", .published = true},
    {.name = "set-safe-directory", .default_value = "true"},
    {.name = "github-server-url"},
    {.name = "allow-unsafe-pr-checkout", .default_value = "false"},
};

const struct wh_action wh_action_checkout = {
    .repository = "actions/checkout",
    .min_major = 3,
    .max_major = 7,
    .inputs = inputs,
    .ninputs = WH_COUNT(inputs),
    .main = checkout_main,
    .post = checkout_post,
};
