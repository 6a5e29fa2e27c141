/* The runner's key inside this room. */
#ifndef WH_GITHUB_RSA_KEY_H
#define WH_GITHUB_RSA_KEY_H

#include <openssl/evp.h>

#include "wherry/base/secret.h"

#define WH_MAX_KEY_BYTES ((size_t)16 << 10)

struct wh_rsa_key {
    EVP_PKEY *pkey;
};
/* The private key as DER; the caller wipes it. */
int wh_rsa_key_export(const struct wh_rsa_key *key, struct wh_str *der, struct wh_error *err);
struct wh_rsa_key *wh_rsa_key_import(const void *der, size_t len, struct wh_error *err);

#endif
