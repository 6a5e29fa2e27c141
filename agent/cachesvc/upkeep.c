/* What is done now and then: last uses written down, reservations that nobody uses given up. */
#include "cachesvc/internal.h"

#define EVERY_MS 5000
#define MAX_INDEX ((size_t)8 << 20)

struct chore {
    uv_work_t work;
    struct wh_cachesvc *svc;
    int64_t *touched, *roots;
    size_t ntouched, nroots;
    int64_t *stale; /* found */
    size_t nstale;
    int64_t before; /* ns */
};

/* The blobs that an index of BuildKit's names are used with it: else it would outlive them. */
static void touch_blobs(struct wh_cachesvc *svc, int64_t id)
{
    wh_autocacheentry index = {0};
    wh_autofree char *repository = NULL;
    wh_autostr text = {0};
    if (wh_cache_find_id(svc->writes, id, &index, &repository, NULL) != 1 || index.size > MAX_INDEX ||
        wh_blob_read(svc->writes, &index.digest, MAX_INDEX, &text, NULL) < 0)
        return;
    wh_autojson *json = wh_json_parse(wh_str_text(&text), text.len, MAX_INDEX, "index", NULL);
    const cJSON *layer;
    cJSON_ArrayForEach(layer, wh_json_get(json, "layers"))
    {
        const char *digest = wh_json_string(layer, "blob");
        wh_autofree char *key = wh_printf("buildkit-blob-1-%s", digest ? digest : "");
        struct wh_cache_name name = {WH_CACHE_ENTRY, repository, index.scope, index.version, key};
        wh_autocacheentry blob = {0};
        if (digest && wh_cache_find(svc->writes, &name, &blob, NULL) == 1)
            (void)wh_cache_touch(svc->writes, &blob.id, 1, NULL);
    }
}

static void find_stale(struct chore *c)
{
    size_t n = 0;
    wh_autofree int64_t *ids = wh_upload_ids(c->svc->writes, NULL, &n, NULL);
    c->stale = wh_calloc(n + 1, sizeof(*c->stale));
    for (size_t i = 0; ids && i < n; i++) {
        int64_t last = wh_upload_last(c->svc->writes, ids[i], NULL);
        if (last > 0 && last < c->before)
            c->stale[c->nstale++] = ids[i];
    }
}

static void on_chore(uv_work_t *work)
{
    struct chore *c = work->data;
    wh_autoerror err = {0};
    if (c->ntouched > 0 && wh_cache_touch(c->svc->writes, c->touched, c->ntouched, &err) < 0)
        wh_log_debug("cache service: last uses: %s", wh_error_text(&err));
    for (size_t i = 0; i < c->nroots; i++)
        touch_blobs(c->svc, c->roots[i]);
    find_stale(c);
}

static void after_chore(uv_work_t *work, int status)
{
    (void)status;
    struct chore *c = work->data;
    struct wh_cachesvc *svc = c->svc;
    svc->works--;
    for (size_t i = 0; i < c->nstale && !svc->ending; i++) {
        struct svc_live *live;
        HASH_FIND(hh, svc->lives, &c->stale[i], sizeof(c->stale[i]), live);
        if (live && (live->users > 0 || live->finishing))
            continue; /* a request is under way: it is no abandoned one */
        wh_log_info("cache service: a reservation without bytes for %u s is given up", svc->reserve_seconds);
        svc_live_drop(svc, c->stale[i]);
    }
    free(c->touched);
    free(c->roots);
    free(c->stale);
    free(c);
}

static void on_upkeep(uv_timer_t *timer)
{
    struct wh_cachesvc *svc = timer->data;
    struct chore *c = wh_calloc(1, sizeof(*c));
    *c = (struct chore){.svc = svc,
                        .touched = wh_steal(&svc->touched),
                        .ntouched = svc->ntouched,
                        .roots = wh_steal(&svc->roots),
                        .nroots = svc->nroots,
                        .before = wh_now_ns() - (int64_t)svc->reserve_seconds * 1000000000};
    svc->ntouched = svc->nroots = 0;
    c->work.data = c;
    svc_lives_close(svc, false);
    svc->works++;
    (void)uv_queue_work(svc->loop, &c->work, on_chore, after_chore);
}

void svc_upkeep_start(struct wh_cachesvc *svc)
{
    uv_timer_init(svc->loop, &svc->upkeep);
    svc->upkeep.data = svc;
    uint64_t every = WH_MIN((uint64_t)EVERY_MS, (uint64_t)svc->reserve_seconds * 250 + 1);
    uv_timer_start(&svc->upkeep, on_upkeep, every, every);
}
