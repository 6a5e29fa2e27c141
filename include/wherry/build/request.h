/* A build, as a client (`wherry build`, the build-push action) asks a builder for it, and the client's half
 * of the talk (builder.md §§1.7, 6; actions.md §4).
 *
 * The client reads with its own rights what the builder could not or should not: the Dockerfile and its
 * ignore file, secret values, directories (sent as descriptors). The builder asks back for registry
 * credentials by host, so no configuration file has to be shared. */
#ifndef WH_BUILD_REQUEST_H
#define WH_BUILD_REQUEST_H

#include "wherry/base/frame.h"
#include "wherry/progress/event.h"

#define WH_MAX_BUILD_CONTEXTS 16
#define WH_MAX_BUILD_OUTPUTS 8
#define WH_MAX_BUILD_SECRETS 256
#define WH_MAX_SECRET_BYTES ((size_t)500 << 10) /* BuildKit's own bound */

struct wh_build_context {
    char *name;        /* owned; "context" is the main one, others are --build-context names */
    int dirfd;         /* owned: a directory, -1 where value is set */
    char *value;       /* owned: "docker-image://REF", a git address; NULL for a directory */
    char *ignore_name; /* owned: how errors name the ignore file; NULL without one */
    char *ignore;      /* owned: its text */
};

struct wh_build_secret {
    char *id;    /* owned */
    char *value; /* owned; wiped when freed */
    size_t len;
};

struct wh_build_output {
    char *type;   /* "image", "oci", "docker", "tar", "local", "cacheonly" */
    char **attrs; /* "name=value" as given, type and dest left out; owned */
    int fd; /* owned: where the bytes of an archive go (local: a tar stream that the client unpacks); -1 for
               image */
};

struct wh_build_request {
    char *dockerfile_name; /* how errors and titles name it: "Dockerfile" */
    char *dockerfile;      /* its text; NULL: the main context is fetched, and dockerfile_path is in it */
    char *dockerfile_path; /* NULL: Dockerfile */
    size_t dockerfile_len;
    struct wh_build_context contexts[WH_MAX_BUILD_CONTEXTS];
    size_t ncontexts;
    char *target;      /* NULL: the last stage */
    char *platform;    /* NULL: this machine's */
    char **build_args; /* "NAME=value" */
    char **labels;     /* "NAME=value" */
    char **
        annotations; /* "[LEVEL[,LEVEL]:]NAME=value" as buildx takes them; without a level: of the manifest */
    char **attests;  /* "type=provenance,mode=max", "type=sbom", ... */
    char **cache_from; /* "type=registry,ref=...", a bare reference, ... */
    char **cache_to;
    char **tags; /* references as typed */
    bool no_cache;
    char **no_cache_filter; /* stage names */
    bool pull;
    char *network;     /* "default", "host", "none"; NULL: default */
    char **allow;      /* entitlements */
    char **add_hosts;  /* "name:ip" */
    char **ulimits;    /* "nofile=1024:2048" */
    uint64_t shm_size; /* 0: the default */
    struct wh_build_secret secrets[WH_MAX_BUILD_SECRETS];
    size_t nsecrets;
    struct wh_build_output outputs[WH_MAX_BUILD_OUTPUTS];
    size_t noutputs;
    char **plain_http; /* registry hosts asked by plain HTTP beside loopback */
    char *call;        /* "check", "outline", "targets": read and tell, build nothing; NULL: build */
    char *call_format; /* "json"; NULL: text */
    bool credentials;  /* the client answers credential questions */
};
struct wh_build_request *wh_build_request_new(void);
void wh_build_request_free(struct wh_build_request *r);
void wh_build_request_free_ptr(struct wh_build_request **r);
#define wh_autorequest __attribute__((cleanup(wh_build_request_free_ptr))) struct wh_build_request
/* Adders; texts are copied, descriptors taken. NULL where the limit is reached. */
struct wh_build_context *wh_build_request_add_context(struct wh_build_request *r, const char *name, int dirfd,
                                                      const char *value);
struct wh_build_output *wh_build_request_add_output(struct wh_build_request *r, const char *type, int fd);
int wh_build_request_add_secret(struct wh_build_request *r, const char *id, const char *value, size_t len,
                                struct wh_error *err);
/* `type=registry,ref=...`-like text of --output: CSV of name=value. dest is cut out and returned (owned;
 * NULL: none); fd stays -1 for the caller to open. */
int wh_build_request_parse_output(struct wh_build_request *r, const char *text, char **dest,
                                  struct wh_error *err);

/* The value of --provenance or --sbom (kind), or of the action's inputs, as an item of attests: "true" and
 * "false" by disabled=, others as they are. Owned by the caller. */
char *wh_attest_text(const char *kind, const char *value);

/* Reads dir/path (path NULL: Dockerfile, else dockerfile) and the ignore file into the request; `dir` is the
 * main context. A path is relative to the current folder, as buildx takes -f; "-" with text given by stdin is
 * the caller's business. */
int wh_build_request_load(struct wh_build_request *r, const char *dir, const char *dockerfile,
                          struct wh_error *err);

/* The main context is a git repository, `address` (https://...git#ref:folder): the builder fetches it, and
 * the Dockerfile in it (file: its path there; NULL: Dockerfile). */
int wh_build_request_remote(struct wh_build_request *r, const char *address, const char *file,
                            struct wh_error *err);
/* The address of a context that is one: git@..., git://, ssh://, http(s)://...git, github.com/o/r; NULL for
 * anything else. Owned by the caller. */
char *wh_build_git_context(const char *text);

/* ---- the wire; the other end is not trusted ---- */
int wh_build_request_send(int channel, const struct wh_build_request *r, struct wh_error *err);
/* Takes the descriptors out of the frame. */
int wh_build_request_decode(struct wh_frame *frame, struct wh_build_request **out, struct wh_error *err);

/* ---- the client's loop ---- */
#define WH_MAX_BUILD_WARNINGS 1000
struct wh_build_warning {       /* owned texts */
    char *rule, *message, *url; /* url: NULL if there is none */
    int line, end_line;
};
struct wh_build_result {
    bool ok;
    char *error;                       /* owned: BuildKit's sentence; NULL when ok */
    char *excerpt;                     /* owned: the Dockerfile excerpt to show; may be NULL */
    char *digest;                      /* owned: of the manifest or index; NULL for cache-only builds */
    char *config_digest;               /* owned */
    cJSON *descriptor;                 /* owned: of the root */
    char *name;                        /* owned: comma list of the normalised names that were exported */
    char *output;                      /* owned: what a call printed; NULL for a build */
    int exit_code;                     /* of a call */
    struct wh_build_warning *warnings; /* owned: findings of lint rules */
    size_t nwarnings;
    cJSON *misses; /* owned: [{"step", "why"}] of the steps that ran; NULL: none did */
    unsigned steps,
        cached;        /* steps of the target's graph that make layers, and how many came from the store */
    uint64_t uploaded; /* bytes of blobs sent to registries */
    unsigned layers_uploaded;
};
void wh_build_result_clear(struct wh_build_result *r);

struct wh_build_client {
    void *data;
    void (*event)(void *data, const struct wh_progress_event *ev); /* NULL: dropped */
    const char *docker_config; /* folder for credentials; NULL: $DOCKER_CONFIG or ~/.docker */
};
/* Sends the request and talks until the result is there. Blocking; channel stays the caller's (closing it
 * from another thread by shutdown() cancels). 0 when the builder gave a result, ok or not; negative when it
 * died or broke the protocol. */
int wh_build_client_run(int channel, const struct wh_build_request *request,
                        const struct wh_build_client *client, struct wh_build_result *result,
                        struct wh_error *err);
/* The metadata file's object (containerimage.digest, ...); owned by the caller. */
cJSON *wh_build_result_metadata(const struct wh_build_result *r);

#endif
