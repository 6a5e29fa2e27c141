/* The encryption of V1 messages: keys under either hash, bodies, and what does not open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "github/rsa_key.h"
#include "github/session_internal.h"
#include "wherry/base/digest.h"

static struct wh_rsa_key *rsa;
static const unsigned char aes[GH_SESSION_KEY_BYTES] = "0123456789abcdefFEDCBA987654321";
static const unsigned char iv[16] = "an iv of 16 byte";

static int make_key(void **state)
{
    (void)state;
    return (rsa = wh_rsa_key_new(NULL)) ? 0 : -1;
}

static int free_key(void **state)
{
    (void)state;
    wh_rsa_key_free(rsa);
    return 0;
}

static cJSON *wrapped(const EVP_MD *hash, const void *key, size_t len)
{
    unsigned char out[512];
    size_t out_len = sizeof out;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(rsa->pkey, NULL);
    assert_int_equal(EVP_PKEY_encrypt_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_oaep_md(ctx, hash), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, hash), 1);
    assert_int_equal(EVP_PKEY_encrypt(ctx, out, &out_len, key, len), 1);
    EVP_PKEY_CTX_free(ctx);
    cJSON *json = cJSON_CreateObject();
    wh_autofree char *text = wh_base64(out, out_len);
    cJSON_AddBoolToObject(json, "encrypted", true);
    wh_json_add_string(json, "value", text);
    return json;
}

static void test_either_hash(void **state)
{
    (void)state;
    const EVP_MD *const hashes[] = {EVP_sha1(), EVP_sha256()};
    for (size_t i = 0; i < 4; i++) {
        wh_autoerror err = {0};
        struct gh_session_key key;
        wh_autojson *json = wrapped(hashes[i % 2], aes, sizeof aes);
        if (gh_session_key_read(json, i / 2, rsa, &key, &err))
            fail_msg("%s", wh_error_text(&err));
        assert_true(key.set);
        assert_memory_equal(key.bytes, aes, sizeof aes);
    }
}

static void expect_refused(cJSON *owned)
{
    wh_autojson *json = owned;
    wh_autoerror err = {0};
    struct gh_session_key key;
    assert_true(gh_session_key_read(json, false, rsa, &key, &err) < 0);
    assert_int_equal(err.code, WH_E_PROTOCOL);
    assert_false(key.set);
}

static cJSON *plain(const char *value)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddBoolToObject(json, "encrypted", false);
    wh_json_add_string(json, "value", value);
    return json;
}

static void test_keys_that_are_none(void **state)
{
    (void)state;
    struct gh_session_key key;
    wh_autofree char *text = wh_base64(aes, sizeof aes);
    wh_autojson *good = plain(text), *empty = plain("");
    expect_refused(wrapped(EVP_sha1(), aes, 16));
    expect_refused(wrapped(EVP_sha512(), aes, sizeof aes));
    expect_refused(plain("AAAA"));
    expect_refused(plain("no base64!"));
    assert_int_equal(gh_session_key_read(good, false, rsa, &key, NULL), 0);
    assert_true(key.set && memcmp(key.bytes, aes, sizeof aes) == 0);
    assert_int_equal(gh_session_key_read(empty, false, rsa, &key, NULL), 0);
    assert_false(key.set);
    assert_int_equal(gh_session_key_read(NULL, false, rsa, &key, NULL), 0);
    assert_false(key.set);
}

static char *sealed(const char *text)
{
    unsigned char out[512];
    int first = 0, last = 0;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    assert_int_equal(EVP_EncryptInit_ex2(ctx, EVP_aes_256_cbc(), aes, iv, NULL), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, out, &first, (const unsigned char *)text, (int)strlen(text)), 1);
    assert_int_equal(EVP_EncryptFinal_ex(ctx, out + first, &last), 1);
    EVP_CIPHER_CTX_free(ctx);
    return wh_base64(out, (size_t)(first + last));
}

static void test_bodies(void **state)
{
    (void)state;
    struct gh_session_key key = {.set = true};
    memcpy(key.bytes, aes, sizeof aes);
    wh_autofree char *vector = wh_base64(iv, sizeof iv), *good = sealed("\xef\xbb\xbf{\"a\":1}"),
                     *empty = sealed("");
    wh_autostr out = {0}, none = {0};
    assert_int_equal(gh_message_decrypt(&key, good, vector, &out, NULL), 0);
    assert_string_equal(out.data, "{\"a\":1}");
    assert_int_equal(gh_message_decrypt(&key, empty, vector, &none, NULL), 0);
    assert_int_equal(none.len, 0);
    const char *const bad[][2] = {{good, "AAAA"}, {good, "!"}, {"AAAA", vector}, {"!", vector}, {"", vector}};
    for (size_t i = 0; i < WH_COUNT(bad); i++) {
        wh_autoerror err = {0};
        assert_true(gh_message_decrypt(&key, bad[i][0], bad[i][1], &out, &err) < 0);
        assert_int_equal(err.code, WH_E_PROTOCOL);
    }
    key.bytes[0] ^= 1;
    wh_autoerror err = {0};
    wh_autostr garbage = {0};
    if (gh_message_decrypt(&key, good, vector, &garbage, &err) == 0)
        assert_string_not_equal(wh_str_text(&garbage), "{\"a\":1}");
}

/* The whole message, as a poll brings it. */
static void test_messages(void **state)
{
    (void)state;
    struct gh_session_key key = {.set = true};
    memcpy(key.bytes, aes, sizeof aes);
    wh_autofree char *vector = wh_base64(iv, sizeof iv), *body = sealed("{\"jobId\":\"j1\",\"plan\":{}}");
    wh_autofree char *text = wh_printf(
        "{\"MessageId\":-3,\"messageType\":\"pipelineagentjobrequest\",\"iv\":\"%s\",\"body\":\"%s\"}",
        vector, body);
    wh_autobrokermessage m = {0}, plain_one = {0}, broken = {0};
    wh_autoerror err = {0};
    if (gh_message_read(text, strlen(text), &key, &m, &err))
        fail_msg("%s", wh_error_text(&err));
    assert_int_equal(m.type, WH_MESSAGE_JOB);
    assert_string_equal(m.id, "-3");
    assert_string_equal(m.request_id, "j1");
    assert_string_equal(wh_json_string(m.job, "jobId"), "j1");
    const char *open =
        "{\"messageId\":4,\"messageType\":\"JobCancellation\",\"body\":\"{\\\"jobId\\\":\\\"j2\\\"}\"}";
    assert_int_equal(gh_message_read(open, strlen(open), &key, &plain_one, NULL), 0);
    assert_string_equal(plain_one.job_id, "j2");
    /* Without the key its id is known all the same: it is to be deleted. */
    assert_true(gh_message_read(text, strlen(text), NULL, &broken, &err) < 0);
    assert_string_equal(broken.id, "-3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_either_hash),
        cmocka_unit_test(test_keys_that_are_none),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_messages),
    };
    return cmocka_run_group_tests(tests, make_key, free_key);
}
