/* The `docker` command of jobs, in parts: docker.c has the table of its commands. */
#ifndef WH_CMD_DOCKER_H
#define WH_CMD_DOCKER_H

#include "wherry/build/engine.h"

/* One request to the job's engine, its result owned by the caller; a sentence on standard error and 1 where
 * it says no. */
int docker_ask(cJSON *request_taken, const int *fds, size_t nfds, cJSON **result);
/* A request with one member more, if name is not NULL. Owned by the caller. */
cJSON *docker_request(const char *type, const char *name, const char *value);
/* An argument that is not supported, said so. */
int docker_refuse(const char *command, const char *what);

/* Each takes its words from its own name on, and returns the exit code. */
int docker_build(int argc, char **argv);
int docker_exec(int argc, char **argv);
int docker_images(int argc, char **argv);
int docker_inspect(int argc, char **argv);
int docker_load(int argc, char **argv);
int docker_logs(int argc, char **argv);
int docker_network(int argc, char **argv);
int docker_port(int argc, char **argv);
int docker_ps(int argc, char **argv);
int docker_pull(int argc, char **argv);
int docker_push(int argc, char **argv);
int docker_rm(int argc, char **argv);
int docker_run(int argc, char **argv);
int docker_save(int argc, char **argv);
int docker_stop(int argc, char **argv);
int docker_tag(int argc, char **argv);
int docker_wait(int argc, char **argv);

#endif
