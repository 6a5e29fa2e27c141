#include "wherry/base/secret.h"

#include <sodium.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>

struct wh_secret {
    size_t len;
    char text[];
};

struct wh_secret *wh_secret_new(const char *text, size_t len)
{
    /* sodium_malloc puts the end of the memory at the end of a page: a multiple of the alignment keeps it. */
    size_t size = (sizeof(struct wh_secret) + len + 1 + 15) & ~(size_t)15;
    struct wh_secret *s = sodium_malloc(size);
    if (!s) {
        /* sodium_malloc locks memory: RLIMIT_MEMLOCK is the usual cause, and there is no safe way to go on.
         */
        fputs("wherry: no locked memory left for a secret (raise the memlock limit)\n", stderr);
        abort();
    }
    s->len = len;
    if (len > 0)
        memcpy(s->text, text, len);
    s->text[len] = '\0';
    sodium_mprotect_readonly(s);
    return s;
}

const char *wh_secret_text(const struct wh_secret *s)
{
    return s ? s->text : "";
}

size_t wh_secret_len(const struct wh_secret *s)
{
    return s ? s->len : 0;
}

void wh_secret_free(struct wh_secret *s)
{
    sodium_free(s);
}

void wh_secret_free_ptr(struct wh_secret **s)
{
    wh_secret_free(*s);
    *s = NULL;
}

void wh_wipe(void *data, size_t len)
{
    if (data)
        sodium_memzero(data, len);
}

void wh_str_wipe(struct wh_str *s)
{
    wh_wipe(s->data, s->cap);
    wh_str_free(s);
}

void wh_secrets_init(void)
{
    struct rlimit core;
    /* The soft limit alone: a job's steps inherit it, and may want dumps of their own. */
    if (getrlimit(RLIMIT_CORE, &core) == 0) {
        core.rlim_cur = 0;
        setrlimit(RLIMIT_CORE, &core);
    }
    prctl(PR_SET_DUMPABLE, 0);
    if (sodium_init() < 0) {
        fputs("wherry: libsodium can't get random bytes from this system\n", stderr);
        abort();
    }
}
