/* Layer export and unpacking: bench_layer DIR [gzip|zstd|uncompressed] [LEVEL] [THREADS] [OUT] prints the
 * best of 3 for the tree below DIR. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/oci/layer.h"

static int sink(void *data, const void *bytes, size_t len, struct wh_error *err)
{
    return wh_write_all(*(int *)data, bytes, len, err);
}

static int once(int dir, const struct wh_layer_options *o, const char *path, struct wh_layer_result *r,
                double *seconds)
{
    wh_autoerror err = {0};
    wh_autoclose int out = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    uint64_t start = wh_mono_ns();
    if (wh_layer_write(dir, o, sink, &out, r, &err) < 0) {
        fprintf(stderr, "%s\n", wh_error_text(&err));
        return -1;
    }
    *seconds = (double)(wh_mono_ns() - start) / 1e9;
    return 0;
}

static void unpack(const char *path, const struct wh_layer_result *r)
{
    char dir[] = "/tmp/bench-layer-XXXXXX";
    wh_autoerror err = {0};
    struct wh_unpack_options o = {.digest = &r->digest, .diff_id = &r->diff_id, .size = (int64_t)r->size};
    struct wh_unpack_result got;
    wh_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    wh_autoclose int root = mkdtemp(dir) ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    uint64_t start = wh_mono_ns();
    if (wh_layer_unpack_fd(fd, root, &o, &got, &err) < 0)
        fprintf(stderr, "%s\n", wh_error_text(&err));
    else
        printf("unpack   %.3f s  %.0f MB/s\n", (double)(wh_mono_ns() - start) / 1e9,
               (double)got.tar_size * 1e3 / (double)(wh_mono_ns() - start));
    wh_remove_tree(AT_FDCWD, dir, NULL);
}

int main(int argc, char **argv)
{
    struct wh_layer_options o = WH_LAYER_OPTIONS_INIT;
    struct wh_layer_result r;
    char digest[WH_DIGEST_TEXT];
    double best = 1e9;
    const char *path = argc > 5 ? argv[5] : "/tmp/bench-layer.blob";
    if (argc < 2 || (argc > 2 && !wh_compression_parse(argv[2], &o.compression))) {
        fprintf(stderr, "usage: bench_layer DIR [gzip|zstd|uncompressed] [LEVEL] [THREADS] [OUT]\n");
        return 2;
    }
    o.level = argc > 3 ? atoi(argv[3]) : 0;
    o.threads = argc > 4 ? (unsigned)atoi(argv[4]) : 0;
    wh_autoclose int dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        fprintf(stderr, "bench_layer: %s is no folder that can be read\n", argv[1]);
        return 1;
    }
    for (int i = 0; i < 3; i++) {
        double seconds;
        if (once(dir, &o, path, &r, &seconds) < 0)
            return 1;
        best = seconds < best ? seconds : best;
    }
    printf("export   %.3f s  %.0f MB/s  tar %.1f MB -> blob %.1f MB, %llu members, %llu segments\n", best,
           (double)r.tar_size / best / 1e6, (double)r.tar_size / 1e6, (double)r.size / 1e6,
           (unsigned long long)r.files, (unsigned long long)r.segments);
    printf("digest   %s\n", wh_digest_text(&r.digest, digest));
    printf("diffID   %s\n", wh_digest_text(&r.diff_id, digest));
    unpack(path, &r);
    if (argc <= 5)
        unlink(path);
    return 0;
}
