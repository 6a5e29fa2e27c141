/* The runner's RSA key, by libcrypto. */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "github/rsa_key.h"
#include "wherry/base/digest.h"
#include "wherry/github/credentials.h"

#define RSA_BITS 2048

static int fail_crypto(struct wh_error *err, const char *what)
{
    char text[256] = "no cause given";
    unsigned long code = ERR_get_error();
    if (code)
        ERR_error_string_n(code, text, sizeof text);
    ERR_clear_error();
    return wh_fail(err, WH_E_FAILED, "%s: %s", what, text);
}

static struct wh_rsa_key *wrap_key(EVP_PKEY *pkey)
{
    struct wh_rsa_key *key = wh_calloc(1, sizeof *key);
    key->pkey = pkey;
    return key;
}

struct wh_rsa_key *wh_rsa_key_new(struct wh_error *err)
{
    EVP_PKEY *pkey = EVP_RSA_gen(RSA_BITS);
    if (!pkey) {
        fail_crypto(err, "make an RSA key");
        return NULL;
    }
    return wrap_key(pkey);
}

void wh_rsa_key_free(struct wh_rsa_key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pkey);
    free(key);
}

void wh_rsa_key_free_ptr(struct wh_rsa_key **key)
{
    wh_rsa_key_free(*key);
    *key = NULL;
}

/* Base64 of a number's big-endian bytes, no leading zero byte. */
static char *number_base64(const EVP_PKEY *pkey, const char *name)
{
    BIGNUM *number = NULL;
    unsigned char bytes[RSA_BITS / 8];
    if (EVP_PKEY_get_bn_param(pkey, name, &number) != 1)
        return NULL;
    int len = BN_num_bytes(number);
    char *text = NULL;
    if (len > 0 && len <= (int)sizeof bytes && BN_bn2bin(number, bytes) == len)
        text = wh_base64(bytes, (size_t)len);
    BN_free(number);
    return text;
}

char *wh_rsa_key_xml(const struct wh_rsa_key *key)
{
    wh_autofree char *modulus = number_base64(key->pkey, OSSL_PKEY_PARAM_RSA_N);
    wh_autofree char *exponent = number_base64(key->pkey, OSSL_PKEY_PARAM_RSA_E);
    return wh_printf("<RSAKeyValue><Modulus>%s</Modulus><Exponent>%s</Exponent></RSAKeyValue>",
                     modulus ? modulus : "", exponent ? exponent : "");
}

static int sign_with(EVP_MD_CTX *ctx, const struct wh_rsa_key *key, bool ps256, const void *data, size_t len,
                     unsigned char *out, size_t *out_len)
{
    EVP_PKEY_CTX *params = NULL; /* ctx's */
    if (EVP_DigestSignInit(ctx, &params, EVP_sha256(), NULL, key->pkey) != 1)
        return -1;
    if (ps256 && (EVP_PKEY_CTX_set_rsa_padding(params, RSA_PKCS1_PSS_PADDING) != 1 ||
                  EVP_PKEY_CTX_set_rsa_mgf1_md(params, EVP_sha256()) != 1 ||
                  EVP_PKEY_CTX_set_rsa_pss_saltlen(params, 32) != 1))
        return -1;
    return EVP_DigestSign(ctx, out, out_len, data, len) == 1 ? 0 : -1;
}

int wh_rsa_key_sign(const struct wh_rsa_key *key, bool ps256, const void *data, size_t len,
                    struct wh_str *out, struct wh_error *err)
{
    unsigned char signature[RSA_BITS / 8 * 2];
    size_t signature_len = sizeof signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int code = ctx ? sign_with(ctx, key, ps256, data, len, signature, &signature_len) : -1;
    EVP_MD_CTX_free(ctx);
    if (code)
        return fail_crypto(err, "sign with the runner's key");
    wh_str_addn(out, signature, signature_len);
    return 0;
}

int wh_rsa_key_export(const struct wh_rsa_key *key, struct wh_str *der, struct wh_error *err)
{
    unsigned char *bytes = NULL;
    int len = i2d_PrivateKey(key->pkey, &bytes);
    if (len <= 0)
        return fail_crypto(err, "export the runner's key");
    wh_str_addn(der, bytes, (size_t)len);
    OPENSSL_clear_free(bytes, (size_t)len);
    return 0;
}

struct wh_rsa_key *wh_rsa_key_import(const void *der, size_t len, struct wh_error *err)
{
    const unsigned char *p = der;
    EVP_PKEY *pkey = len <= WH_MAX_KEY_BYTES ? d2i_AutoPrivateKey(NULL, &p, (long)len) : NULL;
    if (!pkey || EVP_PKEY_base_id(pkey) != EVP_PKEY_RSA) {
        EVP_PKEY_free(pkey);
        fail_crypto(err, "read the runner's key");
        return NULL;
    }
    return wrap_key(pkey);
}
