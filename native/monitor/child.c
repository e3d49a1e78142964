#define _GNU_SOURCE
#include "monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void become(char **args, const int *fds, int count, int words, pid_t parent, uid_t user);
static void change_user(uid_t user);

bool child_start(struct child *child, char **args, const int *fds, int count, uid_t user) {
  int words[2];
  if (pipe2(words, O_CLOEXEC | O_NONBLOCK) < 0) return false;
  pid_t parent = getpid();
  child->pid = fork();
  if (child->pid < 0) return false;
  if (child->pid == 0) become(args, fds, count, words[1], parent, user);
  close(words[1]);
  child->words = words[0];
  return true;
}

static void become(char **args, const int *fds, int count, int words, pid_t parent, uid_t user) {
  enum { FIRST = 3, HIGH = FIRST + MAX_FDS };
  int high_words = fcntl(words, F_DUPFD, HIGH);
  int nothing = open("/dev/null", O_RDWR);
  dup2(nothing, 0);
  dup2(high_words, 1);
  dup2(high_words, 2);
  int high[MAX_FDS];
  for (int i = 0; i < count; i++) high[i] = fcntl(fds[i], F_DUPFD, HIGH);
  for (int i = 0; i < count; i++) dup2(high[i], FIRST + i);
  close_range((unsigned)(FIRST + count), ~0U, 0);
  if (user != 0) change_user(user);
  /* Set last: a change of user forgets it. */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  /* Its words are kept when nobody reads them any more: never blocking, never in its way. */
  execv(args[0], args);
  dprintf(2, "cannot be started: %s\n", strerror(errno));
  _exit(127);
}

/* Leaves every capability behind, too. */
static void change_user(uid_t user) {
  if (setgroups(0, NULL) == 0 && setresgid(user, user, user) == 0 && setresuid(user, user, user) == 0) return;
  dprintf(2, "cannot become user %u: %s\n", (unsigned)user, strerror(errno));
  _exit(127);
}

void child_listen(struct child *child) {
  char bytes[512];
  ssize_t got = read(child->words, bytes, sizeof bytes);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    close(child->words);
    child->words = -1;
    return;
  }
  size_t length = (size_t)got, room = sizeof child->said - child->said_length;
  if (length > room) {
    size_t drop = length - room;
    memmove(child->said, child->said + drop, child->said_length - drop);
    child->said_length -= drop;
  }
  memcpy(child->said + child->said_length, bytes, length);
  child->said_length += length;
}

void child_kill(struct child *child) {
  if (child->pid > 0 && !child->ended) kill(child->pid, SIGKILL);
}

bool child_ended(struct child *children, int count, pid_t pid, int status) {
  for (int i = 0; i < count; i++)
    if (children[i].pid == pid) {
      children[i].ended = true;
      children[i].status = status;
      return true;
    }
  return false;
}

void children_reap(struct child *children, int count) {
  int status;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) child_ended(children, count, pid, status);
}
