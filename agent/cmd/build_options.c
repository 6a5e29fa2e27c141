/* Options of `wherry build`: buildx's, read as buildx reads them. */
#include <stdio.h>
#include <unistd.h>

#include "cmd/build.h"
#include "wherry/base/fs.h"

enum option_id {
    OPT_TAG,
    OPT_FILE,
    OPT_TARGET,
    OPT_BUILD_ARG,
    OPT_LABEL,
    OPT_ANNOTATION,
    OPT_PUSH,
    OPT_LOAD,
    OPT_OUTPUT,
    OPT_SECRET,
    OPT_NO_CACHE,
    OPT_NO_CACHE_FILTER,
    OPT_PULL,
    OPT_PROGRESS,
    OPT_METADATA,
    OPT_IID,
    OPT_PLATFORM,
    OPT_NETWORK,
    OPT_ADD_HOST,
    OPT_CONTEXT,
    OPT_SHM,
    OPT_ULIMIT,
    OPT_STATE,
    OPT_QUIET,
    OPT_ALLOW,
    OPT_PLAIN_HTTP,
    OPT_HELP,
    OPT_IGNORED, /* accepted, without effect here */
    OPT_CACHE_FROM,
    OPT_PROVENANCE,
    OPT_SBOM,
    OPT_ATTEST,
    OPT_CACHE_TO,
    OPT_CALL,
    OPT_CHECK,
    OPT_EXPLAIN,
    OPT_REFUSED
};

struct option {
    const char *name;
    char letter;
    bool value; /* takes one */
    enum option_id id;
};

static const struct option options[] = {
    {"tag", 't', true, OPT_TAG},
    {"file", 'f', true, OPT_FILE},
    {"target", 0, true, OPT_TARGET},
    {"build-arg", 0, true, OPT_BUILD_ARG},
    {"label", 0, true, OPT_LABEL},
    {"annotation", 0, true, OPT_ANNOTATION},
    {"push", 0, false, OPT_PUSH},
    {"load", 0, false, OPT_LOAD},
    {"output", 'o', true, OPT_OUTPUT},
    {"secret", 0, true, OPT_SECRET},
    {"no-cache", 0, false, OPT_NO_CACHE},
    {"no-cache-filter", 0, true, OPT_NO_CACHE_FILTER},
    {"pull", 0, false, OPT_PULL},
    {"progress", 0, true, OPT_PROGRESS},
    {"metadata-file", 0, true, OPT_METADATA},
    {"iidfile", 0, true, OPT_IID},
    {"platform", 0, true, OPT_PLATFORM},
    {"network", 0, true, OPT_NETWORK},
    {"add-host", 0, true, OPT_ADD_HOST},
    {"build-context", 0, true, OPT_CONTEXT},
    {"shm-size", 0, true, OPT_SHM},
    {"ulimit", 0, true, OPT_ULIMIT},
    {"state", 0, true, OPT_STATE},
    {"quiet", 'q', false, OPT_QUIET},
    {"allow", 0, true, OPT_ALLOW},
    {"plain-http", 0, true, OPT_PLAIN_HTTP},
    {"help", 'h', false, OPT_HELP},
    {"builder", 0, true, OPT_IGNORED},
    {"debug", 'D', false, OPT_IGNORED},
    {"rm", 0, false, OPT_IGNORED},
    {"force-rm", 0, false, OPT_IGNORED},
    {"cache-from", 0, true, OPT_CACHE_FROM},
    {"cache-to", 0, true, OPT_CACHE_TO},
    {"provenance", 0, true, OPT_PROVENANCE},
    {"sbom", 0, true, OPT_SBOM},
    {"attest", 0, true, OPT_ATTEST},
    {"ssh", 0, true, OPT_REFUSED},
    {"call", 0, true, OPT_CALL},
    {"check", 0, false, OPT_CHECK},
    {"explain", 0, false, OPT_EXPLAIN},
    {"cgroup-parent", 0, true, OPT_REFUSED},
    {"device", 0, true, OPT_REFUSED},
    {"policy", 0, true, OPT_REFUSED},
    {"squash", 0, false, OPT_REFUSED},
    {"isolation", 0, true, OPT_REFUSED},
};

void build_usage(void)
{
    fputs(
        "usage: wherry build [OPTION...] PATH | GIT-ADDRESS\n"
        "       wherry build [OPTION...] - < Dockerfile\n\n"
        "Builds the Dockerfile in PATH with wherry's own builder. Every layer stays in the state folder, so "
        "that the next\n"
        "build with the same inputs takes it from there. Options are those of `docker buildx build`.\n\n"
        "What to build\n"
        "  -f, --file FILE            the Dockerfile (PATH/Dockerfile; - is standard input)\n"
        "      --target STAGE         build this stage, not the last one\n"
        "      --build-arg NAME[=V]   value of an ARG; without =V that of the environment\n"
        "      --build-context N=V    a named context: a folder, docker-image://REF or a git\n"
        "                             address\n"
        "      --secret id=ID[,src=FILE|,env=NAME]\n"
        "                             what RUN --mount=type=secret,id=ID reads; never in a layer\n"
        "      --platform OS/ARCH     this machine's only, for now\n"
        "      --network MODE         of RUN: default, host or none\n"
        "      --add-host NAME:IP     a line in /etc/hosts of RUN\n"
        "      --shm-size SIZE        of /dev/shm (64m)\n"
        "      --ulimit TYPE=SOFT[:HARD]\n"
        "      --allow network.host   let RUN --network=host through\n"
        "      --check                only look for what lint rules find; as --call check\n"
        "      --call WHAT            check, outline (arguments, secrets) or targets; ,format=json\n\n"
        "What comes out\n"
        "  -t, --tag NAME[:TAG]       name of the image; may be repeated\n"
        "      --label NAME=V, --annotation NAME=V\n"
        "      --push                 push to the registry that the tag names\n"
        "      --load                 hand the image to the Docker engine (`docker load`)\n"
        "  -o, --output SPEC          type=oci,dest=FILE | type=docker,dest=FILE | type=tar,dest=FILE |\n"
        "                             type=local,dest=FOLDER | type=registry | type=cacheonly | FOLDER | -\n"
        "      --provenance VALUE     true, false, mode=min or mode=max: how the image was made, beside it\n"
        "      --sbom true            the packages in it (dpkg, apk) as SPDX, beside it\n"
        "      --metadata-file FILE   digest and names as JSON\n"
        "      --iidfile FILE         the image id\n\n"
        "How\n"
        "      --explain              tell at the end why each step that ran was not cached\n"
        "      --no-cache             build every step again\n"
        "      --no-cache-filter S    only the steps of these stages (comma list)\n"
        "      --cache-to SPEC        type=registry,ref=REF[,mode=max] or type=inline: layers for other "
        "machines; what this\n"
        "                             machine builds stays in its store anyway\n"
        "      --cache-from SPEC      type=registry,ref=REF: layers of other machines, fetched only where "
        "they are needed\n"
        "      --pull                 ask the registry even if the base image is here\n"
        "      --progress STYLE       auto, plain, tty, json or quiet (BUILDKIT_PROGRESS sets it too)\n"
        "  -q, --quiet                print the image id alone\n"
        "      --plain-http HOST      ask this registry by HTTP (loopback is always asked so)\n"
        "      --state FOLDER         where layers are kept (WHERRY_STATE, /var/lib/wherry, "
        "~/.local/state/wherry)\n\n"
        "Examples\n"
        "  wherry build -t registry.example.org/app:1 --push .\n"
        "  wherry build --target test --progress plain .\n"
        "  wherry build -o type=oci,dest=app.tar . && skopeo inspect oci-archive:app.tar\n\n"
        "Exit code: 0 built, 1 failed, 2 bad usage, 130 canceled.\n",
        stdout);
}

void build_options_clear(struct build_options *o)
{
    wh_build_request_free(o->request);
    free(o->context);
    free(o->file);
    free(o->state);
    free(o->metadata_file);
    free(o->iid_file);
    wh_strv_free(o->outputs);
    for (size_t i = 0; i < o->nsinks; i++) {
        free(o->sinks[i].folder);
        wh_close_fd(&o->sinks[i].pipe);
    }
    *o = (struct build_options){0};
}

static void set(char **field, const char *value)
{
    free(*field);
    *field = wh_strdup(value);
}

static int bad(struct wh_error *err, const struct option *opt, const char *value, const char *want)
{
    return wh_fail(err, WH_E_ARGUMENT, "--%s %s: %s", opt->name, value, want);
}

/* NAME=V, or NAME with the environment's value; a NAME that has none is left out. */
static void add_build_arg(char ***list, const char *text)
{
    if (strchr(text, '=')) {
        wh_strv_add(list, text);
        return;
    }
    const char *value = getenv(text);
    if (value)
        wh_strv_take(list, wh_printf("%s=%s", text, value));
}

static int add_annotation(struct build_options *o, const struct option *opt, const char *value,
                          struct wh_error *err)
{
    if (!strchr(value, '='))
        return bad(err, opt, value, "must be key=value");
    wh_strv_add(&o->request->annotations, value);
    return 0;
}

static int add_named_context(struct build_options *o, const struct option *opt, const char *text,
                             struct wh_error *err)
{
    struct wh_view name, rest;
    if (!wh_view_split(wh_view_of(text), '=', &name, &rest) || name.len == 0 || rest.len == 0)
        return bad(err, opt, text, "must be NAME=FOLDER, NAME=docker-image://REF or NAME=https://....git");
    wh_autofree char *key = wh_view_dup(name), *value = wh_view_dup(rest);
    wh_autoclose int fd = -1;
    wh_autofree char *git = wh_build_git_context(value);
    bool elsewhere = git || wh_starts_with(value, "docker-image://");
    if (!elsewhere && (fd = open(value, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return wh_fail(err, WH_E_NOT_FOUND,
                       "failed to get build context %s: stat %s: no such file or directory", key, value);
    struct wh_build_context *c = wh_build_request_add_context(o->request, key, wh_steal_fd(&fd),
                                                              git         ? git
                                                              : elsewhere ? value
                                                                          : NULL);
    if (!c)
        return bad(err, opt, text, "too many contexts");
    if (elsewhere)
        return 0;
    wh_autofree char *path = wh_path_join(value, ".dockerignore");
    wh_autostr ignore = {0};
    wh_autoerror mine = {0};
    if (wh_read_file(AT_FDCWD, path, (size_t)8 << 20, &ignore, &mine) < 0)
        return mine.code == WH_E_NOT_FOUND ? 0 : wh_error_move(err, &mine);
    c->ignore_name = wh_strdup(path);
    c->ignore = wh_str_steal(&ignore);
    return 0;
}

struct secret_spec {
    char *id, *source, *env, *type;
};

static int read_secret_fields(struct secret_spec *s, const struct option *opt, const char *text,
                              struct wh_error *err)
{
    wh_autostrv char **fields = wh_strv_split(text, ',');
    for (size_t i = 0; fields[i]; i++) {
        char *value = strchr(fields[i], '=');
        if (!value)
            return bad(err, opt, text, "every field must be name=value, as id=token,src=token.txt");
        *value++ = '\0';
        char **field = strcmp(fields[i], "id") == 0                                        ? &s->id
                       : strcmp(fields[i], "src") == 0 || strcmp(fields[i], "source") == 0 ? &s->source
                       : strcmp(fields[i], "env") == 0                                     ? &s->env
                       : strcmp(fields[i], "type") == 0                                    ? &s->type
                                                                                           : NULL;
        if (!field)
            return wh_fail(err, WH_E_ARGUMENT, "--secret %s: there is no field `%s` (id, src, env, type)",
                           text, fields[i]);
        set(field, value);
    }
    if (!s->id || s->id[0] == '\0')
        return bad(err, opt, text, "needs an id, as id=token,src=token.txt");
    if (s->type && strcmp(s->type, "env") != 0 && strcmp(s->type, "file") != 0)
        return bad(err, opt, text, "type must be file or env");
    return 0;
}

static int take_secret(struct build_options *o, struct secret_spec *s, struct wh_error *err)
{
    /* Without a place: the variable of the secret's name if there is one, else the file of its name. */
    const char *env = s->env, *source = s->source;
    if (s->type && strcmp(s->type, "env") == 0 && !env) {
        env = source ? source : s->id;
        source = NULL;
    }
    if (!env && !source && getenv(s->id) && !(s->type && strcmp(s->type, "file") == 0))
        env = s->id;
    if (env) {
        const char *value = getenv(env);
        if (!value)
            return wh_fail(err, WH_E_NOT_FOUND, "--secret id=%s: the variable %s is not set", s->id, env);
        return wh_build_request_add_secret(o->request, s->id, value, strlen(value), err);
    }
    wh_autostr text = {0};
    if (wh_read_file(AT_FDCWD, source ? source : s->id, WH_MAX_SECRET_BYTES, &text, err) < 0)
        return wh_wrap(err, "--secret id=%s", s->id);
    return wh_build_request_add_secret(o->request, s->id, wh_str_text(&text), text.len, err);
}

static int add_secret(struct build_options *o, const struct option *opt, const char *text,
                      struct wh_error *err)
{
    struct secret_spec s = {0};
    int r = read_secret_fields(&s, opt, text, err);
    if (r == 0)
        r = take_secret(o, &s, err);
    free(s.id);
    free(s.source);
    free(s.env);
    free(s.type);
    return r;
}

static void add_list(char ***list, const char *text)
{
    wh_autostrv char **items = wh_strv_split(text, ',');
    for (size_t i = 0; items[i]; i++)
        if (items[i][0])
            wh_strv_add(list, items[i]);
}

/* check, outline, targets or build, and `,format=json`. */
static int set_call(struct build_options *o, const char *text, struct wh_error *err)
{
    wh_autostrv char **fields = wh_strv_split(text, ',');
    for (size_t i = 0; fields[i]; i++) {
        if (i == 0 && !strchr(fields[i], '=')) {
            set(&o->request->call, fields[i]);
        } else if (strcmp(fields[i], "format=json") == 0) {
            set(&o->request->call_format, "json");
        } else if (strcmp(fields[i], "ignorestatus") == 0 || strcmp(fields[i], "ignorestatus=true") == 0) {
            o->ignore_status = true;
        } else if (strcmp(fields[i], "format=text") != 0) {
            return wh_fail(err, WH_E_ARGUMENT, "--call %s: `%s` is neither format=json nor ignorestatus",
                           text, fields[i]);
        }
    }
    if (wh_streq(o->request->call, "build"))
        set(&o->request->call, NULL);
    else if (wh_streq(o->request->call, "lint"))
        set(&o->request->call, "check");
    return 0;
}

static int scalar(struct build_options *o, const struct option *opt, const char *value, struct wh_error *err)
{
    struct wh_build_request *r = o->request;
    switch (opt->id) {
    case OPT_PLATFORM:
        if (strchr(value, ','))
            return bad(err, opt, value, "only one platform, this machine's, is supported yet");
        set(&r->platform, value);
        return 0;
    case OPT_NETWORK:
        if (strcmp(value, "default") != 0 && strcmp(value, "host") != 0 && strcmp(value, "none") != 0)
            return bad(err, opt, value, "network mode must be default, host or none");
        set(&r->network, value);
        return 0;
    case OPT_SHM:
        return wh_parse_size(value, &r->shm_size) ? 0 : bad(err, opt, value, "must be a size, as 64m or 2g");
    case OPT_PROGRESS:
        return wh_progress_style_parse(value, STDERR_FILENO, &o->style)
                   ? 0
                   : bad(err, opt, value, "must be auto, plain, tty, json or quiet");
    case OPT_ADD_HOST:
        if (!strpbrk(value, ":="))
            return bad(err, opt, value, "must be NAME:IP");
        wh_strv_add(&r->add_hosts, value);
        return 0;
    case OPT_ALLOW:
        if (strcmp(value, "network.host") != 0 && strcmp(value, "security.insecure") != 0 &&
            strcmp(value, "device") != 0 && !wh_starts_with(value, "device="))
            return wh_fail(err, WH_E_ARGUMENT, "invalid entitlement: %s", value);
        wh_strv_add(&r->allow, value);
        return 0;
    case OPT_CALL:
        return set_call(o, value, err);
    case OPT_CACHE_TO:
        wh_strv_add(&r->cache_to, value);
        return 0;
    case OPT_CACHE_FROM:
        wh_strv_add(&r->cache_from, value);
        return 0;
    case OPT_PROVENANCE:
    case OPT_SBOM:
        wh_strv_take(&r->attests, wh_attest_text(opt->name, value));
        return 0;
    case OPT_ATTEST:
        wh_strv_add(&r->attests, value);
        return 0;
    default:
        return wh_fail(err, WH_E_UNSUPPORTED, "--%s is not supported yet by wherry's own builder", opt->name);
    }
}

static int apply(struct build_options *o, const struct option *opt, const char *value, struct wh_error *err)
{
    struct wh_build_request *r = o->request;
    switch (opt->id) {
    case OPT_TAG:
        add_list(&r->tags, value);
        return 0;
    case OPT_FILE:
        set(&o->file, value);
        return 0;
    case OPT_TARGET:
        set(&r->target, value);
        return 0;
    case OPT_BUILD_ARG:
        add_build_arg(&r->build_args, value);
        return 0;
    case OPT_LABEL:
        wh_strv_take(&r->labels, wh_printf(strchr(value, '=') ? "%s" : "%s=", value));
        return 0;
    case OPT_ANNOTATION:
        return add_annotation(o, opt, value, err);
    case OPT_OUTPUT:
        wh_strv_add(&o->outputs, value);
        return 0;
    case OPT_SECRET:
        return add_secret(o, opt, value, err);
    case OPT_NO_CACHE_FILTER:
        add_list(&r->no_cache_filter, value);
        return 0;
    case OPT_METADATA:
        set(&o->metadata_file, value);
        return 0;
    case OPT_IID:
        set(&o->iid_file, value);
        return 0;
    case OPT_CONTEXT:
        return add_named_context(o, opt, value, err);
    case OPT_ULIMIT:
        wh_strv_add(&r->ulimits, value);
        return 0;
    case OPT_STATE:
        set(&o->state, value);
        return 0;
    case OPT_PLAIN_HTTP:
        wh_strv_add(&r->plain_http, value);
        return 0;
    case OPT_IGNORED:
        fprintf(
            stderr,
            "wherry build: --%s is without effect: this machine builds, from the layers in its own store\n",
            opt->name);
        return 0;
    default:
        return scalar(o, opt, value, err);
    }
}

/* A flag without a value, or with =true and =false. */
static int apply_flag(struct build_options *o, const struct option *opt, const char *value,
                      struct wh_error *err)
{
    if (value && strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
        return bad(err, opt, value, "must be true or false");
    bool on = !value || strcmp(value, "true") == 0;
    switch (opt->id) {
    case OPT_PUSH:
        o->push = on;
        return 0;
    case OPT_LOAD:
        o->load = on;
        return 0;
    case OPT_EXPLAIN:
        o->explain = on;
        return 0;
    case OPT_CHECK:
        set(&o->request->call, on ? "check" : NULL);
        return 0;
    case OPT_NO_CACHE:
        o->request->no_cache = on;
        return 0;
    case OPT_PULL:
        o->request->pull = on;
        return 0;
    case OPT_QUIET:
        o->quiet = on;
        return 0;
    case OPT_HELP:
        o->help = on;
        return 0;
    case OPT_IGNORED:
        return 0;
    default:
        return on ? scalar(o, opt, "", err) : 0;
    }
}

static const struct option *find_long(const char *name, size_t len)
{
    for (size_t i = 0; i < WH_COUNT(options); i++)
        if (strlen(options[i].name) == len && strncmp(options[i].name, name, len) == 0)
            return &options[i];
    return NULL;
}

static int unknown(const char *text, struct wh_error *err)
{
    const char *names[WH_COUNT(options) + 1] = {NULL};
    for (size_t i = 0; i < WH_COUNT(options); i++)
        names[i] = options[i].name;
    wh_autofree char *name = wh_strndup(text + 2, strcspn(text + 2, "="));
    const char *near = text[1] == '-' ? wh_did_you_mean(name, names) : NULL;
    return wh_fail(err, WH_E_ARGUMENT, "there is no option %s%s%s%s", text, near ? "; did you mean --" : "",
                   near ? near : "", near ? "?" : "");
}

static int long_option(struct build_options *o, int argc, char **argv, int *i, struct wh_error *err)
{
    const char *text = argv[*i] + 2, *eq = strchr(text, '=');
    const struct option *opt = find_long(text, eq ? (size_t)(eq - text) : strlen(text));
    if (!opt)
        return unknown(argv[*i], err);
    if (!opt->value)
        return apply_flag(o, opt, eq ? eq + 1 : NULL, err);
    if (!eq && *i + 1 >= argc)
        return wh_fail(err, WH_E_ARGUMENT, "--%s needs a value", opt->name);
    return apply(o, opt, eq ? eq + 1 : argv[++*i], err);
}

/* -t x, -tx, -t=x, and flags in a row: -qf x. */
static int short_options(struct build_options *o, int argc, char **argv, int *i, struct wh_error *err)
{
    for (const char *p = argv[*i] + 1; *p; p++) {
        const struct option *opt = NULL;
        for (size_t k = 0; k < WH_COUNT(options) && !opt; k++)
            if (options[k].letter == *p)
                opt = &options[k];
        if (!opt)
            return wh_fail(err, WH_E_ARGUMENT, "there is no option -%c", *p);
        if (!opt->value) {
            if (apply_flag(o, opt, NULL, err) < 0)
                return -1;
            continue;
        }
        const char *value = p[1] == '=' ? p + 2 : p[1] ? p + 1 : *i + 1 < argc ? argv[++*i] : NULL;
        if (!value)
            return wh_fail(err, WH_E_ARGUMENT, "-%c needs a value", *p);
        return apply(o, opt, value, err);
    }
    return 0;
}

int build_options_parse(int argc, char **argv, struct build_options *o, struct wh_error *err)
{
    *o = (struct build_options){.request = wh_build_request_new()};
    o->request->credentials = true;
    const char *style = getenv("BUILDKIT_PROGRESS");
    if (!style || !wh_progress_style_parse(style, STDERR_FILENO, &o->style))
        wh_progress_style_parse("auto", STDERR_FILENO, &o->style);
    bool options_end = false;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        int r = 0;
        if (options_end || a[0] != '-' || a[1] == '\0') {
            if (o->context)
                return wh_fail(err, WH_E_ARGUMENT, "one PATH only, and there are `%s` and `%s`", o->context,
                               a);
            o->context = wh_strdup(a);
        } else if (strcmp(a, "--") == 0) {
            options_end = true;
        } else {
            r = a[1] == '-' ? long_option(o, argc, argv, &i, err) : short_options(o, argc, argv, &i, err);
        }
        if (r < 0)
            return -1;
        if (o->help)
            return 0;
    }
    if (!o->context)
        return wh_fail(err, WH_E_ARGUMENT,
                       "which folder? `wherry build [OPTION...] PATH`, mostly `wherry build .`");
    /* As buildx does: the variable counts as a build argument. */
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    if (epoch && epoch[0] && !wh_env_get(o->request->build_args, "SOURCE_DATE_EPOCH"))
        wh_strv_take(&o->request->build_args, wh_printf("SOURCE_DATE_EPOCH=%s", epoch));
    if (o->quiet)
        o->style = WH_STYLE_QUIET;
    return 0;
}
