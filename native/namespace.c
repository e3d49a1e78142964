/* User namespaces, for the maps of idmapped mounts. */
#include "isle.h"
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

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

static pid_t parent;

/* It has copies of all our descriptors, the lock of the data root among them: where we are killed, it must not stay. */
static int child_waits(void *data) {
  (void)data;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  for (;;) pause();
  return 0;
}

int isle_child_start(struct isle_child *child, int flags, int (*run)(void *), void *data) {
  static const size_t stack_size = 64 * 1024;
  sigset_t all, before;
  parent = getpid();
  child->stack = malloc(stack_size);
  if (!child->stack) return errno = ENOMEM, -1;
  /* It must not take a signal that is meant for us. */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  /* Shares our memory, whose copy would cost milliseconds. No exit signal: libuv's SIGCHLD handling must not see it. */
  child->pid = clone(run ? run : child_waits, child->stack + stack_size, CLONE_VM | flags, data);
  int error = errno;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (child->pid < 0) free(child->stack);
  errno = error;
  return child->pid < 0 ? -1 : 0;
}

int isle_child_open(const struct isle_child *child, const char *name) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/ns/%s", child->pid, name);
  return open(path, O_RDONLY | O_CLOEXEC);
}

void isle_child_end(struct isle_child *child) {
  int error = errno;
  kill(child->pid, SIGKILL);
  while (waitpid(child->pid, NULL, __WALL) < 0 && errno == EINTR) {
  }
  free(child->stack);
  errno = error;
}

/* A threaded process cannot unshare a user namespace: a short-lived child makes it. */
int isle_userns(const char *uids, const char *gids) {
  struct isle_child child;
  if (isle_child_start(&child, CLONE_NEWUSER, NULL, NULL)) return -1;
  int fd = -1;
  if (!write_map(child.pid, "uid_map", uids) && !write_map(child.pid, "gid_map", gids))
    fd = isle_child_open(&child, "user");
  isle_child_end(&child);
  return fd;
}

int isle_owned_network(const char *path) {
  struct isle_child child;
  char source[64];
  if (isle_child_start(&child, CLONE_NEWUSER | CLONE_NEWNET, NULL, NULL)) return -1;
  snprintf(source, sizeof source, "/proc/%d/ns/net", child.pid);
  int result = mount(source, path, NULL, MS_BIND, NULL);
  isle_child_end(&child);
  return result;
}

/* usernsFd(uidMap, gidMap): a descriptor of a user namespace with these maps ("inside outside count" lines). */
static void run_userns_fd(struct isle_op *op) { isle_done(op, isle_userns(op->a[0].s, op->a[1].s)); }

struct visit {
  int userns, told;
};

static int child_visits(void *data) {
  struct visit *visit = data;
  int32_t error = setns(visit->userns, CLONE_NEWUSER) ? errno : 0;
  if (write(visit->told, &error, sizeof error) < 0) return 1;
  return child_waits(NULL);
}

/* Whether the three numbers of the only line of a map file are those of `wanted`: 1, 0, or -1 when it is empty. */
static int compare_map(pid_t pid, const char *name, const char *wanted) {
  char path[64], text[256];
  unsigned have[3], want[3];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (n <= 0) return -1;
  text[n] = '\0';
  return sscanf(text, "%u %u %u", have, have + 1, have + 2) == 3 &&
         sscanf(wanted, "%u %u %u", want, want + 1, want + 2) == 3 && !memcmp(have, want, sizeof have) &&
         strchr(text, '\n') == text + n - 1;
}

/* Gives the namespace its maps, or makes sure that it has them: EXDEV when it has others. */
static int give_maps(pid_t pid, const char *uids, const char *gids) {
  int have = compare_map(pid, "uid_map", uids);
  if (have < 0) return write_map(pid, "uid_map", uids) || write_map(pid, "gid_map", gids) ? -1 : 0;
  return have && compare_map(pid, "gid_map", gids) > 0 ? 0 : (errno = EXDEV, -1);
}

/* usernsOfNetwork(path, uidMap, gidMap): a descriptor of the user namespace that owns a network namespace. One that
 * was made without maps gets these; EXDEV when it has others, or is our own. */
static void run_userns_of_network(struct isle_op *op) {
  struct isle_child child;
  struct stat owner, own;
  struct visit visit = {-1, -1};
  int pipes[2] = {-1, -1}, network = open(op->a[0].s, O_RDONLY | O_CLOEXEC), result = -1;
  int32_t error = 0;
  if (network >= 0) visit.userns = ioctl(network, NS_GET_USERNS);
  if (visit.userns < 0 || fstat(visit.userns, &owner) || stat("/proc/self/ns/user", &own)) goto out;
  if (owner.st_ino == own.st_ino) {
    errno = EXDEV;
    goto out;
  }
  if (pipe2(pipes, O_CLOEXEC)) goto out;
  visit.told = pipes[1];
  if (isle_child_start(&child, 0, child_visits, &visit)) goto out;
  ssize_t n;
  do n = read(pipes[0], &error, sizeof error);
  while (n < 0 && errno == EINTR);
  if (n != sizeof error || error)
    errno = error ? error : EIO;
  else if (!give_maps(child.pid, op->a[1].s, op->a[2].s))
    result = visit.userns;
  isle_child_end(&child);
out:
  isle_done(op, result);
  if (result < 0 && visit.userns >= 0) close(visit.userns);
  if (network >= 0) close(network);
  if (pipes[0] >= 0) close(pipes[0]);
  if (pipes[1] >= 0) close(pipes[1]);
}

/* mountInNetwork(netns, type, target, flags): a file system that shows what a network namespace has. */
static void run_mount_in_network(struct isle_op *op) {
  int network = open(op->a[0].s, O_RDONLY | O_CLOEXEC);
  if (network < 0 || setns(network, CLONE_NEWNET))
    op->error = errno;
  else
    isle_done(op, mount(op->a[1].s, op->a[2].s, op->a[1].s, (unsigned long)op->a[3].i, NULL));
  if (network >= 0) close(network);
}

static const struct isle_call calls[] = {
    {"usernsFd", "ss", 'f', true, run_userns_fd},
    {"usernsOfNetwork", "pss", 'f', true, run_userns_of_network},
    {"mountInNetwork", "pspi", 'v', true, run_mount_in_network},
};

void isle_init_namespace(napi_env env, napi_value exports) { ISLE_REGISTER(env, exports, calls); }
