/* What the exporters share. */
#ifndef OCI_EXPORT_INTERNAL_H
#define OCI_EXPORT_INTERNAL_H

#include "wherry/oci/export.h"

enum oci_export_kind { OCI_EXPORT_LAYER, OCI_EXPORT_CONFIG, OCI_EXPORT_MANIFEST };
struct oci_export_blob {
    enum oci_export_kind kind;
    const struct wh_descriptor *descriptor; /* borrowed from the set */
    const char *bytes;                      /* of documents; NULL for layers */
};
/* Layers, then configs, then manifests, each digest once. *out is the caller's (free()). */
size_t oci_export_blobs(const struct wh_export_set *set, struct oci_export_blob **out);
bool oci_export_has_index(const struct wh_export_set *set);

#endif
