/* Platforms: os/arch/variant, their aliases, and which image serves which (builder.md §6, §7 Index choice).
 */
#include <stdio.h>
#include <sys/utsname.h>

#include "wherry/oci/reference.h"

struct alias {
    const char *from_arch, *from_variant; /* from_variant NULL: any that is given stays */
    const char *arch, *variant;
};

static const struct alias aliases[] = {
    {"x86_64", "", "amd64", ""},  {"x86-64", "", "amd64", ""},    {"amd64", "v1", "amd64", ""},
    {"aarch64", "", "arm64", ""}, {"aarch64", "v8", "arm64", ""}, {"aarch64", "8", "arm64", ""},
    {"arm64", "v8", "arm64", ""}, {"arm64", "8", "arm64", ""},    {"armhf", "", "arm", "v7"},
    {"armel", "", "arm", "v6"},   {"armv7l", "", "arm", "v7"},    {"armv7", "", "arm", "v7"},
    {"armv6l", "", "arm", "v6"},  {"arm", "", "arm", "v7"},       {"arm", "5", "arm", "v5"},
    {"arm", "6", "arm", "v6"},    {"arm", "7", "arm", "v7"},      {"arm", "8", "arm", "v8"},
    {"i386", "", "386", ""},      {"i686", "", "386", ""},        {"riscv", "", "riscv64", ""},
};

static void set(char *field, size_t size, const char *text)
{
    size_t n = strnlen(text, size - 1);
    memcpy(field, text, n);
    field[n] = '\0';
}

void wh_platform_normalise(struct wh_platform *p)
{
    wh_ascii_lower(p->os);
    wh_ascii_lower(p->arch);
    wh_ascii_lower(p->variant);
    if (wh_streq(p->os, "macos"))
        set(p->os, sizeof(p->os), "darwin");
    for (size_t i = 0; i < WH_COUNT(aliases); i++) {
        const struct alias *a = &aliases[i];
        if (!wh_streq(p->arch, a->from_arch) || !wh_streq(p->variant, a->from_variant))
            continue;
        set(p->arch, sizeof(p->arch), a->arch);
        set(p->variant, sizeof(p->variant), a->variant);
        return;
    }
    if (wh_streq(p->arch, "x86_64") || wh_streq(p->arch, "x86-64"))
        set(p->arch, sizeof(p->arch), "amd64");
    if (wh_streq(p->arch, "aarch64"))
        set(p->arch, sizeof(p->arch), "arm64");
}

void wh_platform_host(struct wh_platform *out)
{
    struct utsname name;
    *out = (struct wh_platform){.os = "linux"};
    if (uname(&name) == 0)
        set(out->arch, sizeof(out->arch), name.machine);
    wh_platform_normalise(out);
}

static bool part_ok(struct wh_view v)
{
    if (v.len == 0 || v.len >= 32)
        return false;
    for (size_t i = 0; i < v.len; i++) {
        char c = v.data[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '_' &&
            c != '-' && c != '.')
            return false;
    }
    return true;
}

static void set_view(char field[32], struct wh_view v)
{
    memcpy(field, v.data, v.len);
    field[v.len] = '\0';
}

static bool known_os(struct wh_view v)
{
    static const char *const names[] = {"linux",   "windows", "darwin",  "macos",
                                        "freebsd", "netbsd",  "openbsd", "wasip1"};
    for (size_t i = 0; i < WH_COUNT(names); i++)
        if (v.len == strlen(names[i]) && wh_strcmp_ci(v.data, names[i], v.len) == 0)
            return true;
    return false;
}

/* Takes "(10.0.1)" off an os part. */
static void take_os_version(struct wh_view *os, struct wh_platform *p)
{
    const char *open = memchr(os->data, '(', os->len);
    if (!open || os->data[os->len - 1] != ')')
        return;
    size_t len = (size_t)(os->data + os->len - 1 - (open + 1));
    if (len >= sizeof(p->os_version))
        return;
    memcpy(p->os_version, open + 1, len);
    p->os_version[len] = '\0';
    os->len = (size_t)(open - os->data);
}

int wh_platform_parse(const char *text, struct wh_platform *out, struct wh_error *err)
{
    struct wh_view rest = wh_view_of(text), parts[3];
    struct wh_platform p;
    size_t n = 0;
    bool more = true;
    while (more && n < 3) {
        more = wh_view_split(rest, '/', &parts[n], &rest);
        n++;
    }
    wh_platform_host(&p);
    if (more || rest.len > 0 || !text[0])
        return wh_fail(err, WH_E_PARSE, "invalid platform \"%.100s\": expected OS/ARCH or OS/ARCH/VARIANT",
                       text);
    take_os_version(&parts[0], &p);
    for (size_t i = 0; i < n; i++)
        if (!part_ok(parts[i]))
            return wh_fail(err, WH_E_PARSE, "invalid platform \"%.100s\": \"%.*s\" is no name", text,
                           (int)WH_MIN(parts[i].len, (size_t)40), parts[i].data);
    if (n == 1 && !known_os(parts[0])) {
        p.variant[0] = '\0';
        set_view(p.arch, parts[0]);
    } else {
        set_view(p.os, parts[0]);
        if (n > 1) {
            set_view(p.arch, parts[1]);
            p.variant[0] = '\0';
        }
        if (n > 2)
            set_view(p.variant, parts[2]);
    }
    wh_platform_normalise(&p);
    *out = p;
    return 0;
}

char *wh_platform_text(const struct wh_platform *p, char buf[100])
{
    snprintf(buf, 100, "%s/%s%s%s", p->os, p->arch, p->variant[0] ? "/" : "", p->variant);
    return buf;
}

bool wh_platform_eq(const struct wh_platform *a, const struct wh_platform *b)
{
    return wh_streq(a->os, b->os) && wh_streq(a->arch, b->arch) && wh_streq(a->variant, b->variant);
}

/* "v8" is 8; "" is what the architecture means without one; anything else is -1. */
static int level(const char *variant, int absent)
{
    if (variant[0] == '\0')
        return absent;
    if (variant[0] != 'v' || variant[1] < '1' || variant[1] > '9' || variant[2] != '\0')
        return -1;
    return variant[1] - '0';
}

int wh_platform_rank(const struct wh_platform *want, const struct wh_platform *have)
{
    if (!wh_streq(want->os, have->os))
        return -1;
    if (wh_platform_eq(want, have))
        return 0;
    bool amd64 = wh_streq(want->arch, "amd64"), arm64 = wh_streq(want->arch, "arm64"),
         arm = wh_streq(want->arch, "arm");
    int want_level = level(want->variant, amd64 ? 1 : arm64 ? 8 : 7);
    int have_level = level(have->variant, wh_streq(have->arch, "amd64")   ? 1
                                          : wh_streq(have->arch, "arm64") ? 8
                                                                          : 7);
    if (wh_streq(want->arch, have->arch)) {
        if (!amd64 && !arm64 && !arm)
            return have->variant[0] == '\0' ? 1 : -1;
        if (want_level < 0 || have_level < 0 || have_level > want_level)
            return -1;
        return want_level - have_level;
    }
    if (amd64 && wh_streq(have->arch, "386"))
        return 20;
    if (arm64 && wh_streq(have->arch, "arm") && have_level >= 5 && have_level <= 8)
        return 30 - have_level;
    return -1;
}
