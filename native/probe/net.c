/* TCP to the peer (peer.c), which a first byte tells what to do. */
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { chunk_size = 64 * 1024, patience_ms = 5000 };

static char chunk[chunk_size];

int connect_to(const char *address, long port, long ms) {
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
  const struct sockaddr *target = (struct sockaddr *)&v4;
  socklen_t length = sizeof v4;
  if (inet_pton(AF_INET, address, &v4.sin_addr) != 1) {
    if (inet_pton(AF_INET6, address, &v6.sin6_addr) != 1) return errno = EINVAL, -1;
    target = (struct sockaddr *)&v6;
    length = sizeof v6;
  }
  int fd = socket(target->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  int failure = 0;
  if (connect(fd, target, length) < 0) {
    failure = errno;
    if (failure == EINPROGRESS) {
      struct pollfd wait = {.fd = fd, .events = POLLOUT};
      socklen_t size = sizeof failure;
      if (poll(&wait, 1, (int)ms) <= 0) failure = ETIMEDOUT;
      else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) < 0) failure = errno;
    }
  }
  if (failure) {
    close(fd);
    return errno = failure, -1;
  }
  int flags = fcntl(fd, F_GETFL), one = 1;
  fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct timeval patience = {.tv_sec = patience_ms / 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  return fd;
}

static int begin(const char *address, long port, char mode) {
  int fd = connect_to(address, port, patience_ms);
  if (fd < 0) die("connect to %s port %ld", address, port);
  write_all(fd, &mode, 1);
  return fd;
}

/* Until the peer has got it all: what lies in a socket's buffer has not been sent. */
static uint64_t send_bytes(const char *address, long port, long ms, uint64_t *ns) {
  int fd = begin(address, port, 's');
  uint64_t start = now_ns(), until = start + (uint64_t)ms * 1000000u, bytes = 0;
  do {
    write_all(fd, chunk, chunk_size);
    bytes += chunk_size;
  } while (now_ns() < until);
  shutdown(fd, SHUT_WR);
  char last;
  if (read(fd, &last, 1) != 1) die("the peer's acknowledgement");
  *ns = now_ns() - start;
  close(fd);
  return bytes;
}

static uint64_t receive_bytes(const char *address, long port, long ms, uint64_t *ns) {
  int fd = begin(address, port, 'r');
  uint64_t start = now_ns(), until = start + (uint64_t)ms * 1000000u, bytes = 0;
  do {
    ssize_t got = read(fd, chunk, chunk_size);
    if (got <= 0) die("read from the peer");
    bytes += (uint64_t)got;
  } while (now_ns() < until);
  *ns = now_ns() - start;
  close(fd);
  return bytes;
}

static uint64_t round_trips(const char *address, long port, long ms, uint64_t *ns) {
  int fd = begin(address, port, 'e');
  uint64_t start = now_ns(), until = start + (uint64_t)ms * 1000000u, trips = 0;
  do {
    char byte = 'x';
    write_all(fd, &byte, 1);
    if (read(fd, &byte, 1) != 1) die("the peer's echo");
    trips++;
  } while (now_ns() < until);
  *ns = now_ns() - start;
  close(fd);
  return trips;
}

int probe_net(const char *address, long port, long ms) {
  uint64_t send_ns, receive_ns, trip_ns;
  uint64_t trips = round_trips(address, port, ms, &trip_ns);
  uint64_t sent = send_bytes(address, port, ms, &send_ns);
  uint64_t received = receive_bytes(address, port, ms, &receive_ns);
  printf("{\"send\":{\"bytes\":%llu,\"ns\":%llu},\"receive\":{\"bytes\":%llu,\"ns\":%llu},\"trips\":{\"count\":%llu,\"ns\":%llu}}\n",
         (unsigned long long)sent, (unsigned long long)send_ns, (unsigned long long)received, (unsigned long long)receive_ns,
         (unsigned long long)trips, (unsigned long long)trip_ns);
  return 0;
}
