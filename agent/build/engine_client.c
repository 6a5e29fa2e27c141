#include "wherry/build/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "wherry/base/secret.h"
#include "wherry/oci/reference.h"
#include "wherry/oci/registry.h"

#define BACKLOG 64

/* By the folder's descriptor, since a socket's name has 107 bytes. */
static int open_parent(const char *path, struct sockaddr_un *address, struct wh_error *err)
{
    const char *slash = strrchr(path, '/');
    wh_autofree char *folder = wh_strndup(path, slash ? (size_t)(slash - path) : 0);
    int fd = open(folder[0] ? folder : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return wh_fail_errno(err, "open %s", folder);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%.60s", fd,
                   slash ? slash + 1 : path);
    return fd;
}

int wh_engine_listen(const char *path, struct wh_error *err)
{
    struct sockaddr_un address;
    wh_autoclose int parent = open_parent(path, &address, err);
    wh_autoclose int sock = parent < 0 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return parent < 0 ? -1 : wh_fail_errno(err, "make a socket");
    mode_t before = umask(077);
    int n = bind(sock, (struct sockaddr *)&address, sizeof address);
    (void)umask(before);
    if (n < 0 || listen(sock, BACKLOG) < 0)
        return wh_fail_errno(err, "listen at %s", path);
    return wh_steal_fd(&sock);
}

int wh_engine_connect(const char *path, struct wh_error *err)
{
    struct sockaddr_un address;
    wh_autoclose int parent = open_parent(path, &address, err);
    wh_autoclose int sock = parent < 0 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return parent < 0 ? -1 : wh_fail_errno(err, "make a socket");
    if (connect(sock, (struct sockaddr *)&address, sizeof address) < 0)
        return wh_fail_errno(err, "the engine of this job's containers at %s does not answer", path);
    return wh_steal_fd(&sock);
}

/* ---- a call ---- */

static volatile sig_atomic_t caught;

static void note(int number)
{
    caught = number;
}

void wh_engine_signals(void)
{
    struct sigaction action = {.sa_handler = note};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

static void pass_signal(int sock)
{
    int number = caught;
    caught = 0;
    wh_autojson *frame = cJSON_CreateObject();
    wh_json_add_string(frame, "type", "signal");
    wh_json_add_int(frame, "number", number);
    (void)wh_frame_send(sock, frame, NULL, 0, NULL);
}

int wh_engine_call(int sock, const cJSON *request, const int *fds, size_t nfds, cJSON **result,
                   struct wh_error *err)
{
    if (wh_frame_send(sock, request, fds, nfds, err) < 0)
        return -1;
    for (;;) {
        struct pollfd fd = {sock, POLLIN, 0};
        int n = poll(&fd, 1, 200); /* a signal may come between the look and the wait */
        if (caught)
            pass_signal(sock);
        if (n <= 0)
            continue;
        wh_autoframe frame = {0};
        n = wh_frame_recv(sock, &frame, err);
        if (n <= 0)
            return n < 0 ? -1 : wh_fail(err, WH_E_FAILED, "the engine of this job's containers ended");
        if (!wh_streq(wh_json_string(frame.json, "type"), "result"))
            continue;
        const char *error = wh_json_string(frame.json, "error");
        if (!wh_json_bool(frame.json, "ok", false))
            return wh_fail(err, WH_E_FAILED, "%s", error ? error : "the engine failed");
        *result = wh_steal(&frame.json);
        return 0;
    }
}

void wh_engine_add_login(cJSON *request, const char *image)
{
    wh_autoref ref = {0};
    struct wh_credential login = {0};
    if (wh_ref_parse(image, &ref, NULL) < 0 || wh_docker_config_credential(NULL, ref.host, &login, NULL) < 0)
        return;
    if (login.user && login.password) {
        cJSON *logins = cJSON_AddObjectToObject(request, "logins");
        cJSON *one = cJSON_AddObjectToObject(logins, ref.host);
        wh_json_add_string(one, "user", login.user);
        wh_json_add_string(one, "password", wh_secret_text(login.password));
    }
    wh_credential_clear(&login);
}
