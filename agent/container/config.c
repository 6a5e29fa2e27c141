/* config.json of a RUN's bundle (OCI runtime specification 1.0; contents: builder.md §4). */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "internal.h"
#include "wherry/base/fs.h"
#include "wherry/base/json.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *const capabilities[] = {
    "CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FSETID",           "CAP_FOWNER",
    "CAP_MKNOD",   "CAP_NET_RAW",      "CAP_SETGID",           "CAP_SETUID",
    "CAP_SETFCAP", "CAP_SETPCAP",      "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT",
    "CAP_KILL",    "CAP_AUDIT_WRITE",
};
/* What security=insecure adds: all that means something in a user namespace. */
static const char *const more_capabilities[] = {
    "CAP_DAC_READ_SEARCH", "CAP_LINUX_IMMUTABLE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_IPC_LOCK",        "CAP_IPC_OWNER",       "CAP_SYS_PTRACE",    "CAP_SYS_ADMIN",
    "CAP_SYS_NICE",        "CAP_SYS_TTY_CONFIG",  "CAP_LEASE",
};
static const char *const masked[] = {
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
};
static const char *const read_only[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                        "/proc/sysrq-trigger"};

static cJSON *strings(const char *const *items, size_t n)
{
    cJSON *array = cJSON_CreateArray();
    for (size_t i = 0; i < n; i++)
        cJSON_AddItemToArray(array, cJSON_CreateString(items[i]));
    return array;
}

/* "rw,nosuid,mode=755" to an array. */
static cJSON *options(const char *text)
{
    wh_autostrv char **items = wh_strv_split(text, ',');
    return strings((const char *const *)items, wh_strv_len(items));
}

static void add_mount(cJSON *mounts, const char *target, const char *type, const char *source,
                      const char *flags)
{
    cJSON *m = cJSON_CreateObject();
    wh_json_add_string(m, "destination", target);
    wh_json_add_string(m, "type", type);
    wh_json_add_string(m, "source", source);
    cJSON_AddItemToObject(m, "options", options(flags));
    cJSON_AddItemToArray(mounts, m);
}

/* ---- process ---- */

static cJSON *environment(const struct wh_run_spec *spec, const struct wh_run_user *user)
{
    cJSON *array = cJSON_CreateArray();
    for (size_t i = 0; spec->env && spec->env[i]; i++)
        cJSON_AddItemToArray(array, cJSON_CreateString(spec->env[i]));
    char *const *env = (char *const *)spec->env;
    if (!env || !wh_env_get(env, "PATH"))
        cJSON_AddItemToArray(array, cJSON_CreateString("PATH=" DEFAULT_PATH));
    if (!env || !wh_env_get(env, "HOME")) {
        wh_autofree char *home = wh_printf("HOME=%s", user->home);
        cJSON_AddItemToArray(array, cJSON_CreateString(home));
    }
    return array;
}

static cJSON *user_object(const struct wh_run_user *user)
{
    cJSON *object = cJSON_CreateObject();
    wh_json_add_int(object, "uid", user->uid);
    wh_json_add_int(object, "gid", user->gid);
    wh_json_add_int(object, "umask", 022);
    cJSON *groups = cJSON_AddArrayToObject(object, "additionalGids");
    for (size_t i = 0; i < user->ngroups; i++)
        cJSON_AddItemToArray(groups, cJSON_CreateNumber(user->groups[i]));
    return object;
}

/* A user other than root starts with none in effect, as an exec would leave it. */
static cJSON *capability_sets(const struct wh_run_spec *spec, const struct wh_run_user *user)
{
    static const char *const sets[] = {"bounding", "effective", "permitted"};
    cJSON *object = cJSON_CreateObject();
    for (size_t s = 0; s < WH_COUNT(sets); s++) {
        if (s > 0 && user->uid != 0)
            break;
        cJSON *set = strings(capabilities, WH_COUNT(capabilities));
        for (size_t i = 0; spec->insecure && i < WH_COUNT(more_capabilities); i++)
            cJSON_AddItemToArray(set, cJSON_CreateString(more_capabilities[i]));
        cJSON_AddItemToObject(object, sets[s], set);
    }
    return object;
}

static void add_rlimits(cJSON *process, const struct wh_run_spec *spec)
{
    if (spec->nulimits == 0)
        return;
    cJSON *array = cJSON_AddArrayToObject(process, "rlimits");
    for (size_t i = 0; i < spec->nulimits; i++) {
        wh_autofree char *name = wh_printf("RLIMIT_%s", spec->ulimits[i].name);
        wh_ascii_upper(name);
        cJSON *item = cJSON_CreateObject();
        wh_json_add_string(item, "type", name);
        /* As text, since cJSON's numbers are doubles and "unlimited" needs all 64 bits. */
        char number[24];
        (void)snprintf(number, sizeof number, "%llu", (unsigned long long)spec->ulimits[i].soft);
        cJSON_AddItemToObject(item, "soft", cJSON_CreateRaw(number));
        (void)snprintf(number, sizeof number, "%llu", (unsigned long long)spec->ulimits[i].hard);
        cJSON_AddItemToObject(item, "hard", cJSON_CreateRaw(number));
        cJSON_AddItemToArray(array, item);
    }
}

cJSON *wh_bundle_process(const struct wh_bundle *b)
{
    const struct wh_run_spec *spec = b->spec;
    cJSON *process = cJSON_CreateObject();
    size_t n = 0;
    while (spec->argv[n])
        n++;
    cJSON_AddBoolToObject(process, "terminal", false);
    cJSON_AddItemToObject(process, "user", user_object(&b->user));
    cJSON_AddItemToObject(process, "args", strings(spec->argv, n));
    cJSON_AddItemToObject(process, "env", environment(spec, &b->user));
    wh_json_add_string(process, "cwd", wh_run_cwd(spec));
    cJSON_AddItemToObject(process, "capabilities", capability_sets(spec, &b->user));
    add_rlimits(process, spec);
    cJSON_AddBoolToObject(process, "noNewPrivileges", false);
    return process;
}

/* ---- mounts ---- */

static void add_system_mounts(cJSON *mounts, const struct wh_run_spec *spec)
{
    const char *ro = spec->insecure ? "rw" : "ro";
    add_mount(mounts, "/proc", "proc", "proc", "nosuid,noexec,nodev");
    add_mount(mounts, "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k");
    add_mount(mounts, "/dev/pts", "devpts", "devpts",
              "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5");
    wh_autofree char *shm =
        wh_printf("nosuid,noexec,nodev,mode=1777,size=%llu",
                  (unsigned long long)(spec->shm_size ? spec->shm_size : WH_RUN_SHM_DEFAULT));
    add_mount(mounts, "/dev/shm", "tmpfs", "shm", shm);
    add_mount(mounts, "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev");
    wh_autofree char *flags = wh_printf("nosuid,noexec,nodev,%s", ro);
    wh_autofree char *bind_flags = wh_printf("rbind,nosuid,noexec,nodev,%s", ro);
    /* A new sysfs belongs to whoever owns the network namespace: with the machine's, only a bind is allowed.
     */
    if (spec->network == WH_RUN_NET_HOST)
        add_mount(mounts, "/sys", "bind", "/sys", bind_flags);
    else
        add_mount(mounts, "/sys", "sysfs", "sysfs", flags);
    add_mount(mounts, "/sys/fs/cgroup", "cgroup", "cgroup", flags);
}

static void add_user_mount(cJSON *mounts, const struct wh_bundle_mount *m)
{
    const struct wh_run_mount *mount = m->mount;
    switch (mount->type) {
    case WH_RUN_TMPFS: {
        wh_autofree char *flags = mount->size > 0 ? wh_printf("nosuid,noexec,nodev,mode=1777,size=%llu",
                                                              (unsigned long long)mount->size)
                                                  : wh_strdup("nosuid,noexec,nodev,mode=1777");
        add_mount(mounts, mount->target, "tmpfs", "tmpfs", flags);
        break;
    }
    case WH_RUN_BIND:
    case WH_RUN_CACHE:
    case WH_RUN_SOCKET:
        add_mount(mounts, mount->target, "bind", m->source, mount->readonly ? "rbind,ro" : "rbind,rw");
        break;
    case WH_RUN_SECRET:
        add_mount(mounts, mount->target, "bind", m->source, "bind,ro,nosuid,nodev,noexec");
        break;
    case WH_RUN_FILE:
        if (m->source) {
            const char *slash = strrchr(mount->target, '/');
            wh_autofree char *folder = wh_strndup(mount->target, (size_t)(slash - mount->target));
            add_mount(mounts, folder, "bind", m->source, "bind,ro,nosuid,nodev");
        }
        break;
    }
}

static cJSON *mounts_array(const struct wh_bundle *b)
{
    cJSON *mounts = cJSON_CreateArray();
    wh_autofree char *hosts = wh_path_join(b->box, "hosts");
    wh_autofree char *resolv = wh_path_join(b->box, "resolv.conf");
    add_system_mounts(mounts, b->spec);
    add_mount(mounts, "/etc/resolv.conf", "bind", resolv, "bind,ro,nosuid,nodev,noexec");
    add_mount(mounts, "/etc/hosts", "bind", hosts, "bind,ro,nosuid,nodev,noexec");
    for (size_t i = 0; i < b->spec->nmounts; i++)
        add_user_mount(mounts, &b->mounts[i]);
    return mounts;
}

/* ---- linux ---- */

static cJSON *linux_object(const struct wh_bundle *b)
{
    static const char *const namespaces[] = {"mount", "pid", "ipc", "uts", "cgroup", "network"};
    wh_autofree char *netns = wh_printf("/proc/%d/fd/%d", (int)getpid(), b->spec->netns);
    cJSON *object = cJSON_CreateObject();
    cJSON *array = cJSON_AddArrayToObject(object, "namespaces");
    size_t n = WH_COUNT(namespaces) - (b->spec->network == WH_RUN_NET_HOST ? 1 : 0);
    for (size_t i = 0; i < n; i++) {
        cJSON *item = cJSON_CreateObject();
        wh_json_add_string(item, "type", namespaces[i]);
        if (b->spec->network == WH_RUN_NET_OWN && wh_streq(namespaces[i], "network"))
            wh_json_add_string(item, "path", netns);
        cJSON_AddItemToArray(array, item);
    }
    if (b->spec->insecure)
        return object;
    cJSON_AddItemToObject(object, "maskedPaths", strings(masked, WH_COUNT(masked)));
    cJSON_AddItemToObject(object, "readonlyPaths", strings(read_only, WH_COUNT(read_only)));
    if (!b->container->is_crun)
        cJSON_AddItemToObject(object, "seccomp", wh_seccomp_json());
    return object;
}

int wh_bundle_write_config(const struct wh_bundle *b, struct wh_error *err)
{
    wh_autojson *config = cJSON_CreateObject();
    wh_json_add_string(config, "ociVersion", "1.0.0");
    cJSON_AddItemToObject(config, "process", wh_bundle_process(b));
    cJSON *root = cJSON_AddObjectToObject(config, "root");
    wh_json_add_string(root, "path", b->spec->rootfs->path);
    cJSON_AddBoolToObject(root, "readonly", b->spec->readonly_rootfs);
    wh_json_add_string(config, "hostname", wh_run_hostname(b->spec));
    cJSON_AddItemToObject(config, "mounts", mounts_array(b));
    cJSON_AddItemToObject(config, "linux", linux_object(b));
    if (b->container->is_crun && !b->spec->insecure) {
        cJSON *annotations = cJSON_AddObjectToObject(config, "annotations");
        wh_json_add_string(annotations, "run.oci.seccomp_bpf_data", b->container->seccomp);
    }
    wh_autofree char *text = wh_json_print(config);
    wh_autofree char *path = wh_path_join(b->box, "config.json");
    wh_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return wh_fail_errno(err, "make %s", path);
    return wh_write_all(fd, text, strlen(text), err) < 0 ? wh_wrap(err, "%s", path) : 0;
}
