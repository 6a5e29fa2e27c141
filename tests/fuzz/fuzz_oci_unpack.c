/* Layers: any bytes as a tar, unpacked into a temporary folder with another beside it as the lower layer.
 * Nothing may appear outside of it. */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/oci/layer.h"

static char base[] = "/tmp/fuzz-unpack-XXXXXX";
static int place = -1, lower = -1;

struct source {
    const uint8_t *data;
    size_t len;
};

static ssize_t take(void *data, void *buf, size_t cap, struct wh_error *err)
{
    struct source *s = data;
    (void)err;
    size_t n = WH_MIN(cap, s->len);
    memcpy(buf, s->data, n);
    s->data += n;
    s->len -= n;
    return (ssize_t)n;
}

static int lowers(void *data, const int **fds, size_t *n, struct wh_error *err)
{
    (void)data;
    (void)err;
    *fds = &lower;
    *n = 1;
    return 0;
}

static void prepare(void)
{
    if (lower >= 0)
        return;
    if (!mkdtemp(base) || (place = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        abort();
    mkdirat(place, "lower", 0755);
    mkdirat(place, "lower/usr", 0755);
    mkdirat(place, "lower/usr/lib", 0700);
    (void)!symlinkat("usr/lib", place, "lower/lib");
    (void)!symlinkat("../../../..", place, "lower/up");
    int fd = openat(place, "lower/usr/lib/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    lower = openat(place, "lower", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    prepare();
    mkdirat(place, "root", 0755);
    int root = openat(place, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct source source = {data, size};
    struct wh_unpack_options o = {
        .size = -1, .lowers = lowers, .limits = {.entries = 64, .tar = 1 << 20, .ratio = 1100}};
    struct wh_unpack_result r;
    wh_autoerror err = {0};
    int failed = wh_layer_unpack(take, &source, root, &o, &r, &err);
    assert(failed == 0 || err.code != WH_OK);
    if (failed == 0) { /* what was unpacked can be written again */
        struct wh_layer_options w = {
            .compression = WH_COMPRESS_NONE, .threads = 1, .epoch = WH_LAYER_NO_EPOCH};
        struct wh_layer_result written;
        wh_autoerror why = {0};
        int n = wh_layer_write(root, &w, NULL, NULL, &written, &why);
        assert(n == 0 || why.code != WH_OK);
    }
    close(root);
    wh_remove_tree(place, "root", NULL);
    return 0;
}
