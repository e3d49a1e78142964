/* The last steps: identity, limits and the program itself. */
#include "guest.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static int set_limits(const struct process_spec *process, struct failure *failure) {
  for (size_t index = 0; index < process->rlimit_count; index++) {
    const struct rlimit_spec *spec = &process->rlimits[index];
    struct rlimit limit = {spec->soft, spec->hard};
    char name[24];
    snprintf(name, sizeof name, "%d", spec->resource);
    if (setrlimit(spec->resource, &limit)) return fail(failure, "set the resource limit", name);
  }
  return 0;
}

static int drop_bounding(uint64_t kept) {
  for (int bit = 0; bit < 64 && prctl(PR_CAPBSET_READ, bit) >= 0; bit++)
    if (!(kept >> bit & 1) && prctl(PR_CAPBSET_DROP, bit)) return -1;
  errno = 0;
  return 0;
}

/* Root has them, another user only in its bounding set. Never inheritable (CVE-2022-27649). */
static int set_capabilities(uint64_t granted, bool active) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  uint32_t low = active ? granted : 0, high = active ? granted >> 32 : 0;
  struct __user_cap_data_struct sets[2] = {{low, low, 0}, {high, high, 0}};
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  return syscall(SYS_capset, &header, sets);
}

static int set_identity(const struct process_spec *process, struct failure *failure) {
  /* What a number above the last known capability says is not for this kernel. */
  uint64_t known = 0;
  for (int bit = 0; bit < 64 && prctl(PR_CAPBSET_READ, bit) >= 0; bit++) known |= 1ULL << bit;
  if (drop_bounding(process->capabilities)) return fail(failure, "drop capabilities", NULL);
  if (setgroups(process->group_count, process->groups)) return fail(failure, "set the groups", NULL);
  if (setresgid(process->gid, process->gid, process->gid)) return fail(failure, "set the group", NULL);
  if (setresuid(process->uid, process->uid, process->uid)) return fail(failure, "set the user", NULL);
  if (set_capabilities(process->capabilities & known, process->uid == 0)) return fail(failure, "set capabilities", NULL);
  if (process->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    return fail(failure, "forbid new privileges", NULL);
  return 0;
}

/* Made when the workload's is missing, as for containers. */
static int enter_directory(const struct process_spec *process, struct failure *failure) {
  const char *path = process->cwd;
  char part[4096];
  if (!chdir(path)) return 0;
  if (errno != ENOENT || !process->make_directory || strlen(path) >= sizeof part) return fail(failure, "change to the directory", path);
  for (size_t end = 1; path[end - 1]; end++)
    if (path[end] == '/' || !path[end]) {
      snprintf(part, sizeof part, "%.*s", (int)end, path);
      mkdir(part, 0755);
    }
  return chdir(path) ? fail(failure, "change to the directory", path) : 0;
}

static const char *path_in(char *const *env) {
  for (; *env; env++)
    if (!strncmp(*env, "PATH=", 5)) return *env + 5;
  return default_path;
}

static int execute(const char *file, const struct process_spec *process) {
  static char *none[] = {NULL};
  char **env = process->env.items ? process->env.items : none;
  struct stat status;
  execve(file, process->args.items, env);
  if (errno == EACCES && !stat(file, &status) && S_ISDIR(status.st_mode)) errno = EISDIR;
  return -1;
}

/* As a shell: what is found but may not be executed matters when nothing else is found. */
static void search(const struct process_spec *process) {
  const char *name = process->args.items[0];
  char file[4096];
  int verdict = ENOENT;
  const char *path = path_in(process->env.items ? process->env.items : (char *[]){NULL});
  for (; *path; path += *path == ':') {
    size_t size = strcspn(path, ":");
    int length = snprintf(file, sizeof file, "%.*s/%s", (int)size, path, name);
    path += size;
    if (length < 0 || (size_t)length >= sizeof file) continue;
    execute(file, process);
    if (errno == ENOENT || errno == ENOTDIR || errno == EISDIR) continue;
    verdict = errno;
    if (errno != EACCES) break;
  }
  errno = verdict;
}

void become(const struct process_spec *process, struct failure *failure) {
  const char *name = process->args.items[0];
  sigset_t none;
  sigemptyset(&none);
  umask(022);
  /* Its own streams may be opened again by name; /dev/null is everybody's. */
  for (int fd = process->tty || process->in ? 0 : 1; fd < 3; fd++)
    if (fchown(fd, process->uid, -1)) say("cannot hand over a stream: %s", strerror(errno));
  if (set_limits(process, failure) || enter_directory(process, failure) || set_identity(process, failure)) return;
  sigprocmask(SIG_SETMASK, &none, NULL);
  if (strchr(name, '/')) execute(name, process);
  else if (name[0]) search(process);
  else errno = ENOENT;
  fail(failure, "execute", name);
}
