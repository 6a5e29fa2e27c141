/* Programs for other processors: what the kernel's binfmt_misc runs by an emulator (builder.md §4, other
 * platforms; actions.md §7). */
#ifndef WH_PLATFORM_BINFMT_H
#define WH_PLATFORM_BINFMT_H

#include "wherry/base/err.h"

#define WH_BINFMT_DIR "/proc/sys/fs/binfmt_misc"
#define WH_MAX_BINFMT_ENTRIES 1000

enum wh_binfmt_state {
    WH_BINFMT_NONE,     /* no emulator is registered for it, or binfmt_misc is not mounted */
    WH_BINFMT_DISABLED, /* registered and switched off */
    WH_BINFMT_OUTSIDE,  /* registered without the flag F: containers don't find the interpreter */
    WH_BINFMT_READY
};
/* arch as OCI names it (arm64, arm, riscv64, 386 ...); dir: NULL is WH_BINFMT_DIR. The best of what is
 * registered. */
enum wh_binfmt_state wh_binfmt_state(const char *dir, const char *arch);
/* The architectures that are WH_BINFMT_READY, each once, in a fixed order; NULL: none. Owned
 * (wh_strv_free()). */
char **wh_binfmt_ready(const char *dir);

#endif
