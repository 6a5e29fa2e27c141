/* Image references: docker's grammar and its normalisation (builder.md §7 Names). */
#include "wherry/oci/reference.h"

#include <arpa/inet.h>
#include <stdio.h>

#define DEFAULT_HOST "docker.io"
#define DEFAULT_API_HOST "registry-1.docker.io"

void wh_ref_clear(struct wh_ref *ref)
{
    free(ref->host);
    free(ref->path);
    free(ref->tag);
    *ref = (struct wh_ref){0};
}

void wh_ref_copy(struct wh_ref *to, const struct wh_ref *from)
{
    struct wh_ref copy = {
        .host = wh_strdup(from->host),
        .path = wh_strdup(from->path),
        .tag = wh_strdup(from->tag),
        .has_digest = from->has_digest,
        .digest = from->digest,
    };
    wh_ref_clear(to);
    *to = copy;
}

static bool is_lower_alnum(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(int c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static bool is_hex64(struct wh_view v)
{
    if (v.len != 64)
        return false;
    for (size_t i = 0; i < v.len; i++)
        if (!(v.data[i] >= '0' && v.data[i] <= '9') && !(v.data[i] >= 'a' && v.data[i] <= 'f'))
            return false;
    return true;
}

/* [a-z0-9]+ joined by ".", "_", "__" or any number of dashes. */
static bool path_component_ok(struct wh_view v)
{
    struct wh_reader r = wh_reader_of(v.data, v.len);
    for (;;) {
        if (!is_lower_alnum(wh_reader_next(&r)))
            return false;
        while (is_lower_alnum(wh_reader_peek(&r)))
            wh_reader_next(&r);
        if (wh_reader_end(&r))
            return true;
        if (wh_reader_take(&r, '.'))
            continue;
        if (wh_reader_take(&r, '_')) {
            wh_reader_take(&r, '_');
            continue;
        }
        if (!wh_reader_take(&r, '-'))
            return false;
        while (wh_reader_take(&r, '-'))
            ;
    }
}

static bool path_ok(struct wh_view path)
{
    struct wh_view head;
    while (wh_view_split(path, '/', &head, &path))
        if (!path_component_ok(head))
            return false;
    return path_component_ok(head);
}

static bool has_upper(struct wh_view v)
{
    for (size_t i = 0; i < v.len; i++)
        if (v.data[i] >= 'A' && v.data[i] <= 'Z')
            return true;
    return false;
}

static bool ipv6_host_ok(struct wh_view inner)
{
    char text[64];
    struct in6_addr address;
    if (inner.len == 0 || inner.len >= sizeof(text))
        return false;
    memcpy(text, inner.data, inner.len);
    text[inner.len] = '\0';
    return inet_pton(AF_INET6, text, &address) == 1;
}

static bool port_ok(struct wh_view port)
{
    if (port.len == 0 || port.len > 5)
        return false;
    for (size_t i = 0; i < port.len; i++)
        if (port.data[i] < '0' || port.data[i] > '9')
            return false;
    return true;
}

/* Labels of letters, digits and inner dashes joined by dots, or an IPv6 address in brackets; then perhaps a
 * port. */
static bool host_ok(struct wh_view v)
{
    if (v.len > 0 && v.data[0] == '[') {
        const char *end = memchr(v.data, ']', v.len);
        if (!end)
            return false;
        size_t inner = (size_t)(end - v.data) - 1;
        struct wh_view rest = {end + 1, v.len - inner - 2};
        if (!ipv6_host_ok((struct wh_view){v.data + 1, inner}))
            return false;
        return rest.len == 0 ||
               (rest.data[0] == ':' && port_ok((struct wh_view){rest.data + 1, rest.len - 1}));
    }
    struct wh_view name, port;
    if (wh_view_split(v, ':', &name, &port) && !port_ok(port))
        return false;
    size_t label = 0;
    for (size_t i = 0; i <= name.len; i++) {
        if (i == name.len || name.data[i] == '.') {
            if (label == 0 || name.data[i - 1] == '-')
                return false;
            label = 0;
            continue;
        }
        if (!is_alnum(name.data[i]) && !(name.data[i] == '-' && label > 0))
            return false;
        label++;
    }
    return true;
}

static bool tag_ok(struct wh_view tag)
{
    if (tag.len == 0 || tag.len > WH_MAX_REF_TAG)
        return false;
    for (size_t i = 0; i < tag.len; i++) {
        int c = (unsigned char)tag.data[i];
        if (!is_alnum(c) && c != '_' && (i == 0 || (c != '.' && c != '-')))
            return false;
    }
    return true;
}

/* The first component is a host if it looks like one; otherwise the whole name lies at Docker Hub. */
static void split_host(struct wh_view name, struct wh_view *host, struct wh_view *path)
{
    struct wh_view first, rest;
    bool slash = wh_view_split(name, '/', &first, &rest);
    bool looks = memchr(first.data, '.', first.len) || memchr(first.data, ':', first.len) ||
                 has_upper(first) || wh_view_eq(first, "localhost");
    if (!slash || !looks) {
        *host = wh_view_of(DEFAULT_HOST);
        *path = name;
        return;
    }
    *host = wh_view_eq(first, "index.docker.io") ? wh_view_of(DEFAULT_HOST) : first;
    *path = rest;
}

static int bad(const char *text, const char *why, struct wh_error *err)
{
    return wh_fail(err, WH_E_PARSE, "invalid image reference \"%.*s\": %s", 256, text, why);
}

/* Takes "@digest" and ":tag" off the end of name. */
static int take_suffixes(const char *text, struct wh_view *name, struct wh_ref *ref, struct wh_error *err)
{
    const char *at = memchr(name->data, '@', name->len);
    if (at) {
        if (wh_digest_parse(at + 1, &ref->digest, NULL) < 0)
            return bad(text, "what follows @ must be sha256: and 64 lower-case hexadecimal digits", err);
        ref->has_digest = true;
        name->len = (size_t)(at - name->data);
    }
    size_t colon = name->len;
    while (colon > 0 && name->data[colon - 1] != ':' && name->data[colon - 1] != '/')
        colon--;
    if (colon > 0 && name->data[colon - 1] == ':') {
        struct wh_view tag = {name->data + colon, name->len - colon};
        if (!tag_ok(tag))
            return bad(text,
                       "a tag is a letter, digit or underscore, then up to 127 of these, dots and dashes",
                       err);
        ref->tag = wh_view_dup(tag);
        name->len = colon - 1;
    }
    if (!ref->tag && !ref->has_digest)
        ref->tag = wh_strdup("latest");
    return 0;
}

static int parse(const char *text, struct wh_ref *ref, struct wh_error *err)
{
    size_t len = strlen(text);
    if (len == 0)
        return wh_fail(err, WH_E_PARSE, "invalid image reference: it is empty");
    if (len > WH_MAX_REF_TEXT)
        return wh_fail(err, WH_E_LIMIT, "invalid image reference: longer than %d bytes", WH_MAX_REF_TEXT);
    struct wh_view name = {text, len}, host, path;
    if (take_suffixes(text, &name, ref, err) < 0)
        return -1;
    if (name.len == 0)
        return bad(text, "the name is missing", err);
    if (is_hex64(name))
        return bad(text, "a name may not be 64 hexadecimal digits; write @sha256: before a digest", err);
    split_host(name, &host, &path);
    if (!host_ok(host))
        return bad(text, "the registry's host is malformed", err);
    if (has_upper(path))
        return bad(text, "the repository's name must be in lower case", err);
    if (!path_ok(path))
        return bad(text, "a name's components are of a-z, 0-9, joined by single dots, underscores or dashes",
                   err);
    bool library = wh_view_eq(host, DEFAULT_HOST) && !memchr(path.data, '/', path.len);
    ref->host = wh_view_dup(host);
    ref->path = wh_printf("%s%.*s", library ? "library/" : "", (int)path.len, path.data);
    if (strlen(ref->host) + 1 + strlen(ref->path) > WH_MAX_REF_NAME)
        return bad(text, "the name is longer than 255 bytes", err);
    return 0;
}

int wh_ref_parse(const char *text, struct wh_ref *out, struct wh_error *err)
{
    wh_autoref ref = {0};
    if (parse(text, &ref, err) < 0)
        return -1;
    *out = ref;
    ref = (struct wh_ref){0};
    return 0;
}

static char *with_suffixes(const struct wh_ref *ref, const char *host, const char *path, bool hide_latest)
{
    wh_autostr text = {0};
    char digest[WH_DIGEST_TEXT];
    if (host)
        wh_str_addf(&text, "%s/", host);
    wh_str_add(&text, path);
    if (ref->tag && !(hide_latest && ref->has_digest && wh_streq(ref->tag, "latest")))
        wh_str_addf(&text, ":%s", ref->tag);
    if (ref->has_digest)
        wh_str_addf(&text, "@%s", wh_digest_text(&ref->digest, digest));
    return wh_str_steal(&text);
}

char *wh_ref_text(const struct wh_ref *ref)
{
    return with_suffixes(ref, ref->host, ref->path, false);
}

char *wh_ref_familiar(const struct wh_ref *ref)
{
    bool hub = wh_streq(ref->host, DEFAULT_HOST);
    const char *path = ref->path;
    if (hub && wh_starts_with(path, "library/") && !strchr(path + 8, '/'))
        path += 8;
    return with_suffixes(ref, hub ? NULL : ref->host, path, true);
}

const char *wh_ref_api_host(const struct wh_ref *ref)
{
    return wh_streq(ref->host, DEFAULT_HOST) ? DEFAULT_API_HOST : ref->host;
}

bool wh_ref_same_repository(const struct wh_ref *a, const struct wh_ref *b)
{
    return wh_streq(a->host, b->host) && wh_streq(a->path, b->path);
}

bool wh_host_is_loopback(const char *host)
{
    char name[256];
    struct in_addr v4;
    if (wh_starts_with(host, "[::1]"))
        return host[5] == '\0' || host[5] == ':';
    size_t len = strcspn(host, ":");
    if (len >= sizeof(name))
        return false;
    memcpy(name, host, len);
    name[len] = '\0';
    if (wh_streq_ci(name, "localhost"))
        return true;
    return inet_pton(AF_INET, name, &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127;
}
