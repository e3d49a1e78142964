#include "probe.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: isle-probe cpu MS | files DIRECTORY MS | net ADDRESS PORT MS | calls MS | facts | true\n"
    "                  | peer PORT | idle SECONDS\n";

int main(int argc, char **argv) {
  const char *name = argc > 1 ? argv[1] : "";
  signal(SIGPIPE, SIG_IGN);
  if (!strcmp(name, "true") && argc == 2) return 0;
  if (!strcmp(name, "cpu") && argc == 3) return probe_cpu(parse_number("MS", argv[2], 1, 60000));
  if (!strcmp(name, "files") && argc == 4) return probe_files(argv[2], parse_number("MS", argv[3], 1, 60000));
  if (!strcmp(name, "net") && argc == 5)
    return probe_net(argv[2], parse_number("PORT", argv[3], 1, 65535), parse_number("MS", argv[4], 1, 60000));
  if (!strcmp(name, "calls") && argc == 3) return probe_calls(parse_number("MS", argv[2], 1, 60000));
  if (!strcmp(name, "facts") && argc == 2) return probe_facts();
  if (!strcmp(name, "peer") && argc == 3) return run_peer(parse_number("PORT", argv[2], 1, 65535));
  if (!strcmp(name, "idle") && argc == 3) return run_idle(parse_number("SECONDS", argv[2], 1, 86400));
  fputs(usage, stderr);
  return 2;
}

uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void die(const char *format, ...) {
  int saved = errno;
  va_list arguments;
  va_start(arguments, format);
  fputs("isle-probe: ", stderr);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fprintf(stderr, ": %s\n", strerror(saved));
  exit(1);
}

void write_all(int fd, const void *data, size_t length) {
  const char *at = data;
  while (length > 0) {
    ssize_t written = write(fd, at, length);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) die("write");
    at += written;
    length -= (size_t)written;
  }
}

void print_json(FILE *out, const char *text, size_t length) {
  fputc('"', out);
  for (size_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c == '"' || c == '\\') fprintf(out, "\\%c", c);
    else if (c < 0x20 || c >= 0x7f) fprintf(out, "\\u%04x", c);
    else fputc(c, out);
  }
  fputc('"', out);
}

long parse_number(const char *what, const char *text, long low, long high) {
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno || end == text || *end || value < low || value > high) {
    errno = EINVAL;
    die("%s must be a number from %ld to %ld, not \"%s\"", what, low, high, text);
  }
  return value;
}

static void end(int signal_number) {
  (void)signal_number;
  _exit(0);
}

int run_idle(long seconds) {
  /* As the first process it gets no signal that it does not handle, and is the parent of orphans. */
  signal(SIGTERM, end);
  signal(SIGINT, end);
  signal(SIGCHLD, SIG_IGN);
  uint64_t until = now_ns() + (uint64_t)seconds * 1000000000u;
  while (now_ns() < until) sleep(1);
  return 0;
}
