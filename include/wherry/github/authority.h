/* By what right runners are registered and removed (runner-protocol.md §1.2): a registration or remove token
 * that somebody got from GitHub's pages, a personal access token, or a GitHub App. The latter two get the
 * former by themselves, and may ask for JIT configurations. */
#ifndef WH_GITHUB_AUTHORITY_H
#define WH_GITHUB_AUTHORITY_H

#include "wherry/base/secret.h"

#define WH_MAX_APP_KEY_BYTES ((size_t)64 << 10) /* of an App's private key file */
#define WH_MAX_APP_ID_CHARS 100

struct wh_authority;
/* token is copied. One that looks like a personal access token (ghp_, github_pat_, gho_, ghu_, ghs_) is taken
 * as such. */
struct wh_authority *wh_authority_new_token(const struct wh_secret *token);
struct wh_authority *wh_authority_new_pat(const struct wh_secret *pat); /* copied */
/* id: the App's id or client id. installation: NULL lets it be looked up by the repository, organisation or
 * enterprise. key_file: the private key as GitHub gives it (PEM, PKCS#1 or PKCS#8); read here. The App's
 * installation token lives an hour, and is renewed whenever it is used within five minutes of its end. */
struct wh_authority *wh_authority_new_app(const char *id, const char *installation, const char *key_file,
                                          struct wh_error *err);
void wh_authority_free(struct wh_authority *authority);
void wh_authority_free_ptr(struct wh_authority **authority);
#define wh_autoauthority __attribute__((cleanup(wh_authority_free_ptr))) struct wh_authority

#endif
