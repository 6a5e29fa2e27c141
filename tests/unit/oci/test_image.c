/* The image model: BuildKit's bytes, limits, platform choice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "wherry/oci/image.h"

#define D1 "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2 "sha256:2222222222222222222222222222222222222222222222222222222222222222"

static void test_go_json(void **state)
{
    (void)state;
    wh_autojson *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "a", "<b>&\"\\\n\x01\xe2\x80\xa8\xc3\xa9\xff\x7f");
    cJSON_AddNumberToObject(json, "n", 30000000000.0);
    cJSON_AddItemToObject(json, "o", cJSON_CreateObject());
    cJSON_AddItemToObject(json, "e", cJSON_CreateArray());
    wh_autofree char *text = wh_go_json(json);
    assert_string_equal(
        text,
        "{\"a\":\"\\u003cb\\u003e\\u0026\\\"\\\\\\n\\u0001\\u2028\xc3\xa9\\ufffd\x7f\",\"n\":30000000000,"
        "\"o\":{},\"e\":[]}");
    wh_autofree char *indented = wh_go_json_indented(json);
    assert_non_null(strstr(indented, "\n  \"n\": 30000000000,\n  \"o\": {},\n  \"e\": []\n}"));
}

/* The bytes of a config as BuildKit writes them: members in its order, empty ones left out. */
static void test_config_print(void **state)
{
    (void)state;
    struct wh_platform p = {.os = "linux", .arch = "amd64"};
    struct wh_digest d;
    wh_autojson *config = wh_image_config_new(&p);
    cJSON *section = wh_image_config_section(config);
    cJSON *labels = cJSON_AddObjectToObject(section, "Labels");
    cJSON_AddStringToObject(labels, "z", "<1>");
    cJSON_AddStringToObject(labels, "a", "2");
    cJSON_AddArrayToObject(section, "Cmd");
    cJSON_AddStringToObject(section, "User", "me");
    assert_int_equal(wh_digest_parse(D1, &d, NULL), 0);
    wh_image_config_add_diff_id(config, &d);
    wh_image_config_add_history(config, "2026-01-02T03:04:05.000000006Z", "COPY a b # buildkit", NULL, false);
    wh_image_config_add_history(config, "2026-01-02T03:04:05.000000006Z", "USER me", NULL, true);
    wh_image_config_set_created(config, "2026-01-02T03:04:05.000000006Z");
    wh_autofree char *text = wh_image_config_print(config);
    assert_string_equal(
        text, "{\"architecture\":\"amd64\",\"config\":{\"User\":\"me\",\"Env\":[\"PATH=/usr/local/sbin:/usr/"
              "local/bin:/usr/"
              "sbin:/usr/bin:/sbin:/bin\"],\"WorkingDir\":\"/"
              "\",\"Labels\":{\"a\":\"2\",\"z\":\"\\u003c1\\u003e\"}},"
              "\"created\":\"2026-01-02T03:04:05.000000006Z\",\"history\":[{\"created\":\"2026-01-02T03:04:"
              "05.000000006Z\","
              "\"created_by\":\"COPY a b # buildkit\",\"comment\":\"buildkit.dockerfile.v0\"},{\"created\":"
              "\"2026-01-02T03:04:05.000000006Z\",\"created_by\":\"USER "
              "me\",\"comment\":\"buildkit.dockerfile.v0\","
              "\"empty_layer\":true}],\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" D1
              "\"]}}");
    assert_int_equal(wh_image_config_history_layers(config), 1);
    wh_autojson *again = wh_image_config_parse(text, strlen(text), NULL);
    assert_non_null(again);
    wh_autofree char *same = wh_image_config_print(again);
    assert_string_equal(same, text);
}

static void test_config_without_layers(void **state)
{
    (void)state;
    struct wh_platform p = {.os = "linux", .arch = "arm", .variant = "v7"};
    wh_autojson *config = wh_image_config_new(&p);
    wh_image_config_set_created(config, "2026-01-02T03:04:05Z");
    wh_autofree char *text = wh_image_config_print(config);
    assert_non_null(strstr(text, "\"created\":null"));
    assert_non_null(strstr(text, "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":null},\"variant\":\"v7\"}"));
    assert_null(strstr(text, "history"));
}

/* What a newer tool put there stays. */
static void test_config_keeps_unknown(void **state)
{
    (void)state;
    const char *text =
        "{\"os\":\"linux\",\"architecture\":\"amd64\",\"moby.buildkit.cache.v0\":\"abc\",\"config\":{\"New\":"
        "[1],"
        "\"Healthcheck\":{\"Retries\":3,\"Test\":[\"NONE\"],\"Interval\":0}},\"rootfs\":{\"type\":\"layers\","
        "\"diff_ids\":[\"" D1 "\"]}}";
    wh_autojson *config = wh_image_config_parse(text, strlen(text), NULL);
    wh_autofree char *out = wh_image_config_print(config);
    assert_non_null(strstr(out, "\"moby.buildkit.cache.v0\":\"abc\""));
    assert_non_null(
        strstr(out, "\"config\":{\"Healthcheck\":{\"Test\":[\"NONE\"],\"Retries\":3},\"New\":[1]}"));
}

static void refuse_config(const char *text, const char *why)
{
    wh_autoerror err = {0};
    cJSON *config = wh_image_config_parse(text, strlen(text), &err);
    assert_null(config);
    if (!strstr(wh_error_text(&err), why))
        fail_msg("\"%s\" lacks \"%s\"", wh_error_text(&err), why);
}

static void test_config_refuses(void **state)
{
    (void)state;
    refuse_config("", "image config");
    refuse_config("[]", "no JSON object");
    refuse_config("{\"os\":\"linux\"}", "architecture");
    refuse_config("{\"os\":\"linux\",\"architecture\":\"a\",\"config\":3}", "config is no object");
    refuse_config("{\"os\":\"linux\",\"architecture\":\"a\",\"rootfs\":{\"diff_ids\":[\"x\"]}}",
                  "diff_ids[0]");
    refuse_config("{\"os\":\"linux\",\"architecture\":\"a\",\"history\":[1]}", "history[0]");
}

static void test_manifest(void **state)
{
    (void)state;
    struct wh_digest config, layer;
    wh_automanifest m = {.media_type = wh_strdup(WH_MEDIA_OCI_MANIFEST)};
    struct wh_descriptor d = {0};
    wh_digest_parse(D1, &config, NULL);
    wh_digest_parse(D2, &layer, NULL);
    wh_descriptor_set(&m.config, WH_MEDIA_OCI_CONFIG, &config, 12);
    wh_autofree char *empty = wh_manifest_print(&m);
    assert_non_null(strstr(empty, "  \"layers\": null\n}"));
    wh_descriptor_set(&d, wh_layer_media_type(WH_COMPRESS_GZIP, false), &layer, 5000000000);
    wh_manifest_add_layer(&m, &d);
    wh_descriptor_clear(&d);
    wh_autofree char *text = wh_manifest_print(&m);
    assert_string_equal(
        text, "{\n  \"schemaVersion\": 2,\n  \"mediaType\": \"application/vnd.oci.image.manifest.v1+json\",\n"
              "  \"config\": {\n    \"mediaType\": \"application/vnd.oci.image.config.v1+json\",\n"
              "    \"digest\": \"" D1 "\",\n    \"size\": 12\n  },\n  \"layers\": [\n    {\n"
              "      \"mediaType\": \"application/vnd.oci.image.layer.v1.tar+gzip\",\n"
              "      \"digest\": \"" D2 "\",\n      \"size\": 5000000000\n    }\n  ]\n}");
    wh_automanifest again = {0};
    assert_int_equal(wh_manifest_parse(text, strlen(text), &again, NULL), 0);
    wh_autofree char *same = wh_manifest_print(&again);
    assert_string_equal(same, text);
    enum wh_manifest_kind kind;
    assert_int_equal(wh_manifest_kind(text, strlen(text), WH_MEDIA_OCI_INDEX, &kind, NULL), 0);
    assert_int_equal(kind, WH_KIND_MANIFEST);
}

static void refuse_manifest(const char *text, const char *why)
{
    wh_autoerror err = {0};
    wh_automanifest m = {0};
    assert_int_equal(wh_manifest_parse(text, strlen(text), &m, &err), -1);
    if (!strstr(wh_error_text(&err), why))
        fail_msg("\"%s\" lacks \"%s\"", wh_error_text(&err), why);
}

static void test_manifest_refuses(void **state)
{
    (void)state;
#define CONFIG "\"config\":{\"mediaType\":\"t\",\"digest\":\"" D1 "\",\"size\":1}"
    enum wh_manifest_kind kind;
    wh_autoerror err = {0};
    const char *schema1 = "{\"schemaVersion\":1,\"fsLayers\":[]}";
    refuse_manifest("<html>", "manifest");
    refuse_manifest("{}", "config");
    refuse_manifest("{\"config\":{}}", "mediaType or digest");
    refuse_manifest("{\"config\":{\"mediaType\":\"t\",\"digest\":\"sha256:1\",\"size\":1}}", "config");
    refuse_manifest("{\"config\":{\"mediaType\":\"t\",\"digest\":\"" D1 "\",\"size\":-1}}", "size");
    refuse_manifest("{\"config\":{\"mediaType\":\"t\",\"digest\":\"" D1 "\",\"size\":1.5}}", "size");
    refuse_manifest("{" CONFIG ",\"layers\":{}}", "layers");
    refuse_manifest("{" CONFIG ",\"layers\":[1]}", "layers[0]");
    refuse_manifest("{" CONFIG ",\"annotations\":{\"a\":1}}", "annotation a");
    assert_int_equal(wh_manifest_kind(schema1, strlen(schema1), NULL, &kind, &err), -1);
    assert_non_null(strstr(wh_error_text(&err), "schema 1"));
}

static void test_layer_limit(void **state)
{
    (void)state;
    wh_autostr text = {0};
    wh_str_add(&text, "{" CONFIG ",\"layers\":[");
    for (int i = 0; i < WH_MAX_MANIFEST_LAYERS; i++)
        wh_str_addf(&text, "%s{\"mediaType\":\"t\",\"digest\":\"" D1 "\",\"size\":1}", i ? "," : "");
    wh_automanifest m = {0};
    size_t len = text.len;
    wh_str_add(&text, "]}");
    assert_int_equal(wh_manifest_parse(text.data, text.len, &m, NULL), 0);
    assert_int_equal(m.nlayers, WH_MAX_MANIFEST_LAYERS);
    wh_str_truncate(&text, len);
    wh_str_add(&text, ",{\"mediaType\":\"t\",\"digest\":\"" D1 "\",\"size\":1}]}");
    refuse_manifest(text.data, "4096");
}

static void test_index_choice(void **state)
{
    (void)state;
#define ENTRY(digest, platform)                                                                              \
    "{\"mediaType\":\"" WH_MEDIA_OCI_MANIFEST "\",\"digest\":\"" digest                                      \
    "\",\"size\":1,\"platform\":" platform "}"
    const char *text = "{\"schemaVersion\":2,\"manifests\":[" ENTRY(
        D1, "{\"architecture\":\"unknown\","
            "\"os\":\"unknown\"}") "," ENTRY(D1, "{\"architecture\":\"arm\",\"os\":\"linux\",\"variant\":"
                                                 "\"v5\"}") "," ENTRY(D2, "{\"architecture\":"
                                                                          "\"arm\",\"os\":"
                                                                          "\"linux\",\"variant\":"
                                                                          "\"v7\"}") "]}";
    wh_autoindex index = {0};
    struct wh_platform want;
    struct wh_digest d2;
    wh_autoerror err = {0};
    wh_digest_parse(D2, &d2, NULL);
    assert_int_equal(wh_index_parse(text, strlen(text), &index, &err), 0);
    wh_platform_parse("linux/arm64", &want, NULL);
    const struct wh_descriptor *chosen = wh_index_choose(&index, &want, &err);
    assert_non_null(chosen);
    assert_true(wh_digest_eq(&chosen->digest, &d2));
    wh_platform_parse("linux/amd64", &want, NULL);
    assert_null(wh_index_choose(&index, &want, &err));
    assert_string_equal(
        wh_error_text(&err),
        "no match for platform linux/amd64 in the image; it is there for: linux/arm/v5, linux/arm/v7");
    wh_autofree char *printed = wh_index_print(&index);
    wh_autoindex again = {0};
    assert_int_equal(wh_index_parse(printed, strlen(printed), &again, NULL), 0);
    assert_int_equal(again.nmanifests, 3);
}

static void test_chain_id(void **state)
{
    (void)state;
    struct wh_digest ids[2], one, two, expected;
    wh_digest_parse(D1, &ids[0], NULL);
    wh_digest_parse(D2, &ids[1], NULL);
    wh_chain_id(ids, 1, &one);
    assert_true(wh_digest_eq(&one, &ids[0]));
    wh_chain_id(ids, 2, &two);
    wh_digest_of(D1 " " D2, strlen(D1 " " D2), &expected);
    assert_true(wh_digest_eq(&two, &expected));
}

static void test_media_types(void **state)
{
    (void)state;
    enum wh_compression c;
    for (int docker = 0; docker < 2; docker++)
        for (int i = 0; i < 3; i++) {
            assert_int_equal(
                wh_layer_media_compression(wh_layer_media_type((enum wh_compression)i, docker), &c, NULL), 0);
            assert_int_equal(c, i);
        }
    assert_int_equal(wh_layer_media_compression("application/json", &c, NULL), -1);
    assert_int_equal(wh_layer_media_compression(NULL, &c, NULL), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_go_json),
        cmocka_unit_test(test_config_print),
        cmocka_unit_test(test_config_without_layers),
        cmocka_unit_test(test_config_keeps_unknown),
        cmocka_unit_test(test_config_refuses),
        cmocka_unit_test(test_manifest),
        cmocka_unit_test(test_manifest_refuses),
        cmocka_unit_test(test_layer_limit),
        cmocka_unit_test(test_index_choice),
        cmocka_unit_test(test_chain_id),
        cmocka_unit_test(test_media_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
