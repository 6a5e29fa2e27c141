/* The `docker` command of jobs, in parts: commands.c-like tables here, running in docker_run.c. */
#ifndef WH_CMD_DOCKER_H
#define WH_CMD_DOCKER_H

#include "wherry/build/engine.h"

/* One request to the job's engine, its result owned by the caller; a sentence on standard error and 1 where
 * it says no. */
int docker_ask(cJSON *request_taken, const int *fds, size_t nfds, cJSON **result);
/* An argument that is not supported, said so. */
int docker_refuse(const char *command, const char *what);

int docker_run(int argc, char **argv);
int docker_exec(int argc, char **argv);
int docker_build(int argc, char **argv);

#endif
