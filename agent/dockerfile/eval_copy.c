/* COPY, ADD and WORKDIR (builder.md §1.4, §1.6). */
#include "dockerfile/eval_internal.h"
#include "dockerfile/text.h"

static bool is_http(const char *source)
{
    return wh_starts_with(source, "http://") || wh_starts_with(source, "https://");
}

bool wh_git_address(const char *source)
{
    if (wh_starts_with(source, "git://") || wh_starts_with(source, "ssh://"))
        return true;
    if (wh_starts_with(source, "git@"))
        return strchr(source, ':') != NULL;
    if (!is_http(source))
        return false;
    size_t path = strcspn(source, "?#");
    return path > 4 && strncmp(source + path - 4, ".git", 4) == 0;
}

static enum wh_df_add_kind source_kind(const char *source)
{
    return wh_git_address(source) ? WH_DF_ADD_GIT : is_http(source) ? WH_DF_ADD_URL : WH_DF_ADD_PATH;
}

static int expand_flag(struct df_eval *ev, const char *flag, char **out, struct wh_error *err)
{
    return flag && flag[0] ? df_ev_expand(ev, flag, out, err) : 0;
}

static int expand_sources(struct df_eval *ev, struct wh_df_step *step, size_t n, struct wh_error *err)
{
    step->sources = n ? wh_calloc(n, sizeof *step->sources) : NULL;
    for (size_t i = 0; i < n; i++) {
        struct wh_df_copy_source *source = &step->sources[i];
        step->nsources++;
        if (df_ev_expand(ev, ev->instr->words[i], &source->path, err) < 0)
            return -1;
        source->kind = source_kind(source->path);
        if (step->kind == WH_DF_COPY && source->kind == WH_DF_ADD_GIT)
            return wh_fail(err, WH_E_ARGUMENT, "source can't be a git ref for COPY");
        if (step->kind == WH_DF_COPY && source->kind == WH_DF_ADD_URL)
            return wh_fail(err, WH_E_ARGUMENT, "source can't be a URL for COPY");
    }
    return 0;
}

static int expand_files(struct df_eval *ev, struct wh_df_step *step, struct wh_error *err)
{
    const struct wh_df_instr *in = ev->instr;
    step->files = in->nheredocs ? wh_calloc(in->nheredocs, sizeof *step->files) : NULL;
    for (size_t i = 0; i < in->nheredocs; i++) {
        const struct wh_df_heredoc *doc = &in->heredocs[i];
        struct wh_df_file *file = &step->files[step->nfiles++];
        file->name = wh_strdup(doc->name);
        if (df_check_heredoc_name(doc->name, err) < 0)
            return -1;
        if (!doc->expand) {
            file->content = wh_strdup(doc->content);
            continue;
        }
        struct wh_df_expansion seen = {0};
        int r = wh_df_expand(doc->content, ev->env, '\\', WH_DF_EXPAND_HEREDOC, &file->content, &seen, err);
        if (r == 0)
            df_ev_unset(ev, &seen);
        wh_df_expansion_clear(&seen);
        if (r < 0)
            return -1;
    }
    return 0;
}

static int check_checksum(const struct wh_df_step *step, struct wh_error *err)
{
    if (!step->checksum)
        return 0;
    if (step->nsources != 1 || !step->sources)
        return wh_fail(err, WH_E_ARGUMENT, "checksum can't be specified for multiple sources");
    if (step->sources[0].kind == WH_DF_ADD_PATH)
        return wh_fail(err, WH_E_ARGUMENT, "checksum requires HTTP(S) or Git sources");
    return 0;
}

/* The destination from the root on; a trailing slash says that it is a directory and stays. */
static char *destination(const char *cwd, const char *dest)
{
    char *path = df_join_path(cwd, dest);
    bool folder =
        dest[0] == '\0' || strcmp(dest, ".") == 0 || wh_ends_with(dest, "/") || wh_ends_with(dest, "/.");
    if (!folder || strcmp(path, "/") == 0)
        return path;
    char *with_slash = wh_printf("%s/", path);
    free(path);
    return with_slash;
}

static char *copy_history(const struct wh_df_step *step, const char *dest)
{
    wh_autostr out = {0};
    wh_str_add(&out, wh_df_kind_text(step->kind));
    if (step->instr->parents)
        wh_str_add(&out, " --parents");
    if (step->chown)
        wh_str_addf(&out, " --chown=%s", step->chown);
    if (step->chmod.given)
        wh_str_addf(&out, " --chmod=%s", step->chmod.text);
    for (size_t i = 0; i < step->nsources; i++)
        wh_str_addf(&out, " %s", step->sources[i].path);
    for (size_t i = 0; i < step->nfiles; i++)
        wh_str_addf(&out, " <<%s", step->files[i].name);
    wh_str_addf(&out, " %s # buildkit", dest);
    return wh_str_steal(&out);
}

static int copy_flags(struct df_eval *ev, struct wh_df_step *step, struct wh_error *err)
{
    const struct wh_df_instr *in = ev->instr;
    wh_autofree char *chmod = NULL;
    if (expand_flag(ev, in->chown, &step->chown, err) < 0 || expand_flag(ev, in->chmod, &chmod, err) < 0 ||
        expand_flag(ev, in->checksum, &step->checksum, err) < 0)
        return -1;
    if (step->chown && step->chown[0] == '\0') {
        free(step->chown);
        step->chown = NULL;
    }
    if (step->checksum && step->checksum[0] == '\0') {
        free(step->checksum);
        step->checksum = NULL;
    }
    return chmod && chmod[0] ? wh_df_chmod_parse(chmod, &step->chmod, err) : 0;
}

int df_eval_copy(struct df_eval *ev, struct wh_error *err)
{
    const struct wh_df_instr *in = ev->instr;
    struct wh_df_step *step = df_ev_step(ev);
    size_t n = wh_strv_len(in->words);
    wh_autofree char *dest = NULL;
    if (copy_flags(ev, step, err) < 0 || df_ev_expand(ev, in->words[n - 1], &dest, err) < 0 ||
        expand_sources(ev, step, n - 1, err) < 0 || expand_files(ev, step, err) < 0 ||
        check_checksum(step, err) < 0)
        return -1;
    step->from = (struct wh_df_source){.kind = WH_DF_SOURCE_CONTEXT};
    size_t stage = (size_t)(ev->st - ev->plan->stages);
    if (in->from && in->from[0] &&
        wh_df_plan_resolve_from(ev->plan, stage, in->from, true, &step->from, err) < 0)
        return -1;
    step->dest = destination(ev->cwd, dest);
    df_ev_title(ev, step, df_ev_line(ev, WH_DF_EXPAND, ev->env, NULL));
    df_ev_commit(ev, step, copy_history(step, dest), true);
    return 0;
}

int df_eval_workdir(struct df_eval *ev, struct wh_error *err)
{
    wh_autofree char *path = NULL;
    if (df_ev_expand(ev, ev->instr->words[0], &path, err) < 0)
        return -1;
    if (!ev->workdir_set && path[0] != '/')
        df_warn(ev, "WorkdirRelativePath",
                "Relative workdir \"%s\" can have unexpected results if the base image changes", path);
    ev->workdir_set = true;
    char *joined = df_join_path(ev->cwd, path);
    free(ev->cwd);
    ev->cwd = joined;
    df_section_text(ev->section, "WorkingDir", joined);
    struct wh_df_step *step = df_ev_step(ev);
    step->workdir = wh_strdup(joined);
    bool layer = strcmp(joined, "/") != 0;
    if (layer)
        df_ev_title(ev, step, df_ev_line(ev, WH_DF_EXPAND, ev->env, NULL));
    df_ev_commit(ev, step, wh_printf("WORKDIR %s", joined), layer);
    return 0;
}
