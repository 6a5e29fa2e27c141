/* Containers of one job: the builder's process as an engine. It listens on the socket that the worker made,
 * one thread a connection, one request a connection; it ends, with everything in it, when the worker's
 * channel closes. Frames: docs/protocol.md. */
#ifndef WH_BUILD_ENGINE_H
#define WH_BUILD_ENGINE_H

#include <pthread.h>

#include "wherry/base/frame.h"
#include "wherry/build/setup.h"
#include "wherry/container/run.h"
#include "wherry/oci/pull.h"
#include "wherry/store/layer.h"
#include "wherry/store/store.h"

#define WH_MAX_ENGINE_CONTAINERS 256
#define WH_MAX_ENGINE_MOUNTS 64
#define WH_MAX_ENGINE_LOG ((size_t)4 << 20) /* kept of a container's output; older goes */

struct engine;

enum container_state { CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_EXITED };

struct engine_container {
    struct engine *engine;
    char id[13], *name, *image;
    cJSON *request; /* what it was made of */
    enum container_state state;
    int code;
    char *error; /* why it could not run */
    char *box;   /* while it runs */
    struct wh_rootfs root;
    char **env; /* of its processes */
    char *user, *cwd;
    char **argv;
    int cancel_event;
    int out[2]; /* where its output goes; -1: into the log */
    struct wh_str log;
    pthread_t thread;
    bool started, joined;
};

struct engine {
    struct wh_builder_env *env;
    struct wh_store *store;
    char *scope; /* text for what registries answered */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct engine_container *containers[WH_MAX_ENGINE_CONTAINERS];
    size_t ncontainers;
    cJSON *images; /* name -> "name@digest" of what was built here */
};

/* engine_image.c: reference to config and layer trees (newest first; free ids). */
int engine_image(struct engine *e, const cJSON *request, const char *reference, struct wh_oci_image **image,
                 int64_t **ids, struct wh_error *err);

/* engine_container.c */
struct engine_container *engine_find(struct engine *e, const char *name); /* under the lock; NULL */
struct engine_container *engine_create(struct engine *e, const cJSON *request, struct wh_error *err);
int engine_start(struct engine_container *c, struct wh_error *err);
int engine_wait(struct engine_container *c); /* its exit code */
void engine_stop(struct engine_container *c);
void engine_remove(struct engine *e, struct engine_container *c);
/* What containers wrote into the job's folders becomes the job user's again. */
void engine_give_back(const cJSON *paths);

/* engine.c. The first frame said {"type":"engine"} and brought a listening socket. Returns the exit code. */
int engine_main(struct wh_builder_env *env, struct wh_frame *first);

/* builder.c: a build as one of an engine's connections. Returns what the result said (owned). */
int builder_serve(struct wh_builder_env *env, int channel, struct wh_frame *frame, cJSON **result);

#endif
