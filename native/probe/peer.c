/*
 * The peer, in a plain container beside those that are measured.
 *
 * On its port: a connection's first byte says what it is for; 'e' sends every byte back, 's' takes bytes and answers one
 * at their end, 'r' sends bytes until the other side goes.
 * On stdin, a line `ID ADDRESS PORT MS`: tries to connect until somebody listens, and says `ID open` (or `ID closed`
 * after MS) on stdout. The end of stdin is the end of the peer: nothing outlives the client that asked.
 */
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { chunk_size = 64 * 1024 };

static int listen_on(long port) {
  int one = 1, zero = 0, fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0) {
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    if (bind(fd, (struct sockaddr *)&any, sizeof any) == 0 && listen(fd, 64) == 0) return fd;
    close(fd);
  }
  /* A host without IPv6. */
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (struct sockaddr *)&any, sizeof any) < 0 || listen(fd, 64) < 0) die("listen on port %ld", port);
  return fd;
}

static void serve(int fd) {
  static char chunk[chunk_size];
  char mode;
  int one = 1;
  ssize_t got;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (read(fd, &mode, 1) != 1) return;
  if (mode == 'r')
    while (write(fd, chunk, sizeof chunk) > 0) {
    }
  else if (mode == 'e')
    while ((got = read(fd, chunk, sizeof chunk)) > 0) write_all(fd, chunk, (size_t)got);
  else if (mode == 's') {
    while ((got = read(fd, chunk, sizeof chunk)) > 0) {
    }
    if (got == 0) write_all(fd, "!", 1);
  }
}

static void await_port(const char *line) {
  char id[32], address[64], answer[64];
  long port, ms;
  if (sscanf(line, "%31s %63s %ld %ld", id, address, &port, &ms) != 4) return;
  uint64_t until = now_ns() + (uint64_t)ms * 1000000u;
  int fd = -1;
  /* An address that does not exist yet is silent: a short time-out, so that its appearing is noticed soon. */
  while ((fd = connect_to(address, port, 100)) < 0 && now_ns() < until) usleep(1000);
  int length = snprintf(answer, sizeof answer, "%s %s\n", id, fd < 0 ? "closed" : "open");
  write_all(STDOUT_FILENO, answer, (size_t)length);
}

/* Runs `work` in a child; the kernel reaps it. */
#define IN_CHILD(work)                   \
  do {                                   \
    pid_t child = fork();                \
    if (child == 0) {                    \
      work;                              \
      _exit(0);                          \
    }                                    \
  } while (0)

/* Splits what came on stdin into lines. False at its end. */
static int take_lines(void) {
  static char buffer[4096];
  static size_t used;
  ssize_t got = read(STDIN_FILENO, buffer + used, sizeof buffer - 1 - used);
  if (got < 0 && errno == EINTR) return 1;
  if (got <= 0) return 0;
  used += (size_t)got;
  buffer[used] = 0;
  char *start = buffer, *end;
  while ((end = strchr(start, '\n'))) {
    *end = 0;
    IN_CHILD(await_port(start));
    start = end + 1;
  }
  used -= (size_t)(start - buffer);
  memmove(buffer, start, used);
  /* A line without an end is nothing that a client of ours sends. */
  return used < sizeof buffer - 1;
}

static void end(int signal_number) {
  (void)signal_number;
  _exit(0);
}

int run_peer(long port) {
  signal(SIGTERM, end);
  signal(SIGCHLD, SIG_IGN);
  struct pollfd watched[2] = {{.fd = listen_on(port), .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
  write_all(STDOUT_FILENO, "ready\n", 6);
  for (;;) {
    if (poll(watched, 2, -1) < 0) {
      if (errno == EINTR) continue;
      die("poll");
    }
    if (watched[1].revents && !take_lines()) return 0;
    if (watched[0].revents) {
      int fd = accept(watched[0].fd, NULL, NULL);
      if (fd < 0) continue;
      IN_CHILD(serve(fd));
      close(fd);
    }
  }
}
