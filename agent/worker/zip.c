#include "worker/zip.h"

#include <time.h>
#include <zlib.h>

#define VERSION 20 /* 2.0: deflate */
#define UTF8_NAMES 0x800
#define METHOD_DEFLATE 8
#define RAW_DEFLATE (-15)

static void put16(struct wh_str *s, unsigned value)
{
    wh_str_addc(s, (char)(value & 0xff));
    wh_str_addc(s, (char)(value >> 8 & 0xff));
}

static void put32(struct wh_str *s, uint32_t value)
{
    put16(s, value & 0xffff);
    put16(s, value >> 16);
}

/* MS-DOS's time and date, UTC. */
static void put_time(struct wh_str *s, int64_t time_s)
{
    time_t t = time_s;
    struct tm tm;
    gmtime_r(&t, &tm);
    put16(s, (unsigned)(tm.tm_hour << 11 | tm.tm_min << 5 | tm.tm_sec / 2));
    put16(s, (unsigned)(WH_MAX(tm.tm_year - 80, 0) << 9 | (tm.tm_mon + 1) << 5 | tm.tm_mday));
}

static void add_deflated(struct wh_str *out, const char *data, size_t len)
{
    z_stream z = {0};
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, RAW_DEFLATE, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort(); /* out of memory */
    size_t bound = deflateBound(&z, (uLong)len);
    wh_str_reserve(out, bound);
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)len;
    z.next_out = (Bytef *)out->data + out->len;
    z.avail_out = (uInt)bound;
    deflate(&z, Z_FINISH);
    out->len += z.total_out;
    out->data[out->len] = '\0';
    deflateEnd(&z);
}

/* What local and central header have in common. */
static void put_entry(struct wh_str *s, int64_t time_s, uint32_t crc, size_t packed, size_t len,
                      size_t name_len)
{
    put16(s, VERSION);
    put16(s, UTF8_NAMES);
    put16(s, METHOD_DEFLATE);
    put_time(s, time_s);
    put32(s, crc);
    put32(s, (uint32_t)packed);
    put32(s, (uint32_t)len);
    put16(s, (unsigned)name_len);
    put16(s, 0); /* no extra field */
}

void wh_zip_add(struct wh_zip *z, const char *name, int64_t time_s, const char *data, size_t len)
{
    wh_autostr packed = {0};
    uint32_t at = (uint32_t)z->out.len;
    uint32_t crc = (uint32_t)crc32(0, (const Bytef *)data, (uInt)len);
    size_t name_len = strlen(name);
    add_deflated(&packed, data, len);
    wh_str_addn(&z->out, "PK\3\4", 4);
    put_entry(&z->out, time_s, crc, packed.len, len, name_len);
    wh_str_addn(&z->out, name, name_len);
    wh_str_addn(&z->out, packed.data, packed.len);
    wh_str_addn(&z->directory, "PK\1\2", 4);
    put16(&z->directory, 3 << 8 | VERSION); /* made on Unix */
    put_entry(&z->directory, time_s, crc, packed.len, len, name_len);
    put16(&z->directory, 0); /* no comment */
    put16(&z->directory, 0); /* the first disk */
    put16(&z->directory, 0);
    put32(&z->directory, (uint32_t)0100644 << 16);
    put32(&z->directory, at);
    wh_str_addn(&z->directory, name, name_len);
    z->files++;
}

void wh_zip_end(struct wh_zip *z)
{
    uint32_t at = (uint32_t)z->out.len;
    wh_str_addn(&z->out, z->directory.data, z->directory.len);
    wh_str_addn(&z->out, "PK\5\6\0\0\0\0", 8);
    put16(&z->out, z->files);
    put16(&z->out, z->files);
    put32(&z->out, (uint32_t)z->directory.len);
    put32(&z->out, at);
    put16(&z->out, 0);
}

void wh_zip_free(struct wh_zip *z)
{
    wh_str_free(&z->out);
    wh_str_free(&z->directory);
}
