/* Where a COPY or a mount takes its files from: the context, another stage, an image. */
#include <fcntl.h>
#include <unistd.h>

#include "build/solve.h"

#include "wherry/container/rootfs.h"

bool from_is_context(struct build *b, const struct wh_df_source *from)
{
    if (from->kind == WH_DF_SOURCE_CONTEXT)
        return true;
    if (from->kind != WH_DF_SOURCE_NAMED)
        return false;
    for (size_t i = 0; i < b->request->ncontexts; i++)
        if (strcmp(b->request->contexts[i].name, from->name) == 0)
            return b->request->contexts[i].value == NULL;
    return false;
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

int from_open(struct build *b, const struct wh_df_source *from, const char *platform, struct from *out,
              struct wh_error *err)
{
    *out = (struct from){.root = -1};
    struct state state = {0};
    if (from->kind == WH_DF_SOURCE_STAGE) {
        state_copy(&state, &b->stages[from->stage].state);
    } else if (from->kind != WH_DF_SOURCE_SCRATCH) {
        struct wh_oci_image *image;
        const struct wh_build_context *context;
        if (named_get(b, from, platform, &image, &context, err) < 0)
            return -1;
        if (context)
            return open_context(b, context, out);
        state_from_image(&state, image);
    }
    int status = open_state(b, &state, out, err);
    state_clear(&state);
    return status;
}

int from_close(struct from *f, struct wh_error *err)
{
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
    return 0;
}
