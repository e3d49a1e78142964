/* Starting a program without copying this process: fork() of a large process costs milliseconds. */
#include "isle.h"
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#define MAX_FDS 16

/* The strings of a NUL-separated list, NULL-terminated; NULL without memory. They point into `list`. */
static char **split(const struct isle_arg *list) {
  size_t count = 0;
  for (size_t i = 0; i < list->n; i++) count += list->s[i] == '\0';
  char **strings = malloc((count + 1) * sizeof *strings);
  if (!strings) return NULL;
  char *next = list->s;
  for (size_t i = 0; i < count; i++, next += strlen(next) + 1) strings[i] = next;
  strings[count] = NULL;
  return strings;
}

/* Descriptor i of the child is fds[i] of ours, or /dev/null where that is -1; it gets no other. */
static int place(posix_spawn_file_actions_t *actions, const int *fds, int count, int *raised) {
  for (int i = 0; i < count; i++) {
    int error = 0;
    raised[i] = -1;
    if (fds[i] < 0) {
      error = posix_spawn_file_actions_addopen(actions, i, "/dev/null", O_RDWR, 0);
    } else {
      /* Out of the way of the child's numbers, so that no placing overwrites what a later one needs. */
      raised[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, MAX_FDS);
      if (raised[i] < 0) return errno;
      error = posix_spawn_file_actions_adddup2(actions, raised[i], i);
    }
    if (error) return error;
  }
  /* What we inherited ourselves may lack close-on-exec. */
  return posix_spawn_file_actions_addclosefrom_np(actions, count);
}

/*
 * spawnProgram(path, arguments, environment, directory, descriptors): its pid. Lists are NUL-terminated strings
 * one after another; descriptors are 32-bit numbers, see place(). Signals are as a fresh program expects them.
 */
static void run_spawn(struct isle_op *op) {
  int fds[MAX_FDS], raised[MAX_FDS], count = (int)(op->a[4].n / sizeof(int));
  if (count > MAX_FDS || (op->a[1].n && op->a[1].s[op->a[1].n - 1]) || (op->a[2].n && op->a[2].s[op->a[2].n - 1])) {
    op->error = EINVAL;
    return;
  }
  memcpy(fds, op->a[4].s, (size_t)count * sizeof(int));
  for (int i = 0; i < MAX_FDS; i++) raised[i] = -1;
  char **argv = split(&op->a[1]), **envp = split(&op->a[2]);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t all, none;
  pid_t pid = 0;
  sigfillset(&all);
  sigemptyset(&none);
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  op->error = argv && envp ? place(&actions, fds, count, raised) : ENOMEM;
  if (!op->error) op->error = posix_spawn_file_actions_addchdir_np(&actions, op->a[3].s);
  if (!op->error) op->error = posix_spawnattr_setsigdefault(&attributes, &all);
  if (!op->error) op->error = posix_spawnattr_setsigmask(&attributes, &none);
  if (!op->error) op->error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  if (!op->error) op->error = posix_spawn(&pid, op->a[0].s, &actions, &attributes, argv, envp);
  op->number = pid;
  for (int i = 0; i < count; i++)
    if (raised[i] >= 0) close(raised[i]);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  free(argv);
  free(envp);
}

/* reap(pid): 1 when the child had ended and is no zombie any more, 0 while it runs. */
static void run_reap(struct isle_op *op) {
  pid_t found;
  do found = waitpid((pid_t)op->a[0].i, NULL, WNOHANG);
  while (found < 0 && errno == EINTR);
  isle_done(op, found < 0 ? -1 : found > 0);
}

static const struct isle_call calls[] = {
    {"spawnProgram", "pbbpb", 'n', false, run_spawn},
    {"reap", "i", 'n', false, run_reap},
};

void isle_init_spawn(napi_env env, napi_value exports) { ISLE_REGISTER(env, exports, calls); }
