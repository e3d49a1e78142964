/* isle-confine: runs a tool on files that strangers made, where it can reach nothing but those files. */
#ifndef CONFINE_H
#define CONFINE_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_FILES 1024
/* Whom the tool runs as: nobody's ids. */
#define NOBODY 65534

/* Which path of the host the tool sees under which name. */
struct shown {
  const char *host;
  const char *inside;
  bool write;
  int tree;
  bool directory;
};

struct plan {
  struct shown files[MAX_FILES];
  int count;
  unsigned long long memory, file_size, cpu;
  uid_t uid;
  gid_t gid;
};

/* Says what failed, with errno's words, and ends with 125. */
_Noreturn void die(const char *what, const char *which);

/* files.c: detaches a clone of each file's mount, its owners translated where the file system can. */
void take_files(struct plan *plan);
/* room.c: makes a root of what the tool needs and the files, and enters it. */
void enter_room(struct plan *plan);
/* calls.c: no system call that a tool for files does not need. */
void forbid_calls(void);

#endif
