/* Work in other namespaces, each on a thread of its own that ends with it: setns and unshare change the calling
 * thread for good, and neither the main thread nor the pool's may be changed. */
#include "isle.h"
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>

static int enter(const char *path, int type) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  int result = setns(fd, type);
  int error = errno;
  close(fd);
  errno = error;
  return result;
}

static int loopback_up(void) {
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  int result = ioctl(fd, SIOCSIFFLAGS, &request);
  int error = errno;
  close(fd);
  errno = error;
  return result;
}

/* createNetns(path, loopbackUp): a new network namespace that lives as long as its mount on the new file. */
static void run_create_netns(struct isle_op *op) {
  int fd = open(op->a[0].s, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
  if (fd < 0) {
    op->error = errno;
    return;
  }
  close(fd);
  if (unshare(CLONE_NEWNET) || (op->a[1].i && loopback_up()) ||
      mount("/proc/thread-self/ns/net", op->a[0].s, NULL, MS_BIND, NULL)) {
    op->error = errno;
    unlink(op->a[0].s);
  }
}

/* socketIn(netns, domain, type, protocol) */
static void run_socket_in(struct isle_op *op) {
  if (enter(op->a[0].s, CLONE_NEWNET))
    op->error = errno;
  else
    isle_done(op, socket((int)op->a[1].i, (int)op->a[2].i | SOCK_CLOEXEC, (int)op->a[3].i));
}

/* readFileIn(netns, path): whole file, at most 1 MiB. For /proc/thread-self/net and /proc/sys/net. */
static void run_read_file_in(struct isle_op *op) {
  const size_t limit = 1 << 20;
  if (enter(op->a[0].s, CLONE_NEWNET)) {
    op->error = errno;
    return;
  }
  int fd = open(op->a[1].s, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    op->error = errno;
    return;
  }
  char *data = NULL;
  size_t used = 0, room = 0;
  for (;;) {
    if (used == room) {
      room = room ? room * 2 : 8192;
      char *more = room > limit ? NULL : realloc(data, room);
      if (!more) {
        op->error = room > limit ? EFBIG : ENOMEM;
        break;
      }
      data = more;
    }
    ssize_t n = read(fd, data + used, room - used);
    if (n < 0) op->error = errno;
    if (n <= 0) break;
    used += (size_t)n;
  }
  close(fd);
  op->data = data;
  op->size = used;
}

/* writeFileIn(netns, path, bytes): one write to an existing file. For /proc/sys/net. */
static void run_write_file_in(struct isle_op *op) {
  if (enter(op->a[0].s, CLONE_NEWNET)) {
    op->error = errno;
    return;
  }
  int fd = open(op->a[1].s, O_WRONLY | O_CLOEXEC);
  if (fd < 0) {
    op->error = errno;
    return;
  }
  ssize_t n = write(fd, op->a[2].s, op->a[2].n);
  if (n < 0)
    op->error = errno;
  else if ((size_t)n != op->a[2].n)
    op->error = EIO;
  close(fd);
}

static int write_map(pid_t pid, const char *name, const char *map) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n = write(fd, map, strlen(map));
  int error = n < 0 ? errno : EIO;
  close(fd);
  errno = error;
  return n == (ssize_t)strlen(map) ? 0 : -1;
}

/* Holds the new user namespace until it has been opened by its parent. */
static int userns_child(void *data) {
  (void)data;
  for (;;) pause();
  return 0;
}

/* usernsFd(uidMap, gidMap): a descriptor of a user namespace with these maps ("inside outside count" lines).
 * A threaded process cannot unshare a user namespace: a short-lived child makes it. */
static void run_userns_fd(struct isle_op *op) {
  static const size_t stack_size = 64 * 1024;
  char *stack = malloc(stack_size);
  if (!stack) {
    op->error = ENOMEM;
    return;
  }
  /* No exit signal: libuv's SIGCHLD handling must not see this child. */
  pid_t pid = clone(userns_child, stack + stack_size, CLONE_NEWUSER, NULL);
  if (pid < 0) {
    op->error = errno;
    free(stack);
    return;
  }
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
  if (write_map(pid, "uid_map", op->a[0].s) || write_map(pid, "gid_map", op->a[1].s))
    op->error = errno;
  else
    isle_done(op, open(path, O_RDONLY | O_CLOEXEC));
  kill(pid, SIGKILL);
  while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR) {
  }
  free(stack);
}

static const struct isle_call calls[] = {
    {"createNetns", "pi", 'v', true, run_create_netns},
    {"socketIn", "piii", 'f', true, run_socket_in},
    {"readFileIn", "pp", 'b', true, run_read_file_in},
    {"writeFileIn", "ppb", 'v', true, run_write_file_in},
    {"usernsFd", "ss", 'f', true, run_userns_fd},
};

void isle_init_namespace(napi_env env, napi_value exports) { ISLE_REGISTER(env, exports, calls); }
