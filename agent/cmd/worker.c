/* wherry worker: started by `wherry run` and `wherry exec` with descriptor 3 as its line to them. */
#include "wherry/worker/worker.h"

#include <stdio.h>

#include "cmd/commands.h"

int wh_cmd_worker(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        fputs("wherry worker is started by `wherry run` and `wherry exec`; it takes no arguments.\n", stderr);
        return 2;
    }
    return wh_worker_main(3);
}
