/* The request's memory, its reading from a client's files, and output texts. */
#include "wherry/build/request.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/base/secret.h"
#include "wherry/dockerfile/eval.h"
#include "wherry/dockerfile/ignore.h"
#include "wherry/dockerfile/parse.h"

struct wh_build_request *wh_build_request_new(void)
{
    return wh_calloc(1, sizeof(struct wh_build_request));
}

static void close_if(int fd)
{
    if (fd >= 0)
        close(fd);
}

void wh_build_request_free(struct wh_build_request *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->ncontexts; i++) {
        free(r->contexts[i].name);
        free(r->contexts[i].value);
        free(r->contexts[i].ignore);
        free(r->contexts[i].ignore_name);
        close_if(r->contexts[i].dirfd);
    }
    for (size_t i = 0; i < r->nsecrets; i++) {
        free(r->secrets[i].id);
        wh_wipe(r->secrets[i].value, r->secrets[i].len);
        free(r->secrets[i].value);
    }
    for (size_t i = 0; i < r->noutputs; i++) {
        free(r->outputs[i].type);
        wh_strv_free(r->outputs[i].attrs);
        close_if(r->outputs[i].fd);
    }
    free(r->dockerfile_name);
    free(r->dockerfile);
    free(r->dockerfile_path);
    free(r->target);
    free(r->platform);
    free(r->network);
    free(r->call);
    free(r->call_format);
    char **lists[] = {r->build_args, r->labels,  r->annotations, r->tags,    r->no_cache_filter, r->allow,
                      r->add_hosts,  r->ulimits, r->plain_http,  r->attests, r->cache_from,      r->cache_to};
    for (size_t i = 0; i < WH_COUNT(lists); i++)
        wh_strv_free(lists[i]);
    free(r);
}

void wh_build_request_free_ptr(struct wh_build_request **r)
{
    wh_build_request_free(*r);
    *r = NULL;
}

struct wh_build_context *wh_build_request_add_context(struct wh_build_request *r, const char *name, int dirfd,
                                                      const char *value)
{
    if (r->ncontexts == WH_MAX_BUILD_CONTEXTS)
        return NULL;
    struct wh_build_context *c = &r->contexts[r->ncontexts++];
    *c = (struct wh_build_context){.name = wh_strdup(name), .dirfd = dirfd, .value = wh_strdup(value)};
    return c;
}

struct wh_build_output *wh_build_request_add_output(struct wh_build_request *r, const char *type, int fd)
{
    if (r->noutputs == WH_MAX_BUILD_OUTPUTS)
        return NULL;
    struct wh_build_output *o = &r->outputs[r->noutputs++];
    *o = (struct wh_build_output){.type = wh_strdup(type), .fd = fd};
    return o;
}

int wh_build_request_add_secret(struct wh_build_request *r, const char *id, const char *value, size_t len,
                                struct wh_error *err)
{
    if (r->nsecrets == WH_MAX_BUILD_SECRETS)
        return wh_fail(err, WH_E_LIMIT, "more than %d secrets", WH_MAX_BUILD_SECRETS);
    if (len > WH_MAX_SECRET_BYTES)
        return wh_fail(err, WH_E_LIMIT, "secret %s is larger than the limit of %zu bytes", id,
                       WH_MAX_SECRET_BYTES);
    struct wh_build_secret *s = &r->secrets[r->nsecrets++];
    *s = (struct wh_build_secret){.id = wh_strdup(id), .value = wh_strndup(value, len), .len = len};
    return 0;
}

/* One CSV record of fields; a field that starts with a quote runs to its closing one, "" inside is a quote.
 */
static char **csv_fields(const char *text)
{
    char **fields = NULL;
    struct wh_reader r = wh_reader_of(text, strlen(text));
    do {
        wh_autostr field = {0};
        bool quoted = wh_reader_take(&r, '"');
        for (int c = wh_reader_peek(&r); c != -1 && (quoted || c != ','); c = wh_reader_peek(&r)) {
            wh_reader_next(&r);
            if (quoted && c == '"' && !wh_reader_take(&r, '"')) {
                quoted = false;
                continue;
            }
            wh_str_addc(&field, (char)c);
        }
        wh_strv_add(&fields, wh_str_text(&field));
    } while (wh_reader_take(&r, ','));
    return fields;
}

int wh_build_request_parse_output(struct wh_build_request *r, const char *text, char **dest,
                                  struct wh_error *err)
{
    *dest = NULL;
    wh_autostrv char **fields = csv_fields(text);
    if (wh_strv_len(fields) == 1 && !strchr(fields[0], '=')) { /* a bare path: local files, "-": a tar */
        if (!wh_build_request_add_output(r, strcmp(fields[0], "-") == 0 ? "tar" : "local", -1))
            return wh_fail(err, WH_E_LIMIT, "more than %d outputs", WH_MAX_BUILD_OUTPUTS);
        *dest = wh_strdup(fields[0]);
        return 0;
    }
    struct wh_build_output *o = wh_build_request_add_output(r, "", -1);
    if (!o)
        return wh_fail(err, WH_E_LIMIT, "more than %d outputs", WH_MAX_BUILD_OUTPUTS);
    for (char **f = fields; *f; f++) {
        struct wh_view name, value;
        if (!wh_view_split(wh_view_of(*f), '=', &name, &value))
            return wh_fail(err, WH_E_ARGUMENT, "output `%s`: field `%s` must be name=value", text, *f);
        if (wh_view_eq(name, "type")) {
            free(o->type);
            o->type = wh_view_dup(value);
        } else if (wh_view_eq(name, "dest")) {
            free(*dest);
            *dest = wh_view_dup(value);
        } else {
            wh_strv_add(&o->attrs, *f);
        }
    }
    static const char *const types[] = {"image", "registry", "oci",       "docker",
                                        "tar",   "local",    "cacheonly", NULL};
    if (!wh_strv_has((char *const *)types, o->type)) {
        const char *near = wh_did_you_mean(o->type, types);
        return wh_fail(
            err, WH_E_ARGUMENT,
            "output `%s`: type `%s` is not one of image, registry, oci, docker, tar, local, cacheonly%s%s",
            text, o->type, near ? "; did you mean " : "", near ? near : "");
    }
    if (strcmp(o->type, "registry") == 0) {
        free(o->type);
        o->type = wh_strdup("image");
        wh_strv_add(&o->attrs, "push=true");
    }
    return 0;
}

/* The file's text; 1, or 0 if there is none. */
static int read_optional(const char *path, size_t max, struct wh_str *out, struct wh_error *err)
{
    wh_autoerror mine = {0};
    if (wh_read_file(AT_FDCWD, path, max, out, &mine) == 0)
        return 1;
    if (mine.code == WH_E_NOT_FOUND)
        return 0;
    return wh_error_move(err, &mine);
}

static int load_ignore(struct wh_build_context *c, const char *dir, const char *dockerfile,
                       struct wh_error *err)
{
    wh_autofree char *beside = wh_printf("%s.dockerignore", dockerfile);
    wh_autofree char *root = wh_path_join(dir, ".dockerignore");
    const char *const paths[] = {beside, root};
    for (size_t i = 0; i < WH_COUNT(paths); i++) {
        wh_autostr text = {0};
        int found = read_optional(paths[i], WH_MAX_IGNORE_BYTES, &text, err);
        if (found < 0)
            return -1;
        if (found == 0)
            continue;
        const char *slash = strrchr(paths[i], '/');
        c->ignore_name = wh_strdup(slash ? slash + 1 : paths[i]);
        c->ignore = wh_str_steal(&text);
        return 0;
    }
    return 0;
}

int wh_build_request_load(struct wh_build_request *r, const char *dir, const char *dockerfile,
                          struct wh_error *err)
{
    wh_autoclose int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return wh_fail_errno(err, "unable to prepare context: path \"%s\"", dir);
    wh_autofree char *path = dockerfile ? wh_strdup(dockerfile) : wh_path_join(dir, "Dockerfile");
    wh_autostr text = {0};
    int found = read_optional(path, WH_MAX_DOCKERFILE_BYTES, &text, err);
    if (found == 0 && !dockerfile) {
        free(path);
        path = wh_path_join(dir, "dockerfile");
        found = read_optional(path, WH_MAX_DOCKERFILE_BYTES, &text, err);
    }
    if (found < 0)
        return wh_wrap(err, "failed to read dockerfile");
    if (found == 0)
        return wh_fail(err, WH_E_NOT_FOUND, "failed to read dockerfile: open %s: no such file or directory",
                       dockerfile ? dockerfile : "Dockerfile");
    const char *slash = strrchr(path, '/');
    r->dockerfile_name = wh_strdup(slash ? slash + 1 : path);
    r->dockerfile_len = text.len;
    r->dockerfile = wh_str_steal(&text);
    struct wh_build_context *c = wh_build_request_add_context(r, "context", wh_steal_fd(&fd), NULL);
    if (!c)
        return wh_fail(err, WH_E_LIMIT, "more than %d contexts", WH_MAX_BUILD_CONTEXTS);
    return load_ignore(c, dir, path, err);
}

char *wh_attest_text(const char *kind, const char *value)
{
    if (strcmp(value, "true") == 0 || strcmp(value, "1") == 0)
        return wh_printf("type=%s", kind);
    if (strcmp(value, "false") == 0 || strcmp(value, "0") == 0)
        return wh_printf("type=%s,disabled=true", kind);
    return wh_printf("type=%s,%s", kind, value);
}

char *wh_build_git_context(const char *text)
{
    if (wh_git_address(text))
        return wh_strdup(text);
    if (!wh_starts_with(text, "github.com/"))
        return NULL;
    size_t path = strcspn(text, "?#");
    bool suffix = path > 4 && strncmp(text + path - 4, ".git", 4) == 0;
    return wh_printf("https://%.*s%s%s", (int)path, text, suffix ? "" : ".git", text + path);
}

int wh_build_request_remote(struct wh_build_request *r, const char *address, const char *file,
                            struct wh_error *err)
{
    const char *slash = file ? strrchr(file, '/') : NULL;
    r->dockerfile_name = wh_strdup(slash ? slash + 1 : file ? file : "Dockerfile");
    r->dockerfile_path = wh_strdup(file);
    return wh_build_request_add_context(r, "context", -1, address)
               ? 0
               : wh_fail(err, WH_E_LIMIT, "more than %d contexts", WH_MAX_BUILD_CONTEXTS);
}
