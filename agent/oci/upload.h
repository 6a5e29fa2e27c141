/* An upload under way: what the plain and the streaming way share. */
#ifndef OCI_UPLOAD_H
#define OCI_UPLOAD_H

#include "oci/registry_internal.h"

struct oci_upload {
    struct wh_registry *registry;
    const struct wh_ref *ref; /* borrowed */
    struct oci_host *host;
    char *what, *scope;
    char *location; /* where to send next; NULL before the start */
    uint64_t min_chunk;
    uint64_t sent;
};
void oci_upload_init(struct oci_upload *u, struct wh_registry *r, const struct wh_ref *ref, const char *what);
void oci_upload_clear(struct oci_upload *u);
int oci_upload_start(struct oci_upload *u, struct wh_error *err);
/* Takes the Location of an answer. */
int oci_upload_follow(struct oci_upload *u, const struct wh_http *http, struct wh_error *err);
/* A call to the present location. */
struct oci_call oci_upload_call(const struct oci_upload *u, const char *method);
char *oci_upload_final_url(const struct oci_upload *u, const struct wh_digest *digest);
/* The closing PUT of an upload whose bytes are all there. */
int oci_upload_commit(struct oci_upload *u, const struct wh_digest *digest, struct wh_error *err);

#endif
