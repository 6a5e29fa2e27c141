/* The many questions about the repository's configuration that a checkout asks. A process of git costs three
 * milliseconds, one that walks submodules twenty-five, so where git's own files say exactly what git would
 * answer, they are read and edited here, and the log shows the command all the same. Where a file has
 * anything that we don't know, git is asked. */
#include <stdio.h>
#include <unistd.h>

#include "actions/checkout.h"
#include "wherry/base/fs.h"
#include "wherry/git/config.h"
#include "wherry/git/repo.h"

char *checkout_regex_escape(const char *text)
{
    wh_autostr out = {0};
    for (const char *p = text; *p; p++) {
        bool word =
            (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '_';
        if (!word)
            wh_str_addc(&out, '\\');
        wh_str_addc(&out, *p);
    }
    return wh_str_steal(&out);
}

static char *config_path(const struct checkout *c)
{
    return wh_path_join(c->gitdir, "config");
}

/* The repository's own configuration, if we may read it for git. */
static bool load(const struct checkout *c, struct wh_git_config *config)
{
    wh_autofree char *path = config_path(c);
    struct stat st;
    return c->may_answer && lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
           wh_git_config_read(config, path, NULL) == 0;
}

static bool store(const struct checkout *c, const struct wh_git_config *config, unsigned mode)
{
    wh_autofree char *path = config_path(c);
    return wh_git_config_write(config, path, mode, NULL) == 0;
}

char *checkout_config_get(struct checkout *c, const char *key)
{
    const char *const args[] = {"config", "--local", "--get", key, NULL};
    wh_autogitconfig config = {0};
    if (load(c, &config)) {
        const char *value = wh_git_config_get(&config, key);
        checkout_echo(c, args);
        if (!value)
            return NULL;
        wh_action_print("%s", value);
        return strchr(value, '\n') ? NULL : wh_view_dup(wh_view_trim(wh_view_of(value)));
    }
    wh_autostr out = {0};
    if (checkout_git(c, CHECKOUT_ANY, &out, NULL, args) != 0)
        return NULL;
    struct wh_view value = wh_view_trim((struct wh_view){wh_str_text(&out), out.len});
    return memchr(value.data, '\n', value.len) ? NULL : wh_view_dup(value);
}

int checkout_config_set(struct checkout *c, const char *key, const char *value, struct wh_error *err)
{
    const char *const args[] = {"config", "--local", key, value, NULL};
    wh_autogitconfig config = {0};
    if (load(c, &config) && wh_git_config_set(&config, key, value, NULL) == 0 && store(c, &config, 0)) {
        checkout_echo(c, args);
        return 0;
    }
    return checkout_git(c, 0, NULL, err, args);
}

/* git wrote the placeholder; the secret takes its place in the file. */
static int replace_placeholder(const struct checkout *c, const char *value, const char *shown,
                               struct wh_error *err)
{
    wh_autofree char *path = config_path(c);
    wh_autostr text = {0};
    if (chmod(path, 0600) < 0)
        return wh_fail_errno(err, "%s", path);
    if (wh_read_file(AT_FDCWD, path, WH_MAX_GIT_CONFIG, &text, err) < 0)
        return -1;
    char *first = strstr(wh_str_text(&text), shown);
    if (!first || strstr(first + 1, shown))
        return wh_fail(err, WH_E_FAILED, "Unable to replace auth placeholder in %s", path);
    wh_autostr now = {0};
    wh_str_addn(&now, text.data, (size_t)(first - text.data));
    wh_str_add(&now, value);
    wh_str_add(&now, first + strlen(shown));
    return wh_write_file_quick(AT_FDCWD, path, now.data, now.len, 0600, err);
}

int checkout_config_set_secret(struct checkout *c, const char *key, const char *value, const char *shown,
                               struct wh_error *err)
{
    const char *const args[] = {"config", "--local", key, shown, NULL};
    wh_autogitconfig config = {0};
    if (load(c, &config) && wh_git_config_set(&config, key, value, NULL) == 0 && store(c, &config, 0600)) {
        checkout_echo(c, args);
        return 0;
    }
    if (checkout_git(c, 0, NULL, err, args) < 0)
        return -1;
    return replace_placeholder(c, value, shown, err);
}

/* ---- submodules ---- */

bool checkout_no_submodules(struct checkout *c)
{
    struct wh_git_index index;
    wh_autogitconfig config = {0};
    return load(c, &config) && wh_git_config_count(&config, "extensions.objectformat") == 0 &&
           wh_git_config_count(&config, "extensions.worktreeconfig") == 0 &&
           wh_git_config_count(&config, "core.worktree") == 0 &&
           wh_git_index_scan(c->gitdir, &index, NULL) == 0 && !index.gitlinks;
}

int checkout_foreach(struct checkout *c, struct wh_str *out, const char *command, struct wh_error *err)
{
    const char *const args[] = {"submodule", "foreach", "--recursive", command, NULL};
    if (checkout_no_submodules(c)) {
        checkout_echo(c, args);
        return 0;
    }
    return checkout_git(c, 0, out, err, args);
}

/* ---- removal ---- */

/* As the pattern of --get-regexp: section and key in any case, found anywhere in the name. */
static bool name_matches(const char *name, const char *key)
{
    wh_autofree char *wanted = wh_strdup(key);
    char *first = strchr(wanted, '.'), *last = strrchr(wanted, '.');
    for (char *p = wanted; *p; p++)
        if (!first || p < first || p > last)
            *p = (char)(*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p);
    return strstr(name, wanted) != NULL;
}

/* The mode that a configuration with no secret in it has. */
static unsigned public_mode(void)
{
    mode_t mask = umask(022);
    umask(mask);
    return 0666 & ~mask;
}

static void unset_all(struct checkout *c, const char *key)
{
    const char *const args[] = {"config", "--local", "--unset-all", key, NULL};
    wh_autogitconfig config = {0};
    if (load(c, &config) && wh_git_config_unset(&config, key, NULL, NULL) > 0 &&
        store(c, &config, public_mode())) {
        checkout_echo(c, args);
        return;
    }
    if (checkout_git(c, CHECKOUT_ANY, NULL, NULL, args) != 0)
        wh_action_warning("Failed to remove '%s' from the git config", key);
}

int checkout_config_remove(struct checkout *c, const char *key, struct wh_error *err)
{
    wh_autofree char *pattern = checkout_regex_escape(key);
    const char *const args[] = {"config", "--local", "--name-only", "--get-regexp", pattern, NULL};
    wh_autogitconfig config = {0};
    bool found = false;
    if (load(c, &config)) {
        checkout_echo(c, args);
        for (size_t i = 0; i < config.nentries; i++) {
            if (!name_matches(config.entries[i].name, key))
                continue;
            wh_action_print("%s", config.entries[i].name);
            found = true;
        }
    } else {
        found = checkout_git(c, CHECKOUT_ANY, NULL, NULL, args) == 0;
    }
    if (found)
        unset_all(c, key);
    wh_autofree char *command =
        wh_printf("sh -c \"git config --local --name-only --get-regexp '%s' && git config --local "
                  "--unset-all '%s' || :\"",
                  pattern, key);
    return checkout_foreach(c, NULL, command, err) < 0 ? -1 : 0;
}

/* .../git-credentials-<hex and dashes>.config */
static bool is_credentials(const char *value)
{
    const char *name = strrchr(value, '/');
    name = name ? name + 1 : value;
    const char *at = strstr(name, "git-credentials-");
    if (!at)
        return false;
    at += strlen("git-credentials-");
    size_t n = strspn(at, "0123456789abcdefABCDEF-");
    return n > 0 && wh_streq_ci(at + n, ".config");
}

/* In one configuration file: file NULL means the repository's own. */
static int drop_includes_in(struct checkout *c, const char *file, char ***files, struct wh_error *err)
{
    wh_autofree char *own = config_path(c);
    const char *path = file ? file : own;
    const char *how = file ? "--file" : "--local";
    wh_autogitconfig config = {0};
    if (wh_git_config_read(&config, path, err) < 0)
        return -1;
    /* --local has no operand; echo() skips nothing, so two shapes. */
    if (file)
        CHECKOUT_ECHO(c, "config", how, path, "--name-only", "--get-regexp", "^includeIf\\.gitdir:");
    else
        CHECKOUT_ECHO(c, "config", how, "--name-only", "--get-regexp", "^includeIf\\.gitdir:");
    wh_autostrv char **keys = NULL;
    for (size_t i = 0; i < config.nentries; i++)
        if (wh_starts_with(config.entries[i].name, "includeif.gitdir:")) {
            wh_action_print("%s", config.entries[i].name);
            wh_strv_add(&keys, config.entries[i].name);
        }
    bool changed = false;
    for (char **key = keys; key && *key; key++) {
        if (file)
            CHECKOUT_ECHO(c, "config", how, path, "--get-all", *key);
        else
            CHECKOUT_ECHO(c, "config", how, "--get-all", *key);
        wh_autostrv char **drop = NULL;
        for (size_t i = 0; i < config.nentries; i++) {
            const struct wh_git_config_entry *e = &config.entries[i];
            if (strcmp(e->name, *key) != 0 || !e->value)
                continue;
            wh_action_print("%s", e->value);
            if (is_credentials(e->value))
                wh_strv_add(&drop, e->value);
        }
        for (char **value = drop; value && *value; value++) {
            wh_autofree char *escaped = checkout_regex_escape(*value);
            if (file)
                CHECKOUT_ECHO(c, "config", how, path, "--unset", *key, escaped);
            else
                CHECKOUT_ECHO(c, "config", how, "--unset", *key, escaped);
            if (wh_git_config_unset(&config, *key, *value, err) < 0)
                return -1;
            changed = true;
            if (!wh_strv_has(*files, *value))
                wh_strv_add(files, *value);
        }
    }
    return changed ? wh_git_config_write(&config, path, 0, err) : 0;
}

int checkout_config_drop_includes(struct checkout *c, char ***files, struct wh_error *err)
{
    wh_autoerror problem = {0};
    if (drop_includes_in(c, NULL, files, &problem) < 0)
        wh_action_debug("Error during includeIf cleanup: %s", wh_error_text(&problem));
    wh_autostr out = {0};
    if (checkout_foreach(
            c, &out, "git config --local --show-origin --name-only --get-regexp remote.origin.url", err) < 0)
        return -1;
    struct wh_reader r = wh_reader_of(wh_str_text(&out), out.len);
    struct wh_view line, path, key;
    while (wh_reader_line(&r, &line)) {
        if (line.len < 5 || memcmp(line.data, "file:", 5) != 0 || !wh_view_split(line, '\t', &path, &key))
            continue;
        wh_autofree char *file = wh_strndup(path.data + 5, path.len - 5);
        wh_error_clear(&problem);
        if (drop_includes_in(c, file, files, &problem) < 0)
            wh_action_debug("Error during includeIf cleanup for %s: %s", file, wh_error_text(&problem));
    }
    return 0;
}

/* ---- sparse checkout ---- */

/* What `sparse-checkout disable` leaves in config.worktree; with it there, nothing sparse in the index and
 * nothing in the configuration, a further call changes nothing (seen with git 2.39: the folder stays the same
 * to the byte). */
static bool sparse_is_disabled(struct checkout *c)
{
    wh_autofree char *path = wh_path_join(c->gitdir, "config.worktree");
    wh_autofree char *patterns = wh_path_join(c->gitdir, "info/sparse-checkout");
    wh_autogitconfig config = {0}, worktree = {0};
    struct wh_git_index index;
    if (access(path, F_OK) < 0 || access(patterns, F_OK) == 0 || !load(c, &config) ||
        wh_git_config_read(&worktree, path, NULL) < 0 || wh_git_index_scan(c->gitdir, &index, NULL) < 0 ||
        index.skip_worktree)
        return false;
    for (size_t i = 0; i < config.nentries; i++)
        if (wh_starts_with(config.entries[i].name, "core.sparse") ||
            wh_starts_with(config.entries[i].name, "extensions.") ||
            wh_streq(config.entries[i].name, "index.sparse"))
            return false;
    static const char *const left[] = {"core.sparsecheckout", "core.sparsecheckoutcone", "index.sparse"};
    for (size_t i = 0; i < WH_COUNT(left); i++)
        if (!wh_streq(wh_git_config_get(&worktree, left[i]), "false"))
            return false;
    return worktree.nentries == WH_COUNT(left);
}

int checkout_sparse_disable(struct checkout *c, struct wh_error *err)
{
    if (sparse_is_disabled(c)) {
        CHECKOUT_ECHO(c, "sparse-checkout", "disable");
        CHECKOUT_ECHO(c, "config", "--local", "--unset-all", "extensions.worktreeConfig");
        return 0;
    }
    if (CHECKOUT_GIT(c, 0, NULL, err, "sparse-checkout", "disable") < 0)
        return -1;
    return CHECKOUT_GIT(c, CHECKOUT_ANY, NULL, err, "config", "--local", "--unset-all",
                        "extensions.worktreeConfig") < 0
               ? -1
               : 0;
}
