/* A spool that somebody else wrote: the journal is the input up to a line "---", the stream what follows.
 * Whatever it says, opening, reading, going on and deleting stay within the folder and its bounds. */
#include <fcntl.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/github/spool.h"

static char folder[] = "/dev/shm/fuzz-spool-XXXXXX";

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return mkdtemp(folder) ? 0 : 1;
}

static void write_file(const char *name, const void *data, size_t len)
{
    wh_autofree char *path = wh_path_join(folder, name);
    wh_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || wh_write_all(fd, data, len, NULL) < 0)
        abort();
}

static void use(struct wh_spool *s)
{
    char buf[4096];
    for (size_t i = 0; i < wh_spool_count(s); i++) {
        int log = (int)i;
        uint64_t pos = 0;
        ssize_t n;
        while (pos < (uint64_t)1 << 20 && (n = wh_spool_read(s, log, pos, buf, sizeof buf, NULL)) > 0)
            pos += (uint64_t)n;
        struct wh_spool_mark mark = wh_spool_mark(s, log, WH_SPOOL_BLOB);
        if (mark.pos > wh_spool_size(s, log))
            abort();
        mark.pos = wh_spool_size(s, log);
        wh_spool_set_mark(s, log, WH_SPOOL_BLOB, &mark);
        if (!wh_spool_ended(s, log))
            (void)wh_spool_write(s, log, "more\n", 5, 1, true, NULL);
    }
    (void)wh_spool_full(s);
    wh_spool_end(s, WH_SPOOL_JOB);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wh_spool_options o = {.max_bytes = WH_SPOOL_LEAST, .keep_free = 1};
    const uint8_t *cut = memmem(data, size, "\n---\n", 5);
    size_t journal = cut ? (size_t)(cut - data) + 1 : size;
    write_file("journal", data, journal);
    if (cut)
        write_file("stream.0000000000000000", cut + 5, size - journal - 4);
    struct wh_spool *s = wh_spool_open(folder, &o, NULL);
    if (s) {
        use(s);
        wh_spool_free(s);
        s = wh_spool_open(folder, &o, NULL); /* what we wrote ourselves opens again */
        if (!s)
            abort();
        wh_spool_free(s);
    }
    wh_remove_contents(AT_FDCWD, folder, NULL);
    return 0;
}
