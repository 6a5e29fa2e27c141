/* Taking a runner away: what `unregister` and `config remove` have in common. */
#ifndef WH_CMD_REMOVING_H
#define WH_CMD_REMOVING_H

#include "wherry/github/authority.h"

struct cmd_removing {
    const char *state, *name;
    const char *url; /* where the runner's own files do not say; may be NULL */
};
/* At the service, and then here. */
int cmd_remove(const struct cmd_removing *settings, struct wh_authority *authority, struct wh_error *err);
/* Only here. */
int cmd_remove_local(const char *state, const char *name, struct wh_error *err);

#endif
