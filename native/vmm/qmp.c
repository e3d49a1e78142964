/* A guest may have taken QEMU over: it is waited for briefly, and nothing but "return" or "error" is read out of its answers. */
#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Milliseconds for a whole exchange: this process does nothing else meanwhile. */
enum { PATIENCE = 2000 };

static int reach(const struct generation *of);
static bool say(int socket, const char *words, int fd);
static const char *hear(int socket, int answers, int64_t deadline);

const char *qmp_ask(const struct generation *of, const char *before, int fd, const char *command) {
  int to = reach(of);
  const char *wrong = "QEMU's monitor cannot be reached";
  if (to >= 0) {
    bool said = say(to, "{\"execute\":\"qmp_capabilities\"}\n", -1);
    if (before) said = said && say(to, before, fd);
    said = said && say(to, command, -1);
    wrong = said ? hear(to, before ? 3 : 2, now() + PATIENCE) : "QEMU's monitor takes nothing";
  }
  if (to >= 0) close(to);
  return wrong;
}

const char *qmp_power_button(const struct generation *of) {
  return qmp_ask(of, NULL, -1, "{\"execute\":\"system_powerdown\"}\n");
}

const char *qmp_plug_tap(const struct generation *of, const char *tap, int fd, const char *netdev) {
  char give[128], add[256];
  snprintf(give, sizeof give, "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"%s\"}}\n", tap);
  snprintf(add, sizeof add,
           "{\"execute\":\"netdev_add\",\"arguments\":{\"type\":\"tap\",\"id\":\"%s\",\"fd\":\"%s\",\"vhost\":false}}\n", netdev, tap);
  return qmp_ask(of, give, fd, add);
}

/* The directory of its sockets is its user's alone, and so is what stands there in their place. */
static int reach(const struct generation *of) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%d/vmm", of->number);
  int to = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (to < 0 || seteuid(of->user) < 0) {
    if (to >= 0) close(to);
    return -1;
  }
  int result = connect(to, (struct sockaddr *)&address, sizeof address);
  if (seteuid(0) < 0) _exit(255);
  if (result == 0) return to;
  close(to);
  return -1;
}

static bool say(int socket, const char *words, int fd) {
  struct iovec part = {.iov_base = (char *)words, .iov_len = strlen(words)};
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof fd)];
  } control = {.header = {.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (fd >= 0) {
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL) == (ssize_t)part.iov_len;
}

/* Lines that begin with what they are, as QEMU writes them; an error ends it. Its words go on a line. */
static const char *hear(int socket, int answers, int64_t deadline) {
  static char line[512];
  size_t length = 0;
  for (int64_t left; answers > 0 && (left = deadline - now()) > 0;) {
    struct pollfd in = {.fd = socket, .events = POLLIN};
    char byte;
    if (poll(&in, 1, (int)left) <= 0) continue;
    ssize_t got = read(socket, &byte, 1);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) return "QEMU closed its monitor";
    if (byte != '\n') {
      if (length < sizeof line - 1 && byte >= 32) line[length++] = byte;
      continue;
    }
    line[length] = 0;
    length = 0;
    if (strncmp(line, "{\"return\"", 9) == 0) answers--;
    if (strncmp(line, "{\"error\"", 8) == 0) return line;
  }
  return answers > 0 ? "QEMU does not answer" : NULL;
}
