/* The client's side of a job's engine of containers (agent/build/engine.h): a socket, one request a
 * connection. */
#ifndef WH_BUILD_ENGINE_CLIENT_H
#define WH_BUILD_ENGINE_CLIENT_H

#include "wherry/base/frame.h"

#define WH_ENGINE_VARIABLE "WHERRY_ENGINE" /* names the socket to what a job runs */

/* A listening socket at path (its folder exists); owned by the caller. Paths may be longer than a socket's
 * name. */
int wh_engine_listen(const char *path, struct wh_error *err);
int wh_engine_connect(const char *path, struct wh_error *err);
/* Sends the request (borrowed) with descriptors and waits for the result; SIGINT and SIGTERM, if the caller
 * handles them by wh_engine_signals(), go on as signals. *result is owned by the caller. Negative where the
 * result says no. */
int wh_engine_call(int sock, const cJSON *request, const int *fds, size_t nfds, cJSON **result,
                   struct wh_error *err);
void wh_engine_signals(void);
/* "logins" for a request: what ~/.docker knows of the image's registry. */
void wh_engine_add_login(cJSON *request, const char *image);

#endif
