#define _GNU_SOURCE
#include "monitor.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

static void put_words(FILE *file, const struct child *child);

FILE *outcome_begin(void) {
  /* A guest that could write into this directory could not, through a link, reach another file. */
  unlink("outcome.new");
  int fd = open("outcome.new", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  return fd < 0 ? NULL : fdopen(fd, "w");
}

void outcome_child(FILE *file, const struct child *child) {
  if (!file || child->pid == 0) return;
  if (child->ended && WIFEXITED(child->status)) fprintf(file, "%s exited %d\n", child->name, WEXITSTATUS(child->status));
  if (child->ended && WIFSIGNALED(child->status)) fprintf(file, "%s killed %d\n", child->name, WTERMSIG(child->status));
  put_words(file, child);
}

void outcome_end(FILE *file) {
  if (!file) return;
  bool whole = fflush(file) == 0 && fsync(fileno(file)) == 0;
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
