/* ADD of a local archive (builder.md §1.4): tar, bare or in gzip, bzip2, xz or zstd, recognised by its
 * content. */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <unistd.h>

#include "oci/member.h"
#include "wherry/oci/layer.h"

static void support(struct archive *a)
{
    archive_read_support_format_tar(a);
    archive_read_support_filter_gzip(a);
    archive_read_support_filter_bzip2(a);
    archive_read_support_filter_xz(a);
    archive_read_support_filter_zstd(a);
}

struct input {
    int fd;
    off_t offset;
    bool stream; /* a pipe, which has no places */
    const bool *cancel;
    char buf[65536];
};

static la_ssize_t read_input(struct archive *a, void *data, const void **buffer)
{
    struct input *in = data;
    ssize_t n;
    if (in->cancel && __atomic_load_n(in->cancel, __ATOMIC_RELAXED)) {
        archive_set_error(a, ECANCELED, "canceled");
        return -1;
    }
    do
        n = in->stream ? read(in->fd, in->buf, sizeof(in->buf))
                       : pread(in->fd, in->buf, sizeof(in->buf), in->offset);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        archive_set_error(a, errno, "%s", strerror(errno));
        return -1;
    }
    in->offset += n;
    *buffer = in->buf;
    return n;
}

bool wh_archive_is(int fd)
{
    struct input *in = wh_calloc(1, sizeof(*in));
    struct archive *a = archive_read_new();
    struct archive_entry *entry;
    in->fd = fd;
    bool is = false;
    if (a) {
        support(a);
        int code = archive_read_open(a, in, NULL, read_input, NULL);
        if (code == ARCHIVE_OK)
            code = archive_read_next_header(a, &entry);
        is = code == ARCHIVE_OK || code == ARCHIVE_WARN;
    }
    archive_read_free(a);
    free(in);
    return is;
}

static int broken(struct archive *a, struct wh_error *err)
{
    const char *text = archive_error_string(a);
    return wh_fail(err, archive_errno(a) == ECANCELED ? WH_E_CANCELED : WH_E_PARSE, "%s",
                   text ? text : "the archive is damaged");
}

static int unpack_all(struct archive *a, struct oci_members *m, struct wh_error *err)
{
    struct archive_entry *entry;
    uint64_t entries = 0;
    int code;
    while ((code = archive_read_next_header(a, &entry)) == ARCHIVE_OK || code == ARCHIVE_WARN) {
        if (++entries > WH_MAX_LAYER_ENTRIES)
            return wh_fail(err, WH_E_LIMIT, "more than %llu members",
                           (unsigned long long)WH_MAX_LAYER_ENTRIES);
        if (oci_member_unpack(m, a, entry, err) < 0)
            return -1;
    }
    return code == ARCHIVE_EOF ? oci_members_finish(m, err) : broken(a, err);
}

int wh_archive_unpack_fd(int fd, int dest, const struct wh_archive_options *o, struct wh_error *err)
{
    struct input *in = wh_calloc(1, sizeof(*in));
    struct archive *a = archive_read_new();
    struct oci_members m = {
        .merged = oci_merged_new(dest, false, NULL, NULL),
        .root = dest,
        .uid = o->uid,
        .gid = o->gid,
        .max_bytes = WH_MAX_LAYER_TAR,
        .warn = o->warn,
        .warn_data = o->warn_data,
    };
    in->fd = fd;
    in->stream = lseek(fd, 0, SEEK_CUR) < 0 && errno == ESPIPE;
    in->cancel = o->cancel;
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* names are bytes */
    locale_t before = plain ? uselocale(plain) : (locale_t)0;
    support(a);
    int failed = archive_read_open(a, in, NULL, read_input, NULL) == ARCHIVE_OK ? unpack_all(a, &m, err)
                                                                                : broken(a, err);
    archive_read_free(a);
    if (plain) {
        uselocale(before);
        freelocale(plain);
    }
    oci_members_clear(&m);
    oci_merged_free(m.merged);
    free(in);
    return failed < 0 ? wh_wrap(err, "unpack archive") : 0;
}
