/* The files that a confined tool may see. */
#include "confine.h"
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

static void write_map(pid_t pid, const char *name, unsigned from, unsigned to) {
  char path[64], line[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  int n = snprintf(line, sizeof line, "%u %u 1\n", from, to);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, line, (size_t)n) != n) die("user namespace", path);
  close(fd);
}

/* A user namespace in which these owners are nobody. */
static int owners_as_nobody(uid_t uid, gid_t gid) {
  int ready[2];
  if (pipe2(ready, O_CLOEXEC)) die("pipe", "");
  pid_t pid = fork();
  if (pid < 0) die("fork", "");
  if (pid == 0) {
    bool made = unshare(CLONE_NEWUSER) == 0;
    if (write(ready[1], made ? "1" : "0", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char made = '0', path[64];
  int fd = -1;
  if (read(ready[0], &made, 1) == 1 && made == '1') {
    write_map(pid, "uid_map", uid, NOBODY);
    write_map(pid, "gid_map", gid, NOBODY);
    snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
  }
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  close(ready[0]);
  close(ready[1]);
  return fd;
}

static bool protect(const struct shown *file, int userns) {
  struct mount_attr attr = {
      .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | (file->write ? 0 : MOUNT_ATTR_RDONLY),
      .propagation = MS_PRIVATE,
  };
  if (userns >= 0) {
    attr.attr_set |= MOUNT_ATTR_IDMAP;
    attr.userns_fd = (unsigned long long)userns;
  }
  return mount_setattr(file->tree, "", AT_EMPTY_PATH, &attr, sizeof attr) == 0;
}

/*
 * Where a file system cannot translate owners (overlayfs, NFS) the tool runs as the files' owner instead, who is the same for
 * all of them; if that is root, it has root's id, but none of its rights and no file of root's but these.
 */
void take_files(struct plan *plan) {
  uid_t uid = 0;
  gid_t gid = 0;
  int userns = -1;
  bool kept = false;
  for (int i = 0; i < plan->count; i++) {
    struct shown *file = &plan->files[i];
    struct stat st;
    file->tree = open_tree(AT_FDCWD, file->host, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (file->tree < 0 || fstat(file->tree, &st)) die("cannot open", file->host);
    file->directory = S_ISDIR(st.st_mode);
    if (!file->directory && !S_ISREG(st.st_mode)) {
      errno = EINVAL;
      die("neither a file nor a directory:", file->host);
    }
    if (userns < 0 || st.st_uid != uid || st.st_gid != gid) {
      if (userns >= 0) close(userns);
      userns = owners_as_nobody(uid = st.st_uid, gid = st.st_gid);
    }
    if (userns >= 0 && !(kept && plan->uid == st.st_uid) && protect(file, userns)) continue;
    if (!protect(file, -1)) die("cannot protect", file->host);
    if (i > 0 && (!kept || plan->uid != st.st_uid)) {
      errno = EXDEV;
      die("its file system cannot translate owners, and the other files have another one:", file->host);
    }
    plan->uid = st.st_uid;
    plan->gid = st.st_gid;
    kept = true;
  }
  if (userns >= 0) close(userns);
}
