/* User namespaces, for the maps of idmapped mounts. */
#include "isle.h"
#include <sched.h>
#include <signal.h>
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
  /* It must not take a signal that is meant for us. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  /* Shares our memory, whose copy would cost milliseconds. No exit signal: libuv's SIGCHLD handling must not see it. */
  pid_t pid = clone(userns_child, stack + stack_size, CLONE_NEWUSER | CLONE_VM, NULL);
  int clone_error = errno;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (pid < 0) {
    op->error = clone_error;
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
    {"usernsFd", "ss", 'f', true, run_userns_fd},
};

void isle_init_namespace(napi_env env, napi_value exports) { ISLE_REGISTER(env, exports, calls); }
