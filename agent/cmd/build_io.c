/* What goes into `wherry build` and comes out of it: context, Dockerfile on standard input, files, folders,
 * docker load. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/build.h"
#include "wherry/base/fs.h"
#include "wherry/dockerfile/parse.h"
#include "wherry/oci/layer.h"

/* ---- in ---- */

static bool looks_packed(const struct wh_str *text)
{
    const char *d = wh_str_text(text);
    return (text->len > 262 && memcmp(d + 257, "ustar", 5) == 0) ||
           (text->len > 2 && memcmp(d, "\x1f\x8b", 2) == 0) ||
           (text->len > 4 && memcmp(d, "\x28\xb5\x2f\xfd", 4) == 0) ||
           (text->len > 3 && memcmp(d, "BZh", 3) == 0);
}

static int read_stdin(struct wh_build_request *r, struct wh_error *err)
{
    wh_autostr text = {0};
    if (wh_read_fd(STDIN_FILENO, WH_MAX_DOCKERFILE_BYTES, "standard input", &text, err) < 0)
        return wh_wrap(err, "Dockerfile");
    if (looks_packed(&text))
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "standard input is an archive: a context as a stream is not supported yet; unpack it "
                       "and name the folder");
    free(r->dockerfile_name);
    free(r->dockerfile);
    r->dockerfile_name = wh_strdup("Dockerfile");
    r->dockerfile_len = text.len;
    r->dockerfile = wh_str_steal(&text);
    return 0;
}

int build_load_context(struct build_options *o, struct wh_error *err)
{
    struct wh_build_request *r = o->request;
    bool from_stdin = o->file && strcmp(o->file, "-") == 0;
    if (strcmp(o->context, "-") == 0) {
        if (o->file)
            return wh_fail(err, WH_E_ARGUMENT,
                           "`-` as PATH takes the Dockerfile from standard input: leave -f out");
        return read_stdin(r, err);
    }
    wh_autofree char *address = wh_build_git_context(o->context);
    if (address && from_stdin)
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "a Dockerfile by standard input goes with a folder, not with %s", o->context);
    if (address)
        return wh_build_request_remote(r, address, o->file, err);
    if (strstr(o->context, "://"))
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "%s: only a folder or a git repository (https://....git) can be the context",
                       o->context);
    if (!from_stdin)
        return wh_build_request_load(r, o->context, o->file, err);
    wh_autoclose int fd = open(o->context, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return wh_fail_errno(err, "context %s", o->context);
    struct wh_build_context *c = wh_build_request_add_context(r, "context", wh_steal_fd(&fd), NULL);
    if (!c)
        return wh_fail(err, WH_E_LIMIT, "more than %d contexts", WH_MAX_BUILD_CONTEXTS);
    wh_autofree char *path = wh_path_join(o->context, ".dockerignore");
    wh_autostr ignore = {0};
    wh_autoerror mine = {0};
    if (wh_read_file(AT_FDCWD, path, (size_t)8 << 20, &ignore, &mine) == 0) {
        c->ignore_name = wh_strdup(".dockerignore");
        c->ignore = wh_str_steal(&ignore);
    } else if (mine.code != WH_E_NOT_FOUND) {
        return wh_error_move(err, &mine);
    }
    return read_stdin(r, err);
}

/* ---- out ---- */

static struct build_sink *open_stream(struct build_options *o, struct wh_build_output *out,
                                      struct wh_error *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0) {
        wh_fail_errno(err, "make a pipe");
        return NULL;
    }
    out->fd = fds[1];
    struct build_sink *sink = &o->sinks[o->nsinks++];
    *sink = (struct build_sink){.pipe = fds[0]};
    return sink;
}

static int open_dest(struct build_options *o, struct wh_build_output *out, const char *dest,
                     struct wh_error *err)
{
    bool folder = strcmp(out->type, "local") == 0;
    for (char **attr = out->attrs; attr && *attr; attr++)
        folder = folder || strcmp(*attr, "tar=false") == 0;
    if (folder) {
        if (wh_mkdir_p(dest, 0755, err) < 0)
            return wh_wrap(err, "--output");
        struct build_sink *sink = open_stream(o, out, err);
        if (!sink)
            return -1;
        sink->folder = wh_strdup(dest);
        return 0;
    }
    if (strcmp(dest, "-") == 0) {
        if (isatty(STDOUT_FILENO))
            return wh_fail(err, WH_E_ARGUMENT,
                           "--output -: the archive would go to the terminal; redirect standard output");
        out->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    } else {
        out->fd = open(dest, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    }
    return out->fd < 0 ? wh_fail_errno(err, "--output: create %s", dest) : 0;
}

static int add_output(struct build_options *o, const char *text, struct wh_error *err)
{
    wh_autofree char *dest = NULL;
    if (wh_build_request_parse_output(o->request, text, &dest, err) < 0)
        return -1;
    struct wh_build_output *out = &o->request->outputs[o->request->noutputs - 1];
    if (strcmp(out->type, "image") == 0 || strcmp(out->type, "cacheonly") == 0)
        return 0;
    if (!dest && strcmp(out->type, "local") != 0)
        dest = wh_strdup("-");
    if (!dest)
        return wh_fail(err, WH_E_ARGUMENT, "--output %s: needs a dest=FOLDER", text);
    return open_dest(o, out, dest, err);
}

/* --load: the image as a stream into `docker load`. */
static int add_load(struct build_options *o, struct wh_error *err)
{
    if (wh_build_request_parse_output(o->request, "type=docker", &(char *){NULL}, err) < 0)
        return -1;
    struct build_sink *sink = open_stream(o, &o->request->outputs[o->request->noutputs - 1], err);
    if (!sink)
        return -1;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, sink->pipe, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    char *argv[] = {"docker", "load", "--quiet", NULL};
    extern char **environ;
    int r = posix_spawnp(&sink->loader, "docker", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    wh_close_fd(&sink->pipe);
    sink->pipe = -1;
    if (r == 0)
        return 0;
    sink->loader = 0;
    errno = r;
    return wh_fail_errno(
        err, "--load hands the image to `docker load`, and that can't be started (-o type=docker,dest=FILE "
             "writes the archive)");
}

int build_open_outputs(struct build_options *o, struct wh_error *err)
{
    for (size_t i = 0; o->outputs && o->outputs[i]; i++)
        if (add_output(o, o->outputs[i], err) < 0)
            return -1;
    bool any = false;
    for (size_t i = 0; o->push && i < o->request->noutputs; i++) {
        struct wh_build_output *out = &o->request->outputs[i];
        if (strcmp(out->type, "image") == 0) {
            wh_strv_add(&out->attrs, "push=true");
            any = true;
        }
    }
    if (o->push && !any) {
        if (!o->request->tags)
            return wh_fail(err, WH_E_ARGUMENT,
                           "tag is needed when pushing to registry: add -t REGISTRY/NAME:TAG");
        if (add_output(o, "type=registry", err) < 0)
            return -1;
    }
    return o->load ? add_load(o, err) : 0;
}

struct take {
    struct build_sink *sink;
    struct wh_error error;
    int status;
    bool unfinished; /* the stream ended too early */
    pthread_t thread;
};
struct build_taking {
    struct build_options *o;
    struct take takes[WH_MAX_BUILD_OUTPUTS];
    size_t n;
};

/* What stands behind the archive's end is read away; after a failure the pipe is closed at once, else the
 * builder would wait for ever for somebody to take its bytes. A stream that the builder left unfinished is no
 * failure of ours: it says why itself. */
static void end_stream(struct take *t)
{
    char rest[16384];
    struct pollfd left = {.fd = t->sink->pipe, .events = POLLIN};
    ssize_t n = 1;
    while (t->status == 0 && n != 0) {
        n = read(t->sink->pipe, rest, sizeof rest);
        if (n < 0 && errno != EINTR)
            break;
    }
    if (t->status < 0 && poll(&left, 1, 0) == 1 && left.revents == POLLHUP)
        t->unfinished = true;
    wh_close_fd(&t->sink->pipe);
    t->sink->pipe = -1;
}

static void *take_one(void *arg)
{
    struct take *t = arg;
    if (t->sink->loader > 0) {
        int status = 0;
        while (waitpid(t->sink->loader, &status, 0) < 0 && errno == EINTR)
            ;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            t->status = wh_fail(&t->error, WH_E_FAILED,
                                "docker load failed: is the Docker engine running? (-o type=docker,dest=FILE "
                                "writes the archive instead)");
        return NULL;
    }
    wh_autoclose int dir = open(t->sink->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct wh_archive_options options = {.uid = geteuid(), .gid = getegid()};
    if (dir < 0)
        t->status = wh_fail_errno(&t->error, "open %s", t->sink->folder);
    else
        t->status = wh_archive_unpack_fd(t->sink->pipe, dir, &options, &t->error);
    end_stream(t);
    return NULL;
}

struct build_taking *build_take_start(struct build_options *o, struct wh_error *err)
{
    struct build_taking *t = wh_calloc(1, sizeof *t);
    t->o = o;
    for (; t->n < o->nsinks; t->n++) {
        t->takes[t->n].sink = &o->sinks[t->n];
        if (pthread_create(&t->takes[t->n].thread, NULL, take_one, &t->takes[t->n]) != 0) {
            (void)build_take_join(t, false, NULL);
            wh_fail(err, WH_E_LIMIT, "no thread for an output");
            return NULL;
        }
    }
    return t;
}

int build_take_join(struct build_taking *t, bool built, struct wh_error *err)
{
    int status = 0;
    /* Our write ends must go, so that the streams end. */
    for (size_t i = 0; i < t->o->request->noutputs; i++) {
        wh_close_fd(&t->o->request->outputs[i].fd);
        t->o->request->outputs[i].fd = -1;
    }
    for (size_t i = 0; i < t->n; i++) {
        pthread_join(t->takes[i].thread, NULL);
        if (t->takes[i].status < 0 && status == 0 && (built || !t->takes[i].unfinished))
            status = wh_error_move(err, &t->takes[i].error);
        wh_error_clear(&t->takes[i].error);
    }
    free(t);
    return status;
}
