/* Where jobs of `wherry exec` run, and as whom. */
#include <errno.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cmd/exec.h"
#include "wherry/base/digest.h"
#include "wherry/base/fs.h"

#define MAX_SLOTS 1024u

extern char **environ;

static int find_user(const struct exec_options *o, struct exec_place *p, struct wh_error *err)
{
    if (getuid() != 0) {
        if (o->user)
            return wh_fail(err, WH_E_ARGUMENT, "--user is for root: the job runs as you");
        return 0;
    }
    const char *caller = getenv("SUDO_UID");
    const char *name = o->user ? o->user : caller && !wh_streq(caller, "0") ? caller : "nobody";
    if (wh_user_find(name, &p->user, err) < 0)
        return -1;
    p->other = p->user.uid != 0;
    return 0;
}

static int make_folder(const struct exec_place *p, const char *path, struct wh_error *err)
{
    if (wh_mkdir_p(path, 0700, err) < 0)
        return -1;
    struct stat st;
    uid_t owner = p->other ? p->user.uid : getuid();
    /* /var/tmp is everybody's: a folder that somebody else put there is not ours to use. */
    if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || (st.st_uid != owner && st.st_uid != getuid()))
        return wh_fail(err, WH_E_DENIED,
                       "the work folder %s belongs to somebody else: name another with --work", path);
    if (st.st_uid != owner && lchown(path, owner, p->user.gid) < 0)
        return wh_fail_errno(err, "hand the work folder %s to %s", path, p->user.name);
    return 0;
}

static char *usual_folder(const struct exec_place *p)
{
    if (p->other || getuid() == 0) /* not below root's own folders: another user must get there */
        return wh_printf("/var/tmp/wherry-exec-%u", p->other ? (unsigned)p->user.uid : 0u);
    const char *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    return cache && cache[0] == '/' ? wh_printf("%s/wherry/exec", cache)
                                    : wh_printf("%s/.cache/wherry/exec", home ? home : "/tmp");
}

/* Makes it, or finds it as ours alone. */
static bool is_lock_folder(const char *path)
{
    struct stat st;
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return false;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == getuid() && !(st.st_mode & 022);
}

/* Of locks: nobody else may put anything there. */
static char *lock_folder(struct wh_error *err)
{
    const char *runtime = getuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");
    wh_autofree char *usual = runtime && runtime[0] == '/' ? wh_printf("%s/wherry-exec", runtime) : NULL;
    if (usual && is_lock_folder(usual))
        return wh_steal(&usual);
    wh_autofree char *other = wh_printf("/tmp/wherry-exec-locks-%u", (unsigned)getuid());
    if (is_lock_folder(other))
        return wh_steal(&other);
    wh_fail(err, WH_E_DENIED, "there is no folder for locks: neither %s nor %s can be made or is yours",
            usual ? usual : "$XDG_RUNTIME_DIR", other);
    return NULL;
}

int exec_place_open(const struct exec_options *o, struct exec_place *p, struct wh_error *err)
{
    *p = (struct exec_place){0};
    if (find_user(o, p, err) < 0)
        return -1;
    wh_autofree char *folder = o->work ? wh_strdup(o->work) : usual_folder(p);
    if (make_folder(p, folder, err) < 0)
        return -1;
    p->folder = realpath(folder, NULL);
    p->locks = p->folder ? lock_folder(err) : NULL;
    return p->folder ? p->locks ? 0 : -1 : wh_fail_errno(err, "find %s", folder);
}

void exec_place_clear(struct exec_place *p)
{
    wh_user_clear(&p->user);
    free(p->folder);
    free(p->locks);
}

char *exec_place_file(const struct exec_place *p, const char *kind, const char *name)
{
    struct wh_digest digest;
    wh_digest_of(name, strlen(name), &digest);
    wh_autofree char *hex = wh_hex(digest.bytes, 16);
    return wh_printf("%s/%s-%s", p->locks, kind, hex);
}

int exec_place_lock(const struct exec_place *p, const char *kind, const char *name, int *lock,
                    struct wh_error *err)
{
    wh_autofree char *path = exec_place_file(p, kind, name);
    *lock = -1;
    wh_autoclose int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return wh_fail_errno(err, "open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        *lock = wh_steal_fd(&fd);
    else if (errno != EWOULDBLOCK)
        return wh_fail_errno(err, "lock %s", path);
    return 0;
}

int exec_place_slot(const struct exec_place *p, char **path, struct wh_error *err)
{
    /* The first is the folder itself, as it is for one job at a time. Others lie beside it: what is in it is
     * the job user's, who could lead us elsewhere. */
    for (unsigned i = 0; i < MAX_SLOTS; i++) {
        wh_autofree char *slot = i == 0 ? wh_strdup(p->folder) : wh_printf("%s-%u", p->folder, i);
        int lock = -1;
        if (exec_place_lock(p, "slot", slot, &lock, err) < 0)
            return -1;
        if (lock < 0)
            continue;
        if (i > 0 && make_folder(p, slot, err) < 0) {
            close(lock);
            return -1;
        }
        *path = wh_steal(&slot);
        return lock;
    }
    return wh_fail(err, WH_E_LIMIT, "more than %u jobs use the work folder %s", MAX_SLOTS, p->folder);
}

char **exec_place_environment(const struct exec_options *o, const struct exec_place *p, const char *work)
{
    char **env = wh_strv_dup(environ);
    if (p->other) {
        bool real_home = access(p->user.home, F_OK) == 0 && !wh_streq(p->user.home, "/");
        wh_env_set(&env, "HOME", real_home ? p->user.home : work);
        wh_env_set(&env, "USER", p->user.name);
        wh_env_set(&env, "LOGNAME", p->user.name);
    }
    for (const cJSON *s = o->secrets->child; s; s = s->next)
        wh_env_set(&env, s->string,
                   NULL); /* `--secret K` took it from here: steps get it only where they ask */
    for (size_t i = 0; o->env && o->env[i]; i++) {
        wh_autofree char *name = wh_strdup(o->env[i]);
        char *equals = strchr(name, '=');
        *equals = '\0';
        wh_env_set(&env, name, equals + 1);
    }
    return env;
}

const char *exec_place_arch(void)
{
    struct utsname u;
    uname(&u);
    return wh_streq(u.machine, "aarch64")                               ? "ARM64"
           : wh_starts_with(u.machine, "arm")                           ? "ARM"
           : wh_streq(u.machine, "i686") || wh_streq(u.machine, "i386") ? "X86"
                                                                        : "X64";
}

cJSON *exec_place_runner(const char *work)
{
    struct utsname u;
    uname(&u);
    cJSON *runner = cJSON_CreateObject();
    wh_json_add_string(runner, "name", u.nodename);
    wh_json_add_string(runner, "machine", u.nodename);
    wh_json_add_string(runner, "version", WH_VERSION);
    wh_json_add_string(runner, "os", "Linux");
    wh_json_add_string(runner, "arch", exec_place_arch());
    wh_json_add_string(runner, "workDir", work);
    return runner;
}
