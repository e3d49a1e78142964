#include "guest.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

int epoll_fd;

void watch(int fd, uint32_t events, uint64_t token) {
  struct epoll_event event = {.events = events, .data.u64 = token};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event)) say("cannot watch a descriptor: %d", errno);
}

static int watch_signals(void) {
  sigset_t set;
  sigfillset(&set);
  sigprocmask(SIG_BLOCK, &set, NULL);
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void read_signals(int fd) {
  struct signalfd_siginfo info[8];
  while (read(fd, info, sizeof info) > 0) continue;
  reap_children();
}

static void dispatch(const struct epoll_event *event, int signals) {
  if (event->data.u64 == TOKEN_SIGNALS) read_signals(signals);
  else if (event->data.u64 >= TOKEN_SESSIONS) session_event(event->data.u64, event->events);
  /* The ports are pumped anyway. */
}

/*
 * Everything is edge-triggered and non-blocking: a port without a client always hangs up, which would keep a
 * level-triggered loop busy.
 */
int main(void) {
  agent_port.fd = workload_port.fd = -1;
  boot_first();
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  int signals = watch_signals();
  watch(signals, EPOLLIN, TOKEN_SIGNALS);
  open_port(&agent_port, AGENT_PORT);
  watch(agent_port.fd, EPOLLIN | EPOLLOUT | EPOLLET, TOKEN_AGENT);
  open_port(&workload_port, WORKLOAD_PORT);
  watch(workload_port.fd, EPOLLIN | EPOLLOUT | EPOLLET, TOKEN_WORKLOAD);
  bool booting = true, rest = true;
  for (;;) {
    pump_port(&agent_port);
    pump_port(&workload_port);
    pump_sessions();
    pump_port(&agent_port);
    pump_port(&workload_port);
    struct epoll_event events[32];
    bool idle_work = booting || (rest && workload_state == WORKLOAD_RUNNING);
    int count = epoll_wait(epoll_fd, events, 32, idle_work ? 0 : next_deadline());
    for (int index = 0; index < count; index++) dispatch(&events[index], signals);
    if (count > 0 || !idle_work) continue;
    if (booting) booting = boot_more();
    else boot_rest(), rest = false;
  }
}
