/* `wherry builder`: one image build, started by wherry itself in namespaces of its own. */
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "cmd/commands.h"
#include "wherry/base/log.h"
#include "wherry/build/setup.h"

int wh_cmd_builder(int argc, char **argv)
{
    if (argc > 1) {
        bool help = strcmp(argv[1], "--help") == 0;
        fputs("wherry builder is started by wherry itself; it takes no arguments. Use `wherry build`.\n",
              help ? stdout : stderr);
        return help ? 0 : 2;
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
