/* The work tree of an unchanged repository, made ready with one process of git where a checkout asks for
 * nine: what its files say is read here, and what follows from one command's answer is not asked for again.
 * The log shows the commands all the same. Whatever is not in the plain state that a checkout leaves is git's
 * own work. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "actions/checkout.h"
#include "wherry/base/fs.h"
#include "wherry/git/config.h"
#include "wherry/git/repo.h"

#define HEAD_IS_NOW_AT "HEAD is now at "
#define MAX_DEPTH 128
#define MAX_SHALLOW ((size_t)1 << 20)

/* ---- leaving the branch ---- */

static bool is_packed(const struct checkout *c, const char *ref)
{
    wh_autofree char *path = wh_path_join(c->gitdir, "packed-refs");
    wh_autofree char *line = wh_printf(" %s\n", ref);
    wh_autostr text = {0};
    wh_autoerror no = {0};
    if (wh_read_file(AT_FDCWD, path, WH_MAX_GIT_PACKED_REFS, &text, &no) < 0)
        return no.code != WH_E_NOT_FOUND;
    return strstr(wh_str_text(&text), line) != NULL;
}

/* As `checkout --detach` leaves HEAD. */
static int detach(const struct checkout *c, const char *object, struct wh_error *err)
{
    wh_autofree char *path = wh_path_join(c->gitdir, "HEAD");
    wh_autofree char *lock = wh_printf("%s.lock", path);
    wh_autofree char *line = wh_printf("%s\n", object);
    wh_autoclose int fd = open(lock, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0)
        return wh_fail_errno(err, "%s", lock);
    if (wh_write_all(fd, line, strlen(line), err) == 0 && rename(lock, path) == 0)
        return 0;
    unlink(lock);
    return wh_fail(err, WH_E_IO, "%s can't be written", path);
}

/* As `branch --delete` does for a loose ref: the ref, its log, its section of the configuration. */
static int delete_branch(const struct checkout *c, const char *ref, struct wh_error *err)
{
    wh_autofree char *path = wh_path_join(c->gitdir, ref);
    wh_autofree char *log = wh_printf("%s/logs/%s", c->gitdir, ref);
    wh_autofree char *file = wh_path_join(c->gitdir, "config");
    wh_autofree char *prefix = wh_printf("branch.%s.", ref + strlen("refs/heads/"));
    wh_autogitconfig config = {0};
    if (wh_git_config_read(&config, file, err) < 0)
        return -1;
    if (unlink(path) < 0 || (unlink(log) < 0 && errno != ENOENT))
        return wh_fail_errno(err, "delete %s", ref);
    bool changed = false;
    for (size_t i = 0; i < config.nentries;) {
        wh_autofree char *name = wh_strdup(config.entries[i].name);
        if (!wh_starts_with(name, prefix) || strchr(name + strlen(prefix), '.')) {
            i++;
            continue;
        }
        if (wh_git_config_unset(&config, name, NULL, err) < 0)
            return -1;
        changed = true;
    }
    return changed ? wh_git_config_write(&config, file, 0, err) : 0;
}

int checkout_leave_branch(struct checkout *c, const char *ref, struct wh_error *err)
{
    wh_autofree char *object = NULL;
    wh_autostrv char **branches = NULL;
    wh_autostr out = {0};
    if (!c->may_answer || !c->clean || is_packed(c, ref) || !checkout_no_submodules(c) ||
        wh_git_refs(c->gitdir, "refs/heads/", &branches, NULL) != 1 || !wh_streq(branches[0], ref) ||
        wh_git_ref(c->gitdir, ref, &object, NULL) != 1)
        return 0;
    /* The one that looks at everything: what is broken shows here. */
    if (CHECKOUT_GIT(c, CHECKOUT_QUIET | CHECKOUT_ANY, &out, NULL, "reset", "--hard", "HEAD") != 0 ||
        !wh_starts_with(wh_str_text(&out), HEAD_IS_NOW_AT))
        return 0;
    if (detach(c, object, err) < 0 || delete_branch(c, ref, err) < 0)
        return -1;
    struct wh_view said = wh_view_trim((struct wh_view){wh_str_text(&out), out.len});
    c->head_is_now_at = wh_view_dup(said);
    const char *short_object = c->head_is_now_at + strlen(HEAD_IS_NOW_AT);
    const char *branch = ref + strlen("refs/heads/");
    CHECKOUT_ECHO(c, "checkout", "--detach");
    wh_action_print("%s", c->head_is_now_at);
    CHECKOUT_ECHO(c, "branch", "--delete", "--force", branch);
    wh_action_print("Deleted branch %s (was %.*s).", branch, (int)strcspn(short_object, " "), short_object);
    return 1;
}

/* ---- cleaning ---- */

/* The index's names, which are sorted. */
struct names {
    struct wh_str text; /* each with its NUL */
    size_t *starts;
    size_t n, room;
};

static void add_name(void *data, const char *name, size_t len)
{
    struct names *names = data;
    if (names->n == names->room) {
        names->room = names->room ? names->room * 2 : 256;
        names->starts = wh_reallocarray(names->starts, names->room, sizeof(*names->starts));
    }
    names->starts[names->n++] = names->text.len;
    wh_str_addn(&names->text, name, len);
    wh_str_addc(&names->text, '\0');
}

/* Whether the index has the path, or (it ends in a slash) something below it. */
static bool tracked(const struct names *names, const struct wh_str *path)
{
    size_t low = 0, high = names->n;
    const char *wanted = wh_str_text(path);
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(names->text.data + names->starts[mid], wanted) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == names->n)
        return false;
    const char *found = names->text.data + names->starts[low];
    return path->data[path->len - 1] == '/' ? wh_starts_with(found, wanted) : wh_streq(found, wanted);
}

static bool all_tracked(const struct names *names, int dirfd, struct wh_str *path, int depth);

static bool entry_tracked(const struct names *names, int dirfd, const struct dirent *e, struct wh_str *path,
                          int depth)
{
    wh_str_add(path, e->d_name);
    if (e->d_type == DT_REG || e->d_type == DT_LNK)
        return tracked(names, path);
    wh_str_addc(path, '/');
    if (e->d_type != DT_DIR || !tracked(names, path))
        return false;
    wh_autoclose int below = openat(dirfd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return below >= 0 && all_tracked(names, below, path, depth + 1);
}

static bool all_tracked(const struct names *names, int dirfd, struct wh_str *path, int depth)
{
    int copy = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    if (!dir && copy >= 0)
        close(copy);
    bool all = dir && depth < MAX_DEPTH;
    size_t length = path->len;
    for (struct dirent *e; all && (e = readdir(dir));) {
        if (wh_streq(e->d_name, ".") || wh_streq(e->d_name, "..") ||
            (depth == 0 && wh_streq(e->d_name, ".git")))
            continue;
        all = entry_tracked(names, dirfd, e, path, depth);
        wh_str_truncate(path, length);
    }
    if (dir)
        closedir(dir);
    return all;
}

static bool nothing_untracked(const struct checkout *c)
{
    struct wh_git_index index;
    struct names names = {0};
    wh_autostr path = {0};
    wh_autoclose int top = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool nothing = c->may_answer && top >= 0 &&
                   wh_git_index_names(c->gitdir, add_name, &names, &index, NULL) == 0 && names.n > 0 &&
                   all_tracked(&names, top, &path, 0);
    wh_str_free(&names.text);
    free(names.starts);
    return nothing;
}

int checkout_clean(struct checkout *c)
{
    if (nothing_untracked(c)) {
        CHECKOUT_ECHO(c, "clean", "-ffdx");
        return 0;
    }
    return CHECKOUT_GIT(c, CHECKOUT_ANY, NULL, NULL, "clean", "-ffdx");
}

int checkout_reset(struct checkout *c)
{
    if (c->head_is_now_at) { /* done when the branch was left */
        CHECKOUT_ECHO(c, "reset", "--hard", "HEAD");
        wh_action_print("%s", c->head_is_now_at);
        return 0;
    }
    return CHECKOUT_GIT(c, CHECKOUT_ANY, NULL, NULL, "reset", "--hard", "HEAD");
}

/* ---- fetching ---- */

/* What the last fetch brought, in .git/wherry-fetched: its one refspec, and what .git/shallow was after it.
 */

static char *note_path(const struct checkout *c)
{
    return wh_path_join(c->gitdir, "wherry-fetched");
}

static char *note_text(const struct checkout *c, char *const *specs)
{
    wh_autofree char *path = wh_path_join(c->gitdir, "shallow");
    wh_autostr shallow = {0};
    wh_autoerror no = {0};
    if (wh_read_file(AT_FDCWD, path, MAX_SHALLOW, &shallow, &no) < 0 && no.code != WH_E_NOT_FOUND)
        return NULL;
    return wh_printf("%s\n%s", specs[0], wh_str_text(&shallow));
}

/* Only "+<commit>:<ref>" and the newest commit alone: that can't become anything else on the server. */
static const char *one_commit(const struct checkout *c, char *const *specs)
{
    wh_autofree char *start = wh_printf("+%s:", c->commit);
    bool plain = c->may_answer && c->depth == 1 && c->commit[0] && !c->filter[0] && specs && specs[0] &&
                 !specs[1] && wh_starts_with(specs[0], start);
    return plain ? specs[0] + strlen(start) : NULL;
}

bool checkout_fetched_before(const struct checkout *c, char *const *specs)
{
    const char *ref = one_commit(c, specs);
    wh_autofree char *path = note_path(c), *object = NULL, *expected = NULL;
    wh_autostr note = {0};
    bool noted = ref && wh_read_file(AT_FDCWD, path, MAX_SHALLOW, &note, NULL) == 0;
    /* Whatever goes wrong from here on, the next checkout asks the server. */
    unlink(path);
    if (!noted || !(expected = note_text(c, specs)) || !wh_streq(wh_str_text(&note), expected))
        return false;
    return wh_git_ref(c->gitdir, ref, &object, NULL) == 1 && wh_streq(object, c->commit);
}

void checkout_note_fetched(struct checkout *c)
{
    wh_autofree char *path = note_path(c);
    wh_autofree char *text = one_commit(c, c->fetched) ? note_text(c, c->fetched) : NULL;
    if (text && wh_write_file_quick(AT_FDCWD, path, text, strlen(text), 0644, NULL) < 0)
        unlink(path);
}
