/* A tree like an installed CUDA toolkit, from a seed: a few libraries of 100 to 520 MB, tools, thousands of
 * small headers, links; 2.7 GB that gzip brings to about 0.68. The same seed makes the same bytes on every
 * machine. bench_tree DIR [SEED] [PERCENT-OF-THE-SIZE] */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wherry/base/fs.h"

#define MB ((uint64_t)1000 * 1000)
#define CHUNK ((size_t)256 << 10)
#define HEADERS 4200
#define TEMPLATES 2048 /* different "instructions"; this and the next three set how far gzip gets */
#define RANDOM_BYTES 3 /* of the 16 of an instruction */
#define SECTION ((size_t)32 << 10)
#define PACKED_PERCENT 40
#define EPOCH 1700000000

static const struct {
    const char *path;
    unsigned mb;
} libraries[] = {
    {"lib64/libcublasLt.so.12", 520},
    {"lib64/libcusparse_static.a", 340},
    {"lib64/libcusparse.so.12", 290},
    {"lib64/libcufft.so.11", 280},
    {"lib64/libcufft_static.a", 230},
    {"lib64/libcusolver.so.11", 150},
    {"lib64/libcublas.so.12", 110},
    {"lib64/libnppif.so.12", 100},
    {"lib64/libcurand.so.10", 97},
    {"lib64/libcusolverMg.so.11", 80},
    {"lib64/libnvrtc.so.12", 60},
    {"lib64/libnvJitLink.so.12", 52},
    {"nvvm/lib64/libnvvm.so.4", 44},
    {"lib64/libnppig.so.12", 42},
    {"lib64/libnppist.so.12", 40},
    {"nvvm/bin/cicc", 40},
    {"bin/ptxas", 31},
    {"bin/cuda-gdb", 28},
    {"bin/nvcc", 22},
    {"bin/nvlink", 20},
    {"lib64/libnppim.so.12", 16},
    {"lib64/libnppidei.so.12", 14},
    {"bin/nvdisasm", 12},
    {"lib64/libnppicc.so.12", 11},
    {"lib64/libcufile.so.0", 8},
    {"extras/CUPTI/libcupti.so.12", 9},
    {"bin/fatbinary", 3},
    {"lib64/libcudart.so.12", 2},
    {"lib64/libcudadevrt.a", 1},
    {"lib64/libnvblas.so.12", 1},
};

struct random {
    uint64_t state;
};

/* SplitMix64. */
static uint64_t next(struct random *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static unsigned char templates[TEMPLATES][16];

/* A device library's content: sections that are compressed already, and machine code: instructions from a
 * skewed choice, some of their bytes never the same twice. */
static void code(struct random *r, unsigned char *out, size_t len)
{
    bool packed = false;
    for (size_t at = 0; at + 16 <= len; at += 16) {
        uint64_t a = next(r), b = next(r);
        if (at % SECTION == 0)
            packed = a % 100 < PACKED_PERCENT;
        unsigned range = 1U << (1 + a % 8); /* the first templates come most often */
        memcpy(out + at, templates[(a >> 8) % range], 16);
        memcpy(out + at + 2, &b, packed ? 8 : RANDOM_BYTES);
        if (packed) {
            memcpy(out + at, &a, 2);
            a = next(r);
            memcpy(out + at + 10, &a, 6);
        }
    }
}

/* Declarations. */
static void text(struct random *r, unsigned char *out, size_t len)
{
    static const char *const words[] = {
        "cuda",   "Stream_t", "const",   "void *",  "size_t",       "__host__", "__device__", "int",
        "cublas", "Handle_t", "float",   "double",  "status",       "static",   "inline",     "unsigned",
        "return", "struct",   "typedef", "#define", "extern \"C\"", "handle",   "alpha",      "beta"};
    size_t at = 0;
    while (at < len) {
        uint64_t a = next(r);
        char word[64];
        int n = snprintf(word, sizeof(word), "%s%s%x%s", words[a % WH_COUNT(words)], a >> 60 ? "_" : "(",
                         (unsigned)(a >> 40) & 0xfff, (a >> 20) % 7 == 0 ? ");\n" : " ");
        for (int i = 0; i < n && at < len; i++)
            out[at++] = (unsigned char)word[i];
    }
}

static void die(const char *path)
{
    fprintf(stderr, "bench_tree: %s: %s\n", path, strerror(errno));
    exit(1);
}

static void make_parents(int dir, const char *path)
{
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        char *parent = wh_strndup(path, (size_t)(slash - path));
        if (mkdirat(dir, parent, 0755) < 0 && errno != EEXIST)
            die(parent);
        free(parent);
    }
}

static void finish(int dir, const char *path, int fd)
{
    const struct timespec times[2] = {{EPOCH, 0}, {EPOCH, 0}};
    if ((fd >= 0 && futimens(fd, times) < 0) ||
        (fd < 0 && utimensat(dir, path, times, AT_SYMLINK_NOFOLLOW) < 0))
        die(path);
}

static void make_file(int dir, const char *path, uint64_t size, uint64_t seed, mode_t mode,
                      void (*fill)(struct random *, unsigned char *, size_t))
{
    static unsigned char buf[CHUNK];
    struct random r = {seed};
    wh_autoerror err = {0};
    make_parents(dir, path);
    wh_autoclose int fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0)
        die(path);
    for (uint64_t left = size; left > 0;) {
        size_t n = (size_t)WH_MIN(left, (uint64_t)CHUNK);
        fill(&r, buf, CHUNK);
        if (wh_write_all(fd, buf, n, &err) < 0) {
            fprintf(stderr, "bench_tree: %s: %s\n", path, wh_error_text(&err));
            exit(1);
        }
        left -= n;
    }
    finish(dir, path, fd);
}

static void make_link(int dir, const char *library)
{
    const char *end = strstr(library, ".so.");
    if (!end)
        return;
    char *link = wh_strndup(library, (size_t)(end - library) + 3);
    if (symlinkat(strrchr(library, '/') + 1, dir, link) < 0 && errno != EEXIST)
        die(link);
    finish(dir, link, -1);
    free(link);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_tree DIR [SEED] [PERCENT-OF-THE-SIZE]\n");
        return 2;
    }
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1,
             percent = argc > 3 ? strtoull(argv[3], NULL, 10) : 100;
    struct random r = {seed};
    if (mkdir(argv[1], 0755) < 0 && errno != EEXIST)
        die(argv[1]);
    wh_autoclose int dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        die(argv[1]);
    for (size_t i = 0; i < TEMPLATES; i++)
        for (size_t k = 0; k < 16; k += 8) {
            uint64_t word = next(&r);
            memcpy(templates[i] + k, &word, 8);
        }
    for (size_t i = 0; i < WH_COUNT(libraries); i++) {
        make_file(dir, libraries[i].path, libraries[i].mb * MB * percent / 100, next(&r), 0755, code);
        make_link(dir, libraries[i].path);
    }
    for (unsigned i = 0; i < HEADERS * percent / 100; i++) {
        char path[64];
        uint64_t a = next(&r);
        snprintf(path, sizeof(path), "include/%s%02u/header_%04u.h", i % 3 ? "cub" : "thrust", i % 40, i);
        /* most of 1 to 12 KB, some of up to 200 KB */
        uint64_t size = a % 20 ? 800 + (a >> 8) % 12000 : 12000 + (a >> 8) % 190000;
        make_file(dir, path, size, next(&r), 0644, text);
    }
    return 0;
}
