/* .git/config is whatever a job left there. Edits of what parses must parse, and say what was set. */
#include <stdlib.h>

#include "wherry/git/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wh_autogitconfig c = {0};
    if (wh_git_config_parse(&c, (const char *)data, size, NULL) < 0)
        return 0;
    size_t before = c.nentries;
    if (wh_git_config_add(&c, "fuzz.Sub \"x\\.key", " v;#\"\\\n", NULL) == 0) {
        const char *value = wh_git_config_get(&c, "fuzz.Sub \"x\\.key");
        if (!value || !wh_streq(value, " v;#\"\\\n") || c.nentries != before + 1)
            abort();
        if (wh_git_config_unset(&c, "fuzz.Sub \"x\\.key", " v;#\"\\\n", NULL) < 1 || c.nentries > before)
            abort();
    }
    while (c.nentries > 0) {
        wh_autofree char *name = wh_strdup(c.entries[0].name);
        if (wh_git_config_unset(&c, name, NULL, NULL) < 1)
            break;
    }
    return 0;
}
