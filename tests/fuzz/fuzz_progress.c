/* A builder's frames, one JSON text a line, into the renderers. */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "wherry/progress/render.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int null = -1;
    if (null < 0)
        null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (size == 0 || size > 1 << 14)
        return 0;
    struct wh_progress *p = wh_progress_new((enum wh_progress_style)(data[0] % 4), null, "fuzz");
    struct wh_reader r = wh_reader_of(data + 1, size - 1);
    struct wh_view line;
    while (wh_reader_line(&r, &line)) {
        wh_autojson *json = wh_json_parse(line.data, line.len, 1 << 20, "frame", NULL);
        struct wh_progress_event ev;
        if (json && wh_progress_decode(json, &ev, NULL) == 1) {
            wh_progress_feed(p, &ev);
            wh_progress_event_clear(&ev);
        }
        wh_progress_tick(p);
    }
    wh_progress_finish(p, size % 2);
    wh_progress_free(p);
    return 0;
}
