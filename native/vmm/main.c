/*
 * isle-vmm DIRECTORY: the first process of a machine's container.
 *
 * Starts QEMU and its helpers (swtpm, virtiofsd) as `boot.1` in the directory says, and is for conmon what a program is in an
 * ordinary container: its standard streams are the machine's serial console, a signal to it presses the power button, it exits
 * with QEMU's code. It belongs to no daemon, holds the taps, and relays the console to whichever QEMU is current, so that the
 * guest can move to another one. When the current QEMU ends, or this process, all end.
 *
 * A connection to the socket `control` (root's alone) takes one line and answers `ok` or `error WHY`:
 *   start N         starts generation N as boot.N says, beside the current one
 *   current N       makes it the current one, whose end is the end; the other is killed
 *   kill N          ends it, unless it is the current one
 *   list            ok and the numbers, the current one first
 *   tap N TAP ID    gives generation N the tap as netdev ID
 *   untap TAP       lets go of it
 */
#define _GNU_SOURCE
#include "vmm.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct vmm {
  struct generation generations[MAX_GENERATIONS];
  int current;
  int signals, control, client;
  struct flow in, out;
};

static void fail(const char *what, const char *why);
static int take_signals(void);
static int listen_control(void);
static void serve(struct vmm *vmm);
static void tell_outcome(const struct vmm *vmm);

int main(int argc, char **argv) {
  static struct vmm vmm = {.client = -1};
  if (argc != 2) {
    fprintf(stderr, "usage: isle-vmm DIRECTORY\n");
    return 2;
  }
  if (chdir(argv[1]) < 0) fail(argv[1], strerror(errno));
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  vmm.signals = take_signals();
  vmm.control = listen_control();
  console_raw(STDIN_FILENO);
  for (int fd = 0; fd <= 2; fd++) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  vmm.generations[1].console = -1;
  const char *wrong = generation_start(&vmm.generations[0], 1);
  if (wrong) fail("start", wrong);
  serve(&vmm);
  tell_outcome(&vmm);
  int status = vmm.generations[vmm.current].children[0].status;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Kept for whoever asks why. */
static void fail(const char *what, const char *why) {
  FILE *file = outcome_begin();
  if (file) fprintf(file, "failed %s: %s\n", what, why);
  outcome_end(file);
  fprintf(stderr, "isle-vmm: %s: %s\r\n", what, why);
  exit(255);
}

/* All signals come by a descriptor. */
static int take_signals(void) {
  signal(SIGPIPE, SIG_IGN);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  int fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) fail("signalfd", strerror(errno));
  return fd;
}

static int listen_control(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "control"};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  unlink(address.sun_path);
  umask(077);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4) < 0)
    fail("control", strerror(errno));
  return fd;
}

static struct generation *find(struct vmm *vmm, int number) {
  for (int i = 0; i < MAX_GENERATIONS; i++)
    if (number != 0 && vmm->generations[i].number == number) return &vmm->generations[i];
  return NULL;
}

static const char *start_beside(struct vmm *vmm, int number) {
  struct generation *other = &vmm->generations[!vmm->current];
  if (number <= 0 || find(vmm, number)) return "there is one of that number";
  if (other->number && !generation_over(other)) return "there are two already";
  return generation_start(other, number);
}

static const char *make_current(struct vmm *vmm, int number) {
  struct generation *wanted = find(vmm, number);
  if (!wanted || wanted->children[0].ended) return "it does not run";
  vmm->current = (int)(wanted - vmm->generations);
  generation_kill(&vmm->generations[!vmm->current]);
  return NULL;
}

static bool is_name(const char *text) {
  for (; *text; text++)
    if (!isalnum((unsigned char)*text) && *text != '-' && *text != '_') return false;
  return true;
}

static const char *plug(struct vmm *vmm, int number, const char *tap, const char *netdev) {
  struct generation *generation = find(vmm, number);
  if (!generation || generation->children[0].ended) return "it does not run";
  if (!is_name(tap) || !is_name(netdev)) return "no name";
  int fd = tap_open(tap, generation->user);
  return fd < 0 ? strerror(errno) : qmp_plug_tap(generation, tap, fd, netdev);
}

static const char *obey(struct vmm *vmm, char *line) {
  char word[16] = "", tap[17] = "", netdev[33] = "";
  int number = 0;
  if (sscanf(line, "untap %16s", tap) == 1) return tap_close(tap), NULL;
  if (sscanf(line, "tap %d %16s %32s", &number, tap, netdev) == 3) return plug(vmm, number, tap, netdev);
  if (sscanf(line, "%15s %d", word, &number) < 2) return "what?";
  if (strcmp(word, "start") == 0) return start_beside(vmm, number);
  if (strcmp(word, "current") == 0) return make_current(vmm, number);
  struct generation *generation = find(vmm, number);
  if (strcmp(word, "kill") != 0) return "what?";
  if (!generation || generation == &vmm->generations[vmm->current]) return "it is the current one, or none";
  generation_kill(generation);
  return NULL;
}

static void answer(struct vmm *vmm) {
  char line[128], reply[600];
  ssize_t got = read(vmm->client, line, sizeof line - 1);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got > 0) {
    line[got] = 0;
    const struct generation *first = &vmm->generations[vmm->current], *other = &vmm->generations[!vmm->current];
    const char *wrong = strncmp(line, "list", 4) == 0 ? NULL : obey(vmm, line);
    if (wrong) snprintf(reply, sizeof reply, "error %s\n", wrong);
    else if (other->number && !other->children[0].ended) snprintf(reply, sizeof reply, "ok %d %d\n", first->number, other->number);
    else snprintf(reply, sizeof reply, "ok %d\n", first->number);
    (void)!write(vmm->client, reply, strlen(reply));
  }
  close(vmm->client);
  vmm->client = -1;
}

static void reap(struct vmm *vmm) {
  int status;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
    for (int i = 0; i < MAX_GENERATIONS; i++)
      if (child_ended(vmm->generations[i].children, vmm->generations[i].count, pid, status)) break;
}

static void note_signals(struct vmm *vmm) {
  struct signalfd_siginfo info;
  while (read(vmm->signals, &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGCHLD) reap(vmm);
    else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT || info.ssi_signo == SIGPWR || info.ssi_signo == SIGHUP)
      qmp_power_button(&vmm->generations[vmm->current]);
  }
}

/* Ends what must not outlive the current QEMU, and forgets another that has ended. */
static bool is_over(struct vmm *vmm) {
  struct generation *current = &vmm->generations[vmm->current], *other = &vmm->generations[!vmm->current];
  if (other->number && (current->children[0].ended || other->children[0].ended)) generation_kill(other);
  if (current->children[0].ended) generation_kill(current);
  if (other->number && generation_over(other)) *other = (struct generation){.console = -1};
  return generation_over(current) && !other->number && flow_empty(&vmm->out);
}

static void serve(struct vmm *vmm) {
  enum { SIGNALS, CONTROL, CLIENT, STDIN, STDOUT, FIXED };
  while (!is_over(vmm)) {
    struct pollfd polls[FIXED + MAX_GENERATIONS * (2 + MAX_HELPERS)];
    struct child *speakers[MAX_GENERATIONS * (1 + MAX_HELPERS)];
    int *console = &vmm->generations[vmm->current].console, count = FIXED, speaker = 0;
    bool ready_in = flow_empty(&vmm->in), ready_out = !flow_full(&vmm->out);
    bool due = flow_due(&vmm->out, now()), waiting = !due && !flow_empty(&vmm->out);
    polls[SIGNALS] = (struct pollfd){.fd = vmm->signals, .events = POLLIN};
    polls[CONTROL] = (struct pollfd){.fd = vmm->client < 0 ? vmm->control : -1, .events = POLLIN};
    polls[CLIENT] = (struct pollfd){.fd = vmm->client, .events = POLLIN};
    polls[STDIN] = (struct pollfd){.fd = ready_in && !vmm->in.closed ? STDIN_FILENO : -1, .events = POLLIN};
    polls[STDOUT] = (struct pollfd){.fd = due ? STDOUT_FILENO : -1, .events = POLLOUT};
    for (int i = 0; i < MAX_GENERATIONS; i++) {
      short events = (short)((ready_out ? POLLIN : 0) | (!ready_in && i == vmm->current ? POLLOUT : 0));
      polls[count++] = (struct pollfd){.fd = events ? vmm->generations[i].console : -1, .events = events};
    }
    for (int i = 0; i < MAX_GENERATIONS; i++)
      for (int j = 0; j < vmm->generations[i].count; j++) {
        speakers[speaker++] = &vmm->generations[i].children[j];
        polls[count++] = (struct pollfd){.fd = vmm->generations[i].children[j].words, .events = POLLIN};
      }
    if (poll(polls, (nfds_t)count, waiting ? GATHER : -1) < 0 && errno != EINTR) fail("poll", strerror(errno));
    if (polls[STDIN].revents) flow_fill(&vmm->in, STDIN_FILENO);
    if (polls[STDOUT].revents) flow_drain(&vmm->out, STDOUT_FILENO);
    for (int i = 0; i < MAX_GENERATIONS; i++) {
      int *from = &vmm->generations[i].console;
      if (!(polls[FIXED + i].revents & (POLLIN | POLLHUP | POLLERR)) || flow_full(&vmm->out)) continue;
      flow_fill(&vmm->out, *from);
      if (vmm->out.closed) close(*from), *from = -1;
    }
    if (!flow_empty(&vmm->in) && *console >= 0) flow_drain(&vmm->in, *console);
    for (int i = 0; i < speaker; i++)
      if (polls[FIXED + MAX_GENERATIONS + i].revents) child_listen(speakers[i]);
    if (polls[SIGNALS].revents) note_signals(vmm);
    if (polls[CLIENT].revents) answer(vmm);
    if (polls[CONTROL].revents) vmm->client = accept4(vmm->control, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  }
}

static void tell_outcome(const struct vmm *vmm) {
  const struct generation *current = &vmm->generations[vmm->current];
  FILE *file = outcome_begin();
  for (int i = 0; i < current->count; i++) outcome_child(file, &current->children[i]);
  outcome_end(file);
}
