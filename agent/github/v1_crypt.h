/* The encryption of V1 messages: a session's AES key, and bodies under it (runner-protocol.md §3.5). */
#ifndef WH_GITHUB_V1_CRYPT_H
#define WH_GITHUB_V1_CRYPT_H

#include "wherry/base/json.h"
#include "wherry/github/credentials.h"

#define GH_SESSION_KEY_BYTES 32
#define GH_MAX_WRAPPED_KEY 1024 /* bytes of a wrapped key: an RSA key of 8192 bits */

struct gh_session_key {
    bool set; /* false: messages come as they are */
    unsigned char bytes[GH_SESSION_KEY_BYTES];
};
/* Reads encryptionKey of a session's answer (NULL or null: out->set is false). fips: what the answer says of
 * the hash; services are known to mean the other one, which is tried then. */
int gh_session_key_read(const cJSON *encryption_key, bool fips, const struct wh_rsa_key *key,
                        struct gh_session_key *out, struct wh_error *err);
void gh_session_key_wipe(struct gh_session_key *key);

/* body and iv are base64; the text comes without a BOM. The caller wipes it. */
int gh_message_decrypt(const struct gh_session_key *key, const char *body, const char *iv, struct wh_str *out,
                       struct wh_error *err);

#endif
