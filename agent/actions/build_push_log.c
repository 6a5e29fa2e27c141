/* What build-push's log shows around the build, and its outputs (actions.md §4.5). */
#include "actions/build_push.h"
#include "actions/buildx.h"
#include "wherry/base/digest.h"

/* ---- before ---- */

/* The scopes that the runtime token may read and write, from its own claims: `refs/heads/main: read/write`.
 */
static void print_access(void)
{
    const char *token = getenv("ACTIONS_RUNTIME_TOKEN");
    wh_action_group("GitHub Actions runtime token ACs");
    if (!token || !*token) {
        wh_action_warning("ACTIONS_RUNTIME_TOKEN not set");
        wh_action_group_end();
        return;
    }
    struct wh_view header, rest, payload, signature;
    wh_view_split(wh_view_of(token), '.', &header, &rest);
    wh_view_split(rest, '.', &payload, &signature);
    wh_autostr text = {0};
    wh_autojson *claims = payload.len > 0 && wh_unbase64(payload.data, payload.len, &text)
                              ? wh_json_parse(wh_str_text(&text), text.len, 65536, "token", NULL)
                              : NULL;
    const char *ac = wh_json_string(claims, "ac");
    wh_autojson *list = ac ? wh_json_parse(ac, strlen(ac), 65536, "token", NULL) : NULL;
    static const char *const rights[] = {"none", "read", "write", "read/write"};
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        const char *scope = wh_json_string(item, "Scope");
        int64_t permission = wh_json_int(item, "Permission", 0);
        if (scope && permission >= 0 && permission < 4)
            wh_action_print("%s: %s", scope, rights[permission]);
    }
    wh_action_group_end();
}

static void print_group(const char *title, const char *text)
{
    wh_action_group("%s", title);
    wh_action_print("%s", text);
    wh_action_group_end();
}

int wh_build_push_head(struct wh_action_run *run, char **builder, struct wh_error *err)
{
    const char *input = wh_action_input(run, "builder");
    wh_autofree char *driver = NULL;
    *builder = input[0] ? wh_strdup(input) : wh_buildx_current();
    print_access();
    print_group("Docker info", "wherry " WH_VERSION " builds images itself: no Docker engine is asked");
    print_group("Proxy configuration", "No proxy configuration found");
    print_group("Buildx version", "wherry " WH_VERSION);
    int found = wh_buildx_find(*builder, &driver, err);
    if (found < 0)
        return -1;
    if (found == 0)
        return wh_fail(err, WH_E_NOT_FOUND, "no builder \"%s\" found", *builder);
    wh_autojson *json = cJSON_CreateObject();
    cJSON_AddItemToObject(json, "nodes", wh_buildx_nodes(*builder));
    wh_json_add_string(json, "name", *builder);
    wh_json_add_string(json, "driver", driver);
    wh_autofree char *text = wh_json_print_indented(json);
    print_group("Builder info", text);
    return 0;
}

/* ---- after ---- */

static int set_metadata(struct wh_action_run *run, const char *builder, const struct wh_build_result *result,
                        struct wh_error *err)
{
    char guid[37];
    wh_autojson *metadata = wh_build_result_metadata(result);
    wh_autofree char *ref = wh_printf("%s/%s0/%s", builder, builder, wh_guid(guid));
    cJSON *first = cJSON_CreateString(ref);
    cJSON_AddItemToObject(metadata, "buildx.build.ref", first);
    wh_autofree char *text = wh_json_print_indented(metadata);
    if (wh_action_set_output(run, "metadata", text, err) < 0)
        return -1;
    print_group("Metadata", text);
    print_group("Reference", ref);
    return 0;
}

int wh_build_push_tail(struct wh_action_run *run, const char *builder, const struct wh_build_result *result,
                       struct wh_error *err)
{
    const char *imageid = result->config_digest ? result->config_digest : result->digest;
    if (imageid) {
        if (wh_action_set_output(run, "imageid", imageid, err) < 0)
            return -1;
        print_group("ImageID", imageid);
    }
    if (result->digest) {
        if (wh_action_set_output(run, "digest", result->digest, err) < 0)
            return -1;
        print_group("Digest", result->digest);
    }
    return set_metadata(run, builder, result, err);
}
