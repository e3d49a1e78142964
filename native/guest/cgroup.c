#include "guest.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* So that a workload that takes all memory meets its own limit, and neither the kernel nor the agent goes without. */
static void limit_memory(void) {
  char text[4096], value[32];
  if (read_file("/proc/meminfo", text, sizeof text) < 0) return;
  const char *line = strstr(text, "\nMemAvailable:");
  if (!line) return;
  unsigned long long available = strtoull(line + 14, NULL, 10);
  snprintf(value, sizeof value, "%lluK", available - available / 32);
  write_file(WORKLOAD_CGROUP "/memory.max", value);
}

int make_workload_cgroup(uint64_t pids_limit, struct failure *failure) {
  if (mkdir(WORKLOAD_CGROUP, 0755) && errno != EEXIST) return fail(failure, "make the workload's control group", NULL);
  limit_memory();
  if (pids_limit == 0) return 0;
  char value[32];
  snprintf(value, sizeof value, "%llu", (unsigned long long)pids_limit);
  if (write_file(WORKLOAD_CGROUP "/pids.max", value) < 0) return fail(failure, "limit the number of processes", value);
  return 0;
}

/* A workload that made groups of its own may have left its first one without room for processes. */
static int open_beside(void) {
  const char *path = WORKLOAD_CGROUP "/exec";
  mkdir(path, 0755);
  return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int open_workload_cgroup(void) {
  char controllers[256];
  ssize_t size = read_file(WORKLOAD_CGROUP "/cgroup.subtree_control", controllers, sizeof controllers);
  if (size > 1) return open_beside();
  return open(WORKLOAD_CGROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

uint64_t oom_kills(void) {
  char text[512];
  if (read_file(WORKLOAD_CGROUP "/memory.events", text, sizeof text) < 0) return 0;
  const char *line = strstr(text, "oom_kill ");
  return line ? strtoull(line + 9, NULL, 10) : 0;
}
