/* A thread that decompresses ahead of the reader. */
#ifndef OCI_PUMP_H
#define OCI_PUMP_H

#include "oci/inflate.h"

struct oci_pump;
struct oci_pump *oci_pump_new(struct oci_inflate *inflate, const bool *cancel, struct wh_error *err);
/* The next piece, valid until the next call. Its length; 0 at the end; negative: error (again at each further
 * call). */
ssize_t oci_pump_next(struct oci_pump *p, const void **data, struct wh_error *err);
/* Bytes that were taken from the source so far; any thread. */
uint64_t oci_pump_packed(struct oci_pump *p);
void oci_pump_free(struct oci_pump *p); /* ends the thread; inflate is the caller's again */

#endif
