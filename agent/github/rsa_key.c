/* The runner's RSA key, by libcrypto. */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "github/rsa_key.h"
#include "wherry/base/digest.h"
#include "wherry/github/credentials.h"

#define RSA_BITS 2048 /* of keys that we make */

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
    unsigned char bytes[WH_MAX_RSA_BITS / 8];
    if (EVP_PKEY_get_bn_param(pkey, name, &number) != 1)
        return NULL;
    int len = BN_num_bytes(number);
    char *text = NULL;
    if (len > 0 && len <= (int)sizeof bytes && BN_bn2bin(number, bytes) == len)
        text = wh_base64(bytes, (size_t)len);
    BN_free(number);
    return text;
}

char *gh_rsa_modulus(const struct wh_rsa_key *key)
{
    return number_base64(key->pkey, OSSL_PKEY_PARAM_RSA_N);
}

char *gh_rsa_exponent(const struct wh_rsa_key *key)
{
    return number_base64(key->pkey, OSSL_PKEY_PARAM_RSA_E);
}

char *wh_rsa_key_xml(const struct wh_rsa_key *key)
{
    wh_autofree char *modulus = gh_rsa_modulus(key);
    wh_autofree char *exponent = gh_rsa_exponent(key);
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
    unsigned char signature[WH_MAX_RSA_BITS / 8];
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

int gh_rsa_check(const EVP_PKEY *pkey, struct wh_error *err)
{
    if (EVP_PKEY_base_id(pkey) != EVP_PKEY_RSA)
        return wh_fail(err, WH_E_UNSUPPORTED, "it is no RSA key");
    int bits = EVP_PKEY_bits(pkey);
    if (bits < WH_MIN_RSA_BITS || bits > WH_MAX_RSA_BITS)
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "it has %d bits; keys of %d to %d are taken, as GitHub makes them (2048)", bits,
                       WH_MIN_RSA_BITS, WH_MAX_RSA_BITS);
    return 0;
}

struct wh_rsa_key *gh_rsa_wrap(EVP_PKEY *pkey, struct wh_error *err)
{
    if (!gh_rsa_check(pkey, err))
        return wrap_key(pkey);
    EVP_PKEY_free(pkey);
    return NULL;
}

struct wh_rsa_key *wh_rsa_key_import(const void *der, size_t len, struct wh_error *err)
{
    const unsigned char *p = der;
    EVP_PKEY *pkey = len <= WH_MAX_KEY_BYTES ? d2i_AutoPrivateKey(NULL, &p, (long)len) : NULL;
    if (!pkey) {
        fail_crypto(err, "read the runner's key");
        return NULL;
    }
    return gh_rsa_wrap(pkey, err);
}

/* A key with a password is refused: there is nobody to ask. */
static int no_password(char *buf, int size, int rwflag, void *data)
{
    (void)buf, (void)size, (void)rwflag;
    *(bool *)data = true;
    return 0;
}

struct wh_rsa_key *wh_rsa_key_import_pem(const char *text, size_t len, struct wh_error *err)
{
    bool asked = false;
    BIO *bio = BIO_new_mem_buf(text, (int)WH_MIN(len, (size_t)INT32_MAX));
    EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, &asked) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    if (pkey)
        return gh_rsa_wrap(pkey, err);
    if (asked)
        wh_fail(err, WH_E_UNSUPPORTED, "it is locked with a password; give the file as GitHub made it");
    else
        wh_fail(err, WH_E_PARSE,
                "it is no private key in PEM form (\"-----BEGIN RSA PRIVATE KEY-----\"), or it is damaged");
    return NULL;
}
