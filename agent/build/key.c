/* Keys: SHA-256 over fields, each with its length in front, so that no two lists of fields read alike. */
#include "build/solve.h"

/* Part of every key: raise it when a step's result changes for the same inputs. */
#define KEY_VERSION "wherry-key-1"

void key_begin(struct key *k, const char *what)
{
    *k = (struct key){.hash = wh_sha256_new()};
    key_text(k, KEY_VERSION);
    key_text(k, what);
}

void key_bytes(struct key *k, const void *data, size_t len)
{
    unsigned char head[8];
    for (int i = 0; i < 8; i++)
        head[i] = (unsigned char)((uint64_t)len >> (8 * i));
    wh_sha256_update(k->hash, head, sizeof(head));
    wh_sha256_update(k->hash, data, len);
}

void key_text(struct key *k, const char *text)
{
    if (text)
        key_bytes(k, text, strlen(text) + 1); /* with its NUL: "" is one byte, NULL none */
    else
        key_bytes(k, "", 0);
}

void key_number(struct key *k, uint64_t number)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(number >> (8 * i));
    key_bytes(k, bytes, sizeof(bytes));
}

void key_digest(struct key *k, const struct wh_digest *d)
{
    key_bytes(k, d->bytes, sizeof(d->bytes));
}

void key_list(struct key *k, char *const *list)
{
    key_number(k, wh_strv_len(list));
    for (; list && *list; list++)
        key_text(k, *list);
}

void key_end(struct key *k, struct wh_digest *out)
{
    wh_sha256_final(k->hash, out);
    wh_sha256_free(k->hash);
    k->hash = NULL;
}
