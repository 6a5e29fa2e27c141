/* Which system calls a RUN may make: the same set as Docker's and BuildKit's default profile gives to a
 * container with the default capabilities (builder.md §4 "Seccomp"). Everything else fails with EPERM, what
 * is newer than this list with ENOSYS, so that a C library falls back. Names that the installed libseccomp or
 * the machine doesn't know are skipped. */
#ifndef WH_CONTAINER_SECCOMP_TABLE_H
#define WH_CONTAINER_SECCOMP_TABLE_H

/* Raise it when the rules change: the compiled profile is kept under it. */
#define WH_SECCOMP_VERSION 1

/* One line a subject; blanks separate names. */
static const char *const wh_seccomp_allowed[] = {
    /* files by name */
    "open openat openat2 creat access faccessat faccessat2 stat stat64 lstat lstat64 newfstatat fstatat64 "
    "statx readlink readlinkat "
    "mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat mknod "
    "mknodat truncate truncate64 "
    "chmod fchmodat fchmodat2 chown chown32 lchown lchown32 fchownat utime utimes futimesat utimensat "
    "utimensat_time64 chdir getcwd "
    "chroot name_to_handle_at statfs statfs64 umask",
    /* files by descriptor */
    "read pread64 readv preadv preadv2 write pwrite64 writev pwritev pwritev2 close close_range lseek "
    "_llseek fstat fstat64 "
    "fstatfs fstatfs64 ftruncate ftruncate64 fallocate fchmod fchown fchown32 fchdir fcntl fcntl64 flock "
    "ioctl dup dup2 dup3 fsync "
    "fdatasync sync syncfs sync_file_range getdents getdents64 readahead fadvise64 fadvise64_64 "
    "copy_file_range sendfile sendfile64 "
    "splice tee vmsplice pipe pipe2 cachestat",
    /* extended attributes, notification, mount facts */
    "getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat listxattr llistxattr "
    "flistxattr listxattrat "
    "removexattr lremovexattr fremovexattr removexattrat inotify_init inotify_init1 inotify_add_watch "
    "inotify_rm_watch fanotify_mark "
    "listmount statmount",
    /* waiting for descriptors */
    "select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 epoll_ctl "
    "epoll_ctl_old epoll_wait "
    "epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4 timerfd_create "
    "timerfd_gettime timerfd_gettime64 "
    "timerfd_settime timerfd_settime64",
    /* asynchronous I/O of the old kind (io_uring stays out) */
    "io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64 ioprio_get "
    "ioprio_set",
    /* sockets; socket itself has a rule of its own */
    "socketcall socketpair bind listen accept accept4 connect shutdown getsockname getpeername getsockopt "
    "setsockopt send sendto "
    "sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64",
    /* memory */
    "brk mmap mmap2 munmap mremap mprotect madvise mincore msync mlock mlock2 mlockall munlock munlockall "
    "remap_file_pages membarrier "
    "memfd_create memfd_secret pkey_alloc pkey_free pkey_mprotect map_shadow_stack mseal process_mrelease",
    /* processes and threads; clone and clone3 have rules of their own */
    "fork vfork execve execveat exit exit_group wait4 waitid waitpid kill tkill tgkill pidfd_open "
    "pidfd_send_signal ptrace "
    "process_vm_readv process_vm_writev set_tid_address set_robust_list get_robust_list set_thread_area "
    "get_thread_area rseq futex "
    "futex_time64 futex_waitv futex_wait futex_wake futex_requeue prctl pause restart_syscall getpid getppid "
    "gettid getpgid getpgrp "
    "setpgid getsid setsid getcpu times uretprobe",
    /* signals */
    "rt_sigaction rt_sigprocmask rt_sigpending rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 "
    "rt_sigqueueinfo "
    "rt_tgsigqueueinfo rt_sigreturn sigprocmask sigreturn sigaltstack",
    /* identity */
    "getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getgroups getgroups32 getresuid "
    "getresuid32 getresgid "
    "getresgid32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid "
    "setresuid32 setresgid setresgid32 "
    "setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32 capget capset seccomp "
    "landlock_create_ruleset landlock_add_rule "
    "landlock_restrict_self",
    /* time */
    "time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep "
    "clock_nanosleep_time64 nanosleep "
    "alarm getitimer setitimer timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 "
    "timer_settime timer_settime64 "
    "adjtimex clock_adjtime clock_adjtime64",
    /* limits and scheduling */
    "getrlimit ugetrlimit setrlimit prlimit64 getrusage getpriority setpriority sched_getaffinity "
    "sched_setaffinity sched_getattr "
    "sched_setattr sched_getparam sched_setparam sched_getscheduler sched_setscheduler "
    "sched_get_priority_max sched_get_priority_min "
    "sched_rr_get_interval sched_rr_get_interval_time64 sched_yield",
    /* System V and POSIX queues, semaphores, shared memory */
    "ipc msgget msgctl msgsnd msgrcv semget semctl semop semtimedop semtimedop_time64 shmget shmctl shmat "
    "shmdt mq_open mq_unlink "
    "mq_getsetattr mq_notify mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64",
    /* the machine */
    "uname sysinfo getrandom",
    /* what one architecture has */
    "arch_prctl modify_ldt riscv_hwprobe riscv_flush_icache arm_fadvise64_64 arm_sync_file_range "
    "sync_file_range2 breakpoint cacheflush "
    "set_tls s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
};

/* personality(2) values: Linux, Linux32, without address randomisation, and the question. */
static const unsigned long wh_seccomp_personalities[] = {0x0, 0x8, 0x20000, 0x20008, 0xffffffff};

/* Calls that came with the same number to every architecture, and that an older libseccomp can't name. */
struct wh_seccomp_number {
    unsigned number;
    const char *name;
};
static const struct wh_seccomp_number wh_seccomp_numbers[] = {
    {451, "cachestat"},     {452, "fchmodat2"},     {453, "map_shadow_stack"}, {454, "futex_wake"},
    {455, "futex_wait"},    {456, "futex_requeue"}, {457, "statmount"},        {458, "listmount"},
    {462, "mseal"},         {463, "setxattrat"},    {464, "getxattrat"},       {465, "listxattrat"},
    {466, "removexattrat"},
};
#define WH_SECCOMP_LAST_KNOWN 466u    /* later ones get ENOSYS... */
#define WH_SECCOMP_FIRST_ODD 0xf0000u /* ...up to the private ranges (ARM's own calls, x32's bit) */

#endif
