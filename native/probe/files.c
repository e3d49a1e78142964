/* Files in the container's own root: one big one written through to the disk and read back, many small ones. */
#include "probe.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { chunk_size = 256 * 1024, most_bytes = 64 * 1024 * 1024, small_size = 4096 };

static char path[4096];
static char folder[4096];

static void clean_up(void) {
  unlink(path);
  rmdir(folder);
}

static void report(const char *name, const char *unit, uint64_t amount, uint64_t ns, const char *after) {
  printf("\"%s\":{\"%s\":%llu,\"ns\":%llu}%s", name, unit, (unsigned long long)amount, (unsigned long long)ns, after);
}

static uint64_t write_big(int fd, const char *chunk, long ms, uint64_t *ns) {
  uint64_t start = now_ns(), until = start + (uint64_t)ms * 1000000u, bytes = 0;
  do {
    write_all(fd, chunk, chunk_size);
    bytes += chunk_size;
  } while (now_ns() < until && bytes < most_bytes);
  if (fsync(fd) < 0) die("fsync %s", path);
  *ns = now_ns() - start;
  return bytes;
}

static uint64_t read_big(int fd, char *chunk, uint64_t *ns) {
  /* From the disk where the kernel heeds this, from the cache otherwise: as with any program's second read. */
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  if (lseek(fd, 0, SEEK_SET) < 0) die("lseek %s", path);
  uint64_t start = now_ns(), bytes = 0;
  ssize_t got;
  while ((got = read(fd, chunk, chunk_size)) > 0) bytes += (uint64_t)got;
  if (got < 0) die("read %s", path);
  *ns = now_ns() - start;
  return bytes;
}

static uint64_t small_files(const char *chunk, long ms, uint64_t *ns) {
  uint64_t start = now_ns(), until = start + (uint64_t)ms * 1000000u, files = 0;
  do {
    struct stat found;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) die("create %s", path);
    write_all(fd, chunk, small_size);
    close(fd);
    if (stat(path, &found) < 0 || unlink(path) < 0) die("unlink %s", path);
    files++;
  } while (now_ns() < until);
  *ns = now_ns() - start;
  return files;
}

int probe_files(const char *directory, long ms) {
  char *chunk = malloc(chunk_size);
  if (!chunk) die("memory");
  uint32_t random = 2463534242u;
  for (size_t i = 0; i < chunk_size; i++) {
    random ^= random << 13, random ^= random >> 17, random ^= random << 5;
    chunk[i] = (char)random;
  }
  snprintf(folder, sizeof folder - 16, "%s/.isle-probe-XXXXXX", directory);
  if (!mkdtemp(folder)) die("a directory in %s", directory);
  atexit(clean_up);
  size_t length = strlen(folder);
  memcpy(path, folder, length);
  memcpy(path + length, "/file", 6);

  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) die("create %s", path);
  uint64_t write_ns, read_ns, small_ns;
  uint64_t written = write_big(fd, chunk, ms, &write_ns);
  uint64_t read = read_big(fd, chunk, &read_ns);
  close(fd);
  unlink(path);
  uint64_t files = small_files(chunk, ms, &small_ns);

  putchar('{');
  report("write", "bytes", written, write_ns, ",");
  report("read", "bytes", read, read_ns, ",");
  report("small", "files", files, small_ns, "}\n");
  return 0;
}
