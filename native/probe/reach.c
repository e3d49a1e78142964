/*
 * System calls that exploits of kernels and container runtimes began with, or that change the host: which of them come
 * through to a kernel here. Each is made in a child of its own and with arguments that can do nothing, so that what
 * answers is a filter (EPERM, ENOSYS, a killed child), a missing privilege (EPERM), or the call's own code (any other).
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct call {
  const char *name;
  long number;
  long arguments[6];
};

#define CALL(name, ...) {#name, SYS_##name, {__VA_ARGS__}}

static const struct call calls[] = {
    CALL(add_key, 0, 0, 0, 0, -1),
    CALL(bpf, -1, 0, 0),
    CALL(chroot, 0),
    CALL(clock_adjtime, -1, 0),
    CALL(clone3, 0, 0),
    CALL(delete_module, 0, 0),
    CALL(fanotify_init, -1, 0),
    CALL(finit_module, -1, 0, 0),
#ifdef SYS_fsconfig
    CALL(fsconfig, -1, 0, 0, 0, 0),
    CALL(fsmount, -1, 0, 0),
    CALL(fsopen, 0, 0),
    CALL(move_mount, -1, 0, -1, 0, 0),
    CALL(open_tree, -1, 0, 0),
#endif
    CALL(init_module, 0, 0, 0),
#ifdef SYS_iopl
    CALL(iopl, -1),
#endif
#ifdef SYS_io_uring_setup
    CALL(io_uring_setup, 0, 0),
#endif
    CALL(kcmp, 0, 0, 0, 0, 0),
#ifdef SYS_kexec_file_load
    CALL(kexec_file_load, -1, -1, 0, 0, -1),
#endif
    CALL(kexec_load, 0, 0, 0, -1),
    CALL(keyctl, -1, 0, 0, 0, 0),
    CALL(mount, 0, 0, 0, 0, 0),
#ifdef SYS_mount_setattr
    CALL(mount_setattr, -1, 0, 0, 0, 0),
#endif
    CALL(move_pages, 0, 0, 0, 0, 0, -1),
    CALL(name_to_handle_at, -1, 0, 0, 0, 0),
    CALL(open_by_handle_at, -1, 0, 0),
    CALL(perf_event_open, 0, 0, -1, -1, 0),
#ifdef SYS_pidfd_getfd
    CALL(pidfd_getfd, -1, 0, 0),
#endif
    CALL(pivot_root, 0, 0),
    CALL(process_vm_readv, 0, 0, 0, 0, 0, 0),
    CALL(process_vm_writev, 0, 0, 0, 0, 0, 0),
    CALL(ptrace, 1, 0, 0, 0),
    CALL(quotactl, -1, 0, 0, 0),
    CALL(reboot, 0, 0, 0, 0),
    CALL(request_key, 0, 0, 0, 0),
    CALL(set_mempolicy, -1, 0, 0),
    CALL(setns, -1, 0),
    CALL(settimeofday, 0, 0),
    CALL(swapon, 0, 0),
    CALL(syslog, -1, 0, 0),
    CALL(umount2, 0, 0),
    CALL(userfaultfd, -1),
    /* In a child, a namespace of its own harms nobody. */
    {"unshare (user namespace)", SYS_unshare, {CLONE_NEWUSER}},
    {"socket (AF_ALG)", SYS_socket, {AF_ALG, SOCK_SEQPACKET, 0}},
    {"socket (AF_VSOCK)", SYS_socket, {AF_VSOCK, SOCK_STREAM, 0}},
};

/* 0: it succeeded; an errno; -1: the child was killed for it. */
static int attempt(const struct call *call) {
  const long *a = call->arguments;
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    errno = 0;
    long answer = syscall(call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
    _exit(answer == -1 ? (errno < 255 ? errno : 255) : 0);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void print_reachable_calls(void) {
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    printf("%s\"%s\":%d", i ? "," : "", calls[i].name, attempt(&calls[i]));
    fflush(stdout);
  }
}
