/* wherry worker: started by `wherry run` and `wherry exec` with descriptor 3 as its line to them. */
#include "wherry/worker/worker.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cmd/commands.h"

int wh_cmd_worker(int argc, char **argv)
{
    if (argc > 1) {
        bool help = strcmp(argv[1], "--help") == 0;
        fputs("wherry worker is started by `wherry run` and `wherry exec`; it takes no arguments.\n",
              help ? stdout : stderr);
        return help ? 0 : 2;
    }
    return wh_worker_main(3);
}
