#include "wherry/platform/binfmt.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "wherry/base/fs.h"

#define MAX_ENTRY ((size_t)64 << 10)

/* As ELF's header has them: class and byte order, then the machine's number. */
struct machine {
    const char *arch;
    unsigned char class, order;
    unsigned number;
};
enum { CLASS_32 = 1, CLASS_64 = 2, LITTLE = 1, BIG = 2 };
static const struct machine machines[] = {
    {"amd64", CLASS_64, LITTLE, 62},    {"arm64", CLASS_64, LITTLE, 183},   {"arm", CLASS_32, LITTLE, 40},
    {"386", CLASS_32, LITTLE, 3},       {"riscv64", CLASS_64, LITTLE, 243}, {"ppc64le", CLASS_64, LITTLE, 21},
    {"s390x", CLASS_64, BIG, 22},       {"mips64le", CLASS_64, LITTLE, 8},  {"mips64", CLASS_64, BIG, 8},
    {"loong64", CLASS_64, LITTLE, 258},
};

struct entry {
    bool enabled, fixed; /* flag F: the interpreter is open already */
    const char *arch;    /* NULL: none of the known ones */
};

static int digit(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The n-th byte of a text of hexadecimal digits; -1 past its end. */
static int byte_at(struct wh_view hex, size_t n)
{
    if (2 * n + 1 >= hex.len)
        return -1;
    int high = digit(hex.data[2 * n]), low = digit(hex.data[2 * n + 1]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static const char *arch_of(struct wh_view magic)
{
    static const unsigned char elf[] = {0x7f, 'E', 'L', 'F'};
    for (size_t i = 0; i < sizeof elf; i++)
        if (byte_at(magic, i) != elf[i])
            return NULL;
    int class = byte_at(magic, 4), order = byte_at(magic, 5), first = byte_at(magic, 18),
        second = byte_at(magic, 19);
    if (first < 0 || second < 0)
        return NULL;
    unsigned number = (unsigned)(order == BIG ? first * 256 + second : second * 256 + first);
    for (size_t i = 0; i < WH_COUNT(machines); i++)
        if (machines[i].class == class && machines[i].order == order && machines[i].number == number)
            return machines[i].arch;
    return NULL;
}

static bool read_entry(int dir, const char *name, struct entry *out)
{
    wh_autostr text = {0};
    *out = (struct entry){0};
    if (wh_read_file(dir, name, MAX_ENTRY, &text, NULL) < 0)
        return false;
    struct wh_reader r = wh_reader_of(text.data, text.len);
    struct wh_view line;
    while (wh_reader_line(&r, &line)) {
        struct wh_reader l = wh_reader_of(line.data, line.len);
        if (wh_view_eq(line, "enabled"))
            out->enabled = true;
        else if (wh_reader_take_text(&l, "flags:"))
            out->fixed = memchr(line.data, 'F', line.len) != NULL;
        else if (wh_reader_take_text(&l, "magic "))
            out->arch = arch_of((struct wh_view){line.data + l.pos, line.len - l.pos});
    }
    return out->arch != NULL;
}

/* found[i]: the best state of machines[i]. */
static void scan(const char *path, enum wh_binfmt_state found[WH_COUNT(machines)])
{
    for (size_t i = 0; i < WH_COUNT(machines); i++)
        found[i] = WH_BINFMT_NONE;
    DIR *dir = opendir(path ? path : WH_BINFMT_DIR);
    unsigned entries = 0;
    for (struct dirent *e = dir ? readdir(dir) : NULL; e && entries < WH_MAX_BINFMT_ENTRIES;
         e = readdir(dir)) {
        struct entry entry;
        if (e->d_name[0] == '.' || wh_streq(e->d_name, "register") || wh_streq(e->d_name, "status"))
            continue;
        entries++;
        if (!read_entry(dirfd(dir), e->d_name, &entry))
            continue;
        enum wh_binfmt_state state = !entry.enabled ? WH_BINFMT_DISABLED
                                     : entry.fixed  ? WH_BINFMT_READY
                                                    : WH_BINFMT_OUTSIDE;
        for (size_t i = 0; i < WH_COUNT(machines); i++)
            if (wh_streq(machines[i].arch, entry.arch) && state > found[i])
                found[i] = state;
    }
    if (dir)
        closedir(dir);
}

enum wh_binfmt_state wh_binfmt_state(const char *dir, const char *arch)
{
    enum wh_binfmt_state found[WH_COUNT(machines)];
    scan(dir, found);
    for (size_t i = 0; i < WH_COUNT(machines); i++)
        if (wh_streq(machines[i].arch, arch))
            return found[i];
    return WH_BINFMT_NONE;
}

char **wh_binfmt_ready(const char *dir)
{
    enum wh_binfmt_state found[WH_COUNT(machines)];
    char **ready = NULL;
    scan(dir, found);
    for (size_t i = 0; i < WH_COUNT(machines); i++)
        if (found[i] == WH_BINFMT_READY)
            wh_strv_add(&ready, machines[i].arch);
    return ready;
}
