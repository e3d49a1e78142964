/*
 * isle-shim DIRECTORY USER: the first process of a microVM's container.
 *
 * Starts virtiofsd and QEMU as `boot` in the directory says, joins them by sockets, and is for conmon what the
 * workload is in an ordinary container: its standard streams are the workload's (over port `isle.workload`), signals
 * to it are the workload's, and it exits with the workload's code. Before it does, it writes `outcome`. It belongs to
 * no daemon. When virtiofsd or QEMU ends, or this process, all end.
 *
 * `boot` holds two lists of arguments, each string followed by NUL and each list by an empty string: virtiofsd's (may
 * be empty) and QEMU's. virtiofsd finds its listening socket as descriptor 3; QEMU its vhost-user socket as 3, the
 * workload's port as 4 and the console as 5. QEMU runs as USER (a number), which must not be root's.
 *
 * isle-shim --tsc: prints the frequency of the processor's time stamp counter in kHz, 0 where there is none.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_BOOT = 64 * 1024, MAX_ARGS = 256 };

enum { VIRTIOFSD, QEMU, CHILDREN };

/* Milliseconds in which a QEMU that was killed is seen to be dead, after virtiofsd saw it go. */
enum { DYING = 500 };

struct vm {
  struct port port;
  struct console console;
  struct child children[CHILDREN];
  int signals;
  /* Whether QEMU's end is this process's doing. */
  bool killed;
  /* When virtiofsd was first seen to have ended before QEMU, in milliseconds; 0 is never. */
  int64_t alone;
};

static void fail(const char *what);
static void read_boot(char **fs_args, char **vm_args);
static int take_signals(void);
static void start(struct vm *vm, char **fs_args, char **vm_args, uid_t user);
static void serve(struct vm *vm);
static int code_of(const struct vm *vm);

int main(int argc, char **argv) {
  static struct vm vm;
  static char *fs_args[MAX_ARGS], *vm_args[MAX_ARGS];
  if (argc == 2 && strcmp(argv[1], "--tsc") == 0) return print_tsc();
  uid_t user = argc == 3 ? (uid_t)strtoul(argv[2], NULL, 10) : 0;
  if (user == 0) {
    fprintf(stderr, "usage: isle-shim DIRECTORY USER\n");
    return 2;
  }
  if (chdir(argv[1]) < 0) fail(argv[1]);
  read_boot(fs_args, vm_args);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  vm.signals = take_signals();
  start(&vm, fs_args, vm_args, user);
  serve(&vm);
  outcome_write(&vm.port, vm.children, CHILDREN, vm.killed);
  return code_of(&vm);
}

static void fail(const char *what) {
  fprintf(stderr, "isle-shim: %s: %s\n", what, strerror(errno));
  exit(255);
}

static void read_boot(char **fs_args, char **vm_args) {
  static char text[MAX_BOOT];
  int fd = open("boot", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) fail("boot");
  size_t length = 0;
  for (ssize_t got; (got = read(fd, text + length, sizeof text - 1 - length)) > 0;) length += (size_t)got;
  close(fd);
  char *at = text, *end = text + length;
  for (int list = 0; list < 2; list++) {
    char **args = list == 0 ? fs_args : vm_args;
    int count = 0;
    for (; at < end && *at; at += strlen(at) + 1)
      if (count < MAX_ARGS - 1) args[count++] = at;
    at++;
  }
  errno = EINVAL;
  if (!vm_args[0]) fail("boot");
}

/* All signals come by a descriptor; those that a write to a closed pipe would raise are not told. */
static int take_signals(void) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  signal(SIGPIPE, SIG_IGN);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  int fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) fail("signalfd");
  return fd;
}

static void start(struct vm *vm, char **fs_args, char **vm_args, uid_t user) {
  int workload[2], console[2], fs[2] = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, workload) < 0) fail("socketpair");
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, console) < 0) fail("socketpair");
  port_open(&vm->port, workload[0]);
  if (!console_open(&vm->console, console[0], "console")) fail("console");
  for (int fd = 0; fd <= 2; fd++) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  vm->children[VIRTIOFSD] = (struct child){.name = "virtiofsd", .words = -1, .ended = true};
  vm->children[QEMU] = (struct child){.name = "qemu", .words = -1};
  if (fs_args[0]) {
    if (!listening_pair(fs)) fail("socket of virtiofsd");
    vm->children[VIRTIOFSD].ended = false;
    if (!child_start(&vm->children[VIRTIOFSD], fs_args, &fs[0], 1, 0)) fail("fork");
    close(fs[0]);
  }
  int fds[] = {fs[1], workload[1], console[1]};
  if (!child_start(&vm->children[QEMU], vm_args, fds, 3, user)) fail("fork");
  for (int i = 0; i < 3; i++) close(fds[i]);
}

static void note_signals(struct vm *vm) {
  struct signalfd_siginfo info;
  while (read(vm->signals, &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGCHLD) children_reap(vm->children, CHILDREN);
    else if (info.ssi_signo >= 1 && info.ssi_signo <= 64) vm->port.signals |= 1ULL << (info.ssi_signo - 1);
  }
}

/* Passes on what is in `chunk`. Output that nobody reads any more is dropped, as a pipe's would be. */
static void pass_on(struct port *port) {
  ssize_t put = write(port->chunk_target, port->chunk + port->chunk_start, port->chunk_end - port->chunk_start);
  if (put > 0) port->chunk_start += (size_t)put;
  else if (put < 0 && errno != EAGAIN && errno != EINTR) port->chunk_start = port->chunk_end;
  if (port->chunk_start == port->chunk_end) port->chunk_start = port->chunk_end = 0;
}

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

/* Whether QEMU goes on without virtiofsd: not when that ended because QEMU is ending. */
static bool is_alone(struct vm *vm) {
  const struct child *fs = &vm->children[VIRTIOFSD];
  if (!fs->ended || fs->pid == 0) return false;
  if (vm->alone == 0) vm->alone = now();
  return now() - vm->alone >= DYING;
}

/* Ends what must not outlive the others. The guest says last how its workload ended: all else is done then. */
static void settle(struct vm *vm) {
  struct child *fs = &vm->children[VIRTIOFSD], *qemu = &vm->children[QEMU];
  if (qemu->ended) return child_kill(fs);
  if (!vm->port.exited && !vm->port.broken && !is_alone(vm)) return;
  vm->killed = true;
  child_kill(qemu);
}

static bool is_over(const struct vm *vm) {
  return vm->children[QEMU].ended && vm->children[VIRTIOFSD].ended && vm->port.ended && vm->port.chunk_end == 0 &&
         vm->console.fd < 0 && vm->children[QEMU].words < 0 && vm->children[VIRTIOFSD].words < 0;
}

static void serve(struct vm *vm) {
  struct port *port = &vm->port;
  for (; settle(vm), !is_over(vm);) {
    bool waiting = port->chunk_end != 0, stdin_wanted = port_wants_stdin(port) && !port->ended;
    port_fill(port, false);
    short port_events = (short)((waiting ? 0 : POLLIN) | (port->out_end ? POLLOUT : 0));
    struct pollfd polls[] = {
        {.fd = vm->signals, .events = POLLIN},
        {.fd = port->ended || port_events == 0 ? -1 : port->fd, .events = port_events},
        {.fd = stdin_wanted ? STDIN_FILENO : -1, .events = POLLIN},
        {.fd = waiting ? port->chunk_target : -1, .events = POLLOUT},
        {.fd = vm->console.fd, .events = POLLIN},
        {.fd = vm->children[VIRTIOFSD].words, .events = POLLIN},
        {.fd = vm->children[QEMU].words, .events = POLLIN},
    };
    if (poll(polls, sizeof polls / sizeof *polls, vm->alone && !vm->killed ? DYING / 10 : -1) < 0 && errno != EINTR) fail("poll");
    if (polls[0].revents) note_signals(vm);
    if (polls[3].revents) pass_on(port);
    if (polls[2].revents) port_fill(port, true);
    if ((polls[1].revents & POLLOUT) && port->out_end) port_write(port);
    if (!waiting && (polls[1].revents & (POLLIN | POLLHUP | POLLERR))) port_read(port);
    if (polls[4].revents) console_read(&vm->console);
    if (polls[5].revents) child_listen(&vm->children[VIRTIOFSD]);
    if (polls[6].revents) child_listen(&vm->children[QEMU]);
  }
}

/* Without the guest's word: as QEMU was killed, else 255. */
static int code_of(const struct vm *vm) {
  int status = vm->children[QEMU].status;
  if (vm->port.exited) return vm->port.code;
  return !vm->killed && WIFSIGNALED(status) ? 128 + WTERMSIG(status) : 255;
}
