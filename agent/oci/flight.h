/* A blob on its way from the registry into the store, and the threads that wait for it or read it as it
 * grows. */
#ifndef OCI_FLIGHT_H
#define OCI_FLIGHT_H

#include <pthread.h>

#include "wherry/oci/pull.h"
#include "wherry/store/blob.h"

struct oci_flight {
    struct wh_digest digest;
    unsigned users; /* under the owner's lock */
    struct oci_flight *next;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int fd;             /* of the file that grows; -1 before it is there */
    uint64_t available; /* bytes of it that may be read */
    bool done;          /* the blob is in the store, or error is set */
    struct wh_error error;
};

struct wh_oci {
    struct wh_store *store;
    struct wh_registry *registry;
    struct wh_oci_options options;
    char *scope;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct oci_flight *flights;
    struct oci_resolved *resolved; /* tags that were looked up already */
    struct oci_unpacking *unpackings;
};
void oci_notice(struct wh_oci *oci, const char *fmt, ...) WH_PRINTF(2, 3);

/* Joins the download of a blob, starting it if nobody has: the caller that started it must run
 * oci_flight_run() on some thread. */
struct oci_flight *oci_flight_join(struct wh_oci *oci, const struct wh_digest *digest, bool *started);
void oci_flight_run(struct wh_oci *oci, struct oci_flight *f, const struct wh_ref *ref,
                    const struct wh_descriptor *blob);
int oci_flight_wait(struct oci_flight *f, struct wh_error *err);
void oci_flight_leave(struct wh_oci *oci, struct oci_flight *f);

/* Reading a flight as a layer source. */
struct oci_flight_reader {
    struct oci_flight *flight;
    uint64_t offset;
};
ssize_t oci_flight_read(void *data, void *buf, size_t cap, struct wh_error *err);

#endif
