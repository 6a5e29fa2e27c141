/* wherry fetcher: started by `wherry run` and `wherry exec`; descriptor 3 leads to the worker, 4 to them. */
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "cmd/commands.h"
#include "wherry/actions/fetch.h"

int wh_cmd_fetcher(int argc, char **argv)
{
    if (argc > 1) {
        bool help = strcmp(argv[1], "--help") == 0;
        fputs("wherry fetcher is started by `wherry run` and `wherry exec`; it takes no arguments.\n",
              help ? stdout : stderr);
        return help ? 0 : 2;
    }
    (void)prctl(PR_SET_NAME, "wherry-fetcher", 0, 0, 0);
    return wh_fetcher_main();
}
