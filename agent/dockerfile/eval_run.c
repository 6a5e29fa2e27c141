/* RUN: arguments, script, mounts (builder.md §1.3). */
#include "dockerfile/eval_internal.h"
#include "dockerfile/mount.h"
#include "dockerfile/text.h"

/* A heredoc's first line, with dots if there are more: what the title shows. */
static char *summary(const char *body)
{
    wh_autofree char *text = df_trim_dup(body);
    size_t n = strcspn(text, "\r\n");
    return wh_printf("%.*s%s", (int)n, text, text[n] ? "..." : "");
}

static char *chomped(const struct wh_df_heredoc *doc)
{
    wh_autostr out = {0};
    bool start = true;
    for (const char *p = doc->content; *p; p++) {
        if (start && doc->chomp && *p == '\t')
            continue;
        start = *p == '\n';
        wh_str_addc(&out, *p);
    }
    return wh_str_steal(&out);
}

/* argv: the exec form as it is, else SHELL and one string. */
static int run_argv(struct df_eval *ev, struct wh_df_step *step, struct wh_error *err)
{
    const struct wh_df_instr *in = ev->instr;
    if (in->json) {
        step->argv = in->words ? wh_strv_dup(in->words) : wh_calloc(1, sizeof(char *));
        return 0;
    }
    const char *line = in->words ? in->words[0] : "";
    if (in->heredoc_only) {
        wh_autofree char *body = chomped(&in->heredocs[0]);
        if (wh_starts_with(body, "#!")) {
            if (df_check_heredoc_name(in->heredocs[0].name, err) < 0)
                return -1;
            step->script.name = wh_strdup(in->heredocs[0].name);
            step->script.content = wh_steal(&body);
            wh_autofree char *path = df_join_path("/dev/pipes", step->script.name);
            step->argv = df_ev_with_shell(ev, path);
        } else {
            step->argv = df_ev_with_shell(ev, body);
        }
        return 0;
    }
    /* A line with heredocs among other words goes to the shell as it stands. */
    wh_autostr all = {0};
    wh_str_add(&all, line);
    for (size_t i = 0; i < in->nheredocs; i++)
        wh_str_addf(&all, "\n%s%s", in->heredocs[i].content, in->heredocs[i].name);
    step->argv = df_ev_with_shell(ev, wh_str_text(&all));
    return 0;
}

/* `RUN |2 A=v B= /bin/sh -c ...`: each ARG once, in the order of declaration, with what it is now. */
static char *run_history(const struct df_eval *ev, const struct wh_df_step *step)
{
    wh_autostr out = {0}, args = {0};
    size_t n = 0;
    for (size_t i = 0; i < ev->nargs; i++) {
        bool seen = false;
        const char *value = ev->args[i].value;
        for (size_t k = 0; k < i && !seen; k++)
            seen = strcmp(ev->args[k].name, ev->args[i].name) == 0;
        if (seen)
            continue;
        for (size_t k = i + 1; k < ev->nargs; k++)
            if (strcmp(ev->args[k].name, ev->args[i].name) == 0)
                value = ev->args[k].value;
        const char *now = wh_env_get(ev->env, ev->args[i].name);
        if (now)
            value = now;
        wh_str_addf(&args, " %s=%s", ev->args[i].name, value ? value : "");
        n++;
    }
    wh_str_add(&out, "RUN");
    if (n > 0)
        wh_str_addf(&out, " |%zu%s", n, wh_str_text(&args));
    wh_autofree char *argv = wh_strv_join(step->argv, " ");
    wh_str_addf(&out, " %s # buildkit", argv);
    return wh_str_steal(&out);
}

/* ---- mounts ---- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void secret_mount(struct wh_df_mount *m, const struct df_mount_fields *f, const char *cwd)
{
    if (f->target && f->target[0])
        m->target = df_join_path(cwd, f->target);
    const char *by_target = base_name(m->target ? m->target : "");
    const char *id = f->source && f->source[0] ? f->source : f->id && f->id[0] ? f->id : by_target;
    m->id = wh_strdup(id);
    if (!m->target && !f->env)
        m->target = wh_printf("/run/secrets/%s", base_name(id));
    m->mode = m->has_mode ? m->mode : 0400;
}

static void ssh_mount(struct wh_df_mount *m, const struct df_mount_fields *f, const char *cwd, size_t nth)
{
    m->id = wh_strdup(f->id && f->id[0] ? f->id : f->source && f->source[0] ? f->source : "default");
    m->target = f->target && f->target[0] ? df_join_path(cwd, f->target)
                                          : wh_printf("/run/buildkit/ssh_agent.%zu", nth);
    m->mode = m->has_mode ? m->mode : 0600;
}

static int mount_source(struct df_eval *ev, struct wh_df_mount *m, const struct df_mount_fields *f,
                        struct wh_error *err)
{
    m->from = (struct wh_df_source){.kind = m->type == WH_DF_MOUNT_BIND ? WH_DF_SOURCE_CONTEXT
                                                                        : WH_DF_SOURCE_SCRATCH};
    m->from_given = f->from && f->from[0];
    if (!m->from_given || m->type == WH_DF_MOUNT_TMPFS)
        return 0;
    size_t stage = (size_t)(ev->st - ev->plan->stages);
    return wh_df_plan_resolve_from(ev->plan, stage, f->from, false, &m->from, err);
}

static int fill_mount(struct df_eval *ev, struct wh_df_mount *m, const struct df_mount_fields *f, size_t nssh,
                      struct wh_error *err)
{
    *m = (struct wh_df_mount){.type = f->type,
                              .read_only = f->read_only,
                              .sharing = f->sharing,
                              .size = f->size,
                              .has_mode = f->has_mode,
                              .mode = f->mode,
                              .has_uid = f->has_uid,
                              .uid = f->uid,
                              .has_gid = f->has_gid,
                              .gid = f->gid,
                              .required = f->required,
                              .env = wh_strdup(f->env)};
    if (m->type == WH_DF_MOUNT_SECRET) {
        secret_mount(m, f, ev->cwd);
        return 0;
    }
    if (m->type == WH_DF_MOUNT_SSH) {
        ssh_mount(m, f, ev->cwd, nssh);
        return 0;
    }
    if (mount_source(ev, m, f, err) < 0)
        return -1;
    const char *target = f->target ? f->target : "";
    m->target = df_join_path(ev->cwd, target);
    if (strcmp(m->target, "/") == 0)
        return wh_fail(err, WH_E_ARGUMENT, "invalid mount target \"/\"");
    wh_autofree char *source = df_join_path("/", f->source ? f->source : "");
    m->source = wh_strdup(strcmp(source, "/") == 0 ? "" : source);
    if (m->type == WH_DF_MOUNT_CACHE) {
        m->mode = m->has_mode ? m->mode : 0755;
        m->id = f->id && f->id[0] ? wh_strdup(f->id) : df_join_path("", target[0] ? target : ".");
        if (!(f->id && f->id[0]) && target[0] != '/') {
            /* BuildKit cleans the target as it was written: a relative one stays so. */
            char *relative = wh_strdup(strcmp(m->id, "/") == 0 ? "." : m->id + 1);
            free(m->id);
            m->id = relative;
        }
    }
    return 0;
}

static int run_mounts(struct df_eval *ev, struct wh_df_step *step, struct wh_error *err)
{
    char *const *mounts = ev->instr->mounts;
    size_t n = wh_strv_len(mounts), nssh = 0;
    step->mounts = n ? wh_calloc(n, sizeof *step->mounts) : NULL;
    for (size_t i = 0; i < n; i++) {
        struct df_mount_fields f;
        struct wh_df_expansion seen = {0};
        int r = df_mount_parse(mounts[i], ev->env, ev->plan->df->escape, &seen, &f, err);
        if (r == 0)
            df_ev_unset(ev, &seen);
        wh_df_expansion_clear(&seen);
        if (r < 0)
            return -1;
        r = fill_mount(ev, &step->mounts[step->nmounts++], &f, nssh, err);
        nssh += f.type == WH_DF_MOUNT_SSH;
        df_mount_fields_clear(&f);
        if (r < 0)
            return -1;
    }
    return 0;
}

/* The environment of the title: variables that secrets fill show as stars. */
static char **title_env(const struct df_eval *ev, const struct wh_df_step *step)
{
    char **env = ev->env ? wh_strv_dup(ev->env) : NULL;
    for (size_t i = 0; step->mounts && i < step->nmounts; i++)
        if (step->mounts[i].type == WH_DF_MOUNT_SECRET && step->mounts[i].env)
            wh_env_set(&env, step->mounts[i].env, "****");
    return env;
}

int df_eval_run(struct df_eval *ev, struct wh_error *err)
{
    const struct wh_df_instr *in = ev->instr;
    char **env = df_ev_shared_env(ev, err);
    if (!env)
        return -1;
    struct wh_df_step *step = df_ev_step(ev);
    step->env = env;
    step->network = wh_strdup(in->network);
    step->security = wh_strdup(in->security);
    if (run_argv(ev, step, err) < 0 || run_mounts(ev, step, err) < 0)
        return -1;
    wh_autofree char *more = in->heredoc_only ? summary(in->heredocs[0].content) : NULL;
    wh_autostrv char **shown = title_env(ev, step);
    df_ev_title(ev, step, df_ev_line(ev, WH_DF_EXPAND_RAW, shown, more));
    df_ev_commit(ev, step, run_history(ev, step), true);
    return 0;
}
