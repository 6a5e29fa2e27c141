/* Workflow files of `wherry exec`. */
#include <dirent.h>
#include <stdio.h>

#include "cmd/exec.h"
#include "wherry/base/fs.h"

#define WORKFLOWS ".github/workflows"

static const char *shown_name(const char *path)
{
    const char *at = strstr(path, WORKFLOWS "/");
    return at ? at : wh_starts_with(path, "./") ? path + 2 : path;
}

struct wh_workflow *exec_file_read(const char *path, const char *name, struct wh_error *err)
{
    wh_autostr text = {0};
    if (wh_read_file(AT_FDCWD, path, WH_MAX_EXEC_FILE, &text, err) < 0)
        return NULL;
    wh_autoworkflow *w = wh_workflow_parse(wh_str_text(&text), text.len, name ? name : shown_name(path), err);
    if (!w || wh_workflow_check_expressions(w, err) < 0)
        return NULL;
    return wh_steal(&w);
}

void exec_files_clear(struct exec_files *f)
{
    for (size_t i = 0; i < f->n; i++)
        wh_workflow_free(f->workflows[i]);
    free(f->workflows);
    free(f->named);
}

static int add_file(struct exec_files *f, const char *path, bool named, struct wh_error *err)
{
    if (f->n == WH_MAX_EXEC_WORKFLOWS)
        return wh_fail(err, WH_E_LIMIT, "more than %d workflow files", WH_MAX_EXEC_WORKFLOWS);
    struct wh_workflow *w = exec_file_read(path, NULL, err);
    if (!w)
        return -1;
    f->workflows = wh_reallocarray(f->workflows, f->n + 1, sizeof(void *));
    f->named = wh_reallocarray(f->named, f->n + 1, sizeof(bool));
    f->named[f->n] = named;
    f->workflows[f->n++] = w;
    return 0;
}

static int is_workflow(const struct dirent *entry)
{
    return entry->d_name[0] != '.' &&
           (wh_ends_with(entry->d_name, ".yml") || wh_ends_with(entry->d_name, ".yaml"));
}

static int add_folder(struct exec_files *f, const char *path, struct wh_error *err)
{
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, is_workflow, alphasort);
    if (n < 0)
        return wh_fail_errno(err, "look for workflows in %s", path);
    int code = n > 0 ? 0 : wh_fail(err, WH_E_NOT_FOUND, "%s has no workflows (*.yml, *.yaml)", path);
    for (int i = 0; i < n; i++) {
        wh_autofree char *file = wh_path_join(path, entries[i]->d_name);
        if (code == 0)
            code = add_file(f, file, false, err);
        free(entries[i]);
    }
    free(entries);
    return code;
}

int exec_files_read(const struct exec_options *o, struct exec_files *f, struct wh_error *err)
{
    if (!o->files)
        return add_folder(f, WORKFLOWS, err);
    for (char *const *file = o->files; *file; file++) {
        struct stat st;
        bool folder = stat(*file, &st) == 0 && S_ISDIR(st.st_mode);
        if (folder ? add_folder(f, *file, err) < 0 : add_file(f, *file, true, err) < 0)
            return -1;
    }
    return 0;
}
