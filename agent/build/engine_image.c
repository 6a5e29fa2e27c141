/* Images of an engine: pulled when they are asked for, their layers as trees of the store. */
#include "build/engine.h"
#include "wherry/base/secret.h"

static int give_credential(void *data, const char *host, struct wh_credential *out, struct wh_error *err)
{
    const cJSON *login = wh_json_get(data, host);
    const char *user = wh_json_string(login, "user");
    const char *password = wh_json_string(login, "password");
    (void)err;
    out->user = wh_strdup(user);
    out->password = password ? wh_secret_new(password, strlen(password)) : NULL;
    return 0;
}

static int unpack(struct wh_oci *oci, struct wh_oci_image *image, int64_t **ids, struct wh_error *err)
{
    wh_autofree int64_t *base_first = wh_calloc(image->nlayers + 1, sizeof(int64_t));
    if (image->nlayers > 0 && wh_oci_ensure_trees(oci, image, image->nlayers, base_first, err) < 0)
        return -1;
    *ids = wh_calloc(image->nlayers + 1, sizeof(int64_t));
    for (size_t i = 0; i < image->nlayers; i++)
        (*ids)[i] = base_first[image->nlayers - 1 - i];
    return 0;
}

static int resolve(struct engine *e, struct wh_registry *registry, const char *name, bool pull,
                   struct wh_oci_image **image, int64_t **ids, struct wh_error *err)
{
    wh_autoref ref = {0};
    struct wh_platform platform;
    struct wh_oci_options options = {.scope = e->scope};
    wh_platform_host(&platform);
    if (wh_ref_parse(name, &ref, err) < 0)
        return -1;
    struct wh_oci *oci = wh_oci_new(e->store, registry, &options);
    int n = wh_oci_resolve(oci, &ref, &platform, pull ? WH_RESOLVE_DEFAULT : WH_RESOLVE_LOCAL, image, err);
    if (n == 0)
        n = unpack(oci, *image, ids, err);
    wh_oci_free(oci);
    return n;
}

int engine_image(struct engine *e, const cJSON *request, const char *reference, struct wh_oci_image **image,
                 int64_t **ids, struct wh_error *err)
{
    *image = NULL;
    *ids = NULL;
    wh_autoref ref = {0};
    if (wh_ref_parse(reference, &ref, err) < 0)
        return -1;
    wh_autofree char *full = wh_ref_text(&ref);
    pthread_mutex_lock(&e->lock);
    const char *built = wh_json_string(e->images, full);
    wh_autofree char *name = wh_strdup(built ? built : reference);
    pthread_mutex_unlock(&e->lock);
    struct wh_registry_options options = {.credential = give_credential,
                                          .credential_data = (void *)wh_json_get(request, "logins")};
    struct wh_registry *registry = wh_registry_new(NULL, &options, err);
    if (!registry)
        return -1;
    int n = resolve(e, registry, name, wh_json_bool(request, "pull", false), image, ids, err);
    wh_registry_free(registry);
    if (n < 0) {
        wh_oci_image_free(wh_steal(image));
        return wh_wrap(err, "image %s", reference);
    }
    return 0;
}
