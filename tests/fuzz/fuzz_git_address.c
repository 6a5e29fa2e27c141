/* Git addresses of Dockerfiles and contexts, and the file names of URLs. */
#include <stddef.h>
#include <stdint.h>

#include "build/remote.h"
#include "wherry/build/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 << 12 || memchr(data, 0, size))
        return 0;
    wh_autofree char *text = wh_strndup((const char *)data, size);
    wh_autofree char *name = remote_file_name(text);
    if (name[0] == '\0' || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        abort();
    wh_autofree char *context = wh_build_git_context(text);
    struct git_address address;
    if (git_address_parse(context ? context : text, &address, NULL) == 0) {
        if (address.remote[0] == '-' || (address.ref && address.ref[0] == '-') ||
            (address.subdir && strcmp(address.subdir, "..") == 0))
            abort();
        git_address_clear(&address);
    }
    return 0;
}
