/* Digests of a source's files: what the store remembers by a file's stamp isn't read again (builder.md §3
 * "What our own key takes", design.md "why it can be fast" 6). The rest is hashed on all cores. */
#include <errno.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "build/solve.h"

#include "wherry/base/clock.h"
#include "wherry/base/fs.h"

#define HASH_THREADS 4
#define HASH_BUFFER ((size_t)256 << 10)

struct job {
    struct source *s;
    char **paths; /* of the files to hash, below the root */
    struct entry **files;
    struct wh_file_digest *stamps;
    size_t n;
    size_t next; /* atomic */
    const bool *cancel;
    pthread_mutex_t lock;
    struct wh_error error; /* the first; guarded */
    bool failed;
};

/* Attributes go into the layer with the file: they are folded into its digest. */
static void fold_xattrs(int fd, struct wh_digest *digest)
{
    wh_autofree char *names = wh_malloc(WH_MAX_XATTRS), *value = wh_malloc(WH_MAX_XATTRS);
    ssize_t len = flistxattr(fd, names, WH_MAX_XATTRS);
    for (ssize_t at = 0; at < len; at += (ssize_t)strlen(names + at) + 1) {
        if (!copy_keeps_xattr(names + at))
            continue;
        ssize_t size = fgetxattr(fd, names + at, value, WH_MAX_XATTRS);
        struct key k;
        key_begin(&k, "attribute");
        key_digest(&k, digest);
        key_text(&k, names + at);
        key_bytes(&k, value, size > 0 ? (size_t)size : 0);
        key_end(&k, digest);
    }
}

static int hash_file(const struct job *j, size_t i, unsigned char *buf, struct wh_sha256 *hash,
                     struct wh_error *err)
{
    wh_autoclose int fd = source_open(j->s, j->paths[i], err);
    if (fd < 0)
        return -1;
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return wh_fail(err, WH_E_BUSY, "%s changed while it was read", j->paths[i]);
    for (;;) {
        ssize_t n = read(fd, buf, HASH_BUFFER);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return wh_fail_errno(err, "read %s", j->paths[i]);
        if (n == 0)
            break;
        if (__atomic_load_n(j->cancel, __ATOMIC_RELAXED))
            return wh_fail(err, WH_E_CANCELED, "canceled");
        wh_sha256_update(hash, buf, (size_t)n);
    }
    wh_sha256_final(hash, &j->files[i]->digest);
    if (j->s->whole)
        fold_xattrs(fd, &j->files[i]->digest);
    j->files[i]->st = st;
    j->files[i]->hashed = true;
    wh_file_stamp(&st, &j->stamps[i].stamp);
    j->stamps[i].digest = j->files[i]->digest;
    return 0;
}

static void *hash_files(void *arg)
{
    struct job *j = arg;
    wh_autosha256 *hash = wh_sha256_new();
    wh_autofree unsigned char *buf = wh_malloc(HASH_BUFFER);
    for (;;) {
        size_t i = __atomic_fetch_add(&j->next, 1, __ATOMIC_RELAXED);
        if (i >= j->n)
            return NULL;
        wh_autoerror err = {0};
        if (hash_file(j, i, buf, hash, &err) == 0)
            continue;
        pthread_mutex_lock(&j->lock);
        if (!j->failed)
            wh_error_move(&j->error, &err);
        j->failed = true;
        pthread_mutex_unlock(&j->lock);
        __atomic_store_n(&j->next, j->n, __ATOMIC_RELAXED);
    }
}

static int hash_all(struct job *j, struct wh_error *err)
{
    pthread_mutex_init(&j->lock, NULL);
    uint64_t bytes = 0;
    for (size_t i = 0; i < j->n; i++)
        bytes += (uint64_t)j->files[i]->st.st_size;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t want = bytes < ((size_t)1 << 20) ? 0 : WH_MIN((size_t)(cores > 1 ? cores - 1 : 0), HASH_THREADS);
    pthread_t threads[HASH_THREADS];
    size_t started = 0;
    while (started < want && pthread_create(&threads[started], NULL, hash_files, j) == 0)
        started++;
    hash_files(j);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&j->lock);
    return j->failed ? wh_error_move(err, &j->error) : 0;
}

static const char *scope_of(const struct build *b)
{
    return b->scopes.nrefs > 0 ? b->scopes.refs[0] : b->scopes.repository;
}

/* Fills in what the store remembers; compacts the lists to what is left. */
static int recall(struct build *b, struct job *j, struct wh_error *err)
{
    if (wh_files_find(b->store, scope_of(b), j->stamps, j->n, err) < 0)
        return -1;
    size_t left = 0;
    for (size_t i = 0; i < j->n; i++) {
        if (j->stamps[i].known) {
            j->files[i]->digest = j->stamps[i].digest;
            j->files[i]->hashed = true;
            free(j->paths[i]);
            continue;
        }
        j->paths[left] = j->paths[i];
        j->files[left] = j->files[i];
        j->stamps[left++] = j->stamps[i];
    }
    j->n = left;
    return 0;
}

static void list_files(struct source *s, struct job *j)
{
    for (size_t m = 0; m < s->nmatches; m++) {
        const struct match *match = &s->matches[m];
        for (size_t i = match->first; i < match->first + match->count; i++) {
            struct entry *e = &s->entries[i];
            if (!S_ISREG(e->st.st_mode) || e->hashed)
                continue;
            j->files[j->n] = e;
            j->paths[j->n] = e->path[0] == '\0'       ? wh_strdup(match->path)
                             : match->path[0] == '\0' ? wh_strdup(e->path)
                                                      : wh_printf("%s/%s", match->path, e->path);
            wh_file_stamp(&e->st, &j->stamps[j->n].stamp);
            j->n++;
        }
    }
}

int source_hash(struct build *b, struct source *s, struct wh_error *err)
{
    struct job j = {.s = s, .cancel = &b->channel.cancel};
    j.files = wh_calloc(s->nentries, sizeof(struct entry *));
    j.paths = wh_calloc(s->nentries, sizeof(char *));
    j.stamps = wh_calloc(s->nentries, sizeof(*j.stamps));
    list_files(s, &j);
    int64_t since = wh_now_ns();
    int status = j.n > 0 && !s->whole ? recall(b, &j, err) : 0;
    if (status == 0 && j.n > 0) {
        status = hash_all(&j, err);
        if (status == 0 && !s->whole)
            status = wh_files_add(b->store, scope_of(b), j.stamps, j.n, since, err) < 0 ? -1 : 0;
    }
    for (size_t i = 0; i < j.n; i++)
        free(j.paths[i]);
    free(j.paths);
    free(j.files);
    free(j.stamps);
    return status;
}
