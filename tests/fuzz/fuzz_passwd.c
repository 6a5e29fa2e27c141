/* passwd, group and USER texts of an image: three parts, cut at NUL bytes. */
#include "container/passwd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wh_view parts[3] = {{"", 0}, {"", 0}, {"", 0}};
    size_t start = 0;
    for (size_t part = 0; part < 3 && start <= size; part++) {
        size_t end = start;
        while (end < size && data[end] != '\0')
            end++;
        parts[part] = (struct wh_view){(const char *)data + start, end - start};
        start = end + 1;
    }
    wh_autofree char *text = wh_view_dup(parts[2]);
    struct wh_run_user user;
    uid_t uid;
    gid_t gid;
    bool unknown;
    (void)wh_run_user_from_text(parts[0], parts[1], text, &user, NULL);
    (void)wh_run_owner_from_text(parts[0], parts[1], text, &uid, &gid, &unknown, NULL);
    return 0;
}
