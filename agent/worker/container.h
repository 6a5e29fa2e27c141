/* The containers that a job declares. */
#ifndef WH_WORKER_CONTAINER_H
#define WH_WORKER_CONTAINER_H

#include "wherry/oci/reference.h"
#include "worker/job.h"

/* `options:` of a container, as far as they are supported; all owned. */
struct wh_container_options_text {
    char *health_cmd;
    unsigned health_retries;
    char *user, *workdir, *entrypoint;
    char **env; /* NAME=value */
};

struct wh_jobcontainer {
    char *alias; /* of a service; NULL: the job's */
    char *image, *name;
    char *id; /* when it was started */
    struct wh_value *env;
    char **ports;   /* of a service: those that it listens at */
    char **volumes; /* source:target[:ro] */
    char *user, *password;
    char *path; /* PATH of the image */
    struct wh_container_options_text options;
};

#endif
