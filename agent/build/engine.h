/* Containers of one job: the builder's process as an engine. It listens on the socket that the worker made,
 * one thread a connection, one request a connection; it ends, with everything in it, when the worker's
 * channel closes. Frames: docs/protocol.md. */
#ifndef WH_BUILD_ENGINE_H
#define WH_BUILD_ENGINE_H

#include <netinet/in.h>
#include <pthread.h>

#include "wherry/base/frame.h"
#include "wherry/build/setup.h"
#include "wherry/container/proxy.h"
#include "wherry/container/run.h"
#include "wherry/oci/pull.h"
#include "wherry/store/layer.h"
#include "wherry/store/store.h"

#define WH_MAX_ENGINE_CONTAINERS 256
#define WH_MAX_ENGINE_MOUNTS 64
#define WH_MAX_ENGINE_LOG ((size_t)4 << 20) /* kept of a container's output; older goes */

#define WH_MAX_ENGINE_NETWORKS 32
#define WH_MAX_ENGINE_PORTS 256 /* of one container, published or of the machine's */
#define WH_MAX_ENGINE_NAMES 16  /* of one container in its network */
#define WH_MAX_ENGINE_HOSTS 256 /* lines of /etc/hosts */

struct engine;

/* Containers that reach one another by their names. */
struct engine_network {
    char *name;
    int netns; /* -1: the machine's own network serves for it */
    char *why; /* then: why */
    uint32_t gateway;
    bool taken[256];
    struct wh_proxy *inward; /* published ports; NULL: none yet */
};

enum engine_health { HEALTH_NONE, HEALTH_STARTING, HEALTH_HEALTHY, HEALTH_UNHEALTHY };

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
    const cJSON *config; /* of its image, while it runs; borrowed */
    bool oom;            /* something in it was killed for want of memory */
    char **argv;
    int cancel_event;
    int out[2]; /* where its output goes; -1: into the log */
    struct wh_str log;
    uint64_t log_dropped; /* bytes that are not in it any more */
    pthread_t thread;
    bool started, joined;

    /* engine_network.c; network is set while it is a member. */
    struct engine_network *network;
    int netns; /* owned; -1: the machine's, or none */
    unsigned host, tag;
    char address[INET_ADDRSTRLEN];
    cJSON *ports; /* [{"container":"80","protocol":"tcp","address":"0.0.0.0","host":"49153"}] */

    /* engine_health.c */
    enum engine_health health;
    pthread_t health_thread;
    int health_timer; /* of the question that is put; -1: none. Under the lock */
    bool health_started, health_stopped;
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

    pthread_mutex_t network_lock; /* taken before `lock`, if both are */
    struct engine_network *networks[WH_MAX_ENGINE_NETWORKS];
    size_t nnetworks;
    struct wh_proxy *outward; /* from containers to the machine's loopback; NULL: none yet */
    unsigned tags;

    struct engine_volume *volumes; /* engine_volume.c; under the network_lock */
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
/* engine_volume.c. A folder or file of the machine, with the rights of the job's user, and not of the store.
 * A descriptor (O_PATH) of the caller's. */
int engine_open_source(const struct engine *e, const char *path, struct wh_error *err);
/* What containers wrote into the job's folders becomes the job user's again. */
void engine_give_back(const struct engine *e, const cJSON *paths);

/* engine_network.c. "host" and "none" are no networks of ours; a network that can't be made is one with the
 * reason in it. */
struct engine_network *engine_network_get(struct engine *e, const char *name, struct wh_error *err);
int engine_network_remove(struct engine *e, const char *name, struct wh_error *err);
void engine_networks_free(struct engine *e);
/* Makes the container a member of the network that its request names, with its ports. */
int engine_join(struct engine_container *c, struct wh_error *err);
void engine_leave(struct engine_container *c);
/* Network, address, name and /etc/hosts of a member; what hosts points to is owned by keep. */
void engine_network_spec(struct engine_container *c, struct wh_run_spec *spec, struct wh_run_host *hosts,
                         size_t max, char ***keep);
/* /etc/hosts of all members that run; under the lock. */
void engine_hosts_refresh(struct engine *e, const struct engine_network *network);

/* engine_volume.c. The folder of a volume: a named one lasts as long as the engine, one without a name ("")
 * as long as its container. It begins with what the image has at the target. Borrowed; NULL on error. */
const char *engine_volume(struct engine_container *c, const char *name, const char *target,
                          struct wh_error *err);
void engine_volumes_end(struct engine_container *c); /* those without a name */
void engine_volumes_free(struct engine *e);

/* engine_health.c. Starts looking after a container that runs, if its request or image says how. */
void engine_health_start(struct engine_container *c, const cJSON *image_config);
void engine_health_stop(struct engine_container *c);
const char *engine_health_text(enum engine_health health); /* NULL: it has none */

/* engine_about.c. Requests that are answered by words alone: logs, list, wait, network... */
int engine_answer(struct engine *e, const cJSON *request, cJSON *result, struct wh_error *err);

/* engine.c. The first frame said {"type":"engine"} and brought a listening socket. Returns the exit code. */
int engine_main(struct wh_builder_env *env, struct wh_frame *first);

/* builder.c: a build as one of an engine's connections. Returns what the result said (owned). */
int builder_serve(struct wh_builder_env *env, int channel, struct wh_frame *frame, cJSON **result);

#endif
