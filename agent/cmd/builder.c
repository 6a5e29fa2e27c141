/* `wherry builder`: one image build, started by wherry itself in namespaces of its own. */
#include <stdio.h>
#include <sys/prctl.h>

#include "cmd/commands.h"
#include "wherry/base/log.h"
#include "wherry/build/setup.h"

int wh_cmd_builder(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        fputs("wherry: `wherry builder` is started by wherry itself; use `wherry build`\n", stderr);
        return 2;
    }
    (void)prctl(PR_SET_NAME, "wherry-builder", 0, 0, 0);
    struct wh_builder_env env;
    wh_autoerror err = {0};
    if (wh_builder_setup(&env, &err) < 0) {
        wh_log_error("builder: %s", wh_error_text(&err));
        return 1;
    }
    int status = wh_builder_main(&env);
    wh_builder_env_clear(&env);
    return status;
}
