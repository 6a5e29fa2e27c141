/* A zip archive in memory, of a few files below 4 GiB. (libarchive's writer needs a crypto library for its
 * encryption, which would be in every process.) */
#ifndef WH_WORKER_ZIP_H
#define WH_WORKER_ZIP_H

#include "wherry/base/str.h"

struct wh_zip {
    struct wh_str out;       /* the archive, whole after wh_zip_end() */
    struct wh_str directory; /* what stands at its end */
    unsigned files;
};
void wh_zip_add(struct wh_zip *z, const char *name, int64_t time_s, const char *data, size_t len);
void wh_zip_end(struct wh_zip *z);
void wh_zip_free(struct wh_zip *z);

#endif
