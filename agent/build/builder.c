/* The builder process: one request, one build, one result. */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "build/cache.h"
#include "build/engine.h"
#include "build/output.h"

#include "wherry/base/fs.h"
#include "wherry/base/log.h"
#include "wherry/net/http.h"

static int open_store(struct build *b, struct wh_error *err)
{
    struct wh_store_options options = {.dir = b->env->state, .foreground = true};
    b->store = wh_store_open(&options, err);
    if (!b->store)
        return wh_wrap(err, "store");
    const cJSON *scope = b->env->scope;
    wh_scopes_make(&b->scopes, wh_json_string(scope, "repository"), wh_json_string(scope, "ref"),
                   wh_json_string(scope, "baseRef"), wh_json_string(scope, "defaultRef"));
    const char *repository = wh_json_string(scope, "repository");
    wh_store_charge(b->store, repository ? repository : "");
    return 0;
}

static int read_dockerfile(int root, const char *name, struct wh_str *out, struct wh_error *err)
{
    wh_autofree char *path = NULL;
    if (inroot_resolve(root, name ? name : "Dockerfile", true, false, &path, err) < 0)
        return -1;
    wh_autoclose int fd = wh_open_in_root(root, path, O_RDONLY | O_NOFOLLOW, 0, false, NULL);
    if (fd < 0 && !name)
        fd = wh_open_in_root(root, "dockerfile", O_RDONLY | O_NOFOLLOW, 0, false, NULL);
    if (fd < 0)
        return wh_fail(err, WH_E_NOT_FOUND, "failed to read dockerfile: open %s: no such file or directory",
                       name ? name : "Dockerfile");
    return wh_read_fd(fd, WH_MAX_DOCKERFILE_BYTES, "Dockerfile", out, err);
}

/* Of a context that is fetched: the Dockerfile lies in it. */
static int read_remote(struct build *b, const struct wh_build_context *context, struct wh_str *out,
                       struct wh_error *err)
{
    struct remote remote;
    struct from from;
    const char *name = b->request->dockerfile_path;
    if (context_remote(b, context, &remote, err) < 0 || from_open_tree(b, remote.layer, &from, err) < 0)
        return -1;
    int status = read_dockerfile(from.root, name, out, err);
    if (from_close(&from, status == 0 ? err : NULL) < 0)
        status = -1;
    return status;
}

static int fetch_dockerfile(struct build *b, struct wh_error *err)
{
    for (size_t i = 0; i < b->request->ncontexts; i++) {
        const struct wh_build_context *c = &b->request->contexts[i];
        if (strcmp(c->name, "context") != 0 || !c->value)
            continue;
        wh_autostr text = {0};
        if (read_remote(b, c, &text, err) < 0)
            return -1;
        b->request->dockerfile_len = text.len;
        b->request->dockerfile = wh_str_steal(&text);
        return 0;
    }
    return wh_fail(err, WH_E_PROTOCOL, "build request: the Dockerfile's text is missing");
}

static int load_dockerfile(struct build *b, struct wh_error *err)
{
    const struct wh_build_request *r = b->request;
    if (!r->dockerfile && fetch_dockerfile(b, err) < 0)
        return -1;
    wh_autofree char *title = wh_printf("[internal] load build definition from %s", r->dockerfile_name);
    uint64_t vertex = report_start(&b->report, title, NULL);
    int status = wh_df_parse(r->dockerfile, r->dockerfile_len, r->dockerfile_name, &b->df, &b->where, err);
    report_end(&b->report, vertex, status, err);
    return status;
}

static int load_ignore_files(struct build *b, struct wh_error *err)
{
    uint64_t vertex = report_start(&b->report, "[internal] load .dockerignore", NULL);
    int status = 0;
    for (size_t i = 0; i < b->request->ncontexts && status == 0; i++) {
        const struct wh_build_context *c = &b->request->contexts[i];
        if (c->ignore)
            status = wh_ignore_parse(c->ignore, strlen(c->ignore),
                                     c->ignore_name ? c->ignore_name : ".dockerignore", &b->ignores[i], err);
    }
    report_end(&b->report, vertex, status, err);
    return status;
}

static int choose_platform(struct build *b, struct wh_error *err)
{
    struct wh_platform host, wanted;
    char text[100];
    wh_platform_host(&host);
    if (b->request->platform) {
        if (wh_df_platform_check(b->request->platform, err) < 0 ||
            wh_platform_parse(b->request->platform, &wanted, err) < 0)
            return -1;
        if (wh_platform_rank(&host, &wanted) < 0)
            return wh_fail(err, WH_E_UNSUPPORTED, "platform %s is not supported yet on this machine (%s)",
                           b->request->platform, wh_platform_text(&host, text));
    }
    b->platform = wh_strdup(wh_platform_text(&host, text));
    return 0;
}

static int make_plan(struct build *b, struct wh_error *err)
{
    if (choose_platform(b, err) < 0)
        return -1;
    for (size_t i = 0; i < b->request->ncontexts; i++)
        if (strcmp(b->request->contexts[i].name, "context") != 0)
            wh_strv_add(&b->context_names, b->request->contexts[i].name);
    b->options = (struct wh_df_options){.target = b->request->target,
                                        .build_args = b->request->build_args,
                                        .build_platform = b->platform,
                                        .contexts = b->context_names,
                                        .labels = b->request->labels};
    return wh_df_plan_new(b->df, &b->options, &b->plan, &b->where, err);
}

/* A COPY or ADD of what the ignore file leaves out finds nothing. Exceptions (!) make that hard to say. */
static void warn_ignored(struct build *b, const struct wh_df_result *eval, const struct wh_ignore *ignore)
{
    for (size_t i = 0; i < eval->nsteps; i++) {
        const struct wh_df_step *step = &eval->steps[i];
        for (size_t k = 0; k < step->nsources && step->from.kind == WH_DF_SOURCE_CONTEXT; k++) {
            const struct wh_df_copy_source *source = &step->sources[k];
            if (source->kind != WH_DF_ADD_PATH || !wh_ignore_excludes(ignore, source->path))
                continue;
            wh_autofree char *clean = wh_ignore_clean(source->path);
            wh_df_warn(b->df, "CopyIgnoredFile", step->range,
                       "Attempting to %s file \"%s\" that is excluded by .dockerignore",
                       step->kind == WH_DF_ADD ? "Add" : "Copy", clean);
        }
    }
}

/* What reading, the stage graph and the evaluation of the needed stages found. */
static void warn(struct build *b)
{
    for (size_t i = 0; i < b->df->nstages; i++) {
        const struct wh_df_result *eval = b->stages ? b->stages[i].eval : NULL;
        for (size_t k = 0; eval && k < eval->nwarnings; k++)
            wh_df_warn(b->df, eval->warnings[k].rule, eval->warnings[k].range, "%s",
                       eval->warnings[k].message);
        if (eval && b->ignores[0])
            warn_ignored(b, eval, b->ignores[0]);
    }
    wh_df_lint_settle(b->df, &b->check);
    for (size_t i = 0; i < b->df->nwarnings; i++) {
        wh_autofree char *text = wh_df_warning_text(&b->df->warnings[i]);
        report_warning(&b->report, 0, text);
    }
}

/* The directive's options, or those of the argument in its place. */
static int read_check(struct build *b, struct wh_error *err)
{
    const char *given =
        b->request->build_args ? wh_env_get(b->request->build_args, "BUILDKIT_DOCKERFILE_CHECK") : NULL;
    if (wh_df_check_parse(given ? given : b->df->check, &b->check, err) < 0)
        return wh_wrap(err, "failed to parse check options");
    return 0;
}

const char *build_epoch(const struct build *b)
{
    return b->request->build_args ? wh_env_get(b->request->build_args, "SOURCE_DATE_EPOCH") : NULL;
}

static int check_epoch(const struct build *b, struct wh_error *err)
{
    const char *epoch = build_epoch(b);
    int64_t seconds;
    return !epoch || wh_parse_i64(epoch, 0, INT64_MAX / 1000000000, &seconds)
               ? 0
               : wh_fail(err, WH_E_ARGUMENT, "invalid SOURCE_DATE_EPOCH: %s", epoch);
}

/* Up to where it is known what there is to do; nothing has run. */
static int prepare(struct build *b, struct wh_error *err)
{
    if (check_epoch(b, err) < 0 || open_store(b, err) < 0 || load_dockerfile(b, err) < 0 ||
        read_check(b, err) < 0 || load_ignore_files(b, err) < 0)
        return -1;
    wh_df_lint(b->df);
    if (make_plan(b, err) < 0)
        return -1;
    if (wh_streq(b->request->call, "targets"))
        return 0;
    if (b->request->call)
        return stages_prepare(b, err);
    if (outputs_prepare(b, err) < 0 || cache_export_check(b, err) < 0)
        return -1;
    cache_import(b);
    return stages_prepare(b, err);
}

static int solve(struct build *b, cJSON *result, struct wh_error *err)
{
    const char *call = b->request->call;
    if (call && !call_known(call))
        return wh_fail(err, WH_E_ARGUMENT, "unsupported request frontend.%s: unsupported request frontend.%s",
                       call, call);
    int status = prepare(b, err);
    if (b->df && (status == 0 || wh_streq(call, "check")))
        warn(b);
    if (call)
        return call_answer(b, result, status, err);
    if (status < 0 || wh_df_lint_verdict(b->df, &b->check, err) < 0)
        return -1;
    status = stages_run(b, err);
    if (blobs_finish(b, status == 0 ? err : NULL) < 0)
        status = -1;
    return status == 0 && build_export(b, result, err) == 0 ? cache_export(b, err) : -1;
}

static void add_failure(struct build *b, cJSON *result, const struct wh_error *err)
{
    wh_json_add_string(result, "error", wh_error_text(err));
    if (b->where.line <= 0 || !b->request->dockerfile)
        return;
    wh_autofree char *excerpt = wh_df_excerpt(b->request->dockerfile, b->request->dockerfile_len,
                                              b->request->dockerfile_name, b->where, NULL);
    wh_json_add_string(result, "excerpt", excerpt);
}

static void add_warnings(const struct build *b, cJSON *result)
{
    cJSON *list = cJSON_AddArrayToObject(result, "warnings");
    for (size_t i = 0; b->df && i < b->df->nwarnings && i < WH_MAX_BUILD_WARNINGS; i++) {
        const struct wh_df_warning *w = &b->df->warnings[i];
        wh_autofree char *url = wh_df_rule_url(w->rule);
        cJSON *item = cJSON_CreateObject();
        wh_json_add_string(item, "rule", w->rule);
        wh_json_add_string(item, "message", w->message);
        wh_json_add_string(item, "url", url);
        wh_json_add_int(item, "line", w->range.line);
        wh_json_add_int(item, "endLine", w->range.end_line);
        cJSON_AddItemToArray(list, item);
    }
}

static void build_clear(struct build *b)
{
    for (size_t i = 0; b->stages && i < b->df->nstages; i++) {
        state_clear(&b->stages[i].state);
        wh_df_result_free(b->stages[i].eval);
        free(b->stages[i].nodes);
    }
    free(b->stages);
    outputs_clear(b);
    wh_df_plan_free(b->plan);
    wh_df_free(b->df);
    for (size_t i = 0; i < b->nimages; i++) {
        free(b->images[i].name);
        wh_oci_image_free(b->images[i].image);
    }
    for (size_t i = 0; i < b->nremotes; i++)
        free(b->remotes[i].name);
    wh_http_client_free(b->http);
    for (size_t i = 0; i < WH_COUNT(b->ignores); i++)
        wh_ignore_free(b->ignores[i]);
    cache_import_clear(b);
    wh_oci_free(b->oci);
    wh_registry_free(b->registry);
    wh_scopes_clear(&b->scopes);
    wh_strv_free(b->context_names);
    free(b->platform);
    wh_df_check_clear(&b->check);
    wh_error_clear(&b->error);
}

/* The result goes out when the store is closed: what it says was made is durable then. */
static int run_build(struct build *b, cJSON **kept, struct wh_error *err)
{
    wh_autojson *result = cJSON_CreateObject();
    wh_json_add_string(result, "type", "result");
    int status = solve(b, result, err);
    cJSON_AddBoolToObject(result, "ok", status == 0);
    if (status < 0)
        add_failure(b, result, err);
    add_warnings(b, result);
    if (b->misses)
        cJSON_AddItemToObject(result, "misses", wh_steal(&b->misses));
    build_clear(b);
    wh_store_close(b->store);
    wh_json_add_int(result, "steps", b->steps);
    wh_json_add_int(result, "cached", b->cached);
    wh_json_add_int(result, "uploaded", (int64_t)b->uploaded);
    wh_json_add_int(result, "layersUploaded", b->layers_uploaded);
    report_send(&b->report, result);
    *kept = wh_steal(&result);
    return status;
}

int builder_serve(struct wh_builder_env *env, int channel, struct wh_frame *frame, cJSON **result)
{
    wh_autoerror err = {0};
    wh_autorequest *request = NULL;
    *result = NULL;
    if (wh_build_request_decode(frame, &request, &err) < 0) {
        wh_log_error("builder: %s", wh_error_text(&err));
        return -1;
    }
    wh_frame_clear(frame);
    wh_autofree struct build *b = wh_calloc(1, sizeof(*b));
    b->env = env;
    b->request = request;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->changed, NULL);
    report_init(&b->report, channel);
    if (channel_start(&b->channel, &b->report, channel, env->launcher, &err) < 0) {
        wh_log_error("builder: %s", wh_error_text(&err));
        return -1;
    }
    int status = run_build(b, result, &err);
    channel_stop(&b->channel);
    return status;
}

int wh_builder_main(struct wh_builder_env *env)
{
    signal(SIGPIPE, SIG_IGN); /* outputs and the channel: a peer that is gone is an error, not an end */
    wh_autoerror err = {0};
    wh_autoframe frame = {0};
    wh_autojson *result = NULL;
    int got = wh_frame_recv(env->channel, &frame, &err);
    if (got == 0)
        return 1; /* the client changed its mind */
    if (got < 0) {
        wh_log_error("builder: %s", wh_error_text(&err));
        return 1;
    }
    if (wh_streq(wh_json_string(frame.json, "type"), "engine"))
        return engine_main(env, &frame);
    return builder_serve(env, env->channel, &frame, &result) == 0 ? 0 : 1;
}
