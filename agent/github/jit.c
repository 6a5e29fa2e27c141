/* The just-in-time string: base64 of a JSON map from file name to the base64 of its bytes (runner-protocol.md
 * §1.8). */
#include "github/rest.h"
#include "wherry/base/digest.h"
#include "wherry/base/log.h"
#include "wherry/github/official.h"

static int fail_string(struct wh_error *err, const char *why)
{
    return wh_fail(
        err, WH_E_PARSE,
        "the just-in-time configuration %s: give the whole encoded_jit_config, as GitHub answered it", why);
}

static int decode_outer(const char *text, size_t len, struct wh_str *out, struct wh_error *err)
{
    struct wh_str bare = {0};
    if (len > WH_MAX_JIT_BYTES)
        return wh_fail(err, WH_E_LIMIT, "the just-in-time configuration is longer than %zu bytes",
                       WH_MAX_JIT_BYTES);
    wh_str_reserve(&bare, len + 1);
    for (size_t i = 0; i < len; i++) /* editors and `base64` break lines */
        if (!strchr(" \t\r\n", text[i]) || text[i] == '\0')
            wh_str_addc(&bare, text[i]);
    bool ok = bare.len > 0 && wh_unbase64(bare.data, bare.len, out);
    bool empty = bare.len == 0;
    wh_str_wipe(&bare);
    if (ok)
        return 0;
    return fail_string(err, empty ? "is empty" : "is not base64");
}

static int decode_file(const cJSON *map, size_t i, struct wh_str *out, struct wh_error *err)
{
    const char *name = wh_official_file_name(i);
    const char *text = wh_json_string(map, name);
    if (!text || !*text)
        return wh_fail(err, WH_E_PARSE, "the just-in-time configuration lacks the file %s", name);
    wh_str_reserve(out, strlen(text));
    if (wh_unbase64(text, strlen(text), out) && out->len <= WH_MAX_OFFICIAL_FILE)
        return 0;
    return wh_fail(err, WH_E_PARSE, "the just-in-time configuration's file %s is not base64, or too long",
                   name);
}

/* Other files would be written beside our own by the official runner; we want none of them. */
static void tell_others(const cJSON *map)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, map)
    {
        bool known = false;
        for (size_t i = 0; i < WH_OFFICIAL_FILES; i++)
            known |= wh_streq_ci(item->string, wh_official_file_name(i));
        if (!known)
            wh_log_debug("the just-in-time configuration's file %.60s is passed over", item->string);
    }
}

static int read_map(const cJSON *map, struct wh_official *out, struct wh_error *err)
{
    struct wh_official_texts texts = {0};
    struct wh_view views[WH_OFFICIAL_FILES];
    int code = 0;
    tell_others(map);
    for (size_t i = 0; code == 0 && i < WH_OFFICIAL_FILES; i++) {
        code = decode_file(map, i, &texts.text[i], err);
        views[i] = (struct wh_view){.data = wh_str_text(&texts.text[i]), .len = texts.text[i].len};
    }
    if (code == 0 && (code = wh_official_read(views, out, err)))
        wh_wrap(err, "the just-in-time configuration");
    wh_official_texts_clear(&texts);
    return code;
}

int wh_jit_read(const char *text, size_t len, struct wh_official *out, struct wh_error *err)
{
    struct wh_str outer = {0};
    wh_autoerror ignored = {0};
    memset(out, 0, sizeof *out);
    if (decode_outer(text, len, &outer, err)) {
        wh_str_wipe(&outer);
        return -1;
    }
    cJSON *map = wh_json_parse(outer.data, outer.len, WH_MAX_JIT_BYTES, "map", &ignored);
    int code =
        cJSON_IsObject(map) ? read_map(map, out, err) : fail_string(err, "is cut off, or no map of files");
    gh_json_wipe(map);
    cJSON_Delete(map);
    wh_str_wipe(&outer);
    if (code == 0)
        out->config->ephemeral = true;
    return code;
}
