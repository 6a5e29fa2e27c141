/* The runner's key: sealed and opened again, and the assertions that it signs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <sys/stat.h>

#include "github/rsa_key.h"
#include "wherry/base/clock.h"
#include "wherry/base/digest.h"
#include "wherry/base/fs.h"
#include "wherry/base/json.h"
#include "wherry/github/credentials.h"

static char folder[] = "/tmp/wherry-credentials-XXXXXX";

static bool verifies(const struct wh_rsa_key *key, bool ps256, const char *data, size_t len,
                     struct wh_str *signature)
{
    EVP_PKEY_CTX *params = NULL;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(ctx, &params, EVP_sha256(), NULL, key->pkey), 1);
    if (ps256) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(params, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(params, 32), 1);
    }
    int ok = EVP_DigestVerify(ctx, (unsigned char *)signature->data, signature->len,
                              (const unsigned char *)data, len);
    EVP_MD_CTX_free(ctx);
    return ok == 1;
}

static cJSON *decode(const char *text, size_t len)
{
    wh_autostr bytes = {0};
    assert_true(wh_unbase64(text, len, &bytes));
    return wh_json_parse(bytes.data, bytes.len, 65536, "part", NULL);
}

static void check_assertion(bool ps256)
{
    wh_autoerror err = {0};
    wh_autorsa *key = wh_rsa_key_new(&err);
    wh_autofree char *jwt =
        wh_assertion(key, ps256, "client-1", "https://tokens.example/77", 1790000000, &err);
    assert_non_null(jwt);
    const char *first = strchr(jwt, '.'), *second = strchr(first + 1, '.');
    assert_null(strpbrk(jwt, "=+/"));
    wh_autojson *header = decode(jwt, (size_t)(first - jwt));
    wh_autojson *claims = decode(first + 1, (size_t)(second - first - 1));
    assert_string_equal(wh_json_string(header, "alg"), ps256 ? "PS256" : "RS256");
    assert_string_equal(wh_json_string(header, "typ"), "JWT");
    assert_int_equal(cJSON_GetArraySize(header), 2);
    assert_string_equal(wh_json_string(claims, "sub"), "client-1");
    assert_string_equal(wh_json_string(claims, "iss"), "client-1");
    assert_string_equal(wh_json_string(claims, "aud"), "https://tokens.example/77");
    assert_int_equal(strlen(wh_json_string(claims, "jti")), 36);
    int64_t nbf = wh_json_int(claims, "nbf", 0), exp = wh_json_int(claims, "exp", 0);
    assert_true(exp - nbf <= 300 && nbf <= 1790000000 && exp > 1790000000);
    assert_int_equal(cJSON_GetArraySize(claims), 6);
    wh_autostr signature = {0};
    assert_true(wh_unbase64(second + 1, strlen(second + 1), &signature));
    assert_true(verifies(key, ps256, jwt, (size_t)(second - jwt), &signature));
    assert_false(verifies(key, ps256, jwt + 1, (size_t)(second - jwt) - 1, &signature));
}

static void test_assertions(void **state)
{
    (void)state;
    check_assertion(true);
    check_assertion(false);
}

static void test_public_key_text(void **state)
{
    (void)state;
    wh_autorsa *key = wh_rsa_key_new(NULL);
    wh_autofree char *xml = wh_rsa_key_xml(key);
    char modulus[512];
    assert_int_equal(sscanf(xml,
                            "<RSAKeyValue><Modulus>%511[^<]</Modulus><Exponent>AQAB</Exponent></RSAKeyValue>",
                            modulus),
                     1);
    wh_autostr bytes = {0};
    assert_true(wh_unbase64(modulus, strlen(modulus), &bytes));
    assert_int_equal(bytes.len, 256);
    assert_true((unsigned char)bytes.data[0] & 0x80);
}

static void flip(const char *path, long offset)
{
    FILE *file = fopen(path, "r+");
    fseek(file, offset, SEEK_SET);
    int c = fgetc(file);
    fseek(file, offset, SEEK_SET);
    fputc(c ^ 1, file);
    fclose(file);
}

static void test_sealed(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autorsa *key = wh_rsa_key_new(NULL);
    assert_int_equal(wh_credentials_save(folder, "box1", key, &err), 0);
    wh_autorsa *back = wh_credentials_load(folder, "box1", &err);
    assert_non_null(back);
    wh_autofree char *xml = wh_rsa_key_xml(key), *xml_back = wh_rsa_key_xml(back);
    assert_string_equal(xml, xml_back);
    wh_autofree char *sealed = wh_printf("%s/runners/box1/credentials.sealed", folder);
    wh_autofree char *machine = wh_printf("%s/runners/machine.key", folder);
    struct stat st;
    assert_int_equal(stat(sealed, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(machine, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    /* The key's bytes are not in the file. */
    struct wh_str der = {0};
    wh_autostr file = {0};
    assert_int_equal(wh_rsa_key_export(key, &der, NULL), 0);
    assert_true(wh_read_file(AT_FDCWD, sealed, 65536, &file, NULL) >= 0);
    assert_null(memmem(file.data, file.len, der.data + 40, 64));
    wh_str_wipe(&der);
    /* One bit anywhere, another machine's key, or open rights: refused. */
    flip(sealed, (long)file.len - 5);
    assert_null(wh_credentials_load(folder, "box1", &err));
    assert_int_equal(err.code, WH_E_CORRUPT);
    flip(sealed, (long)file.len - 5);
    flip(machine, 3);
    assert_null(wh_credentials_load(folder, "box1", &err));
    flip(machine, 3);
    wh_autorsa *again = wh_credentials_load(folder, "box1", &err);
    assert_non_null(again);
    chmod(sealed, 0644);
    assert_null(wh_credentials_load(folder, "box1", &err));
    assert_int_equal(err.code, WH_E_DENIED);
}

static void test_identity_file(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autostrv char **names = NULL;
    wh_autorunner *c = wh_calloc(1, sizeof *c);
    c->name = wh_strdup("box2");
    c->url = wh_strdup("https://github.com/acme/web");
    c->id = 9007199254740995; /* above 2^53 */
    c->group = wh_strdup("Default");
    c->work = wh_strdup("/w");
    c->server_url_v2 = wh_strdup("https://broker.example/");
    c->use_v2 = true;
    c->authorization_url = wh_strdup("https://tokens.example/77");
    c->client_id = wh_strdup("client");
    c->ephemeral = c->ps256 = true;
    wh_strv_add(&c->labels, "self-hosted");
    assert_int_equal(wh_runner_config_save(folder, c, &err), 0);
    wh_autorunner *back = wh_runner_config_load(folder, "box2", &err);
    assert_non_null(back);
    assert_int_equal(back->id, c->id);
    assert_string_equal(back->client_id, "client");
    assert_true(back->ephemeral);
    assert_null(back->version);
    assert_string_equal(back->labels[0], "self-hosted");
    assert_int_equal(wh_runner_list(folder, &names, &err), 1); /* box1 has a key but no settings */
    assert_string_equal(names[0], "box2");
    assert_int_equal(wh_runner_config_delete(folder, "box2", &err), 0);
    assert_null(wh_runner_config_load(folder, "box2", &err));
    assert_int_equal(err.code, WH_E_NOT_FOUND);
    const char *const bad[] = {"", ".x", "a/b", "..", "a b", "é"};
    for (size_t i = 0; i < WH_COUNT(bad); i++)
        assert_false(wh_runner_name_valid(bad[i]));
    char at[66] = {0};
    memset(at, 'a', 64);
    assert_true(wh_runner_name_valid(at));
    at[64] = 'a';
    assert_false(wh_runner_name_valid(at));
}

static void test_foreign_folder_is_refused(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autofree char *runners = wh_printf("%s/runners", folder);
    chmod(runners, 0777);
    assert_null(wh_credentials_load(folder, "box1", &err));
    assert_int_equal(err.code, WH_E_DENIED);
    chmod(runners, 0700);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return wh_remove_tree(AT_FDCWD, folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_assertions),
                                       cmocka_unit_test(test_public_key_text), cmocka_unit_test(test_sealed),
                                       cmocka_unit_test(test_identity_file),
                                       cmocka_unit_test(test_foreign_folder_is_refused)};
    wh_secrets_init();
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
