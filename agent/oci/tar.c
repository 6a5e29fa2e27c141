/* Tar headers. A PAX header is written only where ustar can't say it, so that layers are the same bytes as
 * BuildKit's. */
#include "oci/tar.h"

#include <stdio.h>

#define NAME_SIZE 100
#define PREFIX_SIZE 155
#define MAX_OCTAL_7 2097151     /* 8^7 - 1 */
#define MAX_OCTAL_11 8589934591 /* 8^11 - 1 */

struct ustar {
    char name[NAME_SIZE];
    char mode[8], uid[8], gid[8];
    char size[12], mtime[12];
    char checksum[8];
    char type;
    char link[NAME_SIZE];
    char magic[6], version[2];
    char uname[32], gname[32];
    char devmajor[8], devminor[8];
    char prefix[PREFIX_SIZE];
    char unused[12];
};
_Static_assert(sizeof(struct ustar) == OCI_TAR_BLOCK, "a tar header is one block");

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

/* size - 1 octal digits and a NUL; 0 where the number does not fit. */
static void put_octal(char *field, size_t size, int64_t value)
{
    char digits[24];
    int64_t max = size == 8 ? MAX_OCTAL_7 : MAX_OCTAL_11;
    if (value < 0 || value > max)
        value = 0;
    snprintf(digits, sizeof(digits), "%0*llo", (int)size - 1, (unsigned long long)value);
    memcpy(field, digits, size);
}

/* Copies as much as fits. A cut name must not end in a slash: old readers would take the file for a
 * directory. */
static void put_text(char *field, size_t size, const char *text)
{
    size_t len = strlen(text);
    memcpy(field, text, WH_MIN(len, size));
    if (len <= size || field[size - 1] != '/')
        return;
    size_t n = size;
    while (n > 0 && text[n - 1] == '/')
        n--;
    field[n] = '\0';
}

static char *ascii_only(const char *text)
{
    char *copy = wh_malloc(strlen(text) + 1), *to = copy;
    for (; *text; text++)
        if ((unsigned char)*text < 0x80)
            *to++ = *text;
    *to = '\0';
    return copy;
}

static void finish(struct ustar *h)
{
    unsigned sum = 0;
    char digits[16];
    memcpy(h->magic, "ustar", 6);
    memcpy(h->version, "00", 2);
    memset(h->checksum, ' ', sizeof(h->checksum));
    for (size_t i = 0; i < sizeof(*h); i++)
        sum += ((const unsigned char *)h)[i];
    snprintf(digits, sizeof(digits), "%06o", sum & 0777777);
    memcpy(h->checksum, digits, 7);
    h->checksum[7] = ' ';
}

/* Where a long name is cut into prefix and name; 0 if it can't be. */
static size_t split_at(const char *name)
{
    size_t len = strlen(name), end = len;
    if (len <= NAME_SIZE || !is_ascii(name))
        return 0;
    if (end > PREFIX_SIZE + 1)
        end = PREFIX_SIZE + 1;
    else if (name[end - 1] == '/')
        end--;
    size_t at = end;
    while (at > 0 && name[at - 1] != '/')
        at--;
    if (at < 2) /* no slash, or only a leading one */
        return 0;
    size_t rest = len - at;
    return rest > NAME_SIZE || rest == 0 || at - 1 > PREFIX_SIZE ? 0 : at - 1;
}

/* "LEN KEY=VALUE\n", where LEN counts itself. */
static void add_record(struct wh_str *out, const char *key, const void *value, size_t len)
{
    size_t body = strlen(key) + len + 3, total = body + 1;
    char digits[24];
    for (size_t n; (n = body + (size_t)snprintf(digits, sizeof(digits), "%zu", total)) != total;)
        total = n;
    wh_str_addf(out, "%zu %s=", total, key);
    wh_str_addn(out, value, len);
    wh_str_addc(out, '\n');
}

static void add_number_record(struct wh_str *out, const char *key, int64_t value)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%lld", (long long)value);
    add_record(out, key, text, (size_t)n);
}

struct record_plan {
    bool path, link, uid, gid, size, mtime;
};

static struct record_plan plan(const struct oci_tar_entry *e, const char *name)
{
    struct record_plan p = {
        .path = strlen(name) > NAME_SIZE || !is_ascii(name),
        .link = e->link && (strlen(e->link) > NAME_SIZE || !is_ascii(e->link)),
        .uid = e->uid < 0 || e->uid > MAX_OCTAL_7,
        .gid = e->gid < 0 || e->gid > MAX_OCTAL_7,
        .size = e->size > MAX_OCTAL_11,
        .mtime = e->mtime < 0 || e->mtime > MAX_OCTAL_11,
    };
    return p;
}

/* Records in the order of their keys: gid linkpath mtime path size uid, and SCHILY... (upper case) before
 * them all. */
static void add_records(struct wh_str *out, const struct oci_tar_entry *e, const char *name,
                        struct record_plan p)
{
    for (size_t i = 0; i < e->nxattrs; i++) {
        wh_autofree char *key = wh_printf("SCHILY.xattr.%s", e->xattrs[i].name);
        add_record(out, key, e->xattrs[i].value, e->xattrs[i].len);
    }
    if (p.gid)
        add_number_record(out, "gid", e->gid);
    if (p.link)
        add_record(out, "linkpath", e->link, strlen(e->link));
    if (p.mtime)
        add_number_record(out, "mtime", e->mtime);
    if (p.path)
        add_record(out, "path", name, strlen(name));
    if (p.size)
        add_number_record(out, "size", (int64_t)e->size);
    if (p.uid)
        add_number_record(out, "uid", e->uid);
}

/* dir/PaxHeaders.0/base; for a directory dir/PaxHeaders.0. */
static char *pax_name(const char *name)
{
    const char *slash = strrchr(name, '/');
    wh_autofree char *full =
        slash ? wh_printf("%.*s/PaxHeaders.0%s%s", (int)(slash - name), name, slash[1] ? "/" : "", slash + 1)
              : wh_printf("PaxHeaders.0/%s", name);
    char *ascii = ascii_only(full);
    size_t len = strlen(ascii);
    if (len > NAME_SIZE)
        len = NAME_SIZE;
    while (len > 0 && ascii[len - 1] == '/')
        len--;
    ascii[len] = '\0';
    return ascii;
}

static void add_zeros(struct wh_str *out, size_t n)
{
    static const char zeros[OCI_TAR_BLOCK];
    wh_str_addn(out, zeros, n);
}

static void add_pax(struct wh_str *out, const char *name, const struct wh_str *records)
{
    struct ustar h = {0};
    wh_autofree char *own = pax_name(name);
    put_text(h.name, sizeof(h.name), own);
    put_octal(h.mode, sizeof(h.mode), 0);
    put_octal(h.uid, sizeof(h.uid), 0);
    put_octal(h.gid, sizeof(h.gid), 0);
    put_octal(h.size, sizeof(h.size), (int64_t)records->len);
    put_octal(h.mtime, sizeof(h.mtime), 0);
    h.type = 'x';
    finish(&h);
    wh_str_addn(out, &h, sizeof(h));
    wh_str_addn(out, records->data, records->len);
    add_zeros(out, oci_tar_padding(records->len));
}

static void put_names(struct ustar *h, const struct oci_tar_entry *e, const char *name, bool pax)
{
    size_t cut = pax ? 0 : split_at(name);
    wh_autofree char *ascii = ascii_only(name + (cut ? cut + 1 : 0));
    put_text(h->name, sizeof(h->name), ascii);
    if (cut)
        memcpy(h->prefix, name, cut);
    if (e->link) {
        wh_autofree char *link = ascii_only(e->link);
        put_text(h->link, sizeof(h->link), link);
    }
}

void oci_tar_header(struct wh_str *out, const struct oci_tar_entry *e)
{
    struct ustar h = {0};
    wh_autofree char *name = wh_printf("%s%s", e->path, e->type == '5' ? "/" : "");
    struct record_plan p = plan(e, name);
    bool pax = e->nxattrs || p.link || p.uid || p.gid || p.size || p.mtime || (p.path && !split_at(name));
    if (pax) {
        wh_autostr records = {0};
        add_records(&records, e, name, p);
        add_pax(out, name, &records);
    }
    put_names(&h, e, name, pax);
    put_octal(h.mode, sizeof(h.mode), e->mode & 07777);
    put_octal(h.uid, sizeof(h.uid), e->uid);
    put_octal(h.gid, sizeof(h.gid), e->gid);
    put_octal(h.size, sizeof(h.size), e->size > MAX_OCTAL_11 ? -1 : (int64_t)e->size);
    put_octal(h.mtime, sizeof(h.mtime), e->mtime);
    h.type = e->type;
    put_octal(h.devmajor, sizeof(h.devmajor), e->devmajor);
    put_octal(h.devminor, sizeof(h.devminor), e->devminor);
    finish(&h);
    wh_str_addn(out, &h, sizeof(h));
}
