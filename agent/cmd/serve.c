/* wherry serve: started by `wherry run` and `wherry exec`; descriptor 3 leads to them. */
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "cmd/commands.h"
#include "wherry/serve/serve.h"

int wh_cmd_serve(int argc, char **argv)
{
    if (argc > 1) {
        bool help = strcmp(argv[1], "--help") == 0;
        fputs("wherry serve is started by `wherry run` and `wherry exec` while jobs run; it takes no "
              "arguments.\n"
              "The settings under `services` say what it does: see `wherry config check`.\n",
              help ? stdout : stderr);
        return help ? 0 : 2;
    }
    (void)prctl(PR_SET_NAME, "wherry-serve", 0, 0, 0);
    return wh_serve_main();
}
