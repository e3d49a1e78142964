/* File system calls relative to a directory's descriptor: what a safe unpacker and `cp` need and node:fs lacks. */
#include "isle.h"
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>

/* openat2(dirfd, path, flags, mode, resolve) */
static void run_openat2(struct isle_op *op) {
  struct open_how how = {
      .flags = (uint64_t)op->a[2].i | O_CLOEXEC,
      .mode = (uint64_t)op->a[3].i,
      .resolve = (uint64_t)op->a[4].i,
  };
  int64_t fd;
  int tries = 0;
  /* EAGAIN: the kernel saw a rename race while it walked; the manual says to try again. */
  do fd = syscall(SYS_openat2, (int)op->a[0].i, op->a[1].s, &how, sizeof how);
  while (fd < 0 && errno == EAGAIN && ++tries < 128);
  isle_done(op, fd);
}

static void run_mkdirat(struct isle_op *op) {
  isle_done(op, mkdirat((int)op->a[0].i, op->a[1].s, (mode_t)op->a[2].i));
}

static void run_symlinkat(struct isle_op *op) {
  isle_done(op, symlinkat(op->a[0].s, (int)op->a[1].i, op->a[2].s));
}

static void run_linkat(struct isle_op *op) {
  isle_done(op, linkat((int)op->a[0].i, op->a[1].s, (int)op->a[2].i, op->a[3].s, (int)op->a[4].i));
}

static void run_mknodat(struct isle_op *op) {
  isle_done(op, mknodat((int)op->a[0].i, op->a[1].s, (mode_t)op->a[2].i, (dev_t)op->a[3].i));
}

static void run_unlinkat(struct isle_op *op) {
  isle_done(op, unlinkat((int)op->a[0].i, op->a[1].s, (int)op->a[2].i));
}

static void run_fchownat(struct isle_op *op) {
  isle_done(op, fchownat((int)op->a[0].i, op->a[1].s, (uid_t)op->a[2].i, (gid_t)op->a[3].i, (int)op->a[4].i));
}

/* Never follows a symlink, which has no mode of its own. fchmodat(2) took no flags before Linux 6.6: the magic
 * link of an O_PATH descriptor reaches exactly what was opened. */
static void run_fchmodat(struct isle_op *op) {
  char link[64];
  int fd = openat((int)op->a[0].i, op->a[1].s, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) {
    op->error = errno;
    return;
  }
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  isle_done(op, chmod(link, (mode_t)op->a[2].i));
  close(fd);
}

/* utimensat(dirfd, path, atime s, atime ns, mtime s, mtime ns, flags); ns may be UTIME_NOW or UTIME_OMIT. */
static void run_utimensat(struct isle_op *op) {
  struct timespec times[2] = {
      {.tv_sec = op->a[2].i, .tv_nsec = op->a[3].i},
      {.tv_sec = op->a[4].i, .tv_nsec = op->a[5].i},
  };
  isle_done(op, utimensat((int)op->a[0].i, op->a[1].s, times, (int)op->a[6].i));
}

static void run_renameat2(struct isle_op *op) {
  isle_done(op, renameat2((int)op->a[0].i, op->a[1].s, (int)op->a[2].i, op->a[3].s, (unsigned)op->a[4].i));
}

static void run_readlinkat(struct isle_op *op) {
  char *target = malloc(PATH_MAX);
  if (!target) {
    op->error = ENOMEM;
    return;
  }
  ssize_t n = readlinkat((int)op->a[0].i, op->a[1].s, target, PATH_MAX);
  if (n < 0) op->error = errno;
  op->data = target;
  op->size = n < 0 ? 0 : (size_t)n;
}

/* statAt(dirfd, path, flags): mode, uid, gid, major, minor, size, nlink, inode, device, mtime s, mtime ns, blocks,
 * each as a signed 64-bit number. */
static void run_stat_at(struct isle_op *op) {
  struct statx s;
  if (statx((int)op->a[0].i, op->a[1].s, (int)op->a[2].i, STATX_BASIC_STATS, &s)) {
    op->error = errno;
    return;
  }
  const int64_t values[] = {
      s.stx_mode,         s.stx_uid,           s.stx_gid,
      s.stx_rdev_major,   s.stx_rdev_minor,    (int64_t)s.stx_size,
      s.stx_nlink,        (int64_t)s.stx_ino,  ((int64_t)s.stx_dev_major << 32) | s.stx_dev_minor,
      s.stx_mtime.tv_sec, s.stx_mtime.tv_nsec, (int64_t)s.stx_blocks,
  };
  op->data = malloc(sizeof values);
  if (!op->data) {
    op->error = ENOMEM;
    return;
  }
  memcpy(op->data, values, sizeof values);
  op->size = sizeof values;
}

/* The xattr calls name a file as (directory, name) with name '' for the descriptor itself, and never follow a
 * symlink: O_PATH + magic link work for symlinks and devices alike, where f*xattr(2) refuses. */
struct target {
  int fd;
  bool own;
  char link[64];
};

static int open_target(const struct isle_op *op, struct target *target) {
  target->own = op->a[1].n > 0;
  target->fd = (int)op->a[0].i;
  if (target->own) target->fd = openat(target->fd, op->a[1].s, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (target->fd < 0) return -1;
  snprintf(target->link, sizeof target->link, "/proc/self/fd/%d", target->fd);
  return 0;
}

static void close_target(const struct target *target) {
  if (target->own) close(target->fd);
}

/* lsetxattr(dirfd, name, attribute, value, flags) */
static void run_set_xattr(struct isle_op *op) {
  struct target target;
  if (open_target(op, &target)) {
    op->error = errno;
    return;
  }
  isle_done(op, setxattr(target.link, op->a[2].s, op->a[3].s, op->a[3].n, (int)op->a[4].i));
  close_target(&target);
}

static void run_remove_xattr(struct isle_op *op) {
  struct target target;
  if (open_target(op, &target)) {
    op->error = errno;
    return;
  }
  isle_done(op, removexattr(target.link, op->a[2].s));
  close_target(&target);
}

/* Reads a value (attribute given) or the list of names. Values hold at most 64 KiB. */
static void read_xattr(struct isle_op *op, const char *attribute) {
  struct target target;
  if (open_target(op, &target)) {
    op->error = errno;
    return;
  }
  char small[1024];
  ssize_t n = attribute ? getxattr(target.link, attribute, small, sizeof small)
                        : listxattr(target.link, small, sizeof small);
  if (n >= 0) {
    op->data = malloc((size_t)n + 1);
    if (op->data) memcpy(op->data, small, (size_t)n);
  } else if (errno == ERANGE) {
    op->data = malloc(65536);
    if (op->data)
      n = attribute ? getxattr(target.link, attribute, op->data, 65536)
                    : listxattr(target.link, op->data, 65536);
  } else {
    op->error = errno;
    close_target(&target);
    return;
  }
  if (!op->data)
    op->error = ENOMEM;
  else if (n < 0)
    op->error = errno;
  else
    op->size = (size_t)n;
  close_target(&target);
}

static void run_get_xattr(struct isle_op *op) { read_xattr(op, op->a[2].s); }
static void run_list_xattr(struct isle_op *op) { read_xattr(op, NULL); }

static void run_lseek(struct isle_op *op) {
  isle_done(op, lseek((int)op->a[0].i, (off_t)op->a[1].i, (int)op->a[2].i));
}

static void run_fallocate(struct isle_op *op) {
  isle_done(op, fallocate((int)op->a[0].i, (int)op->a[1].i, (off_t)op->a[2].i, (off_t)op->a[3].i));
}

static void run_syncfs(struct isle_op *op) { isle_done(op, syncfs((int)op->a[0].i)); }

static void run_flock(struct isle_op *op) {
  int result;
  do result = flock((int)op->a[0].i, (int)op->a[1].i);
  while (result && errno == EINTR);
  isle_done(op, result);
}

static const struct isle_call calls[] = {
    {"openat2", "ipiii", 'f', false, run_openat2},
    {"mkdirat", "ipi", 'v', false, run_mkdirat},
    {"symlinkat", "sip", 'v', false, run_symlinkat},
    {"linkat", "ipipi", 'v', false, run_linkat},
    {"mknodat", "ipii", 'v', false, run_mknodat},
    {"unlinkat", "ipi", 'v', false, run_unlinkat},
    {"fchownat", "ipiii", 'v', false, run_fchownat},
    {"fchmodat", "ipi", 'v', false, run_fchmodat},
    {"utimensat", "ipiiiii", 'v', false, run_utimensat},
    {"renameat2", "ipipi", 'v', false, run_renameat2},
    {"readlinkat", "ip", 'b', false, run_readlinkat},
    {"statAt", "ipi", 'b', false, run_stat_at},
    {"lsetxattr", "ipsbi", 'v', false, run_set_xattr},
    {"lremovexattr", "ips", 'v', false, run_remove_xattr},
    {"lgetxattr", "ips", 'b', false, run_get_xattr},
    {"llistxattr", "ip", 'b', false, run_list_xattr},
    {"lseek", "iii", 'n', false, run_lseek},
    {"fallocate", "iiii", 'v', false, run_fallocate},
    {"syncfs", "i", 'v', false, run_syncfs},
    {"flock", "ii", 'v', false, run_flock},
};

void isle_init_at(napi_env env, napi_value exports) { ISLE_REGISTER(env, exports, calls); }
