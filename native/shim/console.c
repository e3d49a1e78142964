/*
 * The file begins with 16 hexadecimal digits: how many bytes the guest has written in all. The last 64 KiB of them
 * follow, as a ring: byte N lies at N modulo 64 KiB.
 */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { POSITION = 16, RING = 64 * 1024 };

static bool keep(struct console *console, const char *bytes, size_t length);

bool console_open(struct console *console, int fd, const char *path) {
  console->fd = fd;
  console->written = 0;
  console->file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  return console->file >= 0 && keep(console, "", 0);
}

bool console_read(struct console *console) {
  char bytes[4096];
  ssize_t got = recv(console->fd, bytes, sizeof bytes, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  /* A full disk only costs the console. */
  if (got > 0) return (void)keep(console, bytes, (size_t)got), true;
  close(console->fd);
  console->fd = -1;
  return false;
}

static bool keep(struct console *console, const char *bytes, size_t length) {
  while (length > 0) {
    size_t at = console->written % RING;
    size_t part = length < RING - at ? length : RING - at;
    ssize_t put = pwrite(console->file, bytes, part, (off_t)(POSITION + at));
    if (put <= 0) return false;
    bytes += put;
    length -= (size_t)put;
    console->written += (uint64_t)put;
  }
  char position[POSITION + 1];
  snprintf(position, sizeof position, "%016llx", (unsigned long long)console->written);
  return pwrite(console->file, position, POSITION, 0) == POSITION;
}
