/* The official runner's files in memory: there and back, limits, the just-in-time string, keys in PEM. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "github/rsa_key.h"
#include "wherry/base/digest.h"
#include "wherry/github/official.h"

#define BOM "\xef\xbb\xbf"
#define RUNNER                                                                                               \
    BOM "{\n  \"agentId\": 4711,\n  \"agentName\": \"box1\",\n  \"poolId\": 1,\n  \"poolName\": "            \
        "\"Default\",\n"                                                                                     \
        "  \"serverUrl\": \"https://t.example/\",\n  \"gitHubUrl\": \"https://github.com/acme\",\n"          \
        "  \"workFolder\": \"_work\"\n}"
#define CREDENTIALS                                                                                          \
    BOM "{\n  \"scheme\": \"OAuth\",\n  \"data\": {\n    \"clientId\": \"c1\",\n"                            \
        "    \"authorizationUrl\": \"https://a.example/1\",\n    \"requireFipsCryptography\": \"False\"\n  " \
        "}\n}"

static struct wh_rsa_key *key;
static struct wh_official_texts params; /* the key's file */

static struct wh_view view(const char *text)
{
    return wh_view_of(text);
}

static struct wh_view params_view(void)
{
    const struct wh_str *text = &params.text[WH_FILE_RSAPARAMS];
    return (struct wh_view){.data = text->data, .len = text->len};
}

static int read_three(const char *runner, const char *credentials, struct wh_official *out,
                      struct wh_error *err)
{
    const struct wh_view files[] = {view(runner), view(credentials), params_view()};
    return wh_official_read(files, out, err);
}

static void test_there_and_back(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autoofficial official = {0};
    struct wh_official_texts back = {0};
    assert_int_equal(read_three(RUNNER, CREDENTIALS, &official, &err), 0);
    assert_int_equal(official.config->id, 4711);
    assert_false(official.config->use_v2 || official.config->ps256);
    assert_null(official.config->foreign);
    assert_int_equal(wh_official_print(official.config, official.key, &back, &err), 0);
    assert_string_equal(back.text[WH_FILE_RUNNER].data, RUNNER);
    assert_string_equal(back.text[WH_FILE_CREDENTIALS].data, CREDENTIALS);
    assert_int_equal(back.text[WH_FILE_RSAPARAMS].len, params_view().len);
    assert_memory_equal(back.text[WH_FILE_RSAPARAMS].data, params_view().data, params_view().len);
    wh_official_texts_clear(&back);
}

static void test_foreign_fields_survive_the_state_folder(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    char folder[] = "/tmp/wherry-official-XXXXXX";
    assert_non_null(mkdtemp(folder));
    wh_autoofficial official = {0};
    assert_int_equal(
        read_three(
            "{\"agentId\":\"1\",\"agentName\":\"box1\",\"serverUrl\":\"https://t/\",\"New\":{\"a\":[1]}}",
            CREDENTIALS, &official, &err),
        0);
    official.config->work = wh_strdup("/w");
    assert_int_equal(wh_runner_config_save(folder, official.config, &err), 0);
    wh_autorunner *loaded = wh_runner_config_load(folder, "box1", &err);
    assert_non_null(loaded);
    struct wh_official_texts back = {0};
    assert_int_equal(wh_official_print(loaded, official.key, &back, &err), 0);
    assert_non_null(strstr(back.text[WH_FILE_RUNNER].data, "\"New\""));
    wh_official_texts_clear(&back);
    assert_int_equal(wh_runner_config_delete(folder, "box1", &err), 0);
    wh_autofree char *rm = wh_printf("rm -rf %s", folder);
    assert_int_equal(system(rm), 0);
}

static void test_limits(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autoofficial official = {0};
    wh_autostr padded = {0};
    wh_str_add(&padded, RUNNER);
    while (padded.len < WH_MAX_OFFICIAL_FILE)
        wh_str_addc(&padded, ' ');
    assert_int_equal(read_three(padded.data, CREDENTIALS, &official, &err), 0);
    wh_official_clear(&official);
    wh_str_addc(&padded, ' ');
    assert_int_not_equal(read_three(padded.data, CREDENTIALS, &official, &err), 0);
    assert_null(official.key);
}

static char *jit_of(const char *runner)
{
    wh_autofree char *r = wh_base64(runner, strlen(runner)), *c = wh_base64(CREDENTIALS, strlen(CREDENTIALS));
    wh_autofree char *k = wh_base64(params_view().data, params_view().len);
    wh_autofree char *map =
        wh_printf("{\".runner\":\"%s\",\".credentials\":\"%s\",\".credentials_rsaparams\":\"%s\","
                  "\"../x\":\"%s\"}",
                  r, c, k, c);
    return wh_base64(map, strlen(map));
}

static void test_jit(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autoofficial official = {0};
    wh_autofree char *jit = jit_of(RUNNER);
    assert_int_equal(wh_jit_read(jit, strlen(jit), &official, &err), 0);
    assert_true(official.config->ephemeral);
    wh_official_clear(&official);
    /* Every cut is refused, and says something. */
    for (size_t len = 0; len < strlen(jit); len += 7) {
        wh_autoerror cut = {0};
        assert_int_not_equal(wh_jit_read(jit, len, &official, &cut), 0);
        assert_true(strlen(wh_error_text(&cut)) > 20);
        assert_null(official.config);
    }
    wh_autostr long_one = {0};
    while (long_one.len <= WH_MAX_JIT_BYTES)
        wh_str_addc(&long_one, 'A');
    assert_int_not_equal(wh_jit_read(long_one.data, long_one.len, &official, &err), 0);
    assert_int_equal(err.code, WH_E_LIMIT);
}

static char *pem_of(EVP_PKEY *pkey, const EVP_CIPHER *cipher)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    PEM_write_bio_PrivateKey(bio, pkey, cipher, NULL, 0, NULL, (void *)"password");
    long len = BIO_get_mem_data(bio, &data);
    char *text = wh_strndup(data, (size_t)len);
    BIO_free(bio);
    return text;
}

static void test_pem(void **state)
{
    (void)state;
    static const struct {
        int bits;
        bool locked;
        const char *words; /* NULL: taken */
    } rows[] = {{2048, false, NULL}, {1024, false, "1024 bits"}, {2048, true, "password"}};
    for (size_t i = 0; i < WH_COUNT(rows); i++) {
        wh_autoerror err = {0};
        EVP_PKEY *pkey = EVP_RSA_gen((unsigned)rows[i].bits);
        wh_autofree char *pem = pem_of(pkey, rows[i].locked ? EVP_aes_128_cbc() : NULL);
        wh_autorsa *read = wh_rsa_key_import_pem(pem, strlen(pem), &err);
        assert_int_equal(read != NULL, rows[i].words == NULL);
        if (rows[i].words)
            assert_non_null(strstr(wh_error_text(&err), rows[i].words));
        EVP_PKEY_free(pkey);
    }
    wh_autoerror err = {0};
    EVP_PKEY *curve = EVP_EC_gen("P-256");
    wh_autofree char *pem = pem_of(curve, NULL);
    assert_null(wh_rsa_key_import_pem(pem, strlen(pem), &err));
    assert_non_null(strstr(wh_error_text(&err), "no RSA key"));
    EVP_PKEY_free(curve);
    assert_null(wh_rsa_key_import_pem("", 0, &err));
}

static void test_params_of_other_lengths(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    static const int bits[] = {1024, 2048, 3072, 4096};
    for (size_t i = 0; i < WH_COUNT(bits); i++) {
        struct wh_rsa_key made = {.pkey = EVP_RSA_gen((unsigned)bits[i])};
        struct wh_str text = {0};
        assert_int_equal(wh_rsa_key_export_params(&made, &text, &err), 0);
        wh_autorsa *back = wh_rsa_key_import_params(text.data, text.len, &err);
        assert_int_equal(back != NULL, bits[i] >= WH_MIN_RSA_BITS);
        if (back) {
            wh_autofree char *one = wh_rsa_key_xml(&made), *other = wh_rsa_key_xml(back);
            assert_string_equal(one, other);
        }
        wh_str_wipe(&text);
        EVP_PKEY_free(made.pkey);
    }
}

static int setup(void **state)
{
    (void)state;
    wh_autoofficial official = {0};
    wh_autorunner *config = wh_calloc(1, sizeof *config);
    config->client_id = wh_strdup("c");
    key = wh_rsa_key_new(NULL);
    return wh_official_print(config, key, &params, NULL);
}

static int teardown(void **state)
{
    (void)state;
    wh_rsa_key_free(key);
    wh_official_texts_clear(&params);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_foreign_fields_survive_the_state_folder),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_jit),
        cmocka_unit_test(test_pem),
        cmocka_unit_test(test_params_of_other_lengths),
    };
    wh_secrets_init();
    return cmocka_run_group_tests(tests, setup, teardown);
}
