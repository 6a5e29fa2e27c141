/* The socket between a running agent and `wherry status`, `drain`, `resume`, `cancel`: frames
 * (wherry/base/frame.h), one question and one answer a connection. Each agent has its own in <state>/runners,
 * by its process number, so that several may run on one state folder. A socket tells the present and whether
 * somebody is alive; a file tells neither. */
#ifndef WH_DAEMON_CONTROL_H
#define WH_DAEMON_CONTROL_H

#include <sys/un.h>

#define WH_CONTROL_PREFIX "agent-" /* agent-812.sock */
#define WH_CONTROL_SUFFIX ".sock"
#define WH_MAX_CONTROL_QUESTION ((size_t)16 << 10)
#define WH_MAX_CONTROL_ANSWER ((size_t)16 << 20)

/* By the folder's descriptor: its path may be longer than a socket address. */
struct sockaddr_un control_address(int dir, const char *name);

#endif
