/* The encryption of V1 messages, by libcrypto. */
#include "github/v1_crypt.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "github/rsa_key.h"
#include "wherry/base/digest.h"
#include "wherry/base/log.h"

#define IV_BYTES 16

void gh_session_key_wipe(struct gh_session_key *key)
{
    wh_wipe(key, sizeof *key);
}

/* ---- the key ---- */

static bool oaep_open(EVP_PKEY_CTX *ctx, const EVP_MD *hash, const struct wh_str *wrapped,
                      struct gh_session_key *out)
{
    unsigned char bytes[GH_MAX_WRAPPED_KEY];
    size_t len = sizeof bytes;
    bool ok = EVP_PKEY_decrypt_init(ctx) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
              EVP_PKEY_CTX_set_rsa_oaep_md(ctx, hash) == 1 && EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, hash) == 1 &&
              EVP_PKEY_decrypt(ctx, bytes, &len, (const unsigned char *)wrapped->data, wrapped->len) == 1 &&
              len == GH_SESSION_KEY_BYTES;
    if (ok)
        memcpy(out->bytes, bytes, GH_SESSION_KEY_BYTES);
    wh_wipe(bytes, sizeof bytes);
    return ok;
}

static int unwrap(const struct wh_rsa_key *key, bool fips, const struct wh_str *wrapped,
                  struct gh_session_key *out, struct wh_error *err)
{
    const EVP_MD *announced = fips ? EVP_sha256() : EVP_sha1(), *other = fips ? EVP_sha1() : EVP_sha256();
    if (wrapped->len == 0 || wrapped->len > GH_MAX_WRAPPED_KEY)
        return wh_fail(err, WH_E_PROTOCOL, "the session's key is %zu bytes long", wrapped->len);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key->pkey, NULL);
    bool ok = ctx && (oaep_open(ctx, announced, wrapped, out) || oaep_open(ctx, other, wrapped, out));
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    if (!ok)
        return wh_fail(err, WH_E_PROTOCOL, "the session's key does not open with this runner's key");
    return 0;
}

int gh_session_key_read(const cJSON *encryption_key, bool fips, const struct wh_rsa_key *key,
                        struct gh_session_key *out, struct wh_error *err)
{
    wh_autostr value = {0};
    int code = 0;
    memset(out, 0, sizeof *out);
    const char *text = wh_json_string(encryption_key, "value");
    if (!text || !*text)
        return 0;
    if (!wh_unbase64(text, strlen(text), &value))
        return wh_fail(err, WH_E_PROTOCOL, "the session's key is not base64");
    if (wh_json_bool(encryption_key, "encrypted", false))
        code = unwrap(key, fips, &value, out, err);
    else if (value.len == GH_SESSION_KEY_BYTES)
        memcpy(out->bytes, value.data, GH_SESSION_KEY_BYTES);
    else
        code = wh_fail(err, WH_E_PROTOCOL, "the session's key is %zu bytes long", value.len);
    wh_str_wipe(&value);
    out->set = code == 0;
    return code;
}

/* ---- a body ---- */

static bool cbc_open(EVP_CIPHER_CTX *ctx, const struct gh_session_key *key, const struct wh_str *iv,
                     const struct wh_str *body, unsigned char *plain, size_t *plain_len)
{
    int first = 0, last = 0;
    if (EVP_DecryptInit_ex2(ctx, EVP_aes_256_cbc(), key->bytes, (const unsigned char *)iv->data, NULL) != 1 ||
        EVP_DecryptUpdate(ctx, plain, &first, (const unsigned char *)body->data, (int)body->len) != 1 ||
        EVP_DecryptFinal_ex(ctx, plain + first, &last) != 1)
        return false;
    *plain_len = (size_t)first + (size_t)last;
    return true;
}

int gh_message_decrypt(const struct gh_session_key *key, const char *body, const char *iv, struct wh_str *out,
                       struct wh_error *err)
{
    wh_autostr vector = {0};
    wh_autostr sealed = {0};
    if (!wh_unbase64(iv, strlen(iv), &vector) || vector.len != IV_BYTES)
        return wh_fail(err, WH_E_PROTOCOL, "the message's iv is not 16 bytes in base64");
    if (!wh_unbase64(body, strlen(body), &sealed) || sealed.len > INT32_MAX)
        return wh_fail(err, WH_E_PROTOCOL, "the message's body is not base64");
    size_t len = 0;
    unsigned char *plain = wh_malloc(sealed.len + EVP_MAX_BLOCK_LENGTH);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool ok = ctx && cbc_open(ctx, key, &vector, &sealed, plain, &len);
    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    if (ok) {
        size_t bom = len >= 3 && memcmp(plain, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        wh_str_addn(out, plain + bom, len - bom);
    }
    wh_wipe(plain, sealed.len + EVP_MAX_BLOCK_LENGTH);
    free(plain);
    return ok ? 0 : wh_fail(err, WH_E_PROTOCOL, "the message does not open with the session's key");
}
