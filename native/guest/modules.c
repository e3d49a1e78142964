/*
 * Modules of the initramfs. /modules/list has a line for each, in the order of loading: what it is for, its file. What a
 * kernel has built in has no line.
 */
#include "guest.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A module takes no parameters from the kernel's command line by itself: virtio_mmio's devices are some. */
static void parameters_of(const char *module, char *into, size_t size) {
  static char line[4096];
  static bool read_already;
  if (!read_already) read_file("/proc/cmdline", line, sizeof line);
  read_already = true;
  char prefix[64], copy[sizeof line], *rest = NULL;
  int length = snprintf(prefix, sizeof prefix, "%s.", module);
  snprintf(copy, sizeof copy, "%s", line);
  size_t used = 0;
  into[0] = 0;
  for (char *word = strtok_r(copy, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
    if (strncmp(word, prefix, length)) continue;
    int added = snprintf(into + used, size - used, "%s ", word + length);
    if (added < 0 || used + added >= size) return;
    used += added;
  }
}

static void load(const char *file) {
  char path[128], name[64], parameters[1024];
  snprintf(path, sizeof path, "/modules/%s", file);
  snprintf(name, sizeof name, "%.*s", (int)strcspn(file, "."), file);
  for (char *at = name; *at; at++)
    if (*at == '-') *at = '_';
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return; /* loaded for another class already, and removed */
  parameters_of(name, parameters, sizeof parameters);
  if (syscall(SYS_finit_module, fd, parameters, 0) && errno != EEXIST) say("module %s: %s", file, strerror(errno));
  close(fd);
  unlink(path); /* its memory is of use */
}

void load_modules(const char *class) {
  static char list[4096];
  if (!list[0] && read_file("/modules/list", list, sizeof list) < 0) return;
  char copy[sizeof list], *rest = NULL;
  snprintf(copy, sizeof copy, "%s", list);
  for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    char *file = strchr(line, ' ');
    if (!file) continue;
    *file++ = 0;
    if (!strcmp(line, class)) load(file);
  }
}

bool has_virtio_device(unsigned id) {
  DIR *directory = opendir("/sys/bus/virtio/devices");
  bool found = false;
  struct dirent *entry;
  while (directory && !found && (entry = readdir(directory))) {
    char path[320], value[32];
    snprintf(path, sizeof path, "/sys/bus/virtio/devices/%s/device", entry->d_name);
    if (entry->d_name[0] != '.' && read_file(path, value, sizeof value) > 0) found = strtoul(value, NULL, 16) == id;
  }
  if (directory) closedir(directory);
  return found;
}
