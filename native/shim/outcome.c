/* One fact a line: `code 3`, `oom 1`, `killed qemu` (by the shim), `broken WHY`, `qemu exited 0`, `qemu killed 9`, `qemu-said LAST WORDS`. */
#define _GNU_SOURCE
#include "shim.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static void put_words(FILE *file, const struct child *child);

void outcome_write(const struct port *port, const struct child *children, int count, bool killed) {
  /* A guest that could write into this directory could not, through a link, reach another file. */
  unlink("outcome.new");
  int fd = open("outcome.new", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
  if (!file) return;
  if (port->exited) fprintf(file, "code %d\noom %d\n", port->code, port->oom);
  if (killed) fputs("killed qemu\n", file);
  if (port->broken) fprintf(file, "broken %s\n", port->broken);
  for (int i = 0; i < count; i++) {
    const struct child *child = &children[i];
    if (child->pid == 0) continue;
    if (child->ended && WIFEXITED(child->status)) fprintf(file, "%s exited %d\n", child->name, WEXITSTATUS(child->status));
    if (child->ended && WIFSIGNALED(child->status)) fprintf(file, "%s killed %d\n", child->name, WTERMSIG(child->status));
    put_words(file, child);
  }
  bool whole = fflush(file) == 0 && fsync(fd) == 0;
  fclose(file);
  if (!whole || rename("outcome.new", "outcome") < 0) return;
  int directory = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) fsync(directory), close(directory);
}

/* On one line, without what could be taken for another fact or move a terminal's cursor. */
static void put_words(FILE *file, const struct child *child) {
  if (child->said_length == 0) return;
  fprintf(file, "%s-said ", child->name);
  for (size_t i = 0; i < child->said_length; i++) {
    unsigned char byte = (unsigned char)child->said[i];
    if (byte == '\n' && i + 1 < child->said_length) fputs(" | ", file);
    else if (byte != '\n') fputc(byte < 32 || byte == 127 ? '?' : byte, file);
  }
  fputc('\n', file);
}
