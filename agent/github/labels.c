/* A runner's labels (runner-protocol.md §1.6). */
#include "github/register_internal.h"

const char *wh_runner_architecture(void)
{
#if defined(__x86_64__)
    return "X64";
#elif defined(__aarch64__)
    return "ARM64";
#elif defined(__arm__)
    return "ARM";
#else
#error "the service knows no name for this architecture"
#endif
}

const char *const *wh_system_labels(void)
{
    static const char *labels[4] = {"self-hosted", "Linux"};
    labels[2] = wh_runner_architecture();
    return labels;
}

static void add_label(cJSON *list, struct wh_runner_config *config, const char *name, const char *type)
{
    for (char **have = config->labels; have && *have; have++)
        if (wh_streq_ci(*have, name))
            return;
    cJSON *label = cJSON_CreateObject();
    wh_json_add_int(label, "id", 0);
    wh_json_add_string(label, "name", name);
    wh_json_add_string(label, "type", type);
    cJSON_AddItemToArray(list, label);
    wh_strv_add(&config->labels, name);
}

int gh_labels(const struct wh_register_options *o, struct wh_runner_config *config, cJSON *body,
              struct wh_error *err)
{
    cJSON *list = cJSON_AddArrayToObject(body, "labels");
    wh_strv_free(config->labels);
    config->labels = NULL;
    if (!o->no_default_labels)
        for (const char *const *label = wh_system_labels(); *label; label++)
            add_label(list, config, *label, "system");
    for (char *const *label = o->labels; label && *label; label++) {
        if (strlen(*label) > WH_MAX_LABEL_CHARS)
            return wh_fail(err, WH_E_LIMIT, "label \"%.40s...\" is longer than %d characters", *label,
                           WH_MAX_LABEL_CHARS);
        if (**label)
            add_label(list, config, *label, "user");
    }
    int count = cJSON_GetArraySize(list);
    if (count == 0)
        return wh_fail(err, WH_E_ARGUMENT, "--no-default-labels needs --labels");
    if (count > WH_MAX_LABELS)
        return wh_fail(err, WH_E_LIMIT, "%d labels are more than the %d that GitHub takes", count,
                       WH_MAX_LABELS);
    return 0;
}
