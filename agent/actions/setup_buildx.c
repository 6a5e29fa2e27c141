/* docker/setup-buildx-action v2 to v4 (actions.md §3): makes a named builder of the native engine. */
#include <unistd.h>

#include "actions/buildx.h"
#include "actions/list.h"
#include "actions/lists.h"
#include "wherry/base/digest.h"

static const struct wh_action_input inputs[] = {
    {.name = "version"},
    {.name = "name", .min_major = 3},
    {.name = "driver", .default_value = "docker-container"},
    {.name = "driver-opts"},
    {.name = "buildkitd-flags"},
    {.name = "buildkitd-config", .min_major = 3},
    {.name = "buildkitd-config-inline", .min_major = 3},
    {.name = "config", .max_major = 3},
    {.name = "config-inline", .max_major = 3},
    {.name = "install", .default_value = "false", .max_major = 3},
    {.name = "use", .default_value = "true"},
    {.name = "endpoint"},
    {.name = "platforms"},
    {.name = "append"},
    {.name = "cache-binary", .default_value = "true", .min_major = 3},
    {.name = "cleanup", .default_value = "true"},
    {.name = "keep-state", .default_value = "false", .min_major = 3},
};

/* One notice for all that means nothing to an engine without a daemon. */
static void name_without_effect(struct wh_action_run *run)
{
    static const char *const names[] = {"version",          "driver-opts",   "buildkitd-flags",
                                        "config",           "config-inline", "endpoint",
                                        "buildkitd-config", "platforms",     "buildkitd-config-inline"};
    char **given = NULL;
    for (size_t i = 0; i < WH_COUNT(names); i++)
        if (wh_action_input(run, names[i])[0])
            wh_strv_add(&given, names[i]);
    if (!given)
        return;
    wh_autofree char *list = wh_strv_join(given, ", ");
    wh_strv_free(given);
    wh_action_notice("Without effect, since wherry builds images itself: %s", list);
}

static int check_driver(struct wh_action_run *run, bool keep_state, struct wh_error *err)
{
    const char *driver = wh_action_input(run, "driver");
    if (keep_state && strcmp(driver, "docker-container") != 0)
        return wh_fail(err, WH_E_ARGUMENT, "Cannot use keep-state with %s driver", driver);
    if (strcmp(driver, "docker-container") == 0 || strcmp(driver, "docker") == 0 || driver[0] == '\0')
        return 0;
    if (strcmp(driver, "kubernetes") == 0 || strcmp(driver, "remote") == 0 || strcmp(driver, "cloud") == 0)
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "driver: %s is not supported yet by wherry: it builds on this machine (use "
                       "docker-container, the default)",
                       driver);
    return wh_fail(err, WH_E_ARGUMENT, "driver: failed to find driver \"%s\"", driver);
}

struct flags {
    bool use, cleanup, keep_state;
};

static int read_flags(struct wh_action_run *run, struct flags *f, struct wh_error *err)
{
    const struct wh_action_version *v = wh_action_version(run);
    bool ignored;
    *f = (struct flags){.use = true, .cleanup = true};
    if (wh_action_input_bool(run, "use", &f->use, err) < 0 ||
        wh_action_input_bool(run, "cleanup", &f->cleanup, err) < 0)
        return -1;
    if (v->major <= 3 && wh_action_input_bool(run, "install", &ignored, err) < 0)
        return -1;
    if (v->major >= 3 && (wh_action_input_bool(run, "cache-binary", &ignored, err) < 0 ||
                          wh_action_input_bool(run, "keep-state", &f->keep_state, err) < 0))
        return -1;
    if (wh_action_input(run, "append")[0])
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "Input 'append' is not supported yet by wherry: a builder has one node, this machine");
    return check_driver(run, f->keep_state, err);
}

static char *choose_name(struct wh_action_run *run)
{
    const char *name = wh_action_input(run, "name");
    char guid[37];
    if (strcmp(wh_action_input(run, "driver"), "docker") == 0)
        return wh_strdup("default");
    return name[0] ? wh_strdup(name) : wh_printf("builder-%s", wh_guid(guid));
}

static int create(struct wh_action_run *run, const char *name, const struct flags *f, struct wh_error *err)
{
    wh_autofree char *driver = NULL;
    int found = wh_buildx_find(name, &driver, err);
    if (found < 0)
        return -1;
    if (strcmp(name, "default") == 0)
        return 0;
    wh_action_group("Creating a new builder instance");
    if (found == 1)
        wh_action_print("Builder %s already exists, skipping creation", name);
    else
        wh_action_print("%s", name);
    int status = found == 1 ? 0 : wh_buildx_create(name, wh_action_input(run, "driver"), f->use, err);
    wh_action_group_end();
    return status;
}

/* The group prints what the action's inspect prints: nodes, name, driver, lastActivity. */
static void print_builder(const char *name, const char *driver)
{
    wh_autojson *json = cJSON_CreateObject();
    cJSON_AddItemToObject(json, "nodes", wh_buildx_nodes(name));
    wh_json_add_string(json, "name", name);
    wh_json_add_string(json, "driver", driver);
    wh_autofree char *text = wh_json_print_indented(json);
    wh_action_group("Inspect builder");
    wh_action_print("%s", text);
    wh_action_group_end();
}

static int set_outputs(struct wh_action_run *run, const char *name, struct wh_error *err)
{
    wh_autojson *nodes = wh_buildx_nodes(name);
    wh_autofree char *text = wh_json_print_indented(nodes);
    if (wh_action_set_output(run, "driver", wh_action_input(run, "driver"), err) < 0 ||
        wh_action_set_output(run, "platforms", wh_buildx_platform(), err) < 0 ||
        wh_action_set_output(run, "nodes", text, err) < 0)
        return -1;
    if (wh_action_version(run)->major > 3)
        return 0;
    if (wh_action_set_output(run, "endpoint", "wherry", err) < 0 ||
        wh_action_set_output(run, "status", "running", err) < 0)
        return -1;
    return wh_action_set_output(run, "flags", wh_action_input(run, "buildkitd-flags"), err);
}

static int stage_main(struct wh_action_run *run)
{
    wh_autoerror err = {0};
    struct flags f;
    if (read_flags(run, &f, &err) < 0)
        return wh_action_fail(&err);
    wh_autofree char *name = choose_name(run);
    wh_action_group("Docker info");
    wh_action_print("wherry %s builds images itself: no Docker engine is asked", WH_VERSION);
    wh_action_group_end();
    wh_action_group("Buildx version");
    wh_action_print("wherry %s", WH_VERSION);
    wh_action_group_end();
    name_without_effect(run);
    if (wh_buildx_name_check(name, &err) < 0 || wh_action_set_output(run, "name", name, &err) < 0 ||
        wh_action_save_state(run, "builderName", name, &err) < 0 ||
        wh_action_save_state(run, "builderDriver", wh_action_input(run, "driver"), &err) < 0 ||
        wh_action_save_state(run, "cleanup", f.cleanup ? "true" : "false", &err) < 0 ||
        create(run, name, &f, &err) < 0)
        return wh_action_fail(&err);
    wh_action_group("Booting builder");
    wh_action_print("The native engine starts with each build");
    wh_action_group_end();
    print_builder(name, wh_action_input(run, "driver"));
    if (strcmp(wh_action_input(run, "driver"), "docker-container") == 0) {
        wh_action_group("BuildKit version");
        wh_action_print("%s0: wherry %s", name, WH_VERSION);
        wh_action_group_end();
    }
    return set_outputs(run, name, &err) < 0 ? wh_action_fail(&err) : 0;
}

static int stage_post(struct wh_action_run *run)
{
    const char *name = wh_action_state(run, "builderName");
    wh_autoerror err = {0};
    wh_autofree char *driver = NULL;
    if (name[0] && strcmp(name, "default") != 0 && strcmp(wh_action_state(run, "cleanup"), "false") != 0) {
        wh_action_group("Removing builder");
        if (wh_buildx_find(name, &driver, &err) == 1 && wh_buildx_remove(name, &err) == 0)
            wh_action_print("%s removed", name);
        else
            wh_action_print("%s does not exist", name);
        wh_action_group_end();
    }
    wh_action_group("Post cache");
    wh_action_print("State not set");
    wh_action_group_end();
    return 0;
}

const struct wh_action wh_action_setup_buildx = {
    .repository = "docker/setup-buildx-action",
    .min_major = 2,
    .max_major = 4,
    .inputs = inputs,
    .ninputs = WH_COUNT(inputs),
    .main = stage_main,
    .post = stage_post,
};
