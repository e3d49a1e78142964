/* What a process here shares with its host, as far as it can be seen from within: facts, no judgement. */
#include "probe.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

void print_reachable_calls(void);

enum { most_devices = 256 };

static char text[65536];

/* The content of a small file without the newline at its end; NULL where there is none. */
static const char *read_file(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return NULL;
  size_t used = 0;
  ssize_t got;
  while (used < sizeof text - 1 && (got = read(fd, text + used, sizeof text - 1 - used)) > 0) used += (size_t)got;
  close(fd);
  text[used] = 0;
  if (used == 0) return NULL;
  if (text[used - 1] == '\n') text[used - 1] = 0;
  return text;
}

static void print_text(const char *key, const char *value) {
  printf("\"%s\":", key);
  if (value) print_json(stdout, value, strlen(value));
  else fputs("null", stdout);
  putchar(',');
}

/* A line `Name:\tvalue` of /proc/self/status. */
static void print_status(const char *key, const char *name) {
  const char *status = read_file("/proc/self/status");
  size_t length = strlen(name);
  while (status && strncmp(status, name, length) != 0) {
    status = strchr(status, '\n');
    if (status) status++;
  }
  if (!status) return print_text(key, NULL);
  status += length;
  status += strspn(status, ":\t ");
  printf("\"%s\":", key);
  print_json(stdout, status, strcspn(status, "\n"));
  putchar(',');
}

static void print_uid_map(void) {
  const char *map = read_file("/proc/self/uid_map");
  fputs("\"uidMap\":[", stdout);
  unsigned long inside, outside, count;
  int used, first = 1;
  while (map && sscanf(map, "%lu %lu %lu %n", &inside, &outside, &count, &used) == 3) {
    printf("%s[%lu,%lu,%lu]", first ? "" : ",", inside, outside, count);
    first = 0;
    map += used;
  }
  fputs("],", stdout);
}

static void print_namespaces(void) {
  static const char *const names[] = {"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"};
  fputs("\"namespaces\":{", stdout);
  int first = 1;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char path[64];
    struct stat found;
    snprintf(path, sizeof path, "/proc/self/ns/%s", names[i]);
    if (stat(path, &found) < 0) continue;
    printf("%s\"%s\":%llu", first ? "" : ",", names[i], (unsigned long long)found.st_ino);
    first = 0;
  }
  fputs("},", stdout);
}

static int devices_printed;

static void print_devices_in(const char *folder, int depth) {
  DIR *directory = opendir(folder);
  if (!directory) return;
  struct dirent *entry;
  while ((entry = readdir(directory)) && devices_printed < most_devices) {
    char path[512];
    struct stat found;
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    if (snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) >= (int)sizeof path) continue;
    if (lstat(path, &found) < 0) continue;
    if (S_ISDIR(found.st_mode) && depth < 2 && strcmp(path, "/dev/pts") != 0) print_devices_in(path, depth + 1);
    if (!S_ISCHR(found.st_mode) && !S_ISBLK(found.st_mode)) continue;
    if (devices_printed++) putchar(',');
    print_json(stdout, path + 5, strlen(path + 5));
  }
  closedir(directory);
}

int probe_facts(void) {
  struct utsname name;
  struct sysinfo system;
  if (uname(&name) < 0 || sysinfo(&system) < 0) die("uname");
  putchar('{');
  print_text("kernel", name.release);
  print_text("kernelVersion", name.version);
  print_text("machine", name.machine);
  print_text("bootId", read_file("/proc/sys/kernel/random/boot_id"));
  print_text("lsm", read_file("/proc/self/attr/current"));
  print_text("firstProcess", read_file("/proc/1/comm"));
  print_status("capabilities", "CapEff");
  print_status("seccomp", "Seccomp");
  print_status("noNewPrivileges", "NoNewPrivs");
  print_uid_map();
  print_namespaces();
  fputs("\"devices\":[", stdout);
  print_devices_in("/dev", 0);
  fputs("],\"calls\":{", stdout);
  fflush(stdout);
  print_reachable_calls();
  printf("},\"uid\":%u,\"cpus\":%ld,\"memory\":%llu,\"uptime\":%ld}\n", getuid(), sysconf(_SC_NPROCESSORS_ONLN),
         (unsigned long long)system.totalram * system.mem_unit, system.uptime);
  return 0;
}
