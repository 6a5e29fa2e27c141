/* One stage from base to result: the state that instructions see and change (builder.md §1.5, §4 Env, §5
 * History). */
#include "dockerfile/eval_internal.h"

#include <stdio.h>

#include "dockerfile/lex.h"
#include "dockerfile/text.h"
#include "wherry/base/json.h"

/* ---- helpers of all instructions ---- */

void df_warn(struct df_eval *ev, const char *rule, const char *fmt, ...)
{
    struct wh_df_result *r = ev->result;
    if (r->nwarnings >= 1000)
        return;
    if ((r->nwarnings & (r->nwarnings - 1)) == 0)
        r->warnings = wh_reallocarray(r->warnings, r->nwarnings ? r->nwarnings * 2 : 1, sizeof *r->warnings);
    va_list args;
    va_start(args, fmt);
    r->warnings[r->nwarnings++] = (struct wh_df_warning){rule, wh_vprintf(fmt, args), ev->range};
    va_end(args);
}

void df_ev_unset(struct df_eval *ev, const struct wh_df_expansion *seen)
{
    for (size_t i = 0; seen->unset && seen->unset[i]; i++) {
        const char *name = seen->unset[i];
        bool declared = wh_starts_with(name, "BUILDKIT_SBOM_SCAN_");
        for (size_t k = 0; k < ev->nargs; k++)
            declared |= strcmp(ev->args[k].name, name) == 0;
        if (declared)
            continue;
        wh_autostrv char **names = NULL;
        for (size_t k = 0; ev->env && ev->env[k]; k++)
            wh_strv_take(&names, wh_strndup(ev->env[k], strcspn(ev->env[k], "=")));
        const char *near = names ? df_nearest(name, (const char *const *)names) : NULL;
        if (near)
            df_warn(ev, "UndefinedVar", "Usage of undefined variable '$%s' (did you mean $%s?)", name, near);
        else
            df_warn(ev, "UndefinedVar", "Usage of undefined variable '$%s'", name);
    }
}

int df_ev_expand(struct df_eval *ev, const char *word, char **out, struct wh_error *err)
{
    struct wh_df_expansion seen = {0};
    int r = wh_df_expand(word, ev->env, ev->plan->df->escape, WH_DF_EXPAND, out, &seen, err);
    if (r == 0)
        df_ev_unset(ev, &seen);
    wh_df_expansion_clear(&seen);
    return r;
}

int df_ev_setenv(struct df_eval *ev, const char *name, const char *value, struct wh_error *err)
{
    if (!wh_env_get(ev->env, name) && wh_strv_len(ev->env) >= WH_MAX_STAGE_VARIABLES)
        return wh_fail(err, WH_E_LIMIT, "more than %d variables in one stage", WH_MAX_STAGE_VARIABLES);
    df_env_put(&ev->env, name, value);
    ev->env_shared = NULL;
    return 0;
}

char **df_ev_shared_env(struct df_eval *ev, struct wh_error *err)
{
    struct wh_df_scope *scope = ev->result->scope;
    if (ev->env_shared)
        return ev->env_shared;
    for (size_t i = 0; ev->env && ev->env[i]; i++)
        scope->env_bytes += strlen(ev->env[i]) + 32;
    if (scope->env_bytes > WH_MAX_STAGE_ENV_BYTES) {
        wh_fail(err, WH_E_LIMIT, "the environments of the stage's steps take more than %zu MiB",
                WH_MAX_STAGE_ENV_BYTES >> 20);
        return NULL;
    }
    if ((scope->nenvs & (scope->nenvs - 1)) == 0)
        scope->envs = wh_reallocarray(scope->envs, scope->nenvs ? scope->nenvs * 2 : 1, sizeof *scope->envs);
    ev->env_shared = ev->env ? wh_strv_dup(ev->env) : wh_calloc(1, sizeof(char *));
    scope->envs[scope->nenvs++] = ev->env_shared;
    return ev->env_shared;
}

struct wh_df_step *df_ev_step(struct df_eval *ev)
{
    struct wh_df_result *r = ev->result;
    if ((r->nsteps & (r->nsteps - 1)) == 0)
        r->steps = wh_reallocarray(r->steps, r->nsteps ? r->nsteps * 2 : 1, sizeof *r->steps);
    struct wh_df_step *step = &r->steps[r->nsteps++];
    *step = (struct wh_df_step){.kind = ev->instr->kind,
                                .instr = ev->instr,
                                .range = ev->range,
                                .trigger = ev->trigger,
                                .proxy = r->scope->proxy,
                                .cwd = wh_strdup(ev->cwd),
                                .user = wh_strdup(ev->user)};
    return step;
}

void df_ev_commit(struct df_eval *ev, struct wh_df_step *step, char *created_by, bool layer)
{
    struct wh_df_result *r = ev->result;
    step->layer = layer;
    step->created_by = created_by;
    r->history = wh_reallocarray(r->history, r->nhistory + 1, sizeof *r->history);
    r->history[r->nhistory++] = (struct wh_df_history){wh_strdup(created_by), !layer, r->nsteps - 1};
}

void df_ev_title(struct df_eval *ev, struct wh_df_step *step, char *text)
{
    step->text = text;
    if (ev->total == 0) {
        step->title = wh_strdup(text);
        return;
    }
    int width = snprintf(NULL, 0, "%zu", ev->total);
    step->title = wh_printf("[%s%s%*zu/%zu] %s%s", ev->st->title, ev->st->title[0] ? " " : "", width,
                            ++ev->index, ev->total, ev->trigger ? "ONBUILD " : "", text);
}

char *df_ev_line(struct df_eval *ev, enum wh_df_expand_mode mode, char *const *env, const char *more)
{
    wh_autofree char *code = df_trim_dup(ev->instr->original);
    wh_autofree char *full = more ? wh_printf("%s (%s)", code, more) : NULL;
    char *line = NULL;
    if (wh_df_expand(full ? full : code, env, ev->plan->df->escape, mode, &line, NULL, NULL) < 0)
        line = wh_strdup(full ? full : code);
    for (char *p = line; *p && *p != ' '; p++)
        if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
    return line;
}

char **df_ev_with_shell(const struct df_eval *ev, const char *line)
{
    char **argv = NULL;
    if (ev->shell && ev->shell[0]) {
        argv = wh_strv_dup(ev->shell);
    } else {
        wh_strv_add(&argv, "/bin/sh");
        wh_strv_add(&argv, "-c");
    }
    wh_strv_add(&argv, line);
    return argv;
}

char *df_join_path(const char *dir, const char *path)
{
    wh_autofree char *whole = path[0] == '/' ? wh_strdup(path) : wh_printf("%s/%s", dir, path);
    wh_autostr out = {0};
    struct wh_view rest = wh_view_of(whole), part;
    bool more = true;
    while (more) {
        more = wh_view_split(rest, '/', &part, &rest);
        if (part.len == 0 || wh_view_eq(part, "."))
            continue;
        if (wh_view_eq(part, "..")) {
            const char *slash = out.len > 0 ? strrchr(out.data, '/') : NULL;
            wh_str_truncate(&out, slash ? (size_t)(slash - out.data) : 0);
            continue;
        }
        wh_str_addc(&out, '/');
        wh_str_addn(&out, part.data, part.len);
    }
    if (out.len == 0)
        wh_str_addc(&out, '/');
    return wh_str_steal(&out);
}

/* ---- the base ---- */

static cJSON *scratch_config(const char *platform)
{
    wh_autostrv char **parts = wh_strv_split(platform, '/');
    size_t n = wh_strv_len(parts);
    cJSON *doc = cJSON_CreateObject(), *config = cJSON_CreateObject(), *env = cJSON_CreateArray();
    cJSON_AddStringToObject(doc, "architecture", n > 1 ? parts[1] : "");
    cJSON_AddStringToObject(doc, "os", n > 0 ? parts[0] : "");
    if (n > 2)
        cJSON_AddStringToObject(doc, "variant", parts[2]);
    cJSON_AddItemToArray(env, cJSON_CreateString("PATH=" WH_DF_DEFAULT_PATH));
    cJSON_AddItemToObject(config, "Env", env);
    cJSON_AddStringToObject(config, "WorkingDir", "/");
    cJSON_AddItemToObject(doc, "config", config);
    cJSON *rootfs = cJSON_AddObjectToObject(doc, "rootfs");
    cJSON_AddStringToObject(rootfs, "type", "layers");
    cJSON_AddItemToObject(rootfs, "diff_ids", cJSON_CreateArray());
    cJSON_AddItemToObject(doc, "history", cJSON_CreateArray());
    return doc;
}

static bool has_layers(const cJSON *config)
{
    const cJSON *rootfs = cJSON_GetObjectItemCaseSensitive(config, "rootfs");
    return cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(rootfs, "diff_ids")) > 0;
}

static void inherit(struct df_eval *ev, const struct wh_df_result *base)
{
    const struct wh_df_scope *from = base->scope;
    ev->env = from->env ? wh_strv_dup(from->env) : NULL;
    ev->workdir_set = from->workdir_set;
    ev->args = wh_calloc(from->nargs + 1, sizeof *ev->args);
    for (size_t i = 0; i < from->nargs; i++)
        ev->args[ev->nargs++] =
            (struct df_build_arg){wh_strdup(from->args[i].name), wh_strdup(from->args[i].value)};
    struct wh_df_result *r = ev->result;
    r->history = wh_calloc(base->nhistory + 1, sizeof *r->history);
    for (size_t i = 0; i < base->nhistory; i++) {
        r->history[i] = base->history[i];
        r->history[i].created_by = wh_strdup(base->history[i].created_by);
    }
    r->nhistory = base->nhistory;
}

/* Reads the lists that instructions change out of the config. */
static int start_config(struct df_eval *ev, struct wh_error *err)
{
    cJSON *doc = ev->result->config;
    ev->section = cJSON_GetObjectItemCaseSensitive(doc, "config");
    if (!cJSON_IsObject(ev->section)) {
        cJSON_DeleteItemFromObjectCaseSensitive(doc, "config");
        ev->section = cJSON_AddObjectToObject(doc, "config");
    }
    cJSON_DeleteItemFromObjectCaseSensitive(doc, "created");
    ev->config_env = df_section_read(ev->section, "Env");
    ev->shell = df_section_read(ev->section, "Shell");
    ev->cmd = df_section_read(ev->section, "Cmd");
    ev->entrypoint = df_section_read(ev->section, "Entrypoint");
    cJSON_DeleteItemFromObjectCaseSensitive(ev->section, "OnBuild");
    if (!wh_env_get(ev->config_env, "PATH"))
        wh_strv_add(&ev->config_env, "PATH=" WH_DF_DEFAULT_PATH);
    for (size_t i = 0; ev->config_env[i]; i++) {
        wh_autofree char *name = wh_strndup(ev->config_env[i], strcspn(ev->config_env[i], "="));
        const char *eq = strchr(ev->config_env[i], '=');
        if (df_ev_setenv(ev, name, eq ? eq + 1 : "", err) < 0)
            return -1;
    }
    const cJSON *dir = cJSON_GetObjectItemCaseSensitive(ev->section, "WorkingDir");
    const cJSON *user = cJSON_GetObjectItemCaseSensitive(ev->section, "User");
    ev->cwd = df_join_path("/", cJSON_IsString(dir) ? dir->valuestring : "");
    ev->user = wh_strdup(cJSON_IsString(user) ? user->valuestring : "");
    if (cJSON_IsString(dir) && dir->valuestring[0])
        df_section_text(ev->section, "WorkingDir", ev->cwd);
    return 0;
}

/* HTTP_PROXY and its like among the build args, in either case, give both cases. */
static void find_proxies(struct df_eval *ev)
{
    static const char *const names[] = {"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"};
    char *const *args = ev->plan->options->build_args;
    for (size_t i = 0; i < WH_COUNT(names); i++) {
        const char *value = NULL;
        for (size_t k = 0; args && args[k]; k++) {
            size_t n = strcspn(args[k], "=");
            if (n == strlen(names[i]) && wh_strcmp_ci(args[k], names[i], n) == 0 && args[k][n] == '=')
                value = args[k] + n + 1;
        }
        if (!value || value[0] == '\0')
            continue;
        wh_autofree char *lower = wh_strdup(names[i]);
        wh_ascii_lower(lower);
        char ***proxy = &ev->result->scope->proxy;
        wh_strv_take(proxy, wh_printf("%s=%s", names[i], value));
        wh_strv_take(proxy, wh_printf("%s=%s", lower, value));
    }
}

/* How many titles are counted: a FROM that is no scratch and no stage, what makes layers, and every trigger.
 */
static void count_titles(struct df_eval *ev)
{
    const struct wh_df_plan_stage *st = ev->st;
    if (st->replaced)
        return;
    ev->total = st->ntriggers;
    if (st->base.kind == WH_DF_SOURCE_IMAGE || st->base.kind == WH_DF_SOURCE_NAMED)
        ev->total++;
    for (size_t i = 0; i < st->stage->ninstrs; i++) {
        enum wh_df_kind kind = st->stage->instrs[i]->kind;
        ev->total += kind == WH_DF_RUN || kind == WH_DF_COPY || kind == WH_DF_ADD || kind == WH_DF_WORKDIR;
    }
}

static int start(struct df_eval *ev, const cJSON *base_config, const struct wh_df_result *base,
                 struct wh_error *err)
{
    struct wh_df_result *r = ev->result;
    if (base)
        r->config = cJSON_Duplicate(base->config, true);
    else if (base_config)
        r->config = cJSON_Duplicate(base_config, true);
    else
        r->config = scratch_config(ev->st->platform);
    if (base)
        inherit(ev, base);
    if (start_config(ev, err) < 0)
        return -1;
    find_proxies(ev);
    count_titles(ev);
    ev->instr = ev->st->stage->from;
    ev->range = ev->instr->range;
    struct wh_df_step *from = df_ev_step(ev);
    bool shown = !base && ev->st->image && has_layers(r->config);
    if (shown)
        df_ev_title(ev, from, wh_printf("FROM %s", ev->st->image));
    return 0;
}

/* ---- the end ---- */

static void set_platform(struct df_eval *ev)
{
    wh_autostrv char **parts = wh_strv_split(ev->plan->options->target_platform, '/');
    size_t n = wh_strv_len(parts);
    cJSON *doc = ev->result->config;
    df_section_text(doc, "os", parts[0]);
    if (n > 1)
        df_section_text(doc, "architecture", parts[1]);
    if (n > 2)
        df_section_text(doc, "variant", parts[2]);
}

static void finish(struct df_eval *ev)
{
    struct wh_df_result *r = ev->result;
    df_section_list(ev->section, "Env", ev->config_env);
    df_section_list(ev->section, "Shell", ev->shell);
    df_section_list(ev->section, "Cmd", ev->cmd);
    df_section_list(ev->section, "Entrypoint", ev->entrypoint);
    df_section_list(ev->section, "OnBuild", ev->onbuild);
    bool target = ev->st == &ev->plan->stages[ev->plan->target];
    char *const *labels = target ? ev->plan->options->labels : NULL;
    for (size_t i = 0; labels && labels[i]; i++) {
        cJSON *map = cJSON_GetObjectItemCaseSensitive(ev->section, "Labels");
        if (!cJSON_IsObject(map)) {
            cJSON_DeleteItemFromObjectCaseSensitive(ev->section, "Labels");
            map = cJSON_AddObjectToObject(ev->section, "Labels");
        }
        const char *eq = strchr(labels[i], '=');
        wh_autofree char *name = wh_strndup(labels[i], strcspn(labels[i], "="));
        df_section_text(map, name, eq ? eq + 1 : "");
    }
    if (target && ev->plan->options->target_platform)
        set_platform(ev);
    r->onbuild = wh_steal(&ev->onbuild);
    r->scope->env = wh_steal(&ev->env);
    r->scope->args = wh_steal(&ev->args);
    r->scope->nargs = ev->nargs;
    r->scope->workdir_set = ev->workdir_set;
    ev->nargs = 0;
}

static int dispatch(struct df_eval *ev, struct wh_error *err)
{
    switch (ev->instr->kind) {
    case WH_DF_RUN:
        return df_eval_run(ev, err);
    case WH_DF_COPY:
    case WH_DF_ADD:
        return df_eval_copy(ev, err);
    case WH_DF_WORKDIR:
        return df_eval_workdir(ev, err);
    default:
        return df_eval_meta(ev, err);
    }
}

static void args_free(struct df_build_arg *args, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(args[i].name);
        free(args[i].value);
    }
    free(args);
}

static void eval_clear(struct df_eval *ev)
{
    wh_strv_free(ev->env);
    wh_strv_free(ev->config_env);
    wh_strv_free(ev->shell);
    wh_strv_free(ev->cmd);
    wh_strv_free(ev->entrypoint);
    wh_strv_free(ev->onbuild);
    free(ev->cwd);
    free(ev->user);
    args_free(ev->args, ev->nargs);
}

int wh_df_eval_stage(const struct wh_df_plan *plan, size_t stage, const cJSON *base_config,
                     const struct wh_df_result *base, struct wh_df_result **out, struct wh_df_range *where,
                     struct wh_error *err)
{
    struct df_eval ev = {.plan = plan, .st = &plan->stages[stage]};
    ev.result = wh_calloc(1, sizeof *ev.result);
    ev.result->scope = wh_calloc(1, sizeof *ev.result->scope);
    ev.range = ev.st->stage->from->range;
    int r = start(&ev, base_config, base, err);
    for (size_t i = 0; r == 0; i++) {
        const struct wh_df_instr *in = df_stage_instr(ev.st, i, &ev.trigger);
        if (!in)
            break;
        ev.instr = in;
        ev.range = in->range;
        r = dispatch(&ev, err);
    }
    if (r == 0)
        finish(&ev);
    else if (where)
        *where = ev.range;
    eval_clear(&ev);
    if (r < 0) {
        wh_df_result_free(ev.result);
        return -1;
    }
    *out = ev.result;
    return 0;
}

/* ---- freeing ---- */

static void mount_free(struct wh_df_mount *m)
{
    wh_df_source_clear(&m->from);
    free(m->source);
    free(m->target);
    free(m->id);
    free(m->env);
}

static void step_free(struct wh_df_step *s)
{
    for (size_t i = 0; i < s->nmounts; i++)
        mount_free(&s->mounts[i]);
    for (size_t i = 0; i < s->nsources; i++)
        free(s->sources[i].path);
    for (size_t i = 0; i < s->nfiles; i++) {
        free(s->files[i].name);
        free(s->files[i].content);
    }
    wh_strv_free(s->argv);
    wh_df_source_clear(&s->from);
    char *texts[] = {s->created_by,  s->title,          s->text,     s->cwd,      s->user,
                     s->script.name, s->script.content, s->network,  s->security, s->dest,
                     s->chown,       s->chmod.text,     s->checksum, s->workdir};
    for (size_t i = 0; i < WH_COUNT(texts); i++)
        free(texts[i]);
    free(s->mounts);
    free(s->sources);
    free(s->files);
}

static void scope_free(struct wh_df_scope *scope)
{
    for (size_t i = 0; i < scope->nenvs; i++)
        wh_strv_free(scope->envs[i]);
    free(scope->envs);
    wh_strv_free(scope->env);
    wh_strv_free(scope->proxy);
    args_free(scope->args, scope->nargs);
    free(scope);
}

void wh_df_result_free(struct wh_df_result *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->nsteps; i++)
        step_free(&r->steps[i]);
    for (size_t i = 0; i < r->nhistory; i++)
        free(r->history[i].created_by);
    for (size_t i = 0; i < r->nwarnings; i++)
        free(r->warnings[i].message);
    free(r->steps);
    free(r->history);
    free(r->warnings);
    cJSON_Delete(r->config);
    wh_strv_free(r->onbuild);
    scope_free(r->scope);
    free(r);
}
