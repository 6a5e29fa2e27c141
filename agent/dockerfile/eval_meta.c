/* Instructions that only edit the config: ENV to ONBUILD, with their history texts (builder.md §1.5, §1.6,
 * §5). */
#include "dockerfile/eval_internal.h"

#include "dockerfile/text.h"
#include "wherry/base/json.h"

/* ---- the config section ---- */

static void put(cJSON *section, const char *name, cJSON *item)
{
    cJSON_DeleteItemFromObjectCaseSensitive(section, name);
    if (item)
        cJSON_AddItemToObject(section, name, item);
}

void df_section_list(cJSON *section, const char *name, char *const *list)
{
    cJSON *array = NULL;
    if (list && list[0]) {
        array = cJSON_CreateArray();
        for (size_t i = 0; list[i]; i++)
            cJSON_AddItemToArray(array, cJSON_CreateString(list[i]));
    }
    put(section, name, array);
}

char **df_section_read(const cJSON *section, const char *name)
{
    char **list = NULL;
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(section, name))
    {
        if (cJSON_IsString(item))
            wh_strv_add(&list, item->valuestring);
    }
    return list;
}

void df_section_text(cJSON *section, const char *name, const char *value)
{
    put(section, name, cJSON_CreateString(value));
}

static cJSON *section_map(struct df_eval *ev, const char *name)
{
    cJSON *map = cJSON_GetObjectItemCaseSensitive(ev->section, name);
    if (cJSON_IsObject(map))
        return map;
    map = cJSON_CreateObject();
    put(ev->section, name, map);
    return map;
}

/* ---- ENV, LABEL, ARG ---- */

struct expanded {
    char **names, **values;
};

static void expanded_free(struct expanded *e)
{
    wh_strv_free(e->names);
    wh_strv_free(e->values);
}

/* All pairs first: the line sees one environment. */
static int expand_pairs(struct df_eval *ev, struct expanded *out, struct wh_error *err)
{
    for (size_t i = 0; i < ev->instr->npairs; i++) {
        char *name = NULL, *value = NULL;
        if (df_ev_expand(ev, ev->instr->pairs[i].name, &name, err) < 0)
            return -1;
        wh_strv_take(&out->names, name);
        if (df_ev_expand(ev, ev->instr->pairs[i].value, &value, err) < 0)
            return -1;
        wh_strv_take(&out->values, value);
    }
    return 0;
}

static void warn_pair(struct df_eval *ev, const struct wh_df_pair *pair, const char *name)
{
    const char *kind = wh_df_kind_text(ev->instr->kind);
    if (pair->no_delim)
        df_warn(ev, "LegacyKeyValueFormat",
                "\"%s key=value\" should be used instead of legacy \"%s key value\" format", kind, kind);
    if (ev->instr->kind != WH_DF_LABEL && df_secret_name(name))
        df_warn(ev, "SecretsUsedInArgOrEnv",
                "Do not use ARG or ENV instructions for sensitive data (%s \"%s\")", kind, name);
}

static int eval_pairs(struct df_eval *ev, struct wh_error *err)
{
    struct expanded e = {0};
    wh_autostr text = {0};
    bool label = ev->instr->kind == WH_DF_LABEL;
    int r = expand_pairs(ev, &e, err);
    wh_str_add(&text, label ? "LABEL" : "ENV");
    for (size_t i = 0; r == 0 && i < ev->instr->npairs; i++) {
        wh_str_addf(&text, " %s=%s", e.names[i], e.values[i]);
        warn_pair(ev, &ev->instr->pairs[i], e.names[i]);
        if (label) {
            df_section_text(section_map(ev, "Labels"), e.names[i], e.values[i]);
        } else {
            r = df_ev_setenv(ev, e.names[i], e.values[i], err);
            wh_env_set(&ev->config_env, e.names[i], e.values[i]);
        }
    }
    expanded_free(&e);
    if (r == 0)
        df_ev_commit(ev, df_ev_step(ev), wh_str_steal(&text), false);
    return r;
}

static int arg_value(struct df_eval *ev, const struct wh_df_pair *pair, char **value, struct wh_error *err)
{
    const char *given = wh_env_get(ev->plan->options->build_args, pair->name);
    if (!given && !pair->value)
        given = wh_env_get(ev->plan->global, pair->name);
    if (given)
        *value = wh_strdup(given);
    else if (pair->value && df_ev_expand(ev, pair->value, value, err) < 0)
        return -1;
    return 0;
}

static int eval_arg(struct df_eval *ev, struct wh_error *err)
{
    wh_autostr text = {0};
    wh_str_add(&text, "ARG");
    for (size_t i = 0; i < ev->instr->npairs; i++) {
        const struct wh_df_pair *pair = &ev->instr->pairs[i];
        char *value = NULL;
        warn_pair(ev, pair, pair->name);
        if (arg_value(ev, pair, &value, err) < 0)
            return -1;
        if (ev->nargs >= WH_MAX_STAGE_VARIABLES) {
            free(value);
            return wh_fail(err, WH_E_LIMIT, "more than %d ARGs in one stage", WH_MAX_STAGE_VARIABLES);
        }
        ev->args = wh_reallocarray(ev->args, ev->nargs + 1, sizeof *ev->args);
        ev->args[ev->nargs++] = (struct df_build_arg){wh_strdup(pair->name), value};
        wh_str_addf(&text, " %s", pair->name);
        if (!value)
            continue;
        wh_str_addf(&text, "=%s", value);
        if (!wh_starts_with(pair->name, "BUILDKIT_SBOM_SCAN_") &&
            df_ev_setenv(ev, pair->name, value, err) < 0)
            return -1;
    }
    df_ev_commit(ev, df_ev_step(ev), wh_str_steal(&text), false);
    return 0;
}

/* ---- CMD, ENTRYPOINT, SHELL ---- */

/* The place is that of the earlier one: it is the one that is lost. */
static void warn_repeat(struct df_eval *ev, struct wh_df_range *here)
{
    struct wh_df_range now = ev->range;
    if (here->line > 0) {
        ev->range = *here;
        df_warn(ev, "MultipleInstructionsDisallowed",
                "Multiple %s instructions should not be used in the same stage because only the last one "
                "will be used",
                wh_df_kind_text(ev->instr->kind));
        ev->range = now;
    }
    *here = now;
}

static int eval_command(struct df_eval *ev, struct wh_error *err)
{
    (void)err;
    const struct wh_df_instr *in = ev->instr;
    bool is_cmd = in->kind == WH_DF_CMD;
    warn_repeat(ev, is_cmd ? &ev->cmd_here : &ev->entrypoint_here);
    char **argv = NULL;
    if (in->json) {
        argv = in->words ? wh_strv_dup(in->words) : NULL;
    } else {
        if (!ev->shell)
            df_warn(ev, "JSONArgsRecommended",
                    "JSON arguments recommended for %s to prevent unintended behavior related to OS signals",
                    wh_df_kind_text(in->kind));
        argv = df_ev_with_shell(ev, in->words ? in->words[0] : "");
    }
    char ***field = is_cmd ? &ev->cmd : &ev->entrypoint;
    wh_strv_free(*field);
    *field = argv;
    if (is_cmd) {
        put(ev->section, "ArgsEscaped", cJSON_CreateTrue());
    } else if (ev->cmd_here.line == 0) {
        wh_strv_free(ev->cmd);
        ev->cmd = NULL;
    }
    wh_autostr text = {0};
    wh_str_addf(&text, "%s [", wh_df_kind_text(in->kind));
    for (size_t i = 0; argv && argv[i]; i++) {
        if (i > 0)
            wh_str_addc(&text, ' ');
        df_add_quoted(&text, argv[i]);
    }
    wh_str_addc(&text, ']');
    df_ev_commit(ev, df_ev_step(ev), wh_str_steal(&text), false);
    return 0;
}

static int eval_shell(struct df_eval *ev)
{
    wh_strv_free(ev->shell);
    ev->shell = wh_strv_dup(ev->instr->words);
    wh_autostr text = {0};
    wh_str_add(&text, "SHELL ");
    df_add_list(&text, ev->shell);
    df_ev_commit(ev, df_ev_step(ev), wh_str_steal(&text), false);
    return 0;
}

/* ---- EXPOSE, VOLUME ---- */

static int eval_expose(struct df_eval *ev, struct wh_error *err)
{
    wh_autostrv char **ports = NULL;
    for (size_t i = 0; ev->instr->words[i]; i++) {
        wh_autostrv char **words = NULL;
        struct wh_df_expansion seen = {0};
        int r = wh_df_expand_words(ev->instr->words[i], ev->env, ev->plan->df->escape, &words, &seen, err);
        if (r == 0)
            df_ev_unset(ev, &seen);
        wh_df_expansion_clear(&seen);
        for (size_t k = 0; r == 0 && words && words[k]; k++) {
            bool upper = false, host = false;
            r = df_parse_ports(words[k], &ports, &upper, &host, err);
            if (r == 0 && upper)
                df_warn(ev, "ExposeProtoCasing",
                        "Defined protocol '%s' in EXPOSE instruction should be lowercase", words[k]);
            if (r == 0 && host)
                df_warn(ev, "ExposeInvalidFormat",
                        "EXPOSE instruction should not define an IP address or host-port mapping, found '%s'",
                        words[k]);
        }
        if (r < 0)
            return -1;
    }
    cJSON *map = section_map(ev, "ExposedPorts");
    for (size_t i = 0; ports && ports[i]; i++)
        put(map, ports[i], cJSON_CreateObject());
    wh_autostr text = {0};
    wh_str_add(&text, "EXPOSE ");
    df_add_list(&text, ports);
    df_ev_commit(ev, df_ev_step(ev), wh_str_steal(&text), false);
    return 0;
}

static int eval_volume(struct df_eval *ev, struct wh_error *err)
{
    wh_autostrv char **volumes = NULL;
    for (size_t i = 0; ev->instr->words[i]; i++) {
        char *path = NULL;
        if (df_ev_expand(ev, ev->instr->words[i], &path, err) < 0)
            return -1;
        wh_strv_take(&volumes, path);
        if (path[0] == '\0')
            return wh_fail(err, WH_E_ARGUMENT, "VOLUME specified can not be an empty string");
    }
    cJSON *map = section_map(ev, "Volumes");
    for (size_t i = 0; volumes && volumes[i]; i++)
        put(map, volumes[i], cJSON_CreateObject());
    wh_autostr text = {0};
    wh_str_add(&text, "VOLUME ");
    df_add_list(&text, volumes);
    df_ev_commit(ev, df_ev_step(ev), wh_str_steal(&text), false);
    return 0;
}

/* ---- HEALTHCHECK ---- */

static void add_ns(cJSON *health, const char *name, int64_t ns)
{
    if (ns != 0)
        wh_json_add_int(health, name, ns);
}

static int eval_health(struct df_eval *ev)
{
    const struct wh_df_instr *in = ev->instr;
    const struct wh_df_health *h = &in->health;
    warn_repeat(ev, &ev->health_here);
    wh_autostrv char **test = NULL;
    wh_strv_add(&test, h->none ? "NONE" : in->json ? "CMD" : "CMD-SHELL");
    for (size_t i = 0; !h->none && in->words && in->words[i]; i++)
        wh_strv_add(&test, in->words[i]);
    cJSON *health = cJSON_CreateObject();
    df_section_list(health, "Test", test);
    add_ns(health, "Interval", h->interval);
    add_ns(health, "Timeout", h->timeout);
    add_ns(health, "StartPeriod", h->start_period);
    add_ns(health, "StartInterval", h->start_interval);
    add_ns(health, "Retries", h->retries);
    put(ev->section, "Healthcheck", health);
    wh_autostr text = {0};
    wh_str_add(&text, "HEALTHCHECK {Test:");
    df_add_list(&text, test);
    const struct {
        const char *name;
        int64_t ns;
    } times[] = {{"Interval", h->interval},
                 {"Timeout", h->timeout},
                 {"StartPeriod", h->start_period},
                 {"StartInterval", h->start_interval}};
    for (size_t i = 0; i < WH_COUNT(times); i++) {
        wh_str_addf(&text, " %s:", times[i].name);
        df_add_duration(&text, times[i].ns);
    }
    wh_str_addf(&text, " Retries:%lld}", (long long)h->retries);
    df_ev_commit(ev, df_ev_step(ev), wh_str_steal(&text), false);
    return 0;
}

/* ---- USER, STOPSIGNAL, MAINTAINER ---- */

static int eval_text(struct df_eval *ev, struct wh_error *err)
{
    const struct wh_df_instr *in = ev->instr;
    wh_autofree char *value = NULL;
    if (in->kind == WH_DF_MAINTAINER)
        value = wh_strdup(in->words[0]);
    else if (df_ev_expand(ev, in->words[0], &value, err) < 0)
        return -1;
    if (in->kind == WH_DF_STOPSIGNAL && df_check_signal(value, err) < 0)
        return -1;
    struct wh_df_step *step = df_ev_step(ev);
    if (in->kind == WH_DF_MAINTAINER) {
        df_section_text(ev->result->config, "author", value);
    } else if (in->kind == WH_DF_STOPSIGNAL) {
        df_section_text(ev->section, "StopSignal", value);
    } else {
        free(ev->user);
        ev->user = wh_strdup(value);
        put(ev->section, "User", value[0] ? cJSON_CreateString(value) : NULL);
    }
    df_ev_commit(ev, step, wh_printf("%s %s", wh_df_kind_text(in->kind), value), false);
    return 0;
}

int df_eval_meta(struct df_eval *ev, struct wh_error *err)
{
    switch (ev->instr->kind) {
    case WH_DF_ENV:
    case WH_DF_LABEL:
        return eval_pairs(ev, err);
    case WH_DF_ARG:
        return eval_arg(ev, err);
    case WH_DF_CMD:
    case WH_DF_ENTRYPOINT:
        return eval_command(ev, err);
    case WH_DF_SHELL:
        return eval_shell(ev);
    case WH_DF_EXPOSE:
        return eval_expose(ev, err);
    case WH_DF_VOLUME:
        return eval_volume(ev, err);
    case WH_DF_HEALTHCHECK:
        return eval_health(ev);
    case WH_DF_ONBUILD:
        wh_strv_add(&ev->onbuild, ev->instr->words[0]);
        return 0;
    default:
        return eval_text(ev, err);
    }
}
