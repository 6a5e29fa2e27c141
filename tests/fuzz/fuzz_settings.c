/* A settings file of any bytes: read or refused, and what is read can be shown. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "wherry/base/fs.h"
#include "wherry/config/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[64];
    if (path[0] == '\0')
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", memfd_create("settings", MFD_CLOEXEC));
    int fd = atoi(strrchr(path, '/') + 1);
    if (ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
        return 0;
    struct wh_settings_sources sources = {.file = path};
    struct wh_settings_report report;
    struct wh_settings *s = wh_settings_load(&sources, &report);
    FILE *out = fopen("/dev/null", "we");
    wh_settings_report_print(&report, out);
    wh_settings_report_free(&report);
    if (s) {
        wh_settings_print(s, true, out);
        cJSON_Delete(wh_settings_json(s));
    }
    (void)fclose(out);
    wh_settings_free(s);
    return 0;
}
