/* What the supervisors of virtual machines share: native/shim and native/vmm. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

/* --- child.c: QEMU and its helpers */

enum { MAX_FDS = 48 };

struct child {
  const char *name;
  pid_t pid;
  bool ended;
  int status;
  /* The read end of its standard output and error. */
  int words;
  char said[1024];
  size_t said_length;
};

/*
 * The descriptors `fds` (at most MAX_FDS) become 3, 4, … of the program; it has no others, and dies with this process. It runs
 * as `user` (and the group of that number), 0 is whoever this process is.
 */
bool child_start(struct child *child, char **args, const int *fds, int count, uid_t user);
void child_listen(struct child *child);
void child_kill(struct child *child);
/* Takes note of the end of `pid`; false when it is none of these. */
bool child_ended(struct child *children, int count, pid_t pid, int status);
/* Takes the ends of all children that have ended. */
void children_reap(struct child *children, int count);

/* --- outcome.c: what the daemon is told of how it ended; `outcome` in the working directory, one fact a line */

/* NULL when it cannot be made. */
FILE *outcome_begin(void);
/* `NAME exited 0` or `NAME killed 9`, and `NAME-said LAST WORDS`. */
void outcome_child(FILE *file, const struct child *child);
/* Durably, whole or not at all. */
void outcome_end(FILE *file);

/* --- sockets.c */

/* `ends[0]` listens and `ends[1]` is connected to it; the name they met by (in the working directory) is gone. */
bool listening_pair(int ends[2]);
