/* The runner's key inside this room. */
#ifndef WH_GITHUB_RSA_KEY_H
#define WH_GITHUB_RSA_KEY_H

#include <openssl/evp.h>

#include "wherry/base/secret.h"

#define WH_MIN_RSA_BITS 2048
#define WH_MAX_RSA_BITS 4096
#define WH_MAX_KEY_BYTES ((size_t)16 << 10)

struct wh_rsa_key {
    EVP_PKEY *pkey;
};
/* The private key as DER; the caller wipes it. */
int wh_rsa_key_export(const struct wh_rsa_key *key, struct wh_str *der, struct wh_error *err);
struct wh_rsa_key *wh_rsa_key_import(const void *der, size_t len, struct wh_error *err);
/* From PEM: PKCS#1 or PKCS#8, without a password. */
struct wh_rsa_key *wh_rsa_key_import_pem(const char *text, size_t len, struct wh_error *err);
/* The public numbers: base64, no leading zero byte; owned by the caller. */
char *gh_rsa_modulus(const struct wh_rsa_key *key);
char *gh_rsa_exponent(const struct wh_rsa_key *key);
/* Fails unless it is RSA of a length that we take. */
int gh_rsa_check(const EVP_PKEY *pkey, struct wh_error *err);
/* Takes pkey over in any case; NULL where the check fails. */
struct wh_rsa_key *gh_rsa_wrap(EVP_PKEY *pkey, struct wh_error *err);

/* ---- .credentials_rsaparams (§1.7; rsa_params.c) ---- */
#define WH_MAX_RSA_PARAMS ((size_t)64 << 10)
struct wh_rsa_key *wh_rsa_key_import_params(const char *text, size_t len, struct wh_error *err);
/* The file's text as the official runner writes it; the caller wipes it. */
int wh_rsa_key_export_params(const struct wh_rsa_key *key, struct wh_str *out, struct wh_error *err);

#endif
