/* Base images and images that files are copied from: each resolved once per build. */
#include "build/output.h"
#include "wherry/dockerfile/eval.h"

static void notice(void *data, const char *line)
{
    struct build *b = data;
    report_warning(&b->report, 0, line);
}

/* Hosts that the settings call insecure, and those of names that an output does. */
static char **insecure_hosts(const struct build *b)
{
    const char *told = b->env->options ? wh_json_string(b->env->options, "insecure") : NULL;
    char **hosts = told ? wh_strv_split(told, ',') : NULL;
    for (size_t i = 0; b->outputs && i < b->request->noutputs; i++)
        for (char **name = b->outputs[i].insecure ? b->outputs[i].names : NULL; name && *name; name++) {
            wh_autoref ref = {0};
            if (wh_ref_parse(*name, &ref, NULL) == 0)
                wh_strv_add(&hosts, wh_ref_api_host(&ref));
        }
    return hosts;
}

static int open_registry(struct build *b, struct wh_error *err)
{
    const cJSON *told = b->env->options;
    const char *mirror_list = told ? wh_json_string(told, "mirrors") : NULL;
    wh_autostrv char **insecure = insecure_hosts(b),
                     **mirrors = mirror_list ? wh_strv_split(mirror_list, ',') : NULL;
    struct wh_registry_options options = {.credential = b->request->credentials ? channel_credential : NULL,
                                          .credential_data = &b->channel,
                                          .plain_http = b->request->plain_http,
                                          .insecure = insecure,
                                          .mirrors = mirrors,
                                          .ca_file = told ? wh_json_string(told, "ca") : NULL,
                                          .cancel = &b->channel.cancel};
    b->registry = wh_registry_new(NULL, &options, err);
    if (!b->registry)
        return -1;
    struct wh_oci_options oci = {
        .scope = b->scopes.repository, .notice = notice, .data = b, .cancel = &b->channel.cancel};
    b->oci = wh_oci_new(b->store, b->registry, &oci);
    return 0;
}

struct wh_oci *build_oci(struct build *b, struct wh_error *err)
{
    pthread_mutex_lock(&b->lock);
    if (!b->oci && open_registry(b, err) < 0)
        b->oci = NULL;
    struct wh_oci *oci = b->oci;
    pthread_mutex_unlock(&b->lock);
    return oci;
}

static bool has_upper(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] >= 'A' && text[i] <= 'Z')
            return true;
    return false;
}

/* In BuildKit's words. */
static int bad_reference(const char *text, struct wh_error *err)
{
    const char *slash = strchr(text, '/');
    const char *path =
        slash && (memchr(text, '.', (size_t)(slash - text)) || memchr(text, ':', (size_t)(slash - text)) ||
                  wh_starts_with(text, "localhost/") || has_upper(text, (size_t)(slash - text)))
            ? slash + 1
            : text;
    size_t len = strcspn(path, ":@");
    wh_error_clear(err);
    if (has_upper(path, len))
        return wh_fail(
            err, WH_E_ARGUMENT,
            "failed to parse stage name \"%s\": invalid reference format: repository name (%.*s) must be "
            "lowercase",
            text, (int)len, path);
    return wh_fail(err, WH_E_ARGUMENT, "failed to parse stage name \"%s\": invalid reference format", text);
}

static int resolve(struct build *b, const char *text, const char *platform_text, struct wh_oci_image **out,
                   struct wh_error *err)
{
    wh_autoref ref = {0};
    struct wh_platform platform;
    struct wh_oci *oci = build_oci(b, err);
    if (!oci || wh_platform_parse(platform_text, &platform, err) < 0)
        return -1;
    if (wh_ref_parse(text, &ref, err) < 0)
        return bad_reference(text, err);
    wh_autofree char *full = wh_ref_text(&ref);
    wh_autofree char *title = wh_printf("[internal] load metadata for %s", full);
    uint64_t vertex = report_start(&b->report, title, NULL);
    int status = wh_oci_resolve(oci, &ref, &platform, b->request->pull ? WH_RESOLVE_PULL : WH_RESOLVE_DEFAULT,
                                out, err);
    report_end(&b->report, vertex, status, err);
    if (status < 0 && err && err->code == WH_E_NOT_FOUND) {
        wh_error_clear(err);
        wh_fail(err, WH_E_NOT_FOUND, "%s: not found", full);
    }
    return status < 0 ? wh_wrap(err, "%s: failed to resolve source metadata for %s", text, full) : 0;
}

int image_get(struct build *b, const char *ref, const char *platform, struct wh_oci_image **out,
              struct wh_error *err)
{
    wh_autofree char *name = wh_printf("%s#%s", ref, platform);
    for (size_t i = 0; i < b->nimages; i++)
        if (strcmp(b->images[i].name, name) == 0) {
            *out = b->images[i].image;
            return 0;
        }
    if (b->nimages == WH_COUNT(b->images))
        return wh_fail(err, WH_E_LIMIT, "more than %zu images in one build", WH_COUNT(b->images));
    if (resolve(b, ref, platform, out, err) < 0)
        return -1;
    b->images[b->nimages++] = (struct image_entry){wh_steal(&name), *out};
    return 0;
}

int named_get(struct build *b, const struct wh_df_source *from, const char *platform,
              struct wh_oci_image **out, const struct wh_build_context **context, struct wh_error *err)
{
    *out = NULL;
    *context = NULL;
    if (from->kind == WH_DF_SOURCE_IMAGE)
        return image_get(b, from->name, platform, out, err);
    const char *name = from->kind == WH_DF_SOURCE_CONTEXT ? "context" : from->name;
    for (size_t i = 0; i < b->request->ncontexts; i++) {
        const struct wh_build_context *c = &b->request->contexts[i];
        if (strcmp(c->name, name) != 0)
            continue;
        if (!c->value) {
            *context = c;
            return 0;
        }
        if (wh_starts_with(c->value, "docker-image://"))
            return image_get(b, c->value + strlen("docker-image://"), platform, out, err);
        if (wh_git_address(c->value)) {
            *context = c;
            return 0;
        }
        return wh_fail(
            err, WH_E_UNSUPPORTED,
            "build context %s: `%s` is not supported yet (a folder, docker-image:// or a git address is)",
            name, c->value);
    }
    return wh_fail(err, WH_E_NOT_FOUND, "there is no build context named %s", name);
}
