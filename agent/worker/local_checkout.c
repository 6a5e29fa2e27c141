#include "worker/local_checkout.h"

#include <errno.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "wherry/actions/action.h"
#include "wherry/base/fs.h"
#include "wherry/platform/process.h"

#define MAX_LIST ((size_t)64 << 20)

static int git(const char *folder, char *const *args, struct wh_str *out, struct wh_error *err)
{
    wh_autofree char *program = wh_find_program("git", wh_action_env("PATH"), false);
    if (!program)
        return wh_fail(err, WH_E_NOT_FOUND, "git is not installed");
    wh_autostrv char **argv = NULL;
    wh_strv_add(&argv, "git");
    wh_strv_add(&argv, "-C");
    wh_strv_add(&argv, folder);
    for (size_t i = 0; args[i]; i++)
        wh_strv_add(&argv, args[i]);
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    options.path = program;
    options.argv = argv;
    wh_autostr errors = {0};
    int code = wh_process_run(&options, MAX_LIST, out, &errors, err);
    if (code > 0)
        return wh_fail(err, WH_E_FAILED, "git %s: %s", args[0], wh_str_text(&errors));
    return code;
}
#define GIT(folder, out, err, ...) git(folder, (char *const[]){__VA_ARGS__, NULL}, out, err)

static int copy_bytes(int from, int to, off_t size, const char *name, struct wh_error *err)
{
    while (size > 0) {
        ssize_t n = sendfile(to, from, NULL, (size_t)size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return wh_fail_errno(err, "copy %s", name);
        if (n == 0)
            break;
        size -= n;
    }
    return 0;
}

static int copy_file(int source, int target, const char *name, struct wh_error *err)
{
    struct stat st;
    if (fstatat(source, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno == ENOENT) { /* listed by git, deleted in the work tree */
            unlinkat(target, name, 0);
            return 0;
        }
        return wh_fail_errno(err, "look at %s", name);
    }
    wh_autofree char *folder = wh_strdup(name);
    for (char *slash = folder; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        if (mkdirat(target, folder, 0755) < 0 && errno != EEXIST)
            return wh_fail_errno(err, "make folder %s", folder);
    }
    unlinkat(target, name, 0);
    if (S_ISLNK(st.st_mode)) {
        char link[4096];
        ssize_t n = readlinkat(source, name, link, sizeof link - 1);
        if (n < 0)
            return wh_fail_errno(err, "read link %s", name);
        link[n] = '\0';
        return symlinkat(link, target, name) < 0 ? wh_fail_errno(err, "make link %s", name) : 0;
    }
    if (!S_ISREG(st.st_mode))
        return 0; /* a submodule's folder, a socket */
    wh_autoclose int from = openat(source, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    wh_autoclose int to = openat(target, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st.st_mode & 0777);
    if (from < 0 || to < 0)
        return wh_fail_errno(err, "copy %s", name);
    return copy_bytes(from, to, st.st_size, name, err);
}

/* What differs from HEAD, and what git does not know but does not ignore either. */
static int copy_changes(const char *from, const char *to, struct wh_error *err)
{
    wh_autostr names = {0};
    if (GIT(from, &names, err, "diff", "--name-only", "-z", "HEAD") < 0 ||
        GIT(from, &names, err, "ls-files", "-z", "--others", "--exclude-standard") < 0)
        return -1;
    wh_autoclose int source = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    wh_autoclose int target = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (source < 0 || target < 0)
        return wh_fail_errno(err, "open %s", source < 0 ? from : to);
    int count = 0;
    for (size_t at = 0; at < names.len; at += strlen(names.data + at) + 1) {
        if (copy_file(source, target, names.data + at, err) < 0)
            return -1;
        count++;
    }
    return count;
}

/* The work tree belongs to whoever called exec, the job runs as another user: git refuses that unless it is
 * told, and tells its children only by a configuration file. */
static int trust_source(struct wh_error *err)
{
    const char *text = "[safe]\n\tdirectory = *\n";
    wh_autofree char *file = wh_path_join(wh_action_env("RUNNER_TEMP"), "local-checkout.gitconfig");
    if (wh_write_file_quick(AT_FDCWD, file, text, strlen(text), 0600, err) < 0)
        return -1;
    return setenv("GIT_CONFIG_GLOBAL", file, 1) < 0 ? wh_fail_errno(err, "set GIT_CONFIG_GLOBAL") : 0;
}

static int checkout(const struct wh_local_checkout *c, struct wh_error *err)
{
    if (trust_source(err) < 0)
        return -1;
    wh_autofree char *target = wh_path_join(c->workspace, wh_action_env("INPUT_PATH"));
    wh_action_group("Copying the work tree of %s", c->source);
    if (wh_mkdir_p(target, 0755, err) < 0 || wh_remove_contents(AT_FDCWD, target, err) < 0)
        return -1;
    wh_autofree char *top = NULL;
    wh_autostr out = {0};
    if (GIT(c->source, &out, err, "rev-parse", "--show-toplevel") < 0)
        return -1;
    top = wh_view_dup(wh_view_trim(wh_view_of(wh_str_text(&out))));
    if (GIT(target, NULL, err, "clone", "--quiet", top, ".") < 0)
        return -1;
    int changed = copy_changes(top, target, err);
    if (changed > 0)
        wh_action_print("%d changed or new files are taken as they are", changed);
    wh_action_group_end();
    return changed < 0 ? -1 : 0;
}

int wh_local_checkout_main(void *data)
{
    wh_autoerror err = {0};
    return checkout(data, &err) < 0 ? wh_action_fail(&err) : 0;
}
