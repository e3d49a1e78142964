/* Counters of the workload's control group and of the whole guest: src/runtimes/microvm/guest/guest-stats.ts reads them. */
#include "guest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t number_in(const char *path) {
  char text[64];
  return read_file(path, text, sizeof text) > 0 ? strtoull(text, NULL, 10) : 0;
}

/* The number after `name` at the start of a line. */
static uint64_t line_in(const char *text, const char *name) {
  size_t size = strlen(name);
  for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
    if (!strncmp(line, name, size)) return strtoull(line + size, NULL, 10);
  return 0;
}

static void put_cpu(struct text *text) {
  char stat[1024];
  if (read_file(WORKLOAD_CGROUP "/cpu.stat", stat, sizeof stat) < 0) return;
  put_field(text, "cpu.usage", "%" PRIu64, line_in(stat, "usage_usec "));
  put_field(text, "cpu.user", "%" PRIu64, line_in(stat, "user_usec "));
  put_field(text, "cpu.system", "%" PRIu64, line_in(stat, "system_usec "));
}

static void put_memory(struct text *text) {
  char stat[8192], name[96], *rest = NULL;
  put_field(text, "memory.current", "%" PRIu64, number_in(WORKLOAD_CGROUP "/memory.current"));
  if (read_file(WORKLOAD_CGROUP "/memory.peak", stat, sizeof stat) > 0)
    put_field(text, "memory.peak", "%" PRIu64, (uint64_t)strtoull(stat, NULL, 10));
  if (read_file(WORKLOAD_CGROUP "/memory.stat", stat, sizeof stat) < 0) return;
  for (char *line = strtok_r(stat, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    char *value = strchr(line, ' ');
    if (!value) continue;
    snprintf(name, sizeof name, "memory.stat.%.*s", (int)(value - line), line);
    put_field(text, name, "%s", value + 1);
  }
}

static void put_machine(struct text *text) {
  char info[4096];
  if (read_file("/proc/meminfo", info, sizeof info) > 0) {
    put_field(text, "guest.memoryTotal", "%" PRIu64, line_in(info, "MemTotal:") * 1024);
    put_field(text, "guest.memoryFree", "%" PRIu64, line_in(info, "MemFree:") * 1024);
    put_field(text, "guest.memoryAvailable", "%" PRIu64, line_in(info, "MemAvailable:") * 1024);
  }
  put_field(text, "guest.uptime", "%" PRId64, now_ms());
}

void put_stats(struct text *text) {
  put_cpu(text);
  put_memory(text);
  put_field(text, "pids", "%" PRIu64, number_in(WORKLOAD_CGROUP "/pids.current"));
  put_field(text, "oomKills", "%" PRIu64, oom_kills());
  put_machine(text);
}
