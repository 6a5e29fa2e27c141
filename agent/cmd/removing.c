/* Removal of a runner. */
#include "cmd/removing.h"

#include <stdio.h>

#include "cmd/registering.h"

static int remove_at_service(const struct cmd_removing *s, const struct wh_runner_config *config,
                             struct wh_authority *authority, bool *gone, struct wh_error *err)
{
    wh_autogithuburl url = {0};
    if (!*config->url && !s->url)
        return wh_fail(err, WH_E_ARGUMENT,
                       "the files of runner \"%s\" do not say where it belongs: give --url, or --local",
                       s->name);
    if (wh_github_url_parse(s->url ? s->url : config->url, &url, err))
        return -1;
    struct wh_http_client *http = wh_http_client_new_private(NULL, err);
    if (!http)
        return -1;
    int code = wh_unregister(http, &url, authority, config, gone, err);
    wh_http_client_free(http);
    return code;
}

int cmd_remove(const struct cmd_removing *s, struct wh_authority *authority, struct wh_error *err)
{
    bool gone = false;
    wh_autorunner *config = wh_runner_config_load(s->state, s->name, err);
    if (!config || remove_at_service(s, config, authority, &gone, err) ||
        wh_runner_config_delete(s->state, s->name, err))
        return -1;
    printf("Runner \"%s\" is removed%s.\n", s->name, gone ? "; GitHub did not know it any more" : "");
    return 0;
}

int cmd_remove_local(const char *state, const char *name, struct wh_error *err)
{
    if (cmd_runner_idle(state, name, err) || wh_runner_config_delete(state, name, err))
        return -1;
    printf("Runner \"%s\" is removed here; GitHub still lists it.\n", name);
    return 0;
}
