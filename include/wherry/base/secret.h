/* Secrets: text in locked, guarded memory (sodium_malloc) that is wiped when freed and never printed. */
#ifndef WH_BASE_SECRET_H
#define WH_BASE_SECRET_H

#include "wherry/base/str.h"

struct wh_secret; /* immutable */
struct wh_secret *wh_secret_new(const char *text, size_t len);
const char *wh_secret_text(const struct wh_secret *s); /* NUL-terminated; "" for NULL */
size_t wh_secret_len(const struct wh_secret *s);
void wh_secret_free(struct wh_secret *s);
void wh_secret_free_ptr(struct wh_secret **s);
#define wh_autosecret __attribute__((cleanup(wh_secret_free_ptr))) struct wh_secret
void wh_wipe(void *data, size_t len); /* not optimised away */
void wh_str_wipe(struct wh_str *s);   /* wipes, then frees */
/* First in main: no core dumps, no ptrace by the same user (PR_SET_DUMPABLE 0), sodium_init. */
void wh_secrets_init(void);

#endif
