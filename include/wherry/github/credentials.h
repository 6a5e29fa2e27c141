/* A runner's RSA key: made at registration, sealed on disk, used to sign client assertions
 * (runner-protocol.md §1.6, §2.1).
 *
 * On disk: <state>/runners/<name>/credentials.sealed (0600) is a secretbox (libsodium) of the private key;
 * the box's key is <state>/runners/machine.key (0600), made once. A backup or a copied runner folder alone
 * therefore opens nothing. */
#ifndef WH_GITHUB_CREDENTIALS_H
#define WH_GITHUB_CREDENTIALS_H

#include "wherry/base/secret.h"
#include "wherry/config/runner.h"

struct wh_rsa_key;
struct wh_rsa_key *wh_rsa_key_new(struct wh_error *err); /* 2048 bits, e = 65537 */
void wh_rsa_key_free(struct wh_rsa_key *key);
void wh_rsa_key_free_ptr(struct wh_rsa_key **key);
#define wh_autorsa __attribute__((cleanup(wh_rsa_key_free_ptr))) struct wh_rsa_key

/* "<RSAKeyValue><Modulus>...</Modulus><Exponent>AQAB</Exponent></RSAKeyValue>"; owned by the caller. */
char *wh_rsa_key_xml(const struct wh_rsa_key *key);
/* Adds the signature of data to out: PS256 (salt 32) or RS256. */
int wh_rsa_key_sign(const struct wh_rsa_key *key, bool ps256, const void *data, size_t len,
                    struct wh_str *out, struct wh_error *err);

int wh_credentials_save(const char *state, const char *name, const struct wh_rsa_key *key,
                        struct wh_error *err);
struct wh_rsa_key *wh_credentials_load(const char *state, const char *name, struct wh_error *err);

/* The client assertion, a compact JWT; owned by the caller, who wipes it. now_s: seconds since 1970 by the
 * service's clock. */
char *wh_assertion(const struct wh_rsa_key *key, bool ps256, const char *client_id, const char *audience,
                   int64_t now_s, struct wh_error *err);

#endif
