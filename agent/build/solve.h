/* The solver's own types: one build from request to result. Private to agent/build/.
 *
 * Threads: one per stage that must run, one per layer that is exported, one that reads the channel. What they
 * share is either made before they start and then only read, or guarded as its comment says. */
#ifndef WH_BUILD_SOLVE_H
#define WH_BUILD_SOLVE_H

#include <pthread.h>
#include <sys/stat.h>

#include "wherry/base/digest.h"
#include "wherry/build/request.h"
#include "wherry/build/setup.h"
#include "wherry/dockerfile/check.h"
#include "wherry/dockerfile/eval.h"
#include "wherry/dockerfile/ignore.h"
#include "wherry/oci/pull.h"
#include "wherry/store/blob.h"
#include "wherry/store/layer.h"
#include "wherry/store/record.h"

struct build;

/* ---- report.c: progress to the client; thread-safe ---- */
struct report {
    int channel;
    pthread_mutex_t lock; /* one frame at a time; also guards next */
    uint64_t next;
    bool closed; /* the client is gone: nothing is sent any more */
};
void report_init(struct report *r, int channel);
void report_send(struct report *r, const cJSON *json);
/* Starts a vertex; note (NULL): why it was not cached. */
uint64_t report_start(struct report *r, const char *name, const char *note);
void report_cached(struct report *r, const char *name); /* a vertex that is answered by the store */
void report_log(struct report *r, uint64_t vertex, int stream, const char *data, size_t len);
void report_status(struct report *r, uint64_t vertex, const char *id, uint64_t current, uint64_t total,
                   bool done);
void report_warning(struct report *r, uint64_t vertex, const char *text);
/* status: the step's return value; err: its cause where negative. */
void report_end(struct report *r, uint64_t vertex, int status, const struct wh_error *err);

/* ---- channel.c: what the client sends after the request: answers, or its end, which cancels ---- */
struct channel {
    struct report *report;
    int sock, launcher;
    int stop[2];      /* pipe: ends the thread */
    bool cancel;      /* atomic; read by everything that works long */
    int cancel_event; /* eventfd: readable from then on */
    pthread_t thread;
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    cJSON *answer;
    bool asking, closed;
};
int channel_start(struct channel *c, struct report *report, int sock, int launcher, struct wh_error *err);
void channel_stop(struct channel *c);
void channel_cancel(struct channel *c);
bool channel_canceled(const struct channel *c);
/* wh_registry_options.credential; data is the channel. */
int channel_credential(void *data, const char *host, struct wh_credential *out, struct wh_error *err);

/* ---- key.c: digests over length-framed fields ---- */
struct key {
    struct wh_sha256 *hash;
    char ***inputs; /* borrowed: named inputs are added to it (explain.c); NULL: not wanted */
    size_t ninputs;
};
void key_begin(struct key *k, const char *what);
void key_bytes(struct key *k, const void *data, size_t len);
void key_text(struct key *k, const char *text); /* NULL differs from "" */
void key_number(struct key *k, uint64_t number);
void key_digest(struct key *k, const struct wh_digest *d);
void key_list(struct key *k, char *const *list);
void key_end(struct key *k, struct wh_digest *out);

/* ---- explain.c: why a step was not cached ---- */
struct source;
struct stage;
struct node;
/* Remembers a named input of a step ("file src/a.c", "variable PATH") by a short hash of its value; adds
 * nothing to the key. */
void key_input(struct key *k, const char *what, const char *name, const void *value, size_t len);
void key_file_inputs(struct key *k, const struct source *s);
/* The JSON that a record keeps; owned by the caller. */
char *explain_meta(const struct build *b, const struct stage *s, const struct wh_df_step *step,
                   char *const *inputs);
/* The first input that differs from an earlier record's, as a few words; owned by the caller. */
char *explain_miss(const struct build *b, const struct stage *s, const struct node *node,
                   const char *meta_text, char *const *inputs);

/* ---- inroot.c: paths of a foreign tree ---- */
#define WH_MAX_LINKS 255
/* The canonical path (relative, no link in it, `..` clamped at the root; "" is the root). Components that
 * don't exist are taken as they are. follow: a link at the end is followed too. */
int inroot_resolve(int root, const char *path, bool follow, bool no_xdev, char **out, struct wh_error *err);
/* Opens a directory of a canonical path. */
int inroot_open_dir(int root, const char *path, bool no_xdev, struct wh_error *err);

/* ---- source.c: the files that a COPY, ADD or bind mount takes ---- */
struct entry {
    char *path; /* relative to its match; "" is the match itself */
    struct stat st;
    char *link;              /* symlink target */
    struct wh_digest digest; /* of a regular file's bytes, once hashed */
    bool hashed;
};
struct match {
    char *path; /* canonical, relative to the source's root */
    char *name; /* last component as the user wrote or the wildcard found it */
    bool dir;
    size_t first, count; /* its entries; a directory's first entry is itself */
};
struct source {
    int root; /* borrowed */
    bool no_xdev;
    bool foreign; /* a context: opened with the rights of the job */
    bool whole;   /* from a stage or image: owners and attributes count, stamps mean nothing */
    const struct wh_ignore *ignore;  /* of the context; NULL: none */
    const struct wh_ignore *exclude; /* --exclude, relative to each match; NULL: none */
    struct match *matches;
    size_t nmatches;
    struct entry *entries;
    size_t nentries;
};
void source_clear(struct source *s);
/* The names in an open folder, sorted; adds to *out. */
int folder_names(int dirfd, char ***out, struct wh_error *err);

/* rights.c: between these a thread opens files with the rights of the job, if s is foreign. Nothing of the
 * store may be opened meanwhile. */
void source_enter(const struct source *s);
void source_leave(const struct source *s);
/* A file of the source to read, by its canonical path. */
int source_open(const struct source *s, const char *path, struct wh_error *err);
/* Adds what pattern names. A missing literal is WH_E_NOT_FOUND with BuildKit's sentence. */
int source_collect(struct source *s, const char *pattern, struct wh_error *err);
/* The same for COPY --parents: paths are kept from the root, or from a pivot `/./` in the pattern, on; ** is
 * any depth. */
int source_collect_parents(struct source *s, const char *pattern, struct wh_error *err);
/* Hashes regular files that are not yet, by stamps that the store remembers where it can. */
int source_hash(struct build *b, struct source *s, struct wh_error *err);
/* The content key of all matches: names, modes, links, digests. */
void source_key(const struct source *s, struct key *k);

/* ---- copy.c: writes sources into a root file system ---- */
struct copy {
    int root;         /* the merged root */
    const char *dest; /* absolute; a trailing "/" means a directory */
    bool own_owner;   /* keep the sources' owners (from a stage), unless chown */
    bool chown;
    uid_t uid;
    gid_t gid;
    const struct wh_df_chmod *chmod;
    bool unpack; /* ADD: archives are unpacked */
    bool xattrs; /* kept between stages, not from the context */
    /* The source may change while it is read: digests of what was written replace the entries'. Archives are
     * copied to this place first, so that what is hashed is what is unpacked. */
    bool rehash;
    struct copied *copied; /* copied.h: what is written is told to it; NULL: nobody wants to know */
    struct hasher *hasher; /* or NULL */
    const char *scratch;
    const bool *cancel;
};
/* Which attributes a COPY between stages keeps. */
#define WH_MAX_XATTRS 65536 /* bytes of an attribute, and of their names */
bool copy_keeps_xattr(const char *name);
int copy_source(struct copy *c, struct source *s, struct wh_error *err);
/* A heredoc as a file. */
int copy_content(struct copy *c, const char *name, const char *content, size_t len, struct wh_error *err);
/* mkdir -p with 0755 and the owner; sets *created. */
int copy_make_dirs(int root, const char *path, uid_t uid, gid_t gid, int mode, bool *created,
                   struct wh_error *err);

/* ---- state.c: a stack of layers ---- */
struct layer {
    int64_t id; /* the tree; 0: not unpacked */
    bool has_diffid;
    struct wh_digest diffid;
    struct wh_oci_image *image;    /* base layers: where to get it; borrowed */
    struct wh_oci_image *imported; /* an imported cache that has it; borrowed */
    size_t nth;                    /* its place in image or imported */
    const char *source; /* a named context that a stage stands on, borrowed from the request; NULL: none */
    int64_t created;    /* ns; 0 for a base's */
};
struct state {
    struct layer *layers; /* base first */
    size_t n;
    struct wh_digest identity; /* of the stack, by content where it is known */
};
void state_clear(struct state *s);
void state_copy(struct state *to, const struct state *from);
void state_from_image(struct state *s, struct wh_oci_image *image);
void state_push(struct state *s, const struct layer *layer);
/* All trees are there afterwards; ids newest first. */
int state_trees(struct build *b, struct state *s, int64_t **ids, struct wh_error *err);

/* ---- stage.c ---- */
enum node_state { NODE_MISS, NODE_HIT };
struct node { /* a step that makes a layer */
    const struct wh_df_step *step;
    struct wh_digest key; /* definition key */
    /* The step, or one that it stands on or takes files from, is a RUN: the definition does not say what
     * comes out, so its record obeys the scopes of refs. */
    bool by_ref;
    struct wh_digest files; /* of the context, as the definition key has them; zero without any */
    enum node_state state;
    struct layer layer;
    bool found_late; /* a miss by definition that its content answered */
};
struct stage {
    struct build *build;
    size_t index;
    struct wh_oci_image *image; /* base image; borrowed from the build's table */
    struct layer folder;        /* base that is a folder or repository, as a layer; id 0: none */
    struct wh_df_result *eval;
    struct node *nodes;
    size_t nnodes;
    struct wh_digest key; /* of the stage's last step */
    bool by_ref;          /* of all its steps so far: a RUN is among them or below */
    bool no_cache;
    /* Guarded by build.lock once threads run. */
    bool started, done, failed;
    struct state state; /* the finished stack */
    pthread_t thread;
};

struct image_entry {
    char *name; /* as the Dockerfile writes it, and the platform */
    struct wh_oci_image *image;
};

/* What lies at an address: see remote.h. */
struct remote {
    char *name; /* owned by the build's table */
    int64_t layer;
    struct wh_digest digest; /* of the file's bytes, or over commit and what was taken of it */
};

struct build {
    struct wh_builder_env *env;
    struct wh_build_request *request;
    struct report report;
    struct channel channel;
    struct wh_store *store;
    struct wh_scopes scopes;
    struct wh_registry *registry; /* made at the first need; guarded by lock */
    struct wh_oci *oci;
    struct wh_dockerfile *df;
    struct wh_df_check check;
    struct wh_df_options options;
    char **context_names;
    char *platform;
    struct wh_df_plan *plan;
    struct stage *stages;
    struct image_entry images[64];
    size_t nimages;
    struct remote remotes[64];
    size_t nremotes;
    struct wh_http_client *http; /* for remotes; made at the first need; guarded by lock */
    struct wh_ignore *ignores[WH_MAX_BUILD_CONTEXTS];
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a stage ended */
    bool failed; /* guarded by lock: the first error is kept, the others come from the cancellation */
    struct wh_error error;
    struct wh_df_range where;      /* of the error, line 0: none */
    struct imported *imported[16]; /* caches of cache-from; made before any thread, then only read */
    size_t nimported;
    struct attest {
        bool provenance, max, inline_only, reproducible, sbom;
        char *builder_id; /* owned; NULL: "" */
    } attest;
    int64_t began;          /* ns */
    struct output *outputs; /* as many as the request has */
    struct blob_job **jobs; /* layers on their way to blobs; guarded by lock */
    size_t njobs;
    unsigned steps, cached;
    cJSON *misses; /* {step, why}; guarded by lock */
    uint64_t uploaded;
    unsigned layers_uploaded;
};

/* SOURCE_DATE_EPOCH among the build's arguments, seconds as text that was checked; NULL: none. */
const char *build_epoch(const struct build *b);
/* NULL if the request has no such secret. */
const struct wh_build_secret *build_secret(const struct build *b, const char *id);

/* The oci object (and registry client) of the build. */
struct wh_oci *build_oci(struct build *b, struct wh_error *err);
/* Keeps the first error of the build and cancels what runs. Moves from. */
void build_fail(struct build *b, struct wh_error *from, const struct wh_df_range *where);

/* images.c: resolved once per name. */
int image_get(struct build *b, const char *ref, const char *platform, struct wh_oci_image **out,
              struct wh_error *err);
/* A named context or an image, as an image; NULL in *out if the name is a directory or repository (then
 * *context is set). */
int named_get(struct build *b, const struct wh_df_source *from, const char *platform,
              struct wh_oci_image **out, const struct wh_build_context **context, struct wh_error *err);

/* stage.c: evaluates the needed stages, makes definition keys, asks the store. */
int stages_prepare(struct build *b, struct wh_error *err);
/* schedule.c: runs what is missing; b->stages[target].state is complete afterwards. */
int stages_run(struct build *b, struct wh_error *err);

/* step.c: keys and execution of one step. parent: the key so far. Sets the node's key and files. */
int step_definition_key(struct build *b, struct stage *s, struct node *node, const struct wh_digest *parent,
                        struct wh_error *err);
/* 1: the store has it (in *out); 0: not. */
int step_lookup(struct build *b, bool by_ref, const struct wh_digest *key, struct layer *out,
                struct wh_error *err);
int step_execute(struct build *b, struct stage *s, struct node *node, struct state *state,
                 struct wh_error *err);
/* The layer (leased) that this instruction made when it ran last; 0: none that is still there. */
int64_t step_previous_layer(struct build *b, const struct stage *s, const struct wh_df_step *step);

/* from.c: where a COPY or a mount takes files from, opened. */
struct from {
    int root;
    bool no_xdev, context;
    const struct wh_ignore *ignore;
    struct wh_rootfs *view; /* owned; a mounted view of a stage or image */
    struct wh_tree *empty;  /* owned: what a view of no layers shows */
};
int from_open(struct build *b, const struct wh_df_source *from, const char *platform, struct from *out,
              struct wh_error *err);
/* A context that is a git repository: its tree, fetched if need be. */
int context_remote(struct build *b, const struct wh_build_context *context, struct remote *out,
                   struct wh_error *err);
/* All of a context (a folder as its ignore file shows it, or a repository) as a layer, and its key. */
int context_layer(struct build *b, const struct wh_build_context *context, struct layer *out,
                  struct wh_digest *key, struct wh_error *err);
/* A read-only view of one tree. */
int from_open_tree(struct build *b, int64_t layer, struct from *out, struct wh_error *err);
/* The stack of layers that it is (out zeroed by the caller, who clears it); for a folder: *context, and no
 * layer. */
int from_state(struct build *b, const struct wh_df_source *from, const char *platform, struct state *out,
               const struct wh_build_context **context, struct wh_error *err);
int from_close(struct from *f, struct wh_error *err);
/* Adds what identifies the origin: a stage's key (definition) or its stack (content), an image's layers.
 * Context: nothing, its content is what counts. definition: no stage has run yet. */
int from_key(struct build *b, const struct wh_df_source *from, const char *platform, bool definition,
             struct key *k, struct wh_error *err);
bool from_is_context(struct build *b, const struct wh_df_source *from);

/* run.c: RUN. */
int run_key(struct build *b, struct stage *s, const struct wh_df_step *step, bool definition, struct key *k,
            struct wh_error *err);
int run_execute(struct build *b, struct stage *s, const struct wh_df_step *step, struct state *state,
                uint64_t vertex, struct layer *out, struct wh_error *err);

/* add.c: COPY, ADD, WORKDIR. files: what the context's files were at the time of the key, and what was copied
 * indeed, as digests over names, modes and bytes; zero if the step takes none. A job may change them between.
 */
int add_key(struct build *b, struct stage *s, const struct wh_df_step *step, bool definition, struct key *k,
            struct wh_digest *files, struct wh_error *err);
int add_execute(struct build *b, struct stage *s, const struct wh_df_step *step, struct state *state,
                uint64_t vertex, struct layer *out, struct wh_digest *files, struct wh_error *err);

/* call.c: requests that only read: check, outline, targets. The text, and the exit code that buildx gives, go
 * into the result. status: how the preparation went. */
bool call_known(const char *call);
int call_answer(struct build *b, cJSON *result, int status, struct wh_error *err);

/* export.c */
int build_export(struct build *b, cJSON *result, struct wh_error *err);

#endif
