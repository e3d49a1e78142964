/* The first process of a workload that asked for an init: reaps, forwards signals, and ends as its only child does. */
#include "guest.h"

#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void reap(pid_t main) {
  int status;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
    if (pid == main) _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

/* Signals to a child of another user are all it has to be root for. */
static void drop_capabilities(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct sets[2] = {{1U << CAP_KILL, 1U << CAP_KILL, 0}};
  syscall(SYS_capset, &header, sets);
}

void run_init(pid_t main) {
  drop_capabilities();
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
