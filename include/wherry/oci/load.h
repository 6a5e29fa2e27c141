/* Archives as `docker save` and BuildKit's exporters `docker` and `oci` write them, into the store. */
#ifndef WH_OCI_LOAD_H
#define WH_OCI_LOAD_H

#include <cjson/cJSON.h>

#include "wherry/base/err.h"

#define WH_MAX_LOAD_MEMBERS 20000u
#define WH_MAX_LOAD_DOCUMENT ((size_t)4 << 20) /* manifest.json, index.json */
#define WH_MAX_LOAD_IMAGES 256u
#define WH_MAX_LOAD_LAYERS 512u /* of one image */
#define WH_MAX_LOAD_BYTES ((uint64_t)1 << 40)

struct wh_store;

/* Reads a tar (bare or compressed) from fd: a file or a pipe. Each image goes to out, an array of {"name":
 * "docker.io/library/app:1", "pinned": "docker.io/library/app@sha256:...", "id": "sha256:..."}, without the
 * names where it has none; under its pinned name it is there for scope (see record.h). Contents are checked
 * when they are unpacked: a layer must be what the config says. */
int wh_oci_load(struct wh_store *store, int fd, const char *scope, cJSON *out, struct wh_error *err);

#endif
