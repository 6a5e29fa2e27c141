/* docker/build-push-action v4 to v7 (actions.md §4) on the native builder. */
#include <pthread.h>
#include <unistd.h>

#include "actions/build_push.h"
#include "actions/list.h"
#include "wherry/base/fs.h"
#include "wherry/dockerfile/check.h"
#include "wherry/oci/layer.h"
#include "wherry/progress/render.h"

#include <fcntl.h>

static const struct wh_action_input inputs[] = {
    {.name = "add-hosts"},
    {.name = "allow"},
    {.name = "annotations", .min_major = 5},
    {.name = "attests"},
    {.name = "build-args"},
    {.name = "build-contexts"},
    {.name = "builder"},
    {.name = "cache-from"},
    {.name = "cache-to"},
    {.name = "call", .min_major = 6},
    {.name = "cgroup-parent"},
    {.name = "context"},
    {.name = "file"},
    {.name = "labels"},
    {.name = "load", .default_value = "false"},
    {.name = "network"},
    {.name = "no-cache", .default_value = "false"},
    {.name = "no-cache-filters"},
    {.name = "outputs"},
    {.name = "platforms"},
    {.name = "provenance"},
    {.name = "pull", .default_value = "false"},
    {.name = "push", .default_value = "false"},
    {.name = "sbom"},
    {.name = "secrets"},
    {.name = "secret-envs", .min_major = 5},
    {.name = "secret-files"},
    {.name = "shm-size"},
    {.name = "ssh"},
    {.name = "tags"},
    {.name = "target"},
    {.name = "ulimit"},
    {.name = "github-token", .default_value = "${{ github.token }}"},
};

static void on_event(void *data, const struct wh_progress_event *ev)
{
    wh_progress_feed(data, ev);
}

/* A folder output arrives as a tar stream, which this process unpacks with its own rights. */
struct unpacking {
    struct wh_push_dest *dest;
    struct wh_error error;
    int status;
    pthread_t thread;
};

static void *unpack(void *arg)
{
    struct unpacking *u = arg;
    wh_autoclose int dir = open(u->dest->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct wh_archive_options options = {.uid = geteuid(), .gid = getegid()};
    if (dir < 0)
        u->status = wh_fail_errno(&u->error, "open %s", u->dest->folder);
    else
        u->status = wh_archive_unpack_fd(u->dest->pipe, dir, &options, &u->error);
    char rest[4096]; /* padding behind the archive's end; after a failure the builder is told by the closed
                        pipe */
    while (u->status == 0 && read(u->dest->pipe, rest, sizeof(rest)) > 0)
        ;
    close(u->dest->pipe);
    u->dest->pipe = -1;
    return NULL;
}

/* The builder has the write ends once the request is sent: ours must go, so that the streams end. Runs the
 * client and the unpacking threads; both ends are looked at. */
static int talk(int channel, struct wh_push_plan *plan, const struct wh_build_client *client,
                struct wh_build_result *result, struct wh_error *err)
{
    struct unpacking unpackings[WH_MAX_BUILD_OUTPUTS] = {0};
    size_t started = 0;
    for (; started < plan->ndests; started++) {
        unpackings[started].dest = &plan->dests[started];
        if (pthread_create(&unpackings[started].thread, NULL, unpack, &unpackings[started]) != 0)
            break;
    }
    int status = started == plan->ndests ? wh_build_client_run(channel, plan->request, client, result, err)
                                         : wh_fail(err, WH_E_LIMIT, "no thread for an output");
    for (size_t i = 0; i < plan->request->noutputs; i++)
        if (plan->request->outputs[i].fd >= 0) {
            close(plan->request->outputs[i].fd);
            plan->request->outputs[i].fd = -1;
        }
    for (size_t i = 0; i < started; i++) {
        pthread_join(unpackings[i].thread, NULL);
        if (unpackings[i].status < 0 && status == 0 && result->ok)
            status = wh_error_move(err, &unpackings[i].error);
        wh_error_clear(&unpackings[i].error);
    }
    return status;
}

static int build(struct wh_action_run *run, struct wh_push_plan *plan, const char *builder,
                 struct wh_build_result *result, struct wh_error *err)
{
    wh_autoclose int channel = wh_action_build_channel(run, err);
    if (channel < 0)
        return -1;
    wh_autofree char *header =
        wh_printf("building with \"%s\" instance using docker-container driver", builder);
    struct wh_progress *progress = wh_progress_new(WH_STYLE_PLAIN, STDOUT_FILENO, header);
    struct wh_build_client client = {.data = progress, .event = on_event};
    int status = talk(channel, plan, &client, result, err);
    wh_progress_finish(progress, status == 0 && result->ok);
    wh_progress_free(progress);
    return status;
}

/* What check, outline or targets printed; findings of check fail the step with its first line. */
static int show_call(const struct wh_build_result *result, struct wh_error *err)
{
    wh_action_print("%s", result->output);
    if (result->exit_code == 0)
        return 0;
    return wh_fail(err, WH_E_FAILED, "buildx failed with: %.*s", (int)strcspn(result->output, "\n"),
                   result->output);
}

/* Cells of a table, with nothing that the summary's Markdown would take for its own. */
static void add_cell(struct wh_str *out, const char *text)
{
    for (const char *p = text ? text : ""; *p; p++)
        if (*p == '\n')
            wh_str_addc(out, ' ');
        else if (strchr("|`<>&*_\\[]", *p))
            wh_str_addf(out, "&#%d;", *p);
        else
            wh_str_addc(out, *p);
}

/* Which steps ran, and why the cache had no answer, in the job's summary. */
static void summarize(struct wh_action_run *run, const struct wh_build_result *result)
{
    const char *wanted = getenv("DOCKER_BUILD_SUMMARY");
    wh_autostr out = {0};
    wh_autoerror err = {0};
    const cJSON *item;
    if (!result->misses || wh_streq(wanted, "false"))
        return;
    wh_str_addf(&out, "### Build: %u of %u steps from the cache\n\n| step that ran | why |\n| --- | --- |\n",
                result->cached, result->steps);
    cJSON_ArrayForEach(item, result->misses)
    {
        wh_str_add(&out, "| ");
        add_cell(&out, wh_json_string(item, "step"));
        wh_str_add(&out, " | ");
        add_cell(&out, wh_json_string(item, "why"));
        wh_str_add(&out, " |\n");
    }
    wh_str_addc(&out, '\n');
    if (wh_action_add_summary(run, wh_str_text(&out), &err) < 0)
        wh_action_warning("job summary: %s", wh_error_text(&err));
}

static bool annotations_wanted(void)
{
    const char *text = getenv("DOCKER_BUILD_CHECKS_ANNOTATIONS");
    return !text || !*text || strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
}

/* The Dockerfile's path below the workspace; NULL if it lies elsewhere. */
static char *dockerfile_in_workspace(struct wh_action_run *run)
{
    const char *context = wh_action_input(run, "context"), *file = wh_action_input(run, "file");
    const char *workspace = getenv("GITHUB_WORKSPACE");
    bool git = context[0] == '\0' || strstr(context, "{{defaultContext}}") || strstr(context, "://");
    wh_autofree char *path = file[0] ? wh_strdup(file)
                             : git   ? wh_strdup("Dockerfile")
                                     : wh_path_join(context, "Dockerfile");
    const char *inside = path;
    if (path[0] == '/') {
        size_t n = workspace ? strlen(workspace) : 0;
        if (n == 0 || strncmp(path, workspace, n) != 0 || path[n] != '/')
            return NULL;
        inside = path + n + 1;
    }
    while (wh_starts_with(inside, "./"))
        inside += 2;
    return wh_strdup(inside);
}

/* Findings of lint rules, as annotations of the Dockerfile's lines (actions.md §4.5). */
static void annotate(struct wh_action_run *run, const struct wh_build_result *result)
{
    wh_autofree char *file =
        result->nwarnings > 0 && annotations_wanted() ? dockerfile_in_workspace(run) : NULL;
    if (!file)
        return;
    wh_autofree char *title = wh_printf("Generating GitHub annotations (%zu build check%s found)",
                                        result->nwarnings, result->nwarnings == 1 ? "" : "s");
    wh_action_group("%s", title);
    for (size_t i = 0; i < result->nwarnings; i++) {
        const struct wh_build_warning *w = &result->warnings[i];
        wh_autofree char *text =
            wh_printf("%s: %s%s%s", w->rule, w->message, w->url ? "\nMore info: " : "", w->url ? w->url : "");
        wh_action_warning_at(file, w->line, wh_df_rule_description(w->rule), text);
    }
    wh_action_group_end();
}

static int stage_main(struct wh_action_run *run)
{
    wh_autoerror err = {0};
    wh_autofree char *builder = NULL;
    struct wh_push_plan plan = {0};
    struct wh_build_result result = {0};
    int status = wh_build_push_head(run, &builder, &err);
    if (status == 0)
        status = wh_build_push_inputs(run, &plan, &err);
    if (status == 0 && !plan.has_output && !plan.request->call)
        wh_action_warning(
            "No output specified with docker-container driver. Build result will only remain in the build "
            "cache. "
            "To push result image into registry use --push or to load image into docker use --load");
    if (status == 0)
        status = build(run, &plan, builder, &result, &err);
    if (status == 0 && result.output)
        status = show_call(&result, &err);
    if (status == 0 && !result.ok) {
        if (result.excerpt)
            wh_action_print("%s", result.excerpt);
        status = wh_fail(&err, WH_E_FAILED, "buildx failed with: ERROR: failed to build: failed to solve: %s",
                         result.error);
    }
    if (status == 0 && !plan.request->call)
        status = wh_build_push_tail(run, builder, &result, &err);
    if (plan.request && !plan.request->call)
        annotate(run, &result);
    if (plan.request && !plan.request->call)
        summarize(run, &result);
    wh_push_plan_clear(&plan);
    wh_build_result_clear(&result);
    return status < 0 ? wh_action_fail(&err) : 0;
}

static int stage_post(struct wh_action_run *run)
{
    (void)run;
    wh_action_group("Post cache");
    wh_action_print("State not set");
    wh_action_group_end();
    return 0;
}

const struct wh_action wh_action_build_push = {
    .repository = "docker/build-push-action",
    .min_major = 4,
    .max_major = 7,
    .inputs = inputs,
    .ninputs = WH_COUNT(inputs),
    .main = stage_main,
    .post = stage_post,
};
