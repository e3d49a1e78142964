/* A child for the workload, in namespaces of its own, or for an exec, in the workload's. */
#include "guest.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int workload_pidfd = -1;

/* The child's side of its streams and of the channel. */
struct ends {
  int channel, in, out, err;
};

static int make_ends(const struct process_spec *process, struct child *child, struct ends *ends) {
  int channel[2] = {-1, -1}, in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
  bool made = !socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel);
  if (made && !process->tty)
    made = (!process->in || !pipe2(in, O_CLOEXEC)) && !pipe2(out, O_CLOEXEC) && !pipe2(err, O_CLOEXEC);
  *child = (struct child){.channel = channel[0], .in = in[1], .out = out[0], .err = err[0]};
  *ends = (struct ends){.channel = channel[1], .in = in[0], .out = out[1], .err = err[1]};
  for (const int *fd = (int[]){child->in, child->out, child->err, -2}; *fd != -2; fd++)
    if (*fd >= 0) fcntl(*fd, F_SETFL, O_NONBLOCK);
  return made ? 0 : -1;
}

static void close_all(const int *fds, size_t count) {
  for (size_t index = 0; index < count; index++)
    if (fds[index] >= 0) close(fds[index]);
}

static void close_ends(const struct ends *ends) {
  close_all((int[]){ends->channel, ends->in, ends->out, ends->err}, 4);
}

static void close_child(const struct child *child) {
  close_all((int[]){child->channel, child->in, child->out, child->err}, 4);
}

static pid_t clone_into(uint64_t flags, int cgroup, int *pidfd) {
  struct clone_args args = {
      .flags = flags | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0) | (pidfd ? CLONE_PIDFD : 0),
      .pidfd = (uintptr_t)pidfd,
      .exit_signal = SIGCHLD,
      .cgroup = cgroup >= 0 ? cgroup : 0,
  };
  return syscall(SYS_clone3, &args, sizeof args);
}

_Noreturn static void give_up(int channel, struct failure *failure) {
  send_message(channel, failure, -1);
  _exit(127);
}

/* The streams become 0, 1 and 2, those of a terminal also a session's. */
static int take_streams(struct ends *ends, int terminal, const struct process_spec *process,
                        struct failure *failure) {
  setsid();
  int in = terminal >= 0 ? terminal : process->in ? ends->in : open("/dev/null", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (in < 0) return fail(failure, "open", "/dev/null");
  if (terminal >= 0 && ioctl(terminal, TIOCSCTTY, 0)) return fail(failure, "take the terminal", NULL);
  if (dup2(in, 0) < 0 || dup2(terminal >= 0 ? terminal : ends->out, 1) < 0 ||
      dup2(terminal >= 0 ? terminal : ends->err, 2) < 0)
    return fail(failure, "take the streams", NULL);
  /* No other descriptor is open from here on: a working directory of /proc/self/fd/N leads nowhere (CVE-2024-21626). */
  if (ends->channel != 3 && dup3(ends->channel, 3, O_CLOEXEC) < 0) return fail(failure, "take the streams", NULL);
  ends->channel = 3;
  close_range(4, ~0U, 0);
  return 0;
}

/* Before the root changes: /proc is still the guest's. */
static void take_oom_score(const struct process_spec *process) {
  char value[16];
  snprintf(value, sizeof value, "%d", process->oom_score_adj);
  write_file("/proc/self/oom_score_adj", value);
}

static int set_names(const struct run_spec *spec, struct failure *failure) {
  if (spec->hostname[0] && sethostname(spec->hostname, strlen(spec->hostname)))
    return fail(failure, "set the host name", spec->hostname);
  if (spec->domainname[0] && setdomainname(spec->domainname, strlen(spec->domainname)))
    return fail(failure, "set the domain name", spec->domainname);
  return 0;
}

/* `name=value`; names with dots or slashes, as sysctl(8). */
static int set_sysctl(const char *text) {
  char path[256];
  const char *equals = strchr(text, '=');
  if (!equals || strstr(text, "..")) {
    errno = EINVAL;
    return -1;
  }
  snprintf(path, sizeof path, "/proc/sys/%.*s", (int)(equals - text), text);
  for (char *at = path + 10; *at && !memchr(text, '/', equals - text); at++)
    if (*at == '.') *at = '/';
  return write_file(path, equals + 1);
}

static int set_sysctls(const struct list *list, struct failure *failure) {
  for (size_t index = 0; index < list->count; index++)
    if (set_sysctl(list->items[index])) return fail(failure, "set the sysctl", list->items[index]);
  return 0;
}

_Noreturn static void become_workload(const struct run_spec *spec, struct ends *ends) {
  struct failure failure = {0};
  const struct process_spec *process = &spec->process;
  int terminal = -1;
  take_oom_score(process);
  umask(0);
  /* Born in its group, but in the agent's view of groups: only now is that group its root. */
  if (unshare(CLONE_NEWCGROUP)) fail(&failure, "make a control group namespace", NULL);
  else if (set_names(spec, &failure) || set_sysctls(&spec->sysctls, &failure) || enter_root(spec, &failure)) {
  } else if (process->tty && (terminal = open_terminal(ends->channel, process, &failure)) < 0) {
  } else {
    if (terminal >= 0) bind_console(terminal);
    pid_t main = spec->init ? fork() : 0;
    if (main > 0) {
      close_range(3, ~0U, 0);
      run_init(main);
    }
    if (main < 0) fail(&failure, "start the init's child", NULL);
    else if (!take_streams(ends, terminal, process, &failure)) become(process, &failure);
  }
  give_up(ends->channel, &failure);
}

_Noreturn static void become_exec(const struct process_spec *process, struct ends *ends) {
  struct failure failure = {0};
  int terminal = -1;
  take_oom_score(process);
  if (setns(workload_pidfd, CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP))
    fail(&failure, "join the workload", NULL);
  else if (process->tty && (terminal = open_terminal(ends->channel, process, &failure)) < 0) {
  } else if (!take_streams(ends, terminal, process, &failure)) become(process, &failure);
  give_up(ends->channel, &failure);
}

/* Of the two after the clone, this is the agent. */
static int started(pid_t pid, int cgroup, struct ends *ends, struct child *child, struct failure *failure) {
  int error = errno;
  if (cgroup >= 0) close(cgroup);
  close_ends(ends);
  child->pid = pid;
  if (pid > 0) return 0;
  close_child(child);
  errno = error;
  return fail(failure, "start the process", NULL);
}

static int no_ends(struct ends *ends, struct child *child, struct failure *failure) {
  fail(failure, "make the process's streams", NULL);
  close_child(child);
  close_ends(ends);
  return -1;
}

int start_workload(const struct run_spec *spec, struct child *child, struct failure *failure) {
  struct ends ends;
  if (make_ends(&spec->process, child, &ends)) return no_ends(&ends, child, failure);
  int cgroup = open_workload_cgroup();
  pid_t pid = clone_into(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC, cgroup, &workload_pidfd);
  if (pid == 0) become_workload(spec, &ends);
  return started(pid, cgroup, &ends, child, failure);
}

/* Children are born into the pid namespace this process says, while it stays where it is. */
static pid_t clone_beside_workload(int cgroup) {
  int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
  pid_t pid = -1;
  if (own >= 0 && !setns(workload_pidfd, CLONE_NEWPID)) pid = clone_into(0, cgroup, NULL);
  if (pid == 0) return 0;
  int error = errno;
  if (own >= 0 && setns(own, CLONE_NEWPID)) say("cannot return to the own pid namespace: %s", strerror(errno));
  if (own >= 0) close(own);
  errno = error;
  return pid;
}

int start_exec(const struct process_spec *process, struct child *child, struct failure *failure) {
  struct ends ends;
  if (make_ends(process, child, &ends)) return no_ends(&ends, child, failure);
  int cgroup = open_workload_cgroup();
  pid_t pid = clone_beside_workload(cgroup);
  if (pid == 0) become_exec(process, &ends);
  return started(pid, cgroup, &ends, child, failure);
}
