/* SHA-256 and the text forms of bytes. Digests are kept as 32 raw bytes and shown as "sha256:<hex>" (OCI's
 * words). */
#ifndef WH_BASE_DIGEST_H
#define WH_BASE_DIGEST_H

#include "wherry/base/str.h"

#define WH_DIGEST_TEXT 72 /* "sha256:" + 64 + NUL */

struct wh_digest {
    unsigned char bytes[32];
};
struct wh_sha256; /* a running hash; by libcrypto, with the CPU's instructions */
struct wh_sha256 *wh_sha256_new(void);
void wh_sha256_update(struct wh_sha256 *h, const void *data, size_t len);
void wh_sha256_final(struct wh_sha256 *h, struct wh_digest *out); /* h can be used for a new hash after */
void wh_sha256_free(struct wh_sha256 *h);
void wh_sha256_free_ptr(struct wh_sha256 **h);
#define wh_autosha256 __attribute__((cleanup(wh_sha256_free_ptr))) struct wh_sha256
void wh_digest_of(const void *data, size_t len, struct wh_digest *out);

char *wh_digest_text(const struct wh_digest *d, char buf[WH_DIGEST_TEXT]); /* returns buf */
/* "sha256:" and 64 lower-case hex digits, nothing else. */
int wh_digest_parse(const char *text, struct wh_digest *out, struct wh_error *err);
bool wh_digest_eq(const struct wh_digest *a, const struct wh_digest *b);

char *wh_hex(const void *data, size_t len);             /* lower case; owned */
bool wh_unhex(const char *text, void *out, size_t len); /* exactly 2*len digits */
char *wh_base64(const void *data, size_t len);          /* standard, padded; owned */
char *wh_base64url(const void *data, size_t len);       /* without padding; owned */
/* Standard or URL alphabet, padding optional, white space not allowed. Adds to out. */
bool wh_unbase64(const char *text, size_t len, struct wh_str *out);

/* Random lower-case GUID; buf holds 37 bytes; returns buf. */
char *wh_guid(char buf[37]);

#endif
