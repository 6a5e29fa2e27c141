/* RUN: its key, its mounts, its container, its layer (builder.md §1.3, §3, §4). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "build/solve.h"

#include "wherry/base/fs.h"
#include "wherry/base/secret.h"
#include "wherry/container/run.h"
#include "wherry/store/mount.h"

#define WH_MAX_RUN_HOSTS 256
#define WH_MAX_ULIMITS 64

/* ---- key ---- */

/* Bind mounts of the context count by the content of what they show. */
static int bind_fields(struct build *b, const char *platform, const struct wh_df_mount *m, bool definition,
                       struct key *k, struct wh_error *err)
{
    if (from_key(b, &m->from, platform, definition, k, err) < 0)
        return -1;
    if (!from_is_context(b, &m->from))
        return 0;
    struct from from;
    if (from_open(b, &m->from, platform, &from, err) < 0)
        return -1;
    struct source source = {
        .root = from.root, .no_xdev = from.no_xdev, .foreign = true, .ignore = from.ignore};
    int status = source_collect(&source, m->source ? m->source : "", err);
    if (status == 0)
        status = source_hash(b, &source, err);
    if (status == 0) {
        source_key(&source, k);
        key_file_inputs(k, &source);
    } else {
        wh_wrap(err, "failed to compute cache key: failed to calculate checksum of ref context");
    }
    source_clear(&source);
    return status;
}

static int mount_fields(struct build *b, const char *platform, const struct wh_df_mount *m, bool definition,
                        struct key *k, struct wh_error *err)
{
    key_number(k, m->type);
    key_text(k, m->target);
    key_text(k, m->source);
    key_number(k, m->read_only);
    key_number(k, m->size);
    if (m->type == WH_DF_MOUNT_SECRET || m->type == WH_DF_MOUNT_SSH) {
        key_text(k, m->id);
        key_text(k, m->env);
        key_number(k, m->mode);
        key_number(k, m->uid);
        key_number(k, m->gid);
    }
    if (m->type == WH_DF_MOUNT_BIND || (m->type == WH_DF_MOUNT_CACHE && m->from_given))
        return bind_fields(b, platform, m, definition, k, err);
    return 0;
}

static const char *network_of(const struct build *b, const struct wh_df_step *step)
{
    const char *network = step->network ? step->network : b->request->network;
    return network && strcmp(network, "default") != 0 ? network : "default";
}

/* name:address or name=address, whichever sign comes first: an address may have colons. */
static bool split_host(const char *text, struct wh_view *name, struct wh_view *address)
{
    size_t at = strcspn(text, ":=");
    return wh_view_split(wh_view_of(text), text[at] == '=' ? '=' : ':', name, address);
}

static void env_inputs(const struct wh_df_step *step, struct key *k)
{
    for (char **e = step->env; k->inputs && e && *e; e++) {
        wh_autofree char *name = wh_strndup(*e, strcspn(*e, "="));
        key_input(k, "variable", name, *e, strlen(*e));
    }
}

int run_key(struct build *b, struct stage *s, const struct wh_df_step *step, bool definition, struct key *k,
            struct wh_error *err)
{
    key_list(k, step->argv);
    key_text(k, step->script.name);
    key_text(k, step->script.content);
    key_list(k, step->env);
    key_text(k, step->user);
    key_text(k, step->cwd);
    env_inputs(step, k);
    key_input(k, "the user", "", step->user ? step->user : "", step->user ? strlen(step->user) : 0);
    key_input(k, "the working folder", "", step->cwd, strlen(step->cwd));
    key_text(k, network_of(b, step));
    key_text(k, step->security);
    key_list(k, b->request->ulimits);
    for (char **host = b->request->add_hosts; host && *host; host++) { /* names count, addresses don't */
        struct wh_view name, address;
        split_host(*host, &name, &address);
        key_bytes(k, name.data, name.len);
    }
    key_number(k, step->nmounts);
    for (size_t i = 0; i < step->nmounts; i++)
        if (mount_fields(b, b->plan->stages[s->index].platform, &step->mounts[i], definition, k, err) < 0)
            return -1;
    return 0;
}

/* ---- mounts ---- */

/* What one --mount holds open while the RUN runs. */
struct held {
    struct from from;
    bool from_open;
    struct wh_rootfs writable; /* a view whose writes are discarded */
    struct wh_tree *scratch;
    struct wh_cache_mount *cache;
    int fd;
};

struct mounts {
    struct build *b;
    struct stage *s;
    struct wh_run_mount list[WH_MAX_RUN_MOUNTS];
    struct held held[WH_MAX_RUN_MOUNTS];
    size_t n;
    char **env;   /* the step's, with secrets as variables */
    char *script; /* where a heredoc with #! lies for its RUN */
};

static int mount_secret(struct mounts *ms, const struct wh_df_mount *m, struct wh_run_mount *out, bool *skip,
                        struct wh_error *err)
{
    const struct wh_build_secret *secret = build_secret(ms->b, m->id);
    *skip = !secret || !m->target;
    if (!secret)
        return m->required ? wh_fail(err, WH_E_NOT_FOUND, "secret %s: not found", m->id) : 0;
    if (m->env)
        wh_env_set(&ms->env, m->env, secret->value);
    *out = (struct wh_run_mount){.type = WH_RUN_SECRET,
                                 .target = m->target,
                                 .source_fd = -1,
                                 .content = secret->value,
                                 .content_len = secret->len,
                                 .mode = m->mode,
                                 .uid = m->uid,
                                 .gid = m->gid};
    return 0;
}

static bool canceled(void *arg)
{
    return channel_canceled(arg);
}

/* A cache is another one where it begins with other files, or with another mode or owner, as in BuildKit. */
static int cache_name(struct mounts *ms, const struct wh_df_mount *m, char **out, struct wh_error *err)
{
    if (!m->from_given) {
        *out = m->has_mode || m->has_uid || m->has_gid
                   ? wh_printf("%s#%o:%u:%u", m->id, m->mode, m->uid, m->gid)
                   : wh_strdup(m->id);
        return 0;
    }
    struct key k;
    struct wh_digest digest;
    char text[WH_DIGEST_TEXT];
    key_begin(&k, "cache");
    key_text(&k, m->source);
    int status = bind_fields(ms->b, ms->b->plan->stages[ms->s->index].platform, m, false, &k, err);
    key_end(&k, &digest);
    *out = status == 0 ? wh_printf("%s#%s", m->id, wh_digest_text(&digest, text)) : NULL;
    return status;
}

/* What a new cache begins with. */
static int seed_cache(struct mounts *ms, const struct wh_df_mount *m, int root, struct wh_error *err)
{
    struct build *b = ms->b;
    struct from from;
    if (from_open(b, &m->from, b->plan->stages[ms->s->index].platform, &from, err) < 0)
        return -1;
    struct source source = {.root = from.root,
                            .no_xdev = from.no_xdev,
                            .foreign = from.context,
                            .whole = !from.context,
                            .ignore = from.ignore};
    struct copy c = {.root = root,
                     .dest = "/",
                     .own_owner = !from.context,
                     .xattrs = !from.context,
                     .cancel = &b->channel.cancel};
    int status = source_collect(&source, m->source ? m->source : "", err);
    if (status == 0)
        status = copy_source(&c, &source, err);
    source_clear(&source);
    if (from_close(&from, status == 0 ? err : NULL) < 0)
        status = -1;
    return status < 0 ? wh_wrap(err, "--mount=type=cache source") : 0;
}

static int mount_cache(struct mounts *ms, const struct wh_df_mount *m, struct held *held,
                       struct wh_run_mount *out, struct wh_error *err)
{
    static const enum wh_sharing sharing[] = {WH_SHARING_SHARED, WH_SHARING_PRIVATE, WH_SHARING_LOCKED};
    struct build *b = ms->b;
    wh_autofree char *name = NULL;
    if (cache_name(ms, m, &name, err) < 0)
        return -1;
    held->cache = wh_cache_mount_acquire(b->store, (const char *const *)b->scopes.refs, b->scopes.nrefs, name,
                                         sharing[m->sharing], ms->s->no_cache, canceled, &b->channel, err);
    if (!held->cache)
        return -1;
    held->fd = open(wh_cache_mount_path(held->cache), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (held->fd < 0)
        return wh_fail_errno(err, "open cache mount %s", m->id);
    bool fresh = wh_cache_mount_new(held->cache);
    if (fresh && m->from_given && seed_cache(ms, m, held->fd, err) < 0)
        return -1;
    if (fresh && !m->from_given &&
        (fchown(held->fd, m->uid, m->gid) < 0 || fchmod(held->fd, m->mode ? m->mode : 0755) < 0))
        return wh_fail_errno(err, "set owner and mode of cache mount %s", m->id);
    *out = (struct wh_run_mount){
        .type = WH_RUN_CACHE, .target = m->target, .readonly = m->read_only, .source_fd = held->fd};
    return 0;
}

/* The context's files are copied into a scratch tree: so the RUN sees what the ignore file lets through,
 * owned by root, and nothing that changes meanwhile. */
static int copy_context(struct mounts *ms, const struct wh_df_mount *m, struct held *held,
                        struct wh_error *err)
{
    struct build *b = ms->b;
    held->scratch = wh_tree_begin(b->store, err);
    if (!held->scratch)
        return -1;
    const struct from *from = &held->from;
    struct source source = {
        .root = from->root, .no_xdev = from->no_xdev, .foreign = true, .ignore = from->ignore};
    struct copy c = {.root = wh_tree_fd(held->scratch), .dest = "/", .cancel = &b->channel.cancel};
    int status = source_collect(&source, m->source ? m->source : "", err);
    bool dir = source.nmatches > 0 && source.matches[0].dir;
    wh_autofree char *name = source.nmatches > 0 ? wh_strdup(source.matches[0].name) : NULL;
    if (status == 0)
        status = copy_source(&c, &source, err);
    source_clear(&source);
    if (status < 0)
        return -1;
    held->fd = wh_open_in_root(c.root, dir ? "" : name, O_PATH | O_NOFOLLOW, 0, true, err);
    return held->fd < 0 ? -1 : 0;
}

/* Writes to a view go to a scratch tree that is dropped. */
static int writable_view(struct mounts *ms, const struct wh_df_mount *m, struct held *held,
                         struct wh_error *err)
{
    struct build *b = ms->b;
    wh_autofree int64_t *ids = NULL;
    struct state state = {0};
    const struct wh_build_context *context;
    int status = from_state(b, &m->from, b->plan->stages[ms->s->index].platform, &state, &context, err);
    if (status == 0)
        status = state_trees(b, &state, &ids, err);
    size_t n = state.n;
    state_clear(&state);
    held->scratch = status == 0 ? wh_tree_begin(b->store, err) : NULL;
    if (!held->scratch)
        return -1;
    struct wh_rootfs_options options = {.layers_fd = wh_layer_layers_fd(b->store),
                                        .layers = ids,
                                        .nlayers = n,
                                        .upper = wh_tree_path(held->scratch),
                                        .work = wh_tree_work(held->scratch)};
    return wh_rootfs_mount(&options, &held->writable, err);
}

/* A stage's, image's or repository's files. */
static int view_of(struct mounts *ms, const struct wh_df_mount *m, struct held *held, struct wh_error *err)
{
    int root = held->from.root;
    if (!m->read_only) {
        if (writable_view(ms, m, held, err) < 0)
            return -1;
        root = held->writable.fd;
    }
    wh_autofree char *path = NULL;
    if (inroot_resolve(root, m->source ? m->source : "", true, false, &path, err) < 0)
        return -1;
    held->fd = wh_open_in_root(root, path, O_PATH | O_NOFOLLOW, 0, false, err);
    return held->fd < 0 ? wh_wrap(err, "--mount=type=bind source") : 0;
}

static int mount_bind(struct mounts *ms, const struct wh_df_mount *m, struct held *held,
                      struct wh_run_mount *out, struct wh_error *err)
{
    if (from_open(ms->b, &m->from, ms->b->plan->stages[ms->s->index].platform, &held->from, err) < 0)
        return -1;
    held->from_open = true;
    int status = held->from.context ? copy_context(ms, m, held, err) : view_of(ms, m, held, err);
    if (status < 0)
        return -1;
    *out = (struct wh_run_mount){
        .type = WH_RUN_BIND, .target = m->target, .readonly = m->read_only, .source_fd = held->fd};
    return 0;
}

static int mount_one(struct mounts *ms, const struct wh_df_mount *m, struct wh_error *err)
{
    if (ms->n == WH_MAX_RUN_MOUNTS)
        return wh_fail(err, WH_E_LIMIT, "more than %d mounts", WH_MAX_RUN_MOUNTS);
    struct wh_run_mount *out = &ms->list[ms->n];
    struct held *held = &ms->held[ms->n];
    *held = (struct held){.fd = -1, .writable = WH_ROOTFS_NONE};
    ms->n++;
    bool skip = false;
    int status = 0;
    switch (m->type) {
    case WH_DF_MOUNT_BIND:
        status = mount_bind(ms, m, held, out, err);
        break;
    case WH_DF_MOUNT_CACHE:
        status = mount_cache(ms, m, held, out, err);
        break;
    case WH_DF_MOUNT_TMPFS:
        *out = (struct wh_run_mount){
            .type = WH_RUN_TMPFS, .target = m->target, .source_fd = -1, .size = m->size};
        break;
    case WH_DF_MOUNT_SECRET:
        status = mount_secret(ms, m, out, &skip, err);
        break;
    case WH_DF_MOUNT_SSH:
        skip = !m->required;
        status = m->required
                     ? wh_fail(err, WH_E_NOT_FOUND, "no SSH key \"%s\" forwarded from the client", m->id)
                     : 0;
        break;
    }
    if (skip)
        ms->n--;
    return status;
}

static int mounts_open(struct mounts *ms, const struct wh_df_step *step, struct wh_error *err)
{
    for (size_t i = 0; i < step->nmounts; i++)
        if (mount_one(ms, &step->mounts[i], err) < 0)
            return -1;
    if (!step->script.name)
        return 0;
    if (ms->n == WH_MAX_RUN_MOUNTS)
        return wh_fail(err, WH_E_LIMIT, "more than %d mounts", WH_MAX_RUN_MOUNTS);
    ms->held[ms->n] = (struct held){.fd = -1, .writable = WH_ROOTFS_NONE};
    ms->script = wh_printf("/dev/pipes/%s", step->script.name);
    ms->list[ms->n++] = (struct wh_run_mount){.type = WH_RUN_FILE,
                                              .target = ms->script,
                                              .source_fd = -1,
                                              .content = step->script.content,
                                              .content_len = strlen(step->script.content),
                                              .mode = 0755};
    return 0;
}

static int mounts_close(struct mounts *ms, struct wh_error *err)
{
    int status = 0;
    for (size_t i = ms->n; i-- > 0;) {
        struct held *h = &ms->held[i];
        if (h->fd >= 0)
            close(h->fd);
        if (wh_rootfs_finish(&h->writable, status == 0 ? err : NULL) < 0)
            status = -1;
        wh_tree_abort(h->scratch);
        wh_cache_mount_release(h->cache);
        if (h->from_open && from_close(&h->from, status == 0 ? err : NULL) < 0)
            status = -1;
    }
    wh_strv_free(ms->env);
    free(ms->script);
    return status;
}

/* ---- the container ---- */

static int parse_hosts(const struct build *b, struct wh_run_host *hosts, char ***texts, size_t *n,
                       struct wh_error *err)
{
    *n = 0;
    for (char **host = b->request->add_hosts; host && *host; host++) {
        struct wh_view name, address;
        if (!split_host(*host, &name, &address))
            return wh_fail(err, WH_E_ARGUMENT, "--add-host %s: must be name:address", *host);
        if (*n == WH_MAX_RUN_HOSTS)
            return wh_fail(err, WH_E_LIMIT, "more than %d added hosts", WH_MAX_RUN_HOSTS);
        char *name_text = wh_view_dup(name), *address_text = wh_view_dup(address);
        wh_strv_take(texts, name_text);
        wh_strv_take(texts, address_text);
        hosts[(*n)++] = (struct wh_run_host){name_text, address_text};
    }
    return 0;
}

static bool parse_limit(const char *text, uint64_t *out)
{
    if (strcmp(text, "-1") == 0 || strcmp(text, "unlimited") == 0) {
        *out = UINT64_MAX;
        return true;
    }
    return wh_parse_u64(text, UINT64_MAX, out);
}

static int parse_ulimits(const struct build *b, struct wh_run_ulimit *limits, char ***texts, size_t *n,
                         struct wh_error *err)
{
    *n = 0;
    for (char **limit = b->request->ulimits; limit && *limit; limit++) {
        struct wh_view name, values, soft, hard;
        if (*n == WH_MAX_ULIMITS || !wh_view_split(wh_view_of(*limit), '=', &name, &values))
            return wh_fail(err, WH_E_ARGUMENT, "--ulimit %s: must be name=soft[:hard]", *limit);
        bool both = wh_view_split(values, ':', &soft, &hard);
        wh_autofree char *soft_text = wh_view_dup(soft), *hard_text = wh_view_dup(both ? hard : soft);
        struct wh_run_ulimit *out = &limits[*n];
        if (!parse_limit(soft_text, &out->soft) || !parse_limit(hard_text, &out->hard))
            return wh_fail(err, WH_E_ARGUMENT, "--ulimit %s: `%s` is not a number", *limit, soft_text);
        char *name_text = wh_view_dup(name);
        wh_strv_take(texts, name_text);
        out->name = name_text;
        (*n)++;
    }
    return 0;
}

struct output {
    struct build *b;
    uint64_t vertex;
};

static void on_output(void *arg, int stream, const char *data, size_t len)
{
    struct output *o = arg;
    report_log(&o->b->report, o->vertex, stream, data, len);
}

/* A user or group that the image has not: the process is named, as for one that fails. */
static int name_process(const struct wh_run_spec *spec, struct wh_error *err)
{
    wh_autofree char *text = wh_run_failure_text(spec, &(struct wh_run_result){0});
    char *end = strstr(text, ": exit code: ");
    if (end)
        *end = '\0';
    return wh_wrap(err, "%s", text);
}

static int run_in(struct build *b, const struct wh_df_step *step, struct mounts *ms,
                  const struct wh_rootfs *root, uint64_t vertex, struct wh_error *err)
{
    struct wh_run_host hosts[WH_MAX_RUN_HOSTS];
    struct wh_run_ulimit ulimits[WH_MAX_ULIMITS];
    wh_autostrv char **texts = NULL;
    struct output output = {b, vertex};
    for (char **proxy = step->proxy; proxy && *proxy; proxy++)
        wh_strv_add(&ms->env, *proxy);
    struct wh_run_spec spec = {.argv = (const char *const *)step->argv,
                               .env = (const char *const *)ms->env,
                               .cwd = step->cwd,
                               .user = step->user,
                               .rootfs = root,
                               .mounts = ms->list,
                               .nmounts = ms->n,
                               .hosts = hosts,
                               .ulimits = ulimits,
                               .shm_size = b->request->shm_size,
                               .network = strcmp(network_of(b, step), "none") == 0 ? WH_RUN_NET_NONE
                                                                                   : WH_RUN_NET_HOST,
                               .on_output = on_output,
                               .arg = &output,
                               .cancel_fd = b->channel.cancel_event};
    if (parse_hosts(b, hosts, &texts, &spec.nhosts, err) < 0 ||
        parse_ulimits(b, ulimits, &texts, &spec.nulimits, err) < 0)
        return -1;
    struct wh_run_result result;
    if (wh_container_run(&spec, &result, err) < 0)
        return wh_starts_with(wh_error_text(err), "unable to find ") ? name_process(&spec, err) : -1;
    if (result.exit_code == 0)
        return 0;
    wh_autofree char *text = wh_run_failure_text(&spec, &result);
    return wh_fail(err, WH_E_FAILED, "%s", text);
}

int run_execute(struct build *b, struct stage *s, const struct wh_df_step *step, struct state *state,
                uint64_t vertex, struct layer *out, struct wh_error *err)
{
    wh_autofree int64_t *ids = NULL;
    if (state_trees(b, state, &ids, err) < 0)
        return -1;
    wh_autotree *tree = wh_tree_begin(b->store, err);
    if (!tree)
        return -1;
    struct wh_rootfs_options options = {.layers_fd = wh_layer_layers_fd(b->store),
                                        .layers = ids,
                                        .nlayers = state->n,
                                        .upper = wh_tree_path(tree),
                                        .work = wh_tree_work(tree)};
    struct wh_rootfs root = WH_ROOTFS_NONE;
    wh_autofree struct mounts *ms = wh_calloc(1, sizeof(*ms));
    ms->b = b;
    ms->s = s;
    ms->env = step->env ? wh_strv_dup(step->env) : NULL;
    int status = mounts_open(ms, step, err);
    if (status == 0)
        status = wh_rootfs_mount(&options, &root, err);
    if (status == 0)
        status = run_in(b, step, ms, &root, vertex, err);
    if (wh_rootfs_finish(&root, status == 0 ? err : NULL) < 0)
        status = -1;
    if (mounts_close(ms, status == 0 ? err : NULL) < 0)
        status = -1;
    if (status < 0)
        return -1;
    struct wh_layer_info info = {.size = -1};
    *out = (struct layer){.id = wh_tree_commit(wh_steal(&tree), &info, err)};
    return out->id > 0 ? 0 : -1;
}
