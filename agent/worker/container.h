/* The containers that a job declares, and who runs them: wherry's own engine, docker, or the container hooks
 * of the machine's owner (job-execution.md §10). */
#ifndef WH_WORKER_CONTAINER_H
#define WH_WORKER_CONTAINER_H

#include "wherry/oci/reference.h"
#include "worker/job.h"

struct wh_jobcontainer {
    char *alias; /* of a service; NULL: the job's */
    char *image, *name;
    char *id; /* when it was started */
    struct wh_value *env;
    char **ports, **volumes; /* as the workflow has them */
    char *options, *entrypoint, *command;
    char *user, *password;
    char *path;              /* PATH of the image */
    char *network;           /* that it is in */
    struct wh_value *mapped; /* the machine's port by that of the service; NULL */
    bool failed;             /* it never got healthy; its log is told already */
};

enum wh_health { WH_HEALTH_NONE, WH_HEALTH_STARTING, WH_HEALTH_HEALTHY, WH_HEALTH_UNHEALTHY };

/* All of it runs in "Initialize containers" and "Stop containers", and says what it does. */
struct wh_container_host {
    int (*open)(struct wh_job *j, struct wh_error *err); /* sets j->network */
    int (*start)(struct wh_job *j, struct wh_jobcontainer *c, struct wh_error *err);
    /* Waits at most so long for something else than WH_HEALTH_STARTING. */
    enum wh_health (*health)(struct wh_job *j, const struct wh_jobcontainer *c, uint64_t wait_ms);
    void (*logs)(struct wh_job *j, const struct wh_jobcontainer *c);
    int (*remove)(struct wh_job *j, const struct wh_jobcontainer *c, struct wh_error *err);
    void (*close)(struct wh_job *j);
    /* A step's process in the job's container; environment, folder and words are the container's already. */
    struct wh_child *(*exec)(struct wh_job *j, char *const *argv, const cJSON *environment,
                             const char *folder, struct wh_error *err);
    bool (*is_alpine)(struct wh_job *j); /* the job's container, by /etc/os-release */
};
extern const struct wh_container_host wh_container_builtin, wh_container_docker;

/* ---- container_docker.c: the docker that is installed ---- */
/* Finds it; sets j->docker. */
int wh_container_docker_choose(struct wh_job *j, struct wh_error *err);
int wh_container_docker_pull(struct wh_job *j, const char *image, struct wh_error *err);
/* The image's name, owned by the caller; NULL with err. */
char *wh_container_docker_build(struct wh_job *j, const char *file, const char *folder, struct wh_error *err);
/* The process of a Docker action. request: as the engine's "run" has it. */
struct wh_child *wh_container_docker_run(struct wh_job *j, const cJSON *request, struct wh_error *err);

/* Folders of the job in its container: source, target, readonly. */
struct wh_container_folder {
    char *source; /* owned */
    const char *target;
    bool readonly;
};
#define WH_CONTAINER_FOLDERS 7
/* Returns how many; free the sources by wh_container_folders_clear(). */
size_t wh_container_folders(const struct wh_job *j, struct wh_container_folder out[WH_CONTAINER_FOLDERS]);
void wh_container_folders_clear(struct wh_container_folder *folders, size_t n);

/* ---- container_hooks.c ---- */
/* Whether hooks run the containers; sets j->hooks. */
bool wh_hooks_choose(struct wh_job *j);
int wh_hooks_prepare_job(struct wh_job *j, struct wh_error *err);
int wh_hooks_cleanup_job(struct wh_job *j, struct wh_error *err);
/* Both start a step's process; wh_hooks_step_end() (job.h) takes the answer. */
struct wh_child *wh_hooks_script_step(struct wh_job *j, char *const *argv, const cJSON *environment,
                                      const char *folder, struct wh_error *err);
/* request: as the engine's "run" has it; args: its words as one text, or NULL; dockerfile: to build it from,
 * or NULL. */
struct wh_child *wh_hooks_container_step(struct wh_job *j, const cJSON *request, const char *args_text,
                                         const char *dockerfile, struct wh_error *err);

/* In "Set up job": what the own engine has not is said before anything starts. */
int wh_container_builtin_check(const struct wh_jobcontainer *c, struct wh_error *err);

/* Waits, unless the job is canceled. */
void wh_container_pause(struct wh_job *j, uint64_t ms);
/* "ghcr.io" of an image, as docker login takes it; "": Docker Hub. Owned by the caller. */
char *wh_container_registry(const char *image);
/* An image's name as a part of a container's: its letters and digits. Owned. */
char *wh_container_clean_name(const char *image);
/* Ports of the machine's loopback that the environment's URLs name: an array of numbers. */
cJSON *wh_container_loopback(char *const *environment);

#endif
