/* An agent in a delegated v2 group makes room for its children: a group with processes of its own can't hand
 * on controllers. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup_internal.h"
#include "wherry/platform/cgroup.h"

/* Whether this process is the only one in the group. */
static bool alone(int dir)
{
    wh_autostr text = {0};
    char self[16];
    (void)snprintf(self, sizeof self, "%d\n", (int)getpid());
    return wh_cgroup_read(dir, "cgroup.procs", &text) && strcmp(wh_str_text(&text), self) == 0;
}

int wh_cgroup_delegate_self(struct wh_error *err)
{
    wh_autofree char *own = wh_cgroup_own_dir(NULL);
    wh_autoclose int dir = own ? open(own, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    wh_autostr controllers = {0};
    /* The root group has no cgroup.type, needs no such room and is not ours. */
    if (dir < 0 || faccessat(dir, "cgroup.type", F_OK, 0) < 0 ||
        faccessat(dir, "cgroup.procs", W_OK, AT_EACCESS) < 0 ||
        !wh_cgroup_read(dir, "cgroup.controllers", &controllers) ||
        !strstr(wh_str_text(&controllers), "pids") || !alone(dir))
        return 0;
    if (mkdirat(dir, WH_CGROUP_AGENT_LEAF, 0755) < 0 && errno != EEXIST)
        return errno == EACCES || errno == EPERM
                   ? 0
                   : wh_fail_errno(err, "make the control group %s/" WH_CGROUP_AGENT_LEAF, own);
    if (wh_cgroup_write(dir, WH_CGROUP_AGENT_LEAF "/cgroup.procs", "0") < 0)
        return wh_fail_errno(err, "move to the control group %s/" WH_CGROUP_AGENT_LEAF, own);
    (void)wh_cgroup_write(dir, "cgroup.subtree_control", "+pids");
    (void)wh_cgroup_write(dir, "cgroup.subtree_control", "+memory");
    return 1;
}
