#define _GNU_SOURCE
#include "monitor.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

bool listening_pair(int ends[2]) {
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "meet"};
  unlink(address.sun_path);
  ends[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ends[1] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const struct sockaddr *at = (const struct sockaddr *)&address;
  bool met = ends[0] >= 0 && ends[1] >= 0 && bind(ends[0], at, sizeof address) == 0 && listen(ends[0], 1) == 0 &&
             connect(ends[1], at, sizeof address) == 0;
  unlink(address.sun_path);
  return met;
}
