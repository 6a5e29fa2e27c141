/* COPY, ADD and WORKDIR: their keys and their layers (builder.md §1.4, §1.6 WORKDIR, §3). */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "build/copied.h"
#include "build/remote.h"

#include "wherry/base/fs.h"
#include "wherry/container/rootfs.h"
#include "wherry/container/user.h"

static bool has_paths(const struct wh_df_step *step)
{
    for (size_t i = 0; i < step->nsources; i++)
        if (step->sources[i].kind == WH_DF_ADD_PATH)
            return true;
    return false;
}

static int missing_in_nothing(const char *path, struct wh_error *err)
{
    wh_error_clear(err);
    return wh_fail(err, WH_E_NOT_FOUND, "lstat %s%s: no such file or directory", path[0] == '/' ? "" : "/",
                   path);
}

/* What the files of a step are, from an opened origin. */
static int collect(const struct wh_df_step *step, const struct from *from, struct wh_ignore *exclude,
                   struct source *out, struct wh_error *err)
{
    *out = (struct source){.root = from->root,
                           .no_xdev = from->no_xdev,
                           .foreign = from->context,
                           .whole = !from->context,
                           .ignore = from->ignore,
                           .exclude = exclude};
    for (size_t i = 0; i < step->nsources; i++)
        if (step->sources[i].kind == WH_DF_ADD_PATH &&
            (step->instr->parents ? source_collect_parents : source_collect)(out, step->sources[i].path,
                                                                             err) < 0)
            return from->empty
                       ? missing_in_nothing(step->sources[i].path, err)
                       : wh_wrap(err, "failed to compute cache key: failed to calculate checksum of ref %s",
                                 from->context ? "context" : "stage");
    return 0;
}

static int exclude_of(const struct wh_df_step *step, struct wh_ignore **out, struct wh_error *err)
{
    *out = NULL;
    if (!step->instr->excludes || !step->instr->excludes[0])
        return 0;
    return wh_ignore_from_patterns(step->instr->excludes, "--exclude", out, err);
}

/* The fields that don't depend on where the files come from. */
static void add_fields(const struct wh_df_step *step, const char *epoch, struct key *k)
{
    key_number(k, step->kind);
    key_text(k, step->workdir);
    key_text(k, step->kind == WH_DF_WORKDIR ? step->user : NULL);
    key_text(k, step->dest);
    key_text(k, step->chown);
    key_text(k, step->chmod.given ? step->chmod.text : NULL);
    key_list(k, step->instr->excludes);
    key_number(k, step->instr->link);
    if (step->instr->parents)
        key_text(k, "parents");
    if (step->kind == WH_DF_WORKDIR && epoch)
        key_text(k, epoch);
    key_number(k, step->instr->unpack);
    key_number(k, step->nfiles);
    for (size_t i = 0; i < step->nfiles; i++) {
        key_text(k, step->files[i].name);
        key_text(k, step->files[i].content);
    }
}

static void digest_of(const struct source *source, struct wh_digest *out)
{
    struct key k;
    key_begin(&k, "files");
    source_key(source, &k);
    key_end(&k, out);
}

/* Files of the context count by content; those of a stage or image by what that stage or image is, and the
 * paths. */
static int source_fields(struct build *b, const char *platform, const struct wh_df_step *step,
                         bool definition, struct key *k, struct wh_digest *files, struct wh_error *err)
{
    if (definition && !from_is_context(b, &step->from)) {
        if (from_key(b, &step->from, platform, definition, k, err) < 0)
            return -1;
        for (size_t i = 0; i < step->nsources; i++)
            key_text(k, step->sources[i].path);
        return 0;
    }
    struct from from;
    struct source source = {0};
    struct wh_ignore *exclude;
    if (exclude_of(step, &exclude, err) < 0)
        return -1;
    int status = from_open(b, &step->from, platform, &from, err);
    if (status == 0)
        status = collect(step, &from, exclude, &source, err);
    if (status == 0)
        status = source_hash(b, &source, err);
    struct wh_digest all;
    if (status == 0) {
        digest_of(&source, &all);
        key_digest(k, &all);
        key_file_inputs(k, &source);
    }
    if (status == 0 && from.context)
        *files = all;
    source_clear(&source);
    wh_ignore_free(exclude);
    if (from_close(&from, status == 0 ? err : NULL) < 0)
        status = -1;
    return status;
}

/* Files and repositories by address count by what is there now. */
static int remote_fields(struct build *b, const struct wh_df_step *step, struct key *k, struct wh_error *err)
{
    for (size_t i = 0; i < step->nsources; i++) {
        const struct wh_df_copy_source *source = &step->sources[i];
        struct remote remote;
        if (source->kind == WH_DF_ADD_PATH)
            continue;
        if (remote_get(b, source, step->checksum, step->instr->keep_git_dir == WH_DF_TRUE, &remote, err) < 0)
            return -1;
        wh_autofree char *name = source->kind == WH_DF_ADD_URL ? remote_file_name(source->path) : NULL;
        key_text(k, name);
        key_digest(k, &remote.digest);
        key_input(k, "source", source->path, remote.digest.bytes, sizeof remote.digest.bytes);
    }
    return 0;
}

int add_key(struct build *b, struct stage *s, const struct wh_df_step *step, bool definition, struct key *k,
            struct wh_digest *files, struct wh_error *err)
{
    add_fields(step, build_epoch(b), k);
    if (remote_fields(b, step, k, err) < 0)
        return -1;
    if (!has_paths(step))
        return 0;
    return source_fields(b, b->plan->stages[s->index].platform, step, definition, k, files, err);
}

static void warn_owner(struct build *b, uint64_t vertex, const char *text)
{
    wh_autofree char *line = wh_printf("user or group of `%s` is not in the image: 0:0 is used", text);
    report_warning(&b->report, vertex, line);
}

static int resolve_owner(struct build *b, int root, bool empty, const char *text, uint64_t vertex, uid_t *uid,
                         gid_t *gid, struct wh_error *err)
{
    bool unknown = false;
    if (wh_run_owner_resolve(empty ? -1 : root, text, uid, gid, &unknown, err) < 0)
        return -1;
    if (unknown)
        warn_owner(b, vertex, text);
    return 0;
}

/* With a source date the folder bears it. */
static int stamp_folder(int root, const char *path, const char *epoch, struct wh_error *err)
{
    int64_t seconds = 0;
    wh_autoclose int fd = inroot_open_dir(root, path, false, err);
    if (fd < 0)
        return -1;
    wh_parse_i64(epoch, 0, INT64_MAX / 1000000000, &seconds);
    struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    return futimens(fd, times) < 0 ? wh_fail_errno(err, "set time of /%s", path) : 0;
}

static int make_workdir(struct build *b, const struct wh_df_step *step, int root, bool empty, uint64_t vertex,
                        struct wh_error *err)
{
    uid_t uid = 0;
    gid_t gid = 0;
    if (step->user && step->user[0] &&
        resolve_owner(b, root, empty && step->user[0] >= '0' && step->user[0] <= '9' ? false : empty,
                      step->user, vertex, &uid, &gid, err) < 0)
        return -1;
    wh_autofree char *path = NULL;
    bool created;
    if (inroot_resolve(root, step->workdir, true, false, &path, err) < 0)
        return -1;
    if (copy_make_dirs(root, path, uid, gid, -1, &created, err) < 0)
        return -1;
    return created && build_epoch(b) ? stamp_folder(root, path, build_epoch(b), err) : 0;
}

static int copy_paths(struct build *b, struct stage *s, const struct wh_df_step *step, struct copy *c,
                      struct wh_digest *files, struct wh_error *err)
{
    struct from from;
    struct source source = {0};
    struct wh_ignore *exclude;
    if (exclude_of(step, &exclude, err) < 0)
        return -1;
    int status = from_open(b, &step->from, b->plan->stages[s->index].platform, &from, err);
    if (status == 0) {
        status = collect(step, &from, exclude, &source, err);
        if (status == 0 && from.context)
            status = source_hash(b, &source, err);
        c->own_owner = c->xattrs = !from.context;
        c->rehash = from.context;
        if (status == 0)
            status = copy_source(c, &source, err);
        if (status == 0 && from.context)
            digest_of(&source, files);
        source_clear(&source);
        if (from_close(&from, status == 0 ? err : NULL) < 0)
            status = -1;
    }
    wh_ignore_free(exclude);
    return status;
}

static int copy_remote(struct build *b, const struct wh_df_step *step, const struct wh_df_copy_source *source,
                       struct copy *c, struct wh_error *err)
{
    struct remote remote;
    struct from from;
    struct wh_ignore *exclude;
    if (remote_get(b, source, step->checksum, step->instr->keep_git_dir == WH_DF_TRUE, &remote, err) < 0 ||
        exclude_of(step, &exclude, err) < 0)
        return -1;
    int status = from_open_tree(b, remote.layer, &from, err);
    if (status == 0) {
        bool file = source->kind == WH_DF_ADD_URL;
        wh_autofree char *name = file ? remote_file_name(source->path) : NULL;
        struct source files = {.root = from.root, .whole = true, .exclude = exclude};
        c->own_owner = c->xattrs = false;
        c->rehash = false;
        c->unpack = file && step->instr->unpack == WH_DF_TRUE;
        status = source_collect(&files, name ? name : "", err);
        if (status == 0)
            status = copy_source(c, &files, err);
        source_clear(&files);
        if (from_close(&from, status == 0 ? err : NULL) < 0)
            status = -1;
    }
    wh_ignore_free(exclude);
    return status;
}

static int copy_files(struct build *b, struct stage *s, const struct wh_df_step *step, struct copy *c,
                      struct wh_digest *files, struct wh_error *err)
{
    for (size_t i = 0; i < step->nfiles; i++)
        if (copy_content(c, step->files[i].name, step->files[i].content, strlen(step->files[i].content),
                         err) < 0)
            return -1;
    if (has_paths(step) && copy_paths(b, s, step, c, files, err) < 0)
        return -1;
    for (size_t i = 0; i < step->nsources; i++)
        if (step->sources[i].kind != WH_DF_ADD_PATH && copy_remote(b, step, &step->sources[i], c, err) < 0)
            return -1;
    return 0;
}

static int fill(struct build *b, struct stage *s, const struct wh_df_step *step, int root, bool empty,
                uint64_t vertex, struct copied *copied, struct wh_digest *files, struct wh_error *err)
{
    if (step->kind == WH_DF_WORKDIR)
        return make_workdir(b, step, root, empty, vertex, err);
    struct copy c = {.root = root,
                     .dest = step->dest,
                     .chown = step->chown != NULL,
                     .chmod = &step->chmod,
                     .unpack = step->kind == WH_DF_ADD && step->instr->unpack != WH_DF_FALSE,
                     .copied = copied,
                     .cancel = &b->channel.cancel};
    if (c.chown && resolve_owner(b, root, empty, step->chown, vertex, &c.uid, &c.gid, err) < 0)
        return -1;
    wh_autofree char *scratch = c.unpack ? wh_store_scratch(b->store, "archive", err) : NULL;
    if (c.unpack && !scratch)
        return -1;
    c.scratch = scratch;
    c.hasher = copied ? hasher_new() : NULL;
    int status = copy_files(b, s, step, &c, files, err);
    hasher_free(c.hasher);
    return status;
}

static int make_tree(struct build *b, struct stage *s, const struct wh_df_step *step,
                     const struct state *state, const int64_t *ids, uint64_t vertex, struct wh_tree *tree,
                     struct copied *copied, struct wh_digest *files, struct wh_error *err)
{
    /* --link: into an empty tree, whatever lies below. */
    bool alone = step->instr->link && !step->chmod.given;
    struct wh_rootfs_options options = {.layers_fd = wh_layer_layers_fd(b->store),
                                        .layers = ids,
                                        .nlayers = alone ? 0 : state->n,
                                        .upper = wh_tree_path(tree),
                                        .work = wh_tree_work(tree)};
    struct wh_rootfs root = WH_ROOTFS_NONE;
    int status = wh_rootfs_mount(&options, &root, err);
    if (status == 0)
        status = fill(b, s, step, root.fd, options.nlayers == 0, vertex, copied, files, err);
    if (wh_rootfs_finish(&root, status == 0 ? err : NULL) < 0)
        status = -1;
    return status == 0 && copied ? copied_finish(copied, wh_tree_fd(tree), err) : status;
}

int add_execute(struct build *b, struct stage *s, const struct wh_df_step *step, struct state *state,
                uint64_t vertex, struct layer *out, struct wh_digest *files, struct wh_error *err)
{
    wh_autofree int64_t *ids = NULL;
    if (state_trees(b, state, &ids, err) < 0)
        return -1;
    wh_autotree *tree = wh_tree_begin(b->store, err);
    if (!tree)
        return -1;
    bool from_context = step->kind == WH_DF_COPY && step->nsources > 0 && from_is_context(b, &step->from);
    struct copied *copied =
        from_context ? copied_new(b->store, s->no_cache ? 0 : step_previous_layer(b, s, step)) : NULL;
    int status = make_tree(b, s, step, state, ids, vertex, tree, copied, files, err);
    if (status == 0) {
        struct wh_layer_info info = {.size = -1};
        *out = (struct layer){.id = wh_tree_commit(wh_steal(&tree), &info, err)};
        status = out->id > 0 ? 0 : -1;
    }
    if (status == 0 && copied) /* without the list, the next layer only costs more */
        (void)copied_save(copied, out->id, NULL);
    copied_free(copied);
    return status;
}
