/* Options of `docker create` and `docker run`, as the docker command, `container.options` and the lists
 * `ports` and `volumes` of a workflow have them, to a request of the engine (docs/protocol.md "Containers").
 * Foreign text: everything is bounded, and an option that is not supported is WH_E_UNSUPPORTED and named. */
#ifndef WH_CONTAINER_CREATE_H
#define WH_CONTAINER_CREATE_H

#include <cjson/cJSON.h>

#include "wherry/base/err.h"

#define WH_MAX_CREATE_TEXT ((size_t)64 << 10) /* of one options text */
#define WH_MAX_CREATE_WORDS 4096u
#define WH_MAX_CREATE_PORTS 256u /* published ports, of ranges too */
#define WH_MAX_CREATE_MOUNTS 64u
#define WH_MAX_CREATE_ENV_FILE ((size_t)1 << 20)

/* Words as a shell would have them: blanks part them, quotes of both kinds and backslashes keep them
 * together. Owned by the caller; NULL with err, or where there is none. */
char **wh_create_split(const char *text, struct wh_error *err);

/* The options that words begin with, to members of request; *used: how many words they are. It ends at the
 * first word that is none, or after "--". NAME in `-e NAME` and relative folders are the caller's own. */
int wh_create_options(cJSON *request, char *const *words, size_t *used, struct wh_error *err);

/* [[ip:][host[-host]]:]container[-container][/tcp|/udp] */
int wh_create_port(cJSON *request, const char *text, struct wh_error *err);
/* folder:target[:ro,...], name:target[:ro,...] or target; a folder that is not there is made. */
int wh_create_volume(cJSON *request, const char *text, struct wh_error *err);
/* NAME=value, or NAME: the caller's own value, if it has one. */
void wh_create_env(cJSON *request, const char *text);
/* "1m30s", "500ms": milliseconds. */
bool wh_create_duration(const char *text, int64_t *ms);

#endif
