#include "guest.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int write_file(const char *path, const char *value) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t written = write(fd, value, strlen(value));
  int error = errno;
  close(fd);
  errno = error;
  return written < 0 ? -1 : 0;
}

ssize_t read_file(const char *path, char *buffer, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  size_t have = 0;
  ssize_t got = 0;
  while (have < size - 1 && (got = read(fd, buffer + have, size - 1 - have)) > 0) have += got;
  int error = errno;
  close(fd);
  errno = error;
  buffer[have] = 0;
  return got < 0 ? -1 : (ssize_t)have;
}
