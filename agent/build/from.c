/* Where a COPY or a mount takes its files from: the context, another stage, an image. */
#include <fcntl.h>
#include <unistd.h>

#include "build/remote.h"

#include "wherry/base/clock.h"
#include "wherry/container/rootfs.h"

bool from_is_context(struct build *b, const struct wh_df_source *from)
{
    if (from->kind != WH_DF_SOURCE_NAMED && from->kind != WH_DF_SOURCE_CONTEXT)
        return false;
    const char *name = from->kind == WH_DF_SOURCE_CONTEXT ? "context" : from->name;
    for (size_t i = 0; i < b->request->ncontexts; i++)
        if (strcmp(b->request->contexts[i].name, name) == 0)
            return b->request->contexts[i].value == NULL;
    return false;
}

int context_remote(struct build *b, const struct wh_build_context *context, struct remote *out,
                   struct wh_error *err)
{
    const char *keep =
        b->request->build_args ? wh_env_get(b->request->build_args, "BUILDKIT_CONTEXT_KEEP_GIT_DIR") : NULL;
    struct wh_df_copy_source source = {.kind = WH_DF_ADD_GIT, .path = context->value};
    if (remote_get(b, &source, NULL, wh_streq(keep, "1") || wh_streq(keep, "true"), out, err) < 0)
        return wh_wrap(err, "build context %s", context->name);
    return 0;
}

/* ---- a context as a layer: what FROM a folder stands on ---- */

static int copy_folder(struct build *b, struct source *source, struct wh_tree *tree, struct wh_error *err)
{
    struct copy c = {.root = wh_tree_fd(tree), .dest = "/", .rehash = true, .cancel = &b->channel.cancel};
    return copy_source(&c, source, err);
}

static int folder_layer(struct build *b, struct source *source, struct layer *out, struct wh_digest *key,
                        struct wh_error *err)
{
    struct key k;
    if (source_collect(source, "", err) < 0 || source_hash(b, source, err) < 0)
        return -1;
    key_begin(&k, "folder");
    source_key(source, &k);
    key_end(&k, key);
    wh_autorecord known = {0};
    const char *const *scopes = (const char *const *)&b->scopes.repository;
    int found = wh_record_find(b->store, scopes, 1, key, &known, err);
    if (found < 0 || (found == 1 && known.layer != 0)) {
        *out = (struct layer){.id = known.layer,
                              .has_diffid = known.has_diffid,
                              .diffid = known.diffid,
                              .created = known.created};
        return found < 0 ? -1 : 0;
    }
    wh_autotree *tree = wh_tree_begin(b->store, err);
    struct wh_digest copied;
    if (!tree || copy_folder(b, source, tree, err) < 0)
        return -1;
    key_begin(&k, "folder");
    source_key(source, &k);
    key_end(&k, &copied);
    *key = copied; /* files may have changed since they were hashed: what was copied counts */
    struct wh_layer_info info = {.size = -1};
    *out = (struct layer){.id = wh_tree_commit(wh_steal(&tree), &info, err), .created = wh_now_ns()};
    struct wh_record r = {
        .key = copied, .scope = b->scopes.repository, .layer = out->id, .created = out->created};
    return out->id > 0 ? wh_record_put(b->store, &r, err) : -1;
}

int context_layer(struct build *b, const struct wh_build_context *context, struct layer *out,
                  struct wh_digest *key, struct wh_error *err)
{
    if (context->value) {
        struct remote remote;
        if (context_remote(b, context, &remote, err) < 0)
            return -1;
        *out = (struct layer){.id = remote.layer, .created = wh_now_ns(), .source = context->name};
        *key = remote.digest;
        return 0;
    }
    struct source source = {.root = context->dirfd,
                            .no_xdev = true,
                            .foreign = true,
                            .ignore = b->ignores[context - b->request->contexts]};
    int status = folder_layer(b, &source, out, key, err);
    source_clear(&source);
    out->source = context->name;
    return status;
}

static int open_context(struct build *b, const struct wh_build_context *context, struct from *out)
{
    size_t index = (size_t)(context - b->request->contexts);
    *out =
        (struct from){.root = context->dirfd, .no_xdev = true, .context = true, .ignore = b->ignores[index]};
    return 0;
}

/* A read-only view of a stack. */
static int open_state(struct build *b, struct state *state, struct from *out, struct wh_error *err)
{
    wh_autofree int64_t *ids = NULL;
    if (state->n == 0) {
        out->empty = wh_tree_begin(b->store, err);
        out->root = out->empty ? wh_tree_fd(out->empty) : -1;
        return out->empty ? 0 : -1;
    }
    if (state_trees(b, state, &ids, err) < 0)
        return -1;
    struct wh_rootfs_options options = {
        .layers_fd = wh_layer_layers_fd(b->store), .layers = ids, .nlayers = state->n};
    struct wh_rootfs *view = wh_calloc(1, sizeof(*view));
    *view = WH_ROOTFS_NONE;
    if (wh_rootfs_mount(&options, view, err) < 0) {
        wh_rootfs_finish(view, NULL);
        free(view);
        return -1;
    }
    *out = (struct from){.root = view->fd, .view = view};
    return 0;
}

int from_open_tree(struct build *b, int64_t layer, struct from *out, struct wh_error *err)
{
    struct state state = {0};
    state_push(&state, &(struct layer){.id = layer});
    int status = open_state(b, &state, out, err);
    state_clear(&state);
    return status;
}

int from_state(struct build *b, const struct wh_df_source *from, const char *platform, struct state *out,
               const struct wh_build_context **context, struct wh_error *err)
{
    struct wh_oci_image *image;
    struct remote remote;
    *context = NULL;
    if (from->kind == WH_DF_SOURCE_STAGE)
        state_copy(out, &b->stages[from->stage].state);
    if (from->kind == WH_DF_SOURCE_STAGE || from->kind == WH_DF_SOURCE_SCRATCH)
        return 0;
    if (named_get(b, from, platform, &image, context, err) < 0)
        return -1;
    if (image) {
        state_from_image(out, image);
    } else if ((*context)->value) {
        if (context_remote(b, *context, &remote, err) < 0)
            return -1;
        state_push(out, &(struct layer){.id = remote.layer});
        *context = NULL;
    }
    return 0;
}

int from_open(struct build *b, const struct wh_df_source *from, const char *platform, struct from *out,
              struct wh_error *err)
{
    *out = (struct from){.root = -1};
    struct state state = {0};
    const struct wh_build_context *context;
    int status = from_state(b, from, platform, &state, &context, err);
    if (status == 0)
        status = context ? open_context(b, context, out) : open_state(b, &state, out, err);
    state_clear(&state);
    return status;
}

int from_close(struct from *f, struct wh_error *err)
{
    wh_tree_abort(f->empty);
    f->empty = NULL;
    if (!f->view)
        return 0;
    int status = wh_rootfs_finish(f->view, err);
    free(f->view);
    f->view = NULL;
    return status;
}

int from_key(struct build *b, const struct wh_df_source *from, const char *platform, bool definition,
             struct key *k, struct wh_error *err)
{
    key_number(k, from->kind);
    if (from->kind == WH_DF_SOURCE_STAGE) {
        const struct stage *s = &b->stages[from->stage];
        key_digest(k, definition ? &s->key : &s->state.identity);
        return 0;
    }
    if (from->kind == WH_DF_SOURCE_SCRATCH || from_is_context(b, from))
        return 0;
    struct wh_oci_image *image;
    const struct wh_build_context *context;
    if (named_get(b, from, platform, &image, &context, err) < 0)
        return -1;
    for (size_t i = 0; image && i < image->nlayers; i++)
        key_digest(k, &image->layers[i].diff_id);
    struct remote remote;
    if (!context)
        return 0;
    if (context_remote(b, context, &remote, err) < 0)
        return -1;
    key_digest(k, &remote.digest);
    return 0;
}
