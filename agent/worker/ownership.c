#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "worker/job.h"

#define MAX_DEPTH 512
#define ANSWER_MS 120000
#define TURN_MS 20

/* Takes over fd. */
static bool has_foreign(int fd, uid_t own, int depth)
{
    DIR *list = fdopendir(fd);
    bool found = false;
    if (!list) {
        (void)close(fd);
        return false;
    }
    for (const struct dirent *entry; !found && (entry = readdir(list));) {
        struct stat st;
        if (wh_streq(entry->d_name, ".") || wh_streq(entry->d_name, "..") ||
            fstatat(dirfd(list), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        found = st.st_uid != own;
        int below = S_ISDIR(st.st_mode) && !found && depth < MAX_DEPTH
                        ? openat(dirfd(list), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                        : -1;
        if (below >= 0)
            found = has_foreign(below, own, depth + 1);
    }
    (void)closedir(list);
    return found;
}

static bool any_foreign(const struct wh_job *j)
{
    const char *const folders[] = {j->dirs.pipeline, j->dirs.temp, j->dirs.tools};
    for (size_t i = 0; i < WH_COUNT(folders); i++) {
        int fd = open(folders[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && has_foreign(fd, geteuid(), 0))
            return true;
    }
    return false;
}

/* Only where there is a Docker client may steps have had a daemon write for them: else nothing is looked at.
 */
void wh_ownership_restore(struct wh_job *j)
{
    wh_autofree char *docker = wh_find_program("docker", wh_env_get(j->base_env, "PATH"), false);
    int pair[2];
    bool real = docker && !(j->engine && wh_starts_with(docker, j->dirs.temp));
    if (!real || geteuid() == 0 || !any_foreign(j) || wh_frame_pair(pair, NULL) < 0)
        return;
    wh_autojson *frame = cJSON_CreateObject();
    wh_json_add_string(frame, "type", "own");
    wh_job_send(j, frame, &pair[1], 1);
    (void)close(pair[1]);
    wh_autoclose int answer = pair[0];
    uint64_t deadline = wh_machine_ms() + ANSWER_MS;
    struct pollfd fd = {answer, POLLIN, 0};
    while (poll(&fd, 1, TURN_MS) == 0 && wh_machine_ms() < deadline && !j->agent_gone)
        (void)uv_run(&j->loop, UV_RUN_NOWAIT);
    if (any_foreign(j))
        wh_say(
            j,
            "Files of other users stay in the work folder: the agent is not root, and can't give them back.");
}
