/* The other end of the agents' sockets. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "daemon/control.h"
#include "wherry/base/frame.h"
#include "wherry/base/fs.h"
#include "wherry/config/runner.h"
#include "wherry/daemon/daemon.h"

#define PATIENCE_S 5

/* The answer (owned); NULL with WH_E_NOT_FOUND where nobody listens any more. */
static cJSON *ask_one(int dir, const char *name, const cJSON *question, struct wh_error *err)
{
    wh_autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = PATIENCE_S};
    struct sockaddr_un address = control_address(dir, name);
    wh_autoframe answer = {0};
    if (fd < 0) {
        wh_fail_errno(err, "ask the agent");
        return NULL;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        if (errno == ENOENT || errno == ECONNREFUSED)
            wh_fail(err, WH_E_NOT_FOUND, "no agent listens at %s", name);
        else
            wh_fail_errno(err, "ask the agent at %s", name);
        return NULL;
    }
    if (wh_frame_send(fd, question, NULL, 0, err) < 0) {
        wh_wrap(err, "ask the agent at %s", name);
        return NULL;
    }
    int got = wh_frame_recv(fd, &answer, err);
    if (got == 0)
        wh_fail(err, WH_E_PROTOCOL, "the agent at %s closed without an answer", name);
    if (got < 0)
        wh_wrap(err, "ask the agent at %s", name);
    return got == 1 ? wh_steal(&answer.json) : NULL;
}

static bool is_socket_name(const char *name)
{
    size_t len = strlen(name), prefix = strlen(WH_CONTROL_PREFIX), suffix = strlen(WH_CONTROL_SUFFIX);
    return len > prefix + suffix && wh_starts_with(name, WH_CONTROL_PREFIX) &&
           strcmp(name + len - suffix, WH_CONTROL_SUFFIX) == 0 &&
           strspn(name + prefix, "0123456789") == len - prefix - suffix;
}

static int each_socket(int dir, const cJSON *question, cJSON *answers, struct wh_error *err)
{
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;
    int code = 0;
    if (!list)
        return wh_fail_errno(err, "read the folder of the runners");
    while (code == 0 && (entry = readdir(list))) {
        wh_autoerror trouble = {0};
        if (!is_socket_name(entry->d_name))
            continue;
        cJSON *answer = ask_one(dir, entry->d_name, question, &trouble);
        if (answer)
            cJSON_AddItemToArray(answers, answer);
        else if (trouble.code == WH_E_NOT_FOUND)
            unlinkat(dir, entry->d_name, 0); /* its agent was killed */
        else
            code = wh_error_move(err, &trouble);
    }
    closedir(list);
    return code;
}

cJSON *wh_daemon_ask(const char *state, const cJSON *question, struct wh_error *err)
{
    wh_autofree char *path = wh_printf("%s/runners", state);
    wh_autoclose int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    wh_autojson *answers = cJSON_CreateArray();
    if (dir < 0 && errno != ENOENT) {
        wh_fail_errno(err, "%s", path);
        return NULL;
    }
    if (dir >= 0 && each_socket(dir, question, answers, err))
        return NULL;
    if (cJSON_GetArraySize(answers) == 0) {
        wh_fail(err, WH_E_NOT_FOUND, "no agent runs on %s", state);
        return NULL;
    }
    return wh_steal(&answers);
}
