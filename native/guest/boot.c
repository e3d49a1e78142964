/* From the kernel's first process to an open agent port, and, while nobody asks for anything, all a workload needs. */
#include "guest.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VIRTIO_NET = 1, VIRTIO_RNG = 4, VIRTIO_BALLOON = 5, VIRTIO_FS = 26 };

static void mount_at(const char *type, const char *target, unsigned long flags) {
  mkdir(target, 0755);
  if (mount(type, target, type, flags, NULL) && errno != EBUSY) say("mount %s: %s", target, strerror(errno));
}

/* The kernel's first root cannot be pivoted away from: a workload's mount namespace could not leave it behind. */
static void leave_first_root(void) {
  mkdir("/base", 0755);
  if (mount("tmpfs", "/base", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m")) return;
  mkdir("/base/modules", 0700);
  if (mount("/modules", "/base/modules", NULL, MS_BIND, NULL)) say("modules: %s", strerror(errno));
  if (chdir("/base") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
    say("base: %s", strerror(errno));
}

/* Whether a device in `directory` has `part` in its name; `part` may be empty. */
static bool has_device(const char *directory, const char *part) {
  DIR *devices = opendir(directory);
  if (!devices) return false;
  bool found = false;
  struct dirent *entry;
  while (!found && (entry = readdir(devices))) found = entry->d_name[0] != '.' && strstr(entry->d_name, part);
  closedir(devices);
  return found;
}

/* Found by ACPI (as LNRO0005), by a device tree, or by the kernel's command line: all are platform devices in the end. */
static bool has_mmio(void) {
  static const char platform[] = "/sys/bus/platform/devices";
  char line[4096];
  return has_device(platform, "LNRO0005") || has_device(platform, "virtio_mmio") ||
         (read_file("/proc/cmdline", line, sizeof line) > 0 && strstr(line, "virtio_mmio.device="));
}

void boot_first(void) {
  leave_first_root();
  mount_at("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC);
  mount_at("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC);
  mount_at("devtmpfs", "/dev", MS_NOSUID);
  write_file("/proc/self/oom_score_adj", "-1000");
  if (has_mmio()) load_modules("mmio");
  if (has_device("/sys/bus/pci/devices", "")) load_modules("pci");
  load_modules("console");
}

bool boot_more(void) {
  static int step;
  struct failure failure;
  switch (step++) {
    case 0:
      if (has_virtio_device(VIRTIO_FS)) load_modules("fs");
      return true;
    case 1:
      if (has_virtio_device(VIRTIO_NET)) load_modules("net");
      return true;
    case 2:
      mount_at("cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC);
      for (const char *controller[] = {"+memory", "+pids", "+cpu", "+io", NULL}, **at = controller; *at; at++)
        write_file("/sys/fs/cgroup/cgroup.subtree_control", *at);
      mkdir(WORKLOAD_CGROUP, 0755);
      return true;
    case 3:
      if (set_up_loopback(&failure)) say("loopback: %s", strerror(failure.code));
      return true;
    default:
      step = 4;
      return false;
  }
}

void boot_rest(void) {
  if (has_virtio_device(VIRTIO_BALLOON)) load_modules("balloon");
  if (has_virtio_device(VIRTIO_RNG)) load_modules("rng");
}
