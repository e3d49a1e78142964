#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <termios.h>
#include <unistd.h>

void flow_fill(struct flow *flow, int fd) {
  if (flow_empty(flow)) flow->start = flow->end = 0;
  ssize_t got = read(fd, flow->bytes + flow->end, sizeof flow->bytes - flow->end);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (flow_empty(flow)) flow->since = now();
  if (got > 0) flow->end += (size_t)got;
  flow->closed = got <= 0;
}

bool flow_due(const struct flow *flow, int64_t time) {
  size_t length = flow->end - flow->start;
  if (length == 0) return false;
  return flow->closed || length >= sizeof flow->bytes / 4 || time - flow->since >= GATHER ||
         memchr(flow->bytes + flow->start, '\n', length);
}

int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

void flow_drain(struct flow *flow, int fd) {
  ssize_t put = write(fd, flow->bytes + flow->start, flow->end - flow->start);
  if (put > 0) flow->start += (size_t)put;
  else if (put < 0 && errno != EAGAIN && errno != EINTR) flow->start = flow->end;
}

void console_raw(int fd) {
  struct termios terminal;
  if (tcgetattr(fd, &terminal) < 0) return;
  cfmakeraw(&terminal);
  tcsetattr(fd, TCSANOW, &terminal);
}
