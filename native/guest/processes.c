/* The workload's processes with the columns of ps -ef, ids as seen in its own pid namespace. */
#include "guest.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_PROCESSES 4096

struct row {
  int pid, parent; /* the guest's */
  int inner;       /* the workload's */
};

/* The last number of NSpid; 0 for a process of the guest itself, which has only one. */
static int inner_pid(const char *status) {
  const char *line = strstr(status, "\nNSpid:");
  if (!line) return 0;
  int outer = 0, inner = 0;
  return sscanf(line + 7, "%d %d", &outer, &inner) == 2 ? inner : 0;
}

static size_t collect(struct row *rows) {
  DIR *directory = opendir("/proc");
  size_t count = 0;
  struct dirent *entry;
  while (directory && count < MAX_PROCESSES && (entry = readdir(directory))) {
    char path[64], status[4096];
    int pid = atoi(entry->d_name);
    if (pid <= 0) continue;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    if (read_file(path, status, sizeof status) <= 0) continue;
    struct row row = {.pid = pid, .inner = inner_pid(status)};
    const char *parent = strstr(status, "\nPPid:");
    row.parent = parent ? atoi(parent + 6) : 0;
    if (row.inner) rows[count++] = row;
  }
  if (directory) closedir(directory);
  return count;
}

static int inner_of(const struct row *rows, size_t count, int pid) {
  for (size_t index = 0; index < count; index++)
    if (rows[index].pid == pid) return rows[index].inner;
  return 0;
}

/* Arguments with spaces between them; a process without any is known by its name, in brackets. */
static void command_of(int pid, const char *name, char *into, size_t size) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
  ssize_t have = read_file(path, into, size);
  if (have <= 0) {
    snprintf(into, size, "[%s]", name);
    return;
  }
  for (ssize_t index = 0; index < have - 1; index++)
    if (!into[index]) into[index] = ' ';
}

static void terminal_of(unsigned device, char *into, size_t size) {
  unsigned major = device >> 8 & 0xfff, minor = (device & 0xff) | (device >> 12 & 0xfff00);
  if (major >= 136 && major <= 143) snprintf(into, size, "pts/%u", (major - 136) * 256 + minor);
  else snprintf(into, size, "?");
}

static void put_process(struct text *text, const struct row *row, int parent) {
  char path[64], stat[1024], command[2048], terminal[24], started[16];
  snprintf(path, sizeof path, "/proc/%d/stat", row->pid);
  if (read_file(path, stat, sizeof stat) <= 0) return;
  char *open = strchr(stat, '('), *close = strrchr(stat, ')');
  if (!open || !close) return;
  *close = 0;
  unsigned device = 0;
  unsigned long user = 0, system = 0;
  unsigned long long start = 0;
  sscanf(close + 2, "%*c %*d %*d %*d %u %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %llu", &device, &user,
         &system, &start);
  long ticks = sysconf(_SC_CLK_TCK);
  time_t now = time(NULL), begun = now - (now_ms() / 1000 - (time_t)(start / ticks));
  strftime(started, sizeof started, now - begun < 86400 ? "%H:%M" : "%b%d", gmtime(&begun));
  unsigned long seconds = (user + system) / ticks;
  long age = now > begun ? now - begun : 1;
  terminal_of(device, terminal, sizeof terminal);
  command_of(row->pid, open + 1, command, sizeof command);
  char status[4096];
  snprintf(path, sizeof path, "/proc/%d/status", row->pid);
  const char *line = read_file(path, status, sizeof status) > 0 ? strstr(status, "\nUid:") : NULL;
  int effective = 0;
  if (line) sscanf(line + 5, "%*d %d", &effective);
  put_field(text, "process", "%u\t%d\t%d\t%lu\t%s\t%s\t%02lu:%02lu:%02lu\t%s", (unsigned)effective, row->inner, parent,
            seconds * 100 / age > 99 ? 99 : seconds * 100 / age, started, terminal, seconds / 3600, seconds / 60 % 60,
            seconds % 60, command);
}

void put_processes(struct text *text) {
  static struct row rows[MAX_PROCESSES];
  size_t count = collect(rows);
  for (size_t index = 0; index < count; index++)
    put_process(text, &rows[index], inner_of(rows, count, rows[index].parent));
}
