/* The seccomp profile: our table through libseccomp to BPF, once for a machine and a version; crun gets the
 * bytes. That a runtime compiles it anew for each container costs more than the rest of the container
 * (builder.md §4 "Seccomp"). */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"
#include "seccomp_table.h"
#include "wherry/base/digest.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"

#define MAX_PROGRAM ((size_t)BPF_MAXINSNS)
#define NEW_NAMESPACES                                                                                       \
    ((scmp_datum_t)(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |               \
                    CLONE_NEWNET | CLONE_NEWCGROUP))

static void release(scmp_filter_ctx *ctx)
{
    if (*ctx)
        seccomp_release(*ctx);
}

/* The compat ABIs that the machine's kernel runs too. */
static int add_architectures(scmp_filter_ctx ctx)
{
    switch (seccomp_arch_native()) {
    case SCMP_ARCH_X86_64:
        return seccomp_arch_add(ctx, SCMP_ARCH_X86) < 0 || seccomp_arch_add(ctx, SCMP_ARCH_X32) < 0 ? -1 : 0;
    case SCMP_ARCH_AARCH64:
        return seccomp_arch_add(ctx, SCMP_ARCH_ARM);
    default:
        return 0;
    }
}

/* A call that is known but absent on one of the architectures is no error: libseccomp adds it where it is. */
static int allow(scmp_filter_ctx ctx, const char *name)
{
    int call = seccomp_syscall_resolve_name(name);
    if (call == __NR_SCMP_ERROR)
        return 0;
    int failed = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 0);
    return failed == -EDOM ? 0 : failed;
}

static int allow_all(scmp_filter_ctx ctx)
{
    for (size_t i = 0; i < WH_COUNT(wh_seccomp_allowed); i++) {
        struct wh_view rest = wh_view_of(wh_seccomp_allowed[i]);
        while (rest.len > 0) {
            struct wh_view head;
            struct wh_view tail;
            (void)wh_view_split(rest, ' ', &head, &tail);
            wh_autofree char *name = wh_view_dup(head);
            int failed = head.len > 0 ? allow(ctx, name) : 0;
            if (failed < 0)
                return failed;
            rest = tail;
        }
    }
    return 0;
}

static int add_special(scmp_filter_ctx ctx)
{
    int failed = 0;
    for (size_t i = 0; failed == 0 && i < WH_COUNT(wh_seccomp_personalities); i++)
        failed = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1,
                                  SCMP_A0(SCMP_CMP_EQ, wh_seccomp_personalities[i]));
    /* Every address family but the kernel's crypto (AF_ALG, 38) and the one to other virtual machines
     * (AF_VSOCK, 40). */
    if (failed == 0)
        failed = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_LT, AF_ALG));
    if (failed == 0)
        failed = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_ALG + 1));
    if (failed == 0)
        failed = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_GT, AF_VSOCK));
    if (failed == 0)
        failed = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                                  SCMP_A0(SCMP_CMP_MASKED_EQ, NEW_NAMESPACES, 0));
    /* Its flags are behind a pointer: libraries fall back to clone. */
    if (failed == 0)
        failed = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return failed;
}

/* What libseccomp can't say: the newest calls by number, and ENOSYS for those after them. Goes before its
 * program, which begins with a load of its own. */
static void add_prelude(struct wh_str *out)
{
    const struct sock_filter load = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    const struct sock_filter allowed = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_filter unknown = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
    wh_str_addn(out, &load, sizeof load);
    size_t n = WH_COUNT(wh_seccomp_numbers);
    for (size_t i = 0; i < n; i++) {
        /* Over the rest of the list, the two range checks and `unknown`. */
        const struct sock_filter is =
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, wh_seccomp_numbers[i].number, (uint8_t)(n - i - 1 + 3), 0);
        wh_str_addn(out, &is, sizeof is);
    }
    const struct sock_filter odd = BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, WH_SECCOMP_FIRST_ODD, 3, 0);
    const struct sock_filter newer = BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, WH_SECCOMP_LAST_KNOWN, 0, 2);
    wh_str_addn(out, &odd, sizeof odd);
    wh_str_addn(out, &newer, sizeof newer);
    wh_str_addn(out, &unknown, sizeof unknown);
    wh_str_addn(out, &allowed, sizeof allowed);
}

static int export_program(scmp_filter_ctx ctx, struct wh_str *out, struct wh_error *err)
{
    wh_autoclose int fd = memfd_create("seccomp", MFD_CLOEXEC);
    int failed = fd < 0 ? -errno : seccomp_export_bpf(ctx, fd);
    if (failed < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return wh_fail(err, WH_E_FAILED, "export the seccomp profile: %s",
                       strerror(failed < 0 ? -failed : errno));
    return wh_read_fd(fd, MAX_PROGRAM * sizeof(struct sock_filter), "the seccomp profile", out, err);
}

int wh_seccomp_compile(struct wh_str *out, struct wh_error *err)
{
    __attribute__((cleanup(release))) scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!ctx)
        return wh_fail(err, WH_E_FAILED, "libseccomp does not start");
    (void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a search tree */
    int failed = add_architectures(ctx);
    if (failed == 0)
        failed = allow_all(ctx);
    if (failed == 0)
        failed = add_special(ctx);
    if (failed < 0)
        return wh_fail(err, WH_E_FAILED, "compile the seccomp profile: %s", strerror(-failed));
    add_prelude(out);
    if (export_program(ctx, out, err) < 0)
        return -1;
    if (out->len > MAX_PROGRAM * sizeof(struct sock_filter))
        return wh_fail(err, WH_E_LIMIT, "the seccomp profile is longer than the kernel takes");
    return 0;
}

/* ---- kept in the state folder: digest, then the program ---- */

static char *file_name(void)
{
    const struct scmp_version *lib = seccomp_version();
    return wh_printf("seccomp-%d-%x-%u.%u.%u.bpf", WH_SECCOMP_VERSION, seccomp_arch_native(),
                     lib ? lib->major : 0, lib ? lib->minor : 0, lib ? lib->micro : 0);
}

static bool read_kept(const char *path, struct wh_str *out)
{
    wh_autostr file = {0};
    struct wh_digest digest;
    size_t head = sizeof digest.bytes;
    if (wh_read_file(AT_FDCWD, path, head + MAX_PROGRAM * sizeof(struct sock_filter), &file, NULL) < 0 ||
        file.len <= head)
        return false;
    wh_digest_of(file.data + head, file.len - head, &digest);
    if (memcmp(digest.bytes, file.data, head) != 0)
        return false;
    wh_str_addn(out, file.data + head, file.len - head);
    return true;
}

int wh_seccomp_load(const char *state_dir, struct wh_str *out, struct wh_error *err)
{
    wh_autofree char *name = file_name();
    wh_autofree char *path = wh_path_join(state_dir, name);
    if (read_kept(path, out))
        return 0;
    if (wh_seccomp_compile(out, err) < 0)
        return -1;
    wh_autostr file = {0};
    struct wh_digest digest;
    wh_autoerror why = {0};
    wh_digest_of(out->data, out->len, &digest);
    wh_str_addn(&file, digest.bytes, sizeof digest.bytes);
    wh_str_addn(&file, out->data, out->len);
    /* Not fatal: the next builder compiles again. */
    if (wh_write_file(AT_FDCWD, path, file.data, file.len, 0600, &why) < 0)
        wh_log_warning("seccomp profile not kept: %s", wh_error_text(&why));
    return 0;
}
