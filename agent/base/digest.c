#include "wherry/base/digest.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>

struct wh_sha256 {
    EVP_MD_CTX *ctx;
};

static void start(struct wh_sha256 *h)
{
    if (EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1)
        abort(); /* libcrypto without SHA-256 is unusable */
}

struct wh_sha256 *wh_sha256_new(void)
{
    struct wh_sha256 *h = wh_malloc(sizeof(*h));
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx)
        abort();
    start(h);
    return h;
}

void wh_sha256_update(struct wh_sha256 *h, const void *data, size_t len)
{
    if (EVP_DigestUpdate(h->ctx, data, len) != 1)
        abort();
}

void wh_sha256_final(struct wh_sha256 *h, struct wh_digest *out)
{
    unsigned int len = 0;
    if (EVP_DigestFinal_ex(h->ctx, out->bytes, &len) != 1 || len != sizeof(out->bytes))
        abort();
    start(h);
}

void wh_sha256_free(struct wh_sha256 *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->ctx);
    free(h);
}

void wh_sha256_free_ptr(struct wh_sha256 **h)
{
    wh_sha256_free(*h);
    *h = NULL;
}

void wh_digest_of(const void *data, size_t len, struct wh_digest *out)
{
    unsigned int size = 0;
    if (EVP_Digest(data, len, out->bytes, &size, EVP_sha256(), NULL) != 1)
        abort();
}

char *wh_digest_text(const struct wh_digest *d, char buf[WH_DIGEST_TEXT])
{
    snprintf(buf, WH_DIGEST_TEXT, "sha256:");
    sodium_bin2hex(buf + 7, WH_DIGEST_TEXT - 7, d->bytes, sizeof(d->bytes));
    return buf;
}

int wh_digest_parse(const char *text, struct wh_digest *out, struct wh_error *err)
{
    if (text && wh_starts_with(text, "sha256:") && strlen(text) == 71 && wh_unhex(text + 7, out->bytes, 32))
        return 0;
    return wh_fail(err, WH_E_PARSE, "`%.100s` is not a digest of the form sha256:<64 lower-case hex digits>",
                   text ? text : "");
}

bool wh_digest_eq(const struct wh_digest *a, const struct wh_digest *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

char *wh_hex(const void *data, size_t len)
{
    char *text = wh_malloc(len * 2 + 1);
    return sodium_bin2hex(text, len * 2 + 1, data, len);
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool wh_unhex(const char *text, void *out, size_t len)
{
    if (strlen(text) != len * 2)
        return false;
    for (size_t i = 0; i < len; i++) {
        int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ((unsigned char *)out)[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static char *base64(const void *data, size_t len, int variant)
{
    size_t size = sodium_base64_encoded_len(len, variant);
    char *text = wh_malloc(size);
    return sodium_bin2base64(text, size, data, len, variant);
}

char *wh_base64(const void *data, size_t len)
{
    return base64(data, len, sodium_base64_VARIANT_ORIGINAL);
}

char *wh_base64url(const void *data, size_t len)
{
    return base64(data, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

bool wh_unbase64(const char *text, size_t len, struct wh_str *out)
{
    while (len > 0 && text[len - 1] == '=')
        len--;
    if (len == 0)
        return true;
    bool url = memchr(text, '-', len) || memchr(text, '_', len);
    size_t size = 0;
    const char *end = NULL;
    wh_str_reserve(out, len);
    if (sodium_base642bin((unsigned char *)out->data + out->len, len, text, len, NULL, &size, &end,
                          url ? sodium_base64_VARIANT_URLSAFE_NO_PADDING
                              : sodium_base64_VARIANT_ORIGINAL_NO_PADDING) != 0 ||
        end != text + len)
        return false;
    out->len += size;
    out->data[out->len] = '\0';
    return true;
}

char *wh_guid(char buf[37])
{
    unsigned char r[16];
    randombytes_buf(r, sizeof(r));
    r[6] = (unsigned char)((r[6] & 0x0f) | 0x40);
    r[8] = (unsigned char)((r[8] & 0x3f) | 0x80);
    static const unsigned char dash_before[16] = {[4] = 1, [6] = 1, [8] = 1, [10] = 1};
    char *at = buf;
    for (size_t i = 0; i < sizeof(r); i++) {
        if (dash_before[i])
            *at++ = '-';
        at += snprintf(at, 3, "%02x", r[i]);
    }
    return buf;
}
