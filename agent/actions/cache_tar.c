#include "actions/cache_tar.h"

#include <stdio.h>
#include <sys/sysmacros.h>

#define MAX_NAME 100
#define MAX_NUMBER 07777777ULL /* of seven digits */
#define MAX_SIZE 077777777777ULL

struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[8],
        uname[32], gname[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == WH_TAR_BLOCK, "a tar block");

static void octal(char *field, size_t width, uint64_t value)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%0*llo", (int)width - 1, (unsigned long long)value);
    memcpy(field, text, width); /* with its NUL */
}

/* "LEN key=value\n", where LEN counts itself. */
static void add_record(struct wh_str *out, const char *key, const char *value)
{
    size_t rest = strlen(key) + strlen(value) + 3, len = rest + 1;
    char digits[24];
    while ((size_t)snprintf(digits, sizeof(digits), "%zu", len) + rest != len)
        len = rest + strlen(digits);
    wh_str_addf(out, "%zu %s=%s\n", len, key, value);
}

static void add_number(struct wh_str *out, const char *key, uint64_t value, uint64_t max)
{
    wh_autofree char *text = value > max ? wh_printf("%llu", (unsigned long long)value) : NULL;
    if (text)
        add_record(out, key, text);
}

static void add_block(struct wh_str *out, struct header *h)
{
    unsigned sum = 0;
    memcpy(h->magic, "ustar\00000", 8);
    memset(h->sum, ' ', sizeof(h->sum));
    for (size_t i = 0; i < sizeof(*h); i++)
        sum += ((const unsigned char *)h)[i];
    (void)snprintf(h->sum, sizeof(h->sum), "%06o", sum);
    h->sum[7] = ' ';
    wh_str_addn(out, h, sizeof(*h));
}

static void fill(struct header *h, const struct stat *st, uint64_t size)
{
    octal(h->mode, sizeof(h->mode), st->st_mode & 07777);
    octal(h->uid, sizeof(h->uid), WH_MIN((uint64_t)st->st_uid, MAX_NUMBER));
    octal(h->gid, sizeof(h->gid), WH_MIN((uint64_t)st->st_gid, MAX_NUMBER));
    octal(h->size, sizeof(h->size), WH_MIN(size, MAX_SIZE));
    octal(h->mtime, sizeof(h->mtime), st->st_mtim.tv_sec > 0 ? (uint64_t)st->st_mtim.tv_sec : 0);
}

static char type_of(const struct stat *st, bool hard)
{
    if (hard)
        return '1';
    switch (st->st_mode & S_IFMT) {
    case S_IFDIR:
        return '5';
    case S_IFLNK:
        return '2';
    case S_IFCHR:
        return '3';
    case S_IFBLK:
        return '4';
    case S_IFIFO:
        return '6';
    default:
        return '0';
    }
}

/* A full field has no NUL. */
static void put_text(char *field, size_t width, const char *text)
{
    for (size_t i = 0; i < width && text[i]; i++)
        field[i] = text[i];
}

static void add_pax(struct wh_str *out, const char *name, const struct stat *st, const struct wh_str *records)
{
    struct header h = {.type = 'x'};
    fill(&h, st, records->len);
    octal(h.mode, sizeof(h.mode), 0644);
    wh_autofree char *own = wh_printf("./PaxHeaders/%.80s", name);
    put_text(h.name, sizeof(h.name), own);
    add_block(out, &h);
    wh_str_addn(out, records->data, records->len);
    static const char zeros[WH_TAR_BLOCK];
    wh_str_addn(out, zeros, (WH_TAR_BLOCK - records->len % WH_TAR_BLOCK) % WH_TAR_BLOCK);
}

uint64_t cache_tar_header(struct wh_str *out, const char *name, const struct stat *st, const char *link,
                          bool hard)
{
    wh_autostr records = {0};
    uint64_t size = S_ISREG(st->st_mode) && !hard ? (uint64_t)st->st_size : 0;
    wh_autofree char *folder = S_ISDIR(st->st_mode) ? wh_printf("%s/", name) : NULL;
    const char *shown = folder ? folder : name;
    if (strlen(shown) > MAX_NAME)
        add_record(&records, "path", shown);
    if (link && strlen(link) > MAX_NAME)
        add_record(&records, "linkpath", link);
    if (st->st_mtim.tv_nsec != 0 || st->st_mtim.tv_sec < 0) {
        wh_autofree char *time = wh_printf("%lld.%09ld", (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
        add_record(&records, "mtime", time);
    }
    add_number(&records, "size", size, MAX_SIZE);
    add_number(&records, "uid", st->st_uid, MAX_NUMBER);
    add_number(&records, "gid", st->st_gid, MAX_NUMBER);
    if (records.len > 0)
        add_pax(out, name, st, &records);
    struct header h = {.type = type_of(st, hard)};
    fill(&h, st, size);
    put_text(h.name, sizeof(h.name), shown);
    if (link)
        put_text(h.link, sizeof(h.link), link);
    if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
        octal(h.major, sizeof(h.major), major(st->st_rdev));
        octal(h.minor, sizeof(h.minor), minor(st->st_rdev));
    }
    add_block(out, &h);
    return size;
}
