/*
 * isle-confine [--ro|--rw HOST INSIDE]… --memory BYTES --file-size BYTES --cpu SECONDS -- PROGRAM ARGUMENT…
 *
 * The tool gets namespaces of its own (mounts, network, processes, IPC, names), nobody's ids, no capability and no way to
 * one, a root that holds the host's programs (read-only) and the files, and limits. It ends when whoever started it ends.
 * Writes "CODE\n" to descriptor 3 when the tool has ended: its exit code, 128 + the signal that ended it.
 */
#include "confine.h"
#include <linux/capability.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

_Noreturn void die(const char *what, const char *which) {
  fprintf(stderr, "isle-confine: %s%s%s: %s\n", what, *which ? " " : "", which, strerror(errno));
  _exit(125);
}

static unsigned long long number(const char *text) {
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (errno || end == text || *end) {
    errno = EINVAL;
    die("not a number:", text);
  }
  return value;
}

/* The place of the program's name in argv. */
static int read_arguments(struct plan *plan, int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    const char *word = argv[i];
    if (!strcmp(word, "--") && i + 1 < argc) return i + 1;
    bool write = !strcmp(word, "--rw");
    if ((write || !strcmp(word, "--ro")) && i + 2 < argc && plan->count < MAX_FILES) {
      plan->files[plan->count++] = (struct shown){.host = argv[i + 1], .inside = argv[i + 2], .write = write};
      i += 2;
    } else if (!strcmp(word, "--memory") && i + 1 < argc) {
      plan->memory = number(argv[++i]);
    } else if (!strcmp(word, "--file-size") && i + 1 < argc) {
      plan->file_size = number(argv[++i]);
    } else if (!strcmp(word, "--cpu") && i + 1 < argc) {
      plan->cpu = number(argv[++i]);
    } else {
      break;
    }
  }
  errno = EINVAL;
  die("usage", "");
}

/* Not above what this process may have itself. */
static void limit(int what, unsigned long long value) {
  struct rlimit now;
  if (getrlimit(what, &now)) die("getrlimit", "");
  if (now.rlim_max == RLIM_INFINITY || value < now.rlim_max) now.rlim_max = value;
  now.rlim_cur = now.rlim_max;
  if (setrlimit(what, &now)) die("setrlimit", "");
}

static void limit_all(const struct plan *plan) {
  limit(RLIMIT_AS, plan->memory);
  limit(RLIMIT_FSIZE, plan->file_size);
  limit(RLIMIT_CPU, plan->cpu);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_NOFILE, 2048);
}

static void drop_rights(const struct plan *plan) {
  for (int cap = 0; cap <= 63; cap++)
    if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno != EINVAL) die("capabilities", "");
  if (setgroups(0, NULL) || setresgid(plan->gid, plan->gid, plan->gid) || setresuid(plan->uid, plan->uid, plan->uid))
    die("ids", "");
  /* Where the ids are root's (see take_files), changing them has dropped nothing. */
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2] = {0};
  if (syscall(SYS_capset, &header, none)) die("capset", "");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) die("no_new_privs", "");
}

_Noreturn static void run(struct plan *plan, char **program) {
  enter_room(plan);
  limit_all(plan);
  drop_rights(plan);
  /* After the ids: changing those forgets it. */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  close_range(3, ~0U, 0);
  forbid_calls();
  char *env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/", "MALLOC_ARENA_MAX=2", NULL};
  execvpe(program[0], program, env);
  fprintf(stderr, "isle-confine: %s: %s\n", program[0], strerror(errno));
  _exit(errno == ENOENT ? 127 : 126);
}

int main(int argc, char **argv) {
  static struct plan plan = {.uid = NOBODY, .gid = NOBODY};
  /* The daemon's end is this program's, and this one's the tool's. */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int first = read_arguments(&plan, argc, argv);
  take_files(&plan);
  if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID)) die("unshare", "");
  pid_t tool = fork();
  if (tool < 0) die("fork", "");
  if (tool == 0) run(&plan, argv + first);
  for (int i = 0; i < plan.count; i++) close(plan.files[i].tree);
  int status;
  while (waitpid(tool, &status, 0) < 0)
    if (errno != EINTR) die("wait", "");
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  dprintf(3, "%d\n", code);
  return code;
}
