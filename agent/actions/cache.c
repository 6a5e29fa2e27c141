/* actions/cache, /restore and /save, v3 to v5 (actions.md §8): the lines, outputs and states of the original;
 * archives and versions that both read. */
#include <stdio.h>
#include <unistd.h>

#include "actions/cache_archive.h"
#include "actions/cache_client.h"
#include "actions/list.h"
#include "wherry/base/clock.h"
#include "wherry/base/digest.h"
#include "wherry/platform/process.h"

#define SERVICE "CacheService"
#define MAX_KEYS 10
#define MAX_KEY 512

#define PATH_INPUTS                                                                                          \
    {.name = "path", .required = true},                                                                      \
    {                                                                                                        \
        .name = "key", .required = true                                                                      \
    }
#define RESTORE_INPUTS                                                                                       \
    {.name = "restore-keys"}, {.name = "fail-on-cache-miss", .default_value = "false"},                      \
    {                                                                                                        \
        .name = "lookup-only", .default_value = "false"                                                      \
    }
#define SHARED_INPUTS                                                                                        \
    {                                                                                                        \
        .name = "enableCrossOsArchive", .default_value = "false"                                             \
    }

static const struct wh_action_input cache_inputs[] = {
    PATH_INPUTS,
    RESTORE_INPUTS,
    SHARED_INPUTS,
    {.name = "upload-chunk-size"},
    {.name = "save-always",
     .default_value = "false",
     .deprecation =
         "save-always does not work as intended and will be removed in a future release.\n"
         "A separate `actions/cache/restore` step should be used instead.\n"
         "See https://github.com/actions/cache/tree/main/save#always-save-cache for more details.\n",
     .min_major = 3},
};
static const struct wh_action_input restore_inputs[] = {PATH_INPUTS, RESTORE_INPUTS, SHARED_INPUTS};
static const struct wh_action_input save_inputs[] = {
    PATH_INPUTS, SHARED_INPUTS, {.name = "upload-chunk-size"}};

/* ---- inputs ---- */

/* Lines, trimmed, without the empty ones; blanks behind a "!" go. */
static char **lines_of(struct wh_action_run *run, const char *name)
{
    char **out = wh_calloc(1, sizeof(*out));
    const char *text = wh_action_input(run, name);
    struct wh_reader r = wh_reader_of(text, strlen(text));
    struct wh_view line;
    while (wh_reader_line(&r, &line)) {
        line = wh_view_trim(line);
        bool not = line.len > 0 && line.data[0] == '!';
        if (not )
            line = wh_view_trim((struct wh_view){line.data + 1, line.len - 1});
        if (line.len > 0 || not )
            wh_strv_take(&out, wh_printf("%s%.*s", not ? "!" : "", (int)line.len, line.data));
    }
    return out;
}

static const char *need_input(struct wh_action_run *run, const char *name, struct wh_error *err)
{
    const char *value = wh_action_input(run, name);
    if (value[0])
        return value;
    wh_fail(err, WH_E_ARGUMENT, "Input required and not supplied: %s", name);
    return NULL;
}

static bool is_true(struct wh_action_run *run, const char *name)
{
    return wh_streq_ci(wh_action_input(run, name), "true");
}

static void say_warning(const char *text)
{
    wh_action_print("[warning]%s", text);
}

static bool is_available(void)
{
    if (wh_action_env("ACTIONS_RESULTS_URL")[0] && wh_action_env("ACTIONS_CACHE_SERVICE_V2")[0])
        return true;
    if (wh_action_env("ACTIONS_CACHE_URL")[0])
        say_warning(
            "The cache service of this server speaks version 1 alone, which wherry's own actions/cache does "
            "not: let wherry keep the caches (setting services.cache), or turn the native action off.");
    else
        say_warning(
            "An internal error has occurred in cache backend. Please check https://www.githubstatus.com/ for "
            "any ongoing issue in actions.");
    return false;
}

static bool is_tied_to_ref(void)
{
    if (wh_action_env("GITHUB_REF")[0])
        return true;
    wh_action_print(
        "[warning]Event Validation Error: The event type %s is not supported because it's not tied to a "
        "branch or tag ref.",
        wh_action_env("GITHUB_EVENT_NAME"));
    return false;
}

/* What both halves need. */
struct cache {
    char **paths;
    const char *key;
    char *version;
    bool zstd;
    const char *workspace;
    struct wh_globs globs;
};

static void cache_clear(struct cache *c)
{
    wh_strv_free(c->paths);
    wh_globs_free(&c->globs);
    free(c->version);
}

/* The original asks for the program: caches of both are the same where it is. */
static bool has_zstd(void)
{
    wh_autofree char *program = wh_find_program("zstd", wh_action_env("PATH"), false);
    return program != NULL;
}

static char *version_of(char *const *paths, bool zstd)
{
    wh_autofree char *joined = wh_strv_join(paths, "|");
    wh_autofree char *text = wh_printf("%s|%s|1.0", joined, zstd ? "zstd-without-long" : "gzip");
    struct wh_digest digest;
    wh_digest_of(text, strlen(text), &digest);
    return wh_hex(digest.bytes, sizeof(digest.bytes));
}

static int cache_read_inputs(struct wh_action_run *run, struct cache *c, struct wh_error *err)
{
    if (!need_input(run, "path", err))
        return -1;
    c->paths = lines_of(run, "path");
    c->zstd = has_zstd();
    c->version = version_of(c->paths, c->zstd);
    c->workspace = wh_action_env("GITHUB_WORKSPACE");
    wh_autofree char *patterns = wh_strv_join(c->paths, "\n");
    return wh_globs_parse(&c->globs, c->workspace, patterns, false, err);
}

static size_t characters(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static int check_key(const char *key, struct wh_error *err)
{
    if (characters(key) > MAX_KEY)
        return wh_fail(err, WH_E_ARGUMENT, "Key Validation Error: %s cannot be larger than %d characters.",
                       key, MAX_KEY);
    if (strchr(key, ','))
        return wh_fail(err, WH_E_ARGUMENT, "Key Validation Error: %s cannot contain commas.", key);
    return 0;
}

static void say_size(uint64_t size)
{
    wh_action_print("Cache Size: ~%llu MB (%llu B)", (unsigned long long)((size + (512 << 10)) >> 20),
                    (unsigned long long)size);
}

/* ---- restoring ---- */

static int fetch(struct cache *c, struct cache_client *client, const char *url, struct wh_error *err)
{
    uint64_t size = 0;
    wh_autoclose int archive = cache_temporary(err);
    if (archive < 0 || cache_download(client, url, archive, &size, NULL, NULL, err) < 0)
        return -1;
    say_size(size);
    if (cache_archive_read(archive, c->workspace, &c->globs, err) < 0)
        return -1;
    wh_action_print("Cache restored successfully");
    return 0;
}

static cJSON *ask(struct cache *c, struct cache_client *client, char *const *keys, struct wh_error *err)
{
    cJSON *request = cJSON_CreateObject();
    wh_json_add_string(request, "key", keys[0]);
    if (keys[1]) {
        cJSON *restore = cJSON_AddArrayToObject(request, "restore_keys");
        for (size_t i = 1; keys[i]; i++)
            cJSON_AddItemToArray(restore, cJSON_CreateString(keys[i]));
    }
    wh_json_add_string(request, "version", c->version);
    return cache_call(client, SERVICE, "GetCacheEntryDownloadURL", request, NULL, err);
}

/* The matched key (owned); NULL with err, or without: a miss. */
static char *restore(struct cache *c, char *const *keys, bool lookup_only, struct wh_error *err)
{
    wh_autocacheclient *client = cache_client_new(err);
    if (!client)
        return NULL;
    wh_autojson *answer = ask(c, client, keys, err);
    const char *matched = wh_json_string(answer, "matched_key");
    const char *url = wh_json_string(answer, "signed_download_url");
    if (!answer || !wh_json_bool(answer, "ok", false) || !matched || !url)
        return NULL;
    wh_action_print(wh_streq(matched, keys[0]) ? "Cache hit for: %s" : "Cache hit for restore-key: %s",
                    matched);
    if (lookup_only)
        wh_action_print("Lookup only - skipping download");
    else if (fetch(c, client, url, err) < 0)
        return NULL;
    return wh_strdup(matched);
}

static int keys_of(struct wh_action_run *run, const char *key, char ***keys, struct wh_error *err)
{
    wh_autostrv char **more = lines_of(run, "restore-keys");
    wh_strv_add(keys, key);
    for (size_t i = 0; more[i]; i++)
        wh_strv_add(keys, more[i]);
    if (wh_strv_len(*keys) > MAX_KEYS)
        return wh_fail(err, WH_E_ARGUMENT, "Key Validation Error: Keys are limited to a maximum of %d.",
                       MAX_KEYS);
    for (size_t i = 0; (*keys)[i]; i++)
        if (check_key((*keys)[i], err) < 0)
            return -1;
    return 0;
}

static bool mode_forbids(const char *half, const char *a, const char *b, const char *what)
{
    const char *mode = wh_action_env("ACTIONS_CACHE_MODE");
    if (!wh_streq(mode, a) && !wh_streq(mode, b))
        return false;
    wh_action_print("Cache %s skipped: the effective cache-mode '%s' does not permit %s.", half, mode, what);
    return true;
}

static int restore_step(struct wh_action_run *run, bool only, struct wh_error *err)
{
    struct cache c __attribute__((cleanup(cache_clear))) = {0};
    wh_autostrv char **keys = NULL;
    if (!is_available())
        return wh_action_set_output(run, "cache-hit", "false", err);
    if (!is_tied_to_ref())
        return 0;
    c.key = need_input(run, "key", err);
    if (!c.key || (only ? wh_action_set_output(run, "cache-primary-key", c.key, err)
                        : wh_action_save_state(run, "CACHE_KEY", c.key, err)) < 0)
        return -1;
    if (cache_read_inputs(run, &c, err) < 0 || keys_of(run, c.key, &keys, err) < 0)
        return -1;
    wh_autoerror why = {0};
    bool lookup = is_true(run, "lookup-only");
    wh_autofree char *matched =
        mode_forbids("restore", "none", "write-only", "reads") ? NULL : restore(&c, keys, lookup, &why);
    if (why.code != WH_OK)
        wh_action_warning("Failed to restore: %s", wh_error_text(&why));
    if (!matched && is_true(run, "fail-on-cache-miss"))
        return wh_fail(err, WH_E_NOT_FOUND,
                       "Failed to restore cache entry. Exiting as fail-on-cache-miss is set. Input key: %s",
                       c.key);
    if (!matched) {
        wh_autofree char *joined = wh_strv_join(keys, ", ");
        wh_action_print("Cache not found for input keys: %s", joined);
        return 0;
    }
    if ((only ? wh_action_set_output(run, "cache-matched-key", matched, err)
              : wh_action_save_state(run, "CACHE_RESULT", matched, err)) < 0 ||
        wh_action_set_output(run, "cache-hit", wh_streq_ci(matched, c.key) ? "true" : "false", err) < 0)
        return -1;
    wh_action_print(lookup ? "Cache found and can be restored from key: %s" : "Cache restored from key: %s",
                    matched);
    return 0;
}

static int main_restore(struct wh_action_run *run)
{
    wh_autoerror err = {0};
    return restore_step(run, false, &err) < 0 ? wh_action_fail(&err) : 0;
}

static int main_restore_only(struct wh_action_run *run)
{
    wh_autoerror err = {0};
    return restore_step(run, true, &err) < 0 ? wh_action_fail(&err) : 0;
}

/* ---- saving ---- */

/* 0; 1: the key is taken (said); negative: why. */
static int upload(struct cache *c, int archive, uint64_t size, struct wh_error *err)
{
    wh_autocacheclient *client = cache_client_new(err);
    if (!client)
        return -1;
    wh_autoerror why = {0};
    cJSON *request = cJSON_CreateObject();
    wh_json_add_string(request, "key", c->key);
    wh_json_add_string(request, "version", c->version);
    wh_autojson *made = cache_call(client, SERVICE, "CreateCacheEntry", request, NULL, &why);
    const char *url = wh_json_string(made, "signed_upload_url");
    const char *message = wh_json_string(made, "message");
    if (!made || !wh_json_bool(made, "ok", false) || !url) {
        bool denied = message && wh_starts_with(message, "cache write denied:");
        if (denied)
            wh_action_warning("Failed to save: Unable to reserve cache with key %s. More details: %s", c->key,
                              message);
        else if (message && message[0])
            wh_action_warning("Cache reservation failed: %s", message);
        if (!denied)
            wh_action_print("Failed to save: Unable to reserve cache with key %s, another job may be "
                            "creating this cache.",
                            c->key);
        return 1;
    }
    uint64_t began = wh_mono_ms();
    if (cache_upload(client, url, archive, size, NULL, err) < 0)
        return -1;
    double seconds = (double)WH_MAX(wh_mono_ms() - began, (uint64_t)1) / 1000;
    wh_action_print("Sent %llu of %llu (100.0%%), %.1f MBs/sec", (unsigned long long)size,
                    (unsigned long long)size, (double)size / (1 << 20) / seconds);
    wh_autofree char *bytes = wh_printf("%llu", (unsigned long long)size);
    request = cJSON_CreateObject();
    wh_json_add_string(request, "key", c->key);
    wh_json_add_string(request, "size_bytes", bytes);
    wh_json_add_string(request, "version", c->version);
    wh_autojson *done = cache_call(client, SERVICE, "FinalizeCacheEntryUpload", request, NULL, err);
    if (!done)
        return -1;
    if (wh_json_bool(done, "ok", false))
        return 0;
    message = wh_json_string(done, "message");
    return message && message[0]
               ? wh_fail(err, WH_E_DENIED, "%s", message)
               : wh_fail(err, WH_E_FAILED,
                         "Unable to finalize cache with key %s, another job may be finalizing this cache.",
                         c->key);
}

static int save(struct cache *c, struct wh_error *err)
{
    wh_autostrv char **found = cache_paths(c->workspace, &c->globs, err);
    if (!found)
        return err->code != WH_OK
                   ? -1
                   : wh_fail(err, WH_E_ARGUMENT,
                             "Path Validation Error: Path(s) specified in the action for caching "
                             "do(es) not exist, hence no cache is being saved.");
    uint64_t size = 0;
    wh_autoerror why = {0};
    wh_autoclose int archive = cache_temporary(&why);
    int rc = archive < 0 || cache_archive_write(archive, c->workspace, found, c->zstd, &size, &why) < 0
                 ? -1
                 : upload(c, archive, size, &why);
    if (rc < 0 && why.code == WH_E_DENIED)
        wh_action_warning("%s", wh_error_text(&why));
    else if (rc < 0)
        wh_action_warning("Failed to save: %s", wh_error_text(&why));
    return rc == 0 ? 0 : 1;
}

/* 0: saved, or there was nothing to do; 1: it failed, which was said. */
static int save_step(struct wh_action_run *run, bool only)
{
    struct cache c __attribute__((cleanup(cache_clear))) = {0};
    wh_autoerror err = {0};
    if (!is_available() || !is_tied_to_ref())
        return 0;
    const char *state = only ? "" : wh_action_state(run, "CACHE_KEY");
    c.key = state[0] ? state : wh_action_input(run, "key");
    if (!c.key[0]) {
        say_warning("Key is not specified.");
        return 0;
    }
    const char *restored = only ? "" : wh_action_state(run, "CACHE_RESULT");
    if (restored[0] && wh_streq_ci(restored, c.key)) {
        wh_action_print("Cache hit occurred on the primary key %s, not saving cache.", c.key);
        return 0;
    }
    if (mode_forbids("save", "none", "read", "writes"))
        return 1;
    int rc = -1;
    if (cache_read_inputs(run, &c, &err) == 0 && check_key(c.key, &err) == 0)
        rc = save(&c, &err);
    if (rc < 0)
        say_warning(wh_error_text(&err));
    else if (rc == 0)
        wh_action_print("Cache saved with key: %s", c.key);
    return rc == 0 ? 0 : 1;
}

static int post_save(struct wh_action_run *run)
{
    (void)save_step(run, false);
    return 0;
}

static int main_save_only(struct wh_action_run *run)
{
    if (save_step(run, true) != 0)
        wh_action_warning("Cache save failed.");
    return 0;
}

#define CACHE_ACTION(inputs_)                                                                                \
    .repository = "actions/cache", .min_major = 3, .max_major = 5, .inputs = (inputs_),                      \
    .ninputs = WH_COUNT(inputs_), .host_only = true

const struct wh_action wh_action_cache = {CACHE_ACTION(cache_inputs), .main = main_restore, .post = post_save,
                                          .post_if = "success()"};
const struct wh_action wh_action_cache_restore = {CACHE_ACTION(restore_inputs), .path = "restore",
                                                  .main = main_restore_only};
const struct wh_action wh_action_cache_save = {CACHE_ACTION(save_inputs), .path = "save",
                                               .main = main_save_only};
