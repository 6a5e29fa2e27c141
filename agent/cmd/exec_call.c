/* Workflows that jobs call: of this repository, from its work tree; of others, by a fetcher, as it brings
 * actions. */
#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <unistd.h>

#include "cmd/exec.h"
#include "wherry/actions/fetch.h"
#include "wherry/base/frame.h"
#include "wherry/base/fs.h"
#include "wherry/base/yaml.h"
#include "wherry/github/actions.h"

#define READ_SIZE ((size_t)64 << 10)

/* Where a called workflow came from: what it calls by "./" lies there, too. */
struct exec_origin {
    char *repository, *ref;
};

struct call {
    struct exec_run *run;
    struct wh_graph_job *job;
    struct wh_workflow_reference ref;
    struct wh_frame_conn *conn;
    uv_poll_t poll;
    struct wh_fetch_process *process; /* NULL: it ended */
    struct call *next;                /* of the run's */
    char *text;                       /* of the file, found; owned */
    struct wh_error err;
};

/* ---- files that are known ---- */

static char *shown_name(const struct wh_workflow_reference *ref)
{
    return ref->repository ? wh_printf("%s/%s@%s", ref->repository, ref->path, ref->ref)
                           : wh_strdup(ref->path);
}

/* A run names so many files and no more. */
static int remember(struct exec_run *run, const char *name, const char *text, struct wh_error *err)
{
    if (!run->called)
        run->called = cJSON_CreateObject();
    if (cJSON_GetObjectItemCaseSensitive(run->called, name))
        return 0;
    if (cJSON_GetArraySize(run->called) >= (int)WH_MAX_CALLED_WORKFLOWS)
        return wh_fail(err, WH_E_LIMIT, "a run calls at most %u different workflows",
                       WH_MAX_CALLED_WORKFLOWS);
    cJSON_AddStringToObject(run->called, name, text);
    return 0;
}

static void give_up(struct wh_graph_job *job, const struct wh_error *err)
{
    wh_autofree char *reason = wh_printf("%s: %s", wh_graph_uses(job), wh_error_text(err));
    wh_graph_fail(job, reason);
}

static void hand_over(struct exec_run *run, struct wh_graph_job *job, const struct wh_workflow_reference *ref,
                      const char *text)
{
    wh_autofree char *name = shown_name(ref);
    wh_autoerror err = {0};
    struct wh_workflow *w = NULL;
    if (remember(run, name, text, &err) == 0)
        w = wh_workflow_parse(text, strlen(text), name, &err);
    if (w && wh_workflow_check_expressions(w, &err) < 0) {
        wh_workflow_free(w);
        w = NULL;
    }
    if (!w) {
        give_up(job, &err);
        return;
    }
    struct exec_origin *origin = NULL;
    if (ref->repository) {
        origin = wh_calloc(1, sizeof *origin);
        *origin = (struct exec_origin){wh_strdup(ref->repository), wh_strdup(ref->ref)};
        run->origins = wh_reallocarray(run->origins, run->norigins + 1, sizeof(void *));
        run->origins[run->norigins++] = origin;
    }
    (void)wh_graph_call(job, w, origin, NULL);
}

/* ---- of another repository ---- */

/* The file in an archive whose one folder at the top is top. Owned; NULL on failure. */
static char *find_member(int fd, const char *top, const char *path, struct wh_error *err)
{
    wh_autofree char *wanted = wh_printf("%s/%s", top, path);
    struct archive *a = archive_read_new();
    struct archive_entry *entry;
    wh_autostr text = {0};
    bool found = false;
    archive_read_support_filter_gzip(a);
    archive_read_support_format_tar(a);
    if (lseek(fd, 0, SEEK_SET) == 0 && archive_read_open_fd(a, fd, READ_SIZE) == ARCHIVE_OK)
        while (!found && archive_read_next_header(a, &entry) == ARCHIVE_OK)
            found =
                wh_streq(archive_entry_pathname(entry), wanted) && archive_entry_filetype(entry) == AE_IFREG;
    char *data = found ? wh_malloc(READ_SIZE) : NULL;
    for (la_ssize_t n; found && (n = archive_read_data(a, data, READ_SIZE)) > 0;) {
        wh_str_addn(&text, data, (size_t)n);
        if (text.len > WH_MAX_YAML_BYTES)
            break;
    }
    free(data);
    archive_read_free(a);
    if (!found)
        wh_fail(err, WH_E_NOT_FOUND, "the repository has no such file at that ref");
    else if (text.len > WH_MAX_YAML_BYTES)
        wh_fail(err, WH_E_LIMIT, "the file has more than %zu bytes", WH_MAX_YAML_BYTES);
    else if (memchr(wh_str_text(&text), '\0', text.len))
        wh_fail(err, WH_E_PARSE, "the file is no text");
    else
        return wh_str_steal(&text);
    return NULL;
}

static void call_free(uv_handle_t *handle)
{
    struct call *c = handle->data;
    wh_frame_conn_free(c->conn);
    wh_workflow_reference_clear(&c->ref);
    wh_error_clear(&c->err);
    free(c->text);
    free(c);
}

static void call_end(struct call *c)
{
    uv_poll_stop(&c->poll);
    c->run->helpers--;
    for (struct call **at = &c->run->calls; *at; at = &(*at)->next) {
        if (*at != c)
            continue;
        *at = c->next;
        break;
    }
    if (c->job->state == WH_GRAPH_DONE)
        ; /* cancelled meanwhile */
    else if (c->text)
        hand_over(c->run, c->job, &c->ref, c->text);
    else
        give_up(c->job, &c->err);
    struct exec_run *run = c->run;
    uv_close((uv_handle_t *)&c->poll, call_free);
    exec_run_pump(run);
}

/* True: there is more to come. */
static bool take_frame(struct call *c, struct wh_frame *frame)
{
    const char *type = wh_json_string(frame->json, "type");
    const char *text = wh_json_string(frame->json, "text");
    const char *top = wh_json_string(frame->json, "top");
    if (wh_streq(type, "say")) {
        if (text && text[0])
            exec_show_say(c->run->show, "%s", text);
    } else if (wh_streq(type, "action") && frame->nfds == 1 && top) {
        c->text = find_member(frame->fds[0], top, c->ref.path, &c->err);
    } else if (wh_streq(type, "error")) {
        wh_fail(&c->err, WH_E_FAILED, "%s", text ? text : "the fetcher failed");
        return false;
    } else if (wh_streq(type, "done")) {
        return false;
    }
    return true;
}

static void on_frames(uv_poll_t *poll, int status, int events)
{
    struct call *c = poll->data;
    (void)events;
    for (;;) {
        wh_autoframe frame = {0};
        int n = status < 0 ? -2 : wh_frame_conn_recv(c->conn, &frame, &c->err);
        if (n == 0)
            return;
        if (n < 0 && c->err.code == WH_OK && !c->text)
            wh_fail(&c->err, WH_E_FAILED, "the fetcher ended without an answer");
        if (n < 0 || !take_frame(c, &frame)) {
            call_end(c);
            return;
        }
    }
}

/* The call itself may be gone by now. */
static void on_fetch_exit(struct wh_fetch_process *p, int exit_code, int signum, void *arg)
{
    (void)exit_code, (void)signum;
    struct exec_run *run = arg;
    for (struct call *c = run->calls; c; c = c->next)
        if (c->process == p)
            c->process = NULL;
    run->helpers--;
    exec_run_pump(run);
}

static int launch(struct call *c, struct wh_error *err)
{
    const struct exec_run *run = c->run;
    const cJSON *github = c->job->node->scope->github_json;
    int pair[2];
    if (wh_frame_pair(pair, err) < 0)
        return -1;
    c->conn = wh_frame_conn_new(pair[0]);
    wh_autojson *facts = cJSON_CreateObject();
    wh_json_add_string(facts, "apiUrl", wh_json_string(github, "api_url"));
    wh_json_add_string(facts, "serverUrl", wh_json_string(github, "server_url"));
    wh_json_add_string(facts, "githubToken", run->token);
    const struct exec_place *place = run->place;
    struct wh_fetch_options options = {.state = run->state,
                                       .job_uid = place->other ? place->user.uid : getuid(),
                                       .job_gid = place->other ? place->user.gid : getgid(),
                                       .facts = facts};
    c->process = wh_fetch_launch(&c->run->loop, &options, pair[1], on_fetch_exit, c->run, err);
    if (!c->process)
        return -1;
    c->run->helpers++;
    wh_autojson *question = cJSON_CreateObject();
    wh_json_add_string(question, "type", "actions");
    cJSON *list = cJSON_AddArrayToObject(question, "list");
    cJSON *one = cJSON_CreateObject();
    cJSON_AddItemToArray(list, one);
    wh_json_add_string(one, "name", c->ref.repository);
    wh_json_add_string(one, "ref", c->ref.ref);
    wh_json_add_string(one, "path", "");
    return wh_frame_conn_send(c->conn, question, NULL, 0, err);
}

static void fetch(struct exec_run *run, struct wh_graph_job *job, struct wh_workflow_reference *ref_taken)
{
    struct call *c = wh_calloc(1, sizeof *c);
    *c = (struct call){.run = run, .job = job, .ref = *ref_taken};
    *ref_taken = (struct wh_workflow_reference){0};
    wh_autoerror err = {0};
    if (launch(c, &err) < 0) {
        give_up(job, &err);
        c->poll.data = c;
        call_free((uv_handle_t *)&c->poll);
        return;
    }
    run->helpers++;
    c->next = run->calls;
    run->calls = c;
    uv_poll_init(&run->loop, &c->poll, wh_frame_conn_fd(c->conn));
    c->poll.data = c;
    uv_poll_start(&c->poll, UV_READABLE, on_frames);
}

/* ---- of this one ---- */

static void read_local(struct exec_run *run, struct wh_graph_job *job,
                       const struct wh_workflow_reference *ref)
{
    wh_autostr text = {0};
    wh_autoerror err = {0};
    if (wh_read_file(AT_FDCWD, ref->path, WH_MAX_YAML_BYTES, &text, &err) < 0)
        give_up(job, &err);
    else
        hand_over(run, job, ref, wh_str_text(&text));
}

void exec_call(struct exec_run *run, struct wh_graph_job *job)
{
    struct wh_workflow_reference ref = {0};
    wh_autoerror err = {0};
    wh_graph_start(job);
    if (wh_workflow_reference_parse(wh_graph_uses(job), &ref, &err) < 0) {
        give_up(job, &err);
        return;
    }
    const struct exec_origin *origin = job->node->scope->user;
    if (!ref.repository && origin) {
        ref.repository = wh_strdup(origin->repository);
        ref.ref = wh_strdup(origin->ref);
    }
    wh_autofree char *name = shown_name(&ref);
    const char *known = wh_json_string(run->called, name);
    if (known)
        hand_over(run, job, &ref, known);
    else if (!ref.repository)
        read_local(run, job, &ref);
    else if (run->place)
        fetch(run, job, &ref);
    else
        wh_graph_finish(job, WH_GRAPH_SUCCESS, NULL); /* nothing is fetched for a plan */
    wh_workflow_reference_clear(&ref);
}

void exec_calls_kill(struct exec_run *run)
{
    for (struct call *c = run->calls; c; c = c->next)
        if (c->process && (c->job->state == WH_GRAPH_DONE || run->interrupts > 1))
            wh_fetch_kill(c->process);
}

void exec_calls_free(struct exec_run *run)
{
    for (size_t i = 0; i < run->norigins; i++) {
        free(run->origins[i]->repository);
        free(run->origins[i]->ref);
        free(run->origins[i]);
    }
    free(run->origins);
    cJSON_Delete(run->called);
}
