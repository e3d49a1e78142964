/* The first process of a workload that asked for an init: reaps, forwards signals, and ends as its only child does. */
#include "guest.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void reap(pid_t main) {
  int status;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
    if (pid == main) _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

void run_init(pid_t main) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, NULL);
  prctl(PR_SET_NAME, "isle-init");
  for (int fd = 0; fd < 3; fd++) close(fd);
  for (;;) {
    siginfo_t info;
    reap(main);
    int signal = sigwaitinfo(&all, &info);
    /* A terminal's own signals go to its foreground group anyway. */
    if (signal > 0 && signal != SIGCHLD) kill(main, signal);
  }
}
