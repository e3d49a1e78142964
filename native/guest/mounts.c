#include "guest.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static const struct {
  const char *name;
  unsigned long set, clear;
} options[] = {
    {"ro", MS_RDONLY, 0},          {"rw", 0, MS_RDONLY},           {"nosuid", MS_NOSUID, 0},
    {"suid", 0, MS_NOSUID},        {"nodev", MS_NODEV, 0},         {"dev", 0, MS_NODEV},
    {"noexec", MS_NOEXEC, 0},      {"exec", 0, MS_NOEXEC},         {"sync", MS_SYNCHRONOUS, 0},
    {"async", 0, MS_SYNCHRONOUS},  {"dirsync", MS_DIRSYNC, 0},     {"noatime", MS_NOATIME, 0},
    {"atime", 0, MS_NOATIME},      {"nodiratime", MS_NODIRATIME, 0}, {"diratime", 0, MS_NODIRATIME},
    {"relatime", MS_RELATIME, 0},  {"norelatime", 0, MS_RELATIME}, {"strictatime", MS_STRICTATIME, 0},
    {"nostrictatime", 0, MS_STRICTATIME}, {"defaults", 0, 0},
};

/* As mount(8): names that are no flags are the file system's own. */
static bool read_options(const struct list *list, unsigned long *flags, char *data, size_t size) {
  size_t used = 0;
  data[0] = 0;
  for (size_t index = 0; index < list->count; index++) {
    bool known = false;
    for (size_t at = 0; at < sizeof options / sizeof *options && !known; at++)
      if (!strcmp(options[at].name, list->items[index])) {
        *flags = (*flags | options[at].set) & ~options[at].clear;
        known = true;
      }
    if (known) continue;
    int added = snprintf(data + used, size - used, "%s%s", used ? "," : "", list->items[index]);
    if (added < 0 || used + added >= size) return false;
    used += added;
  }
  return true;
}

static int add_device(int directory, const char *name, unsigned major, unsigned minor) {
  if (mknodat(directory, name, S_IFCHR | 0666, makedev(major, minor)) && errno != EEXIST) return -1;
  return fchmodat(directory, name, 0666, 0);
}

static int add_link(int directory, const char *name, const char *target) {
  return symlinkat(target, directory, name) && errno != EEXIST ? -1 : 0;
}

/* What every container finds in /dev. The terminals' own file system comes as a mount. */
static int fill_dev(int directory) {
  static const struct {
    const char *name;
    unsigned major, minor;
  } nodes[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
  static const char *const links[][2] = {{"fd", "/proc/self/fd"},         {"stdin", "/proc/self/fd/0"},
                                         {"stdout", "/proc/self/fd/1"},   {"stderr", "/proc/self/fd/2"},
                                         {"core", "/proc/kcore"},         {"ptmx", "pts/ptmx"}};
  for (size_t index = 0; index < sizeof nodes / sizeof *nodes; index++)
    if (add_device(directory, nodes[index].name, nodes[index].major, nodes[index].minor)) return -1;
  for (size_t index = 0; index < sizeof links / sizeof *links; index++)
    if (add_link(directory, links[index][0], links[index][1])) return -1;
  static const char *const directories[] = {"pts", "shm", "mqueue"};
  for (size_t index = 0; index < sizeof directories / sizeof *directories; index++)
    if (mkdirat(directory, directories[index], 0755) && errno != EEXIST) return -1;
  return 0;
}

int mount_in_root(int root, const struct mount_spec *spec, struct failure *failure) {
  static const char *const types[] = {"tmpfs", "proc", "sysfs", "devpts", "mqueue", "cgroup2", "dev"};
  bool known = false;
  for (size_t index = 0; index < sizeof types / sizeof *types; index++) known |= !strcmp(types[index], spec->type);
  unsigned long flags = 0;
  char data[4096], target[64];
  errno = EINVAL;
  if (!known || !read_options(&spec->options, &flags, data, sizeof data)) return fail(failure, "mount", spec->target);
  int fd = open_in_root(root, spec->target, true);
  if (fd < 0) return fail(failure, "make the mount point", spec->target);
  snprintf(target, sizeof target, "/proc/self/fd/%d", fd);
  bool dev = !strcmp(spec->type, "dev");
  const char *type = dev ? "tmpfs" : spec->type;
  int result = mount(type, target, type, dev ? flags & ~MS_RDONLY : flags, data[0] ? data : NULL);
  close(fd);
  if (result) return fail(failure, "mount", spec->target);
  if (!dev) return 0;
  int inside = open_in_root(root, spec->target, false);
  if (inside < 0 || fill_dev(inside)) return fail(failure, "fill", spec->target);
  close(inside);
  return 0;
}
