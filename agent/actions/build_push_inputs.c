/* Inputs of build-push (actions.md §4): each is read as the action reads it, and what the native engine can't
 * do yet is named. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actions/build_push.h"
#include "actions/buildx.h"
#include "actions/lists.h"
#include "wherry/base/digest.h"
#include "wherry/base/fs.h"

/* Text inputs that must be empty for now. */
static const char *const unsupported[] = {"cgroup-parent", "ssh"};

static int refuse(const char *name, const char *why, struct wh_error *err)
{
    return wh_fail(err, WH_E_UNSUPPORTED, "Input '%s' is not supported yet by wherry%s%s", name,
                   why[0] ? ": " : "", why);
}

static int check_unsupported(struct wh_action_run *run, struct wh_error *err)
{
    for (size_t i = 0; i < WH_COUNT(unsupported); i++)
        if (wh_action_input(run, unsupported[i])[0])
            return refuse(unsupported[i], "", err);
    return 0;
}

/* ---- attestations (actions.md §4.2) ---- */

static bool has_own_id(const char *text)
{
    return strstr(text, "builder-id=") != NULL;
}

/* How the service shows this run. */
static char *builder_id(void)
{
    const char *server = getenv("GITHUB_SERVER_URL"), *repository = getenv("GITHUB_REPOSITORY"),
               *id = getenv("GITHUB_RUN_ID"), *attempt = getenv("GITHUB_RUN_ATTEMPT");
    return server && repository && id && attempt
               ? wh_printf(",builder-id=%s/%s/actions/runs/%s/attempts/%s", server, repository, id, attempt)
               : wh_strdup("");
}

static void add_attests(struct wh_action_run *run, struct wh_build_request *r)
{
    wh_autofree char *id = builder_id();
    wh_autostrv char **items = wh_input_list(wh_action_input(run, "attests"), WH_LIST_LINE);
    const char *provenance = wh_action_input(run, "provenance"), *sbom = wh_action_input(run, "sbom");
    bool told = provenance[0];
    for (char **item = items; item && *item; item++) {
        bool of_provenance = strstr(*item, "type=provenance") != NULL;
        told = told || of_provenance;
        wh_strv_take(&r->attests, wh_printf("%s%s", *item, of_provenance && !has_own_id(*item) ? id : ""));
    }
    if (provenance[0]) {
        wh_autofree char *text = wh_attest_text("provenance", provenance);
        wh_strv_take(&r->attests, wh_printf("%s%s", text, has_own_id(text) ? "" : id));
    }
    if (sbom[0])
        wh_strv_take(&r->attests, wh_attest_text("sbom", sbom));
    if (!told) /* the action's own default would make one: the difference must not be silent */
        wh_action_print(
            "provenance: none is made unless the input asks for it; the image is a plain manifest");
}

/* ---- caches ---- */

static const char *cache_type(const char *item, char *buf, size_t size)
{
    const char *at = strstr(item, "type=");
    if (!at)
        return strchr(item, '=') ? NULL : "registry"; /* a bare reference */
    size_t len = strcspn(at + 5, ",");
    if (len >= size)
        return NULL;
    memcpy(buf, at + 5, len);
    buf[len] = '\0';
    return buf;
}

/* gha is answered by the local store, as are the caches that only make a build faster; registry and inline
 * are made and read. */
static int check_caches(struct wh_action_run *run, const char *input, bool *gha, char ***out,
                        struct wh_error *err)
{
    wh_autostrv char **items = wh_input_list(wh_action_input(run, input), WH_LIST_LINE);
    for (char **item = items; item && *item; item++) {
        char buf[64];
        const char *type = cache_type(*item, buf, sizeof(buf));
        if (!type)
            return wh_fail(err, WH_E_ARGUMENT, "Input '%s': type required form> \"%s\"", input, *item);
        if (strcmp(type, "gha") == 0)
            *gha = true;
        else if (strcmp(type, "registry") == 0 || strcmp(type, "inline") == 0)
            wh_strv_add(out, *item);
        else if (strcmp(input, "cache-to") == 0)
            return wh_fail(err, WH_E_UNSUPPORTED,
                           "Input 'cache-to': type=%s is not supported yet by wherry (registry, inline, and "
                           "gha by the local "
                           "store, are)",
                           type);
        else
            wh_action_notice("cache-from type=%s is not read: wherry answers from its local store", type);
    }
    return 0;
}

static int read_caches(struct wh_action_run *run, struct wh_build_request *r, struct wh_error *err)
{
    bool gha = false;
    if (check_caches(run, "cache-from", &gha, &r->cache_from, err) < 0 ||
        check_caches(run, "cache-to", &gha, &r->cache_to, err) < 0)
        return -1;
    if (gha)
        wh_action_print(
            "type=gha: the local layer store already has all that this cache could bring; nothing is moved");
    return 0;
}

/* ---- lists ---- */

/* NAME without a value takes it from the environment, and is dropped if that has none. */
static void add_build_args(struct wh_action_run *run, struct wh_build_request *r)
{
    wh_autostrv char **items = wh_input_list(wh_action_input(run, "build-args"), WH_LIST_LINE);
    for (char **item = items; item && *item; item++) {
        if (strchr(*item, '=')) {
            wh_strv_add(&r->build_args, *item);
            continue;
        }
        const char *value = getenv(*item);
        if (value)
            wh_strv_take(&r->build_args, wh_printf("%s=%s", *item, value));
    }
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    if (epoch && *epoch && (!r->build_args || !wh_env_get(r->build_args, "SOURCE_DATE_EPOCH")))
        wh_strv_take(&r->build_args, wh_printf("SOURCE_DATE_EPOCH=%s", epoch));
}

static void add_pairs(struct wh_action_run *run, const char *input, char ***out)
{
    wh_autostrv char **items = wh_input_list(wh_action_input(run, input), WH_LIST_LINE);
    for (char **item = items; item && *item; item++)
        wh_strv_take(out, wh_printf(strchr(*item, '=') ? "%s" : "%s=", *item));
}

static int add_annotations(struct wh_action_run *run, struct wh_build_request *r, struct wh_error *err)
{
    wh_autostrv char **items = wh_input_list(wh_action_input(run, "annotations"), WH_LIST_LINE);
    for (char **item = items; item && *item; item++) {
        if (!strchr(*item, '='))
            return wh_fail(err, WH_E_ARGUMENT, "Input 'annotations': `%s` must be key=value", *item);
        wh_strv_add(&r->annotations, *item);
    }
    return 0;
}

static int add_contexts(struct wh_action_run *run, struct wh_build_request *r, struct wh_error *err)
{
    wh_autostrv char **items = wh_input_list(wh_action_input(run, "build-contexts"), WH_LIST_LINE);
    for (char **item = items; item && *item; item++) {
        struct wh_view name, value;
        if (!wh_view_split(wh_view_of(*item), '=', &name, &value))
            return wh_fail(err, WH_E_ARGUMENT, "Input 'build-contexts': `%s` must be name=value", *item);
        wh_autofree char *name_text = wh_view_dup(name), *value_text = wh_view_dup(value);
        wh_autoclose int fd = -1;
        wh_autofree char *git = wh_build_git_context(value_text);
        bool elsewhere = git || wh_starts_with(value_text, "docker-image://");
        if (!elsewhere && strstr(value_text, "://"))
            return wh_fail(
                err, WH_E_UNSUPPORTED,
                "Input 'build-contexts': `%s`: a folder, docker-image:// or a git address is supported by "
                "wherry",
                *item);
        if (!elsewhere && (fd = open(value_text, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
            return wh_fail_errno(err, "Input 'build-contexts': %s", value_text);
        if (!wh_build_request_add_context(r, name_text, wh_steal_fd(&fd),
                                          git         ? git
                                          : elsewhere ? value_text
                                                      : NULL))
            return wh_fail(err, WH_E_LIMIT, "Input 'build-contexts': more than %d contexts",
                           WH_MAX_BUILD_CONTEXTS);
    }
    return 0;
}

static int add_allow(struct wh_action_run *run, struct wh_build_request *r, struct wh_error *err)
{
    r->allow = wh_input_list(wh_action_input(run, "allow"), WH_LIST_CSV);
    for (char **item = r->allow; item && *item; item++)
        if (strcmp(*item, "network.host") != 0 && strcmp(*item, "security.insecure") != 0 &&
            strcmp(*item, "device") != 0 && !wh_starts_with(*item, "device="))
            return wh_fail(err, WH_E_ARGUMENT, "Input 'allow': invalid entitlement: %s", *item);
    return 0;
}

/* ---- secrets: their values are masked before anything could print them ---- */

static int add_secret_values(struct wh_action_run *run, struct wh_build_request *r, struct wh_error *err)
{
    wh_autostrv char **items = wh_input_list(wh_action_input(run, "secrets"), WH_LIST_LINE);
    for (char **item = items; item && *item; item++) {
        struct wh_view key, value;
        wh_view_split(wh_view_of(*item), '=', &key, &value);
        key = wh_view_trim(key);
        if (key.len == 0 || value.len == 0) {
            wh_action_warning("an item of input 'secrets' is not a valid secret: it must be key=value");
            continue;
        }
        wh_autofree char *id = wh_view_dup(key), *text = wh_view_dup(value);
        wh_action_mask(text);
        if (wh_build_request_add_secret(r, id, value.data, value.len, err) < 0)
            return -1;
    }
    return 0;
}

static int add_secret_envs(struct wh_action_run *run, struct wh_build_request *r, struct wh_error *err)
{
    wh_autostrv char **items = wh_input_list(wh_action_input(run, "secret-envs"), WH_LIST_CSV);
    for (char **item = items; item && *item; item++) {
        struct wh_view key, name;
        wh_view_split(wh_view_of(*item), '=', &key, &name);
        wh_autofree char *id = wh_view_dup(key), *variable = wh_view_dup(name);
        const char *value = variable[0] ? getenv(variable) : NULL;
        if (!value) {
            wh_action_warning("secret env %s not found", variable);
            continue;
        }
        wh_action_mask(value);
        if (wh_build_request_add_secret(r, id, value, strlen(value), err) < 0)
            return -1;
    }
    return 0;
}

static int add_secret_files(struct wh_action_run *run, struct wh_build_request *r, struct wh_error *err)
{
    wh_autostrv char **items = wh_input_list(wh_action_input(run, "secret-files"), WH_LIST_LINE);
    for (char **item = items; item && *item; item++) {
        struct wh_view key, path;
        wh_view_split(wh_view_of(*item), '=', &key, &path);
        wh_autofree char *id = wh_view_dup(key), *file = wh_view_dup(path);
        wh_autostr text = {0};
        wh_autoerror mine = {0};
        if (wh_read_file(AT_FDCWD, file, WH_MAX_SECRET_BYTES, &text, &mine) < 0) {
            if (mine.code != WH_E_NOT_FOUND)
                return wh_error_move(err, &mine);
            wh_action_warning("secret file %s not found", file);
            continue;
        }
        if (wh_build_request_add_secret(r, id, wh_str_text(&text), text.len, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- context ---- */

/* What the action means without a context: the repository at the event's commit (actions.md §4.1). */
static char *default_context(struct wh_action_run *run)
{
    const char *server = getenv("GITHUB_SERVER_URL"), *repository = getenv("GITHUB_REPOSITORY");
    const char *ref = getenv("GITHUB_REF"), *sha = getenv("GITHUB_SHA");
    if (!server || !repository || !sha)
        return NULL;
    bool pull = ref && wh_starts_with(ref, "refs/pull/") &&
                !wh_action_version_at_least(wh_action_version(run), 7, 2, 0);
    const char *head = getenv("DOCKER_DEFAULT_GIT_CONTEXT_PR_HEAD_REF");
    wh_autofree char *of_pull = pull ? wh_strdup(ref) : NULL;
    if (pull && wh_streq(head, "true") && wh_ends_with(ref, "/merge"))
        memcpy(of_pull + strlen(of_pull) - 5, "head", 5);
    return wh_printf("%s/%s.git#%s", server, repository, pull ? of_pull : sha);
}

/* The job's token opens its own repository, unless the workflow brings another one. */
static int add_git_token(struct wh_action_run *run, struct wh_build_request *r, const char *address,
                         struct wh_error *err)
{
    const char *token = wh_action_input(run, "github-token"), *host = strstr(address, "://");
    for (size_t i = 0; i < r->nsecrets; i++)
        if (strcmp(r->secrets[i].id, "GIT_AUTH_TOKEN") == 0)
            return 0;
    if (!token[0] || !host)
        return 0;
    wh_autofree char *id = wh_printf("GIT_AUTH_TOKEN.%.*s", (int)strcspn(host + 3, "/:"), host + 3);
    wh_action_mask(token);
    return wh_build_request_add_secret(r, id, token, strlen(token), err);
}

static int load_context(struct wh_action_run *run, struct wh_build_request *r, struct wh_error *err)
{
    const char *context = wh_action_input(run, "context"), *file = wh_action_input(run, "file");
    const char *folder = strstr(context, "{{defaultContext}}");
    if (context[0] == '\0' || folder) {
        wh_autofree char *address = default_context(run);
        if (!address)
            return wh_fail(
                err, WH_E_ARGUMENT,
                "Input 'context': without a path it is the repository of the event, and this job names "
                "none; say `context: .`");
        wh_autofree char *all =
            wh_printf("%s%s", address, folder ? folder + strlen("{{defaultContext}}") : "");
        return add_git_token(run, r, all, err) < 0
                   ? -1
                   : wh_build_request_remote(r, all, file[0] ? file : NULL, err);
    }
    wh_autofree char *git = wh_build_git_context(context);
    if (git)
        return wh_build_request_remote(r, git, file[0] ? file : NULL, err);
    if (strstr(context, "://"))
        return refuse("context", "a folder or a git address (https://....git) is", err);
    return wh_build_request_load(r, context, file[0] ? file : NULL, err);
}

/* check, outline and targets read the Dockerfile and build nothing. */
static int add_call(struct wh_action_run *run, struct wh_build_request *r, struct wh_error *err)
{
    const char *call = wh_action_input(run, "call");
    size_t name = strcspn(call, ",");
    if (call[0] == '\0' || strcmp(call, "build") == 0)
        return 0;
    if (call[name] && strcmp(call + name, ",format=json") != 0 && strcmp(call + name, ",format=text") != 0)
        return wh_fail(err, WH_E_ARGUMENT, "Input 'call': `%s`: only format=json or format=text may follow",
                       call);
    r->call = wh_strndup(call, name);
    r->call_format = strcmp(call + name, ",format=json") == 0 ? wh_strdup("json") : NULL;
    return 0;
}

/* ---- outputs ---- */

static int open_dest(struct wh_push_plan *plan, struct wh_build_output *o, const char *dest,
                     struct wh_error *err)
{
    bool folder = strcmp(o->type, "local") == 0;
    for (char **attr = o->attrs; attr && *attr; attr++)
        folder = folder || strcmp(*attr, "tar=false") == 0;
    if (!folder) {
        o->fd = open(dest, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        return o->fd < 0 ? wh_fail_errno(err, "Input 'outputs': create %s", dest) : 0;
    }
    int fds[2];
    if (wh_mkdir_p(dest, 0755, err) < 0)
        return wh_wrap(err, "Input 'outputs'");
    if (pipe2(fds, O_CLOEXEC) < 0)
        return wh_fail_errno(err, "make a pipe");
    o->fd = fds[1];
    plan->dests[plan->ndests++] = (struct wh_push_dest){fds[0], wh_strdup(dest)};
    return 0;
}

static int add_output(struct wh_push_plan *plan, const char *text, struct wh_error *err)
{
    wh_autofree char *dest = NULL;
    if (wh_build_request_parse_output(plan->request, text, &dest, err) < 0)
        return wh_wrap(err, "Input 'outputs'");
    struct wh_build_output *o = &plan->request->outputs[plan->request->noutputs - 1];
    plan->has_output = true;
    if (strcmp(o->type, "image") == 0 || strcmp(o->type, "cacheonly") == 0)
        return 0;
    if (!dest)
        return wh_fail(err, WH_E_ARGUMENT, "Input 'outputs': `%s` needs a dest", text);
    return open_dest(plan, o, dest, err);
}

static bool is_image(const struct wh_build_output *o)
{
    return strcmp(o->type, "image") == 0;
}

/* push sets push on image outputs, or adds one. */
static int apply_push(struct wh_push_plan *plan, struct wh_error *err)
{
    bool any = false;
    for (size_t i = 0; i < plan->request->noutputs; i++) {
        if (is_image(&plan->request->outputs[i])) {
            wh_strv_add(&plan->request->outputs[i].attrs, "push=true");
            any = true;
        }
    }
    plan->has_output = true;
    return any ? 0 : add_output(plan, "type=registry", err);
}

/* There is no engine to load into: the image becomes an archive that `docker load` and skopeo read. */
static int apply_load(struct wh_push_plan *plan, struct wh_error *err)
{
    const char *temp = getenv("RUNNER_TEMP");
    char guid[37];
    wh_autofree char *dir = wh_path_join(temp && *temp ? temp : "/tmp", "wherry-load");
    wh_autofree char *output = wh_printf("type=docker,dest=%s/%s.tar", dir, wh_guid(guid));
    if (wh_mkdir_p(dir, 0755, err) < 0)
        return -1;
    wh_action_notice("load: the image is written as a docker archive to %s", strstr(output, "dest=") + 5);
    return add_output(plan, output, err);
}

static int add_outputs(struct wh_action_run *run, struct wh_push_plan *plan, struct wh_error *err)
{
    bool push, load;
    if (wh_action_input_bool(run, "push", &push, err) < 0 ||
        wh_action_input_bool(run, "load", &load, err) < 0)
        return -1;
    wh_autostrv char **items = wh_input_list(wh_action_input(run, "outputs"), WH_LIST_RAW);
    for (char **item = items; item && *item; item++)
        if (add_output(plan, *item, err) < 0)
            return -1;
    if (push && wh_strv_len(plan->request->tags) == 0 && wh_strv_len(items) == 0)
        return wh_fail(err, WH_E_ARGUMENT, "tag is needed when pushing to registry");
    if (push && apply_push(plan, err) < 0)
        return -1;
    return load ? apply_load(plan, err) : 0;
}

/* ---- all ---- */

static int add_scalars(struct wh_action_run *run, struct wh_build_request *r, struct wh_error *err)
{
    const char *shm = wh_action_input(run, "shm-size"), *target = wh_action_input(run, "target");
    const char *network = wh_action_input(run, "network");
    if (wh_action_input_bool(run, "no-cache", &r->no_cache, err) < 0 ||
        wh_action_input_bool(run, "pull", &r->pull, err) < 0)
        return -1;
    if (shm[0] && !wh_parse_size(shm, &r->shm_size))
        return wh_fail(err, WH_E_ARGUMENT, "Input 'shm-size': `%s` is not a size (as 64m or 2g)", shm);
    if (network[0] && strcmp(network, "default") != 0 && strcmp(network, "host") != 0 &&
        strcmp(network, "none") != 0)
        return wh_fail(
            err, WH_E_ARGUMENT,
            "Input 'network': network mode \"%s\" not supported by the builder: default, host or none",
            network);
    r->target = target[0] ? wh_strdup(target) : NULL;
    r->network = network[0] ? wh_strdup(network) : NULL;
    wh_autostrv char **platforms = wh_input_list(wh_action_input(run, "platforms"), WH_LIST_CSV);
    if (wh_strv_len(platforms) > 1)
        return refuse("platforms", "one platform, this machine's, is", err);
    r->platform = platforms ? wh_strdup(platforms[0]) : NULL;
    return 0;
}

int wh_build_push_inputs(struct wh_action_run *run, struct wh_push_plan *plan, struct wh_error *err)
{
    *plan = (struct wh_push_plan){.request = wh_build_request_new()};
    struct wh_build_request *r = plan->request;
    r->credentials = true;
    r->tags = wh_input_list(wh_action_input(run, "tags"), WH_LIST_CSV);
    r->no_cache_filter = wh_input_list(wh_action_input(run, "no-cache-filters"), WH_LIST_CSV);
    r->add_hosts = wh_input_list(wh_action_input(run, "add-hosts"), WH_LIST_CSV);
    r->ulimits = wh_input_list(wh_action_input(run, "ulimit"), WH_LIST_LINE);
    add_build_args(run, r);
    add_pairs(run, "labels", &r->labels);
    if (check_unsupported(run, err) < 0 || add_call(run, r, err) < 0 || add_scalars(run, r, err) < 0 ||
        add_annotations(run, r, err) < 0 || add_allow(run, r, err) < 0 ||
        add_secret_values(run, r, err) < 0 || add_secret_envs(run, r, err) < 0 ||
        add_secret_files(run, r, err) < 0 || add_outputs(run, plan, err) < 0 ||
        load_context(run, r, err) < 0 || add_contexts(run, r, err) < 0)
        return -1;
    add_attests(run, r);
    return read_caches(run, r, err);
}

void wh_push_plan_clear(struct wh_push_plan *plan)
{
    wh_build_request_free(plan->request);
    for (size_t i = 0; i < plan->ndests; i++) {
        free(plan->dests[i].folder);
        if (plan->dests[i].pipe >= 0)
            close(plan->dests[i].pipe);
    }
    *plan = (struct wh_push_plan){0};
}
