/* The native actions. Each row is a `const struct wh_action wh_action_<name>` that is defined in
 * agent/actions/<name>.c. */
#ifndef WH_ACTIONS_LIST_H
#define WH_ACTIONS_LIST_H

#include "wherry/actions/action.h"

#define WH_ACTIONS(X)                                                                                        \
    X(checkout)                                                                                              \
    X(setup_buildx) X(login) X(build_push) X(metadata) X(setup_qemu) X(cache) X(cache_restore) X(cache_save)

#define WH_ACTION_DECLARE(name) extern const struct wh_action wh_action_##name;
WH_ACTIONS(WH_ACTION_DECLARE)
#undef WH_ACTION_DECLARE

#endif
