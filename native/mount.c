/* mount(2), the newer mount API where it is needed, and openat-style bind mounts. */
#include "isle.h"
#include <sched.h>
#include <sys/mount.h>

static void run_mount(struct isle_op *op) {
  isle_done(op, mount(op->a[0].s, op->a[1].s, op->a[2].s, (unsigned long)op->a[3].i, op->a[4].s));
}

static void run_umount(struct isle_op *op) { isle_done(op, umount2(op->a[0].s, (int)op->a[1].i)); }

/* overlayByFd(target, lowers NUL-separated, further options, flags): for more layers than fit in the one page that
 * mount(2) takes. From /proc/thread-self/fd each layer is named by the few digits of its descriptor, which makes
 * room for the 500 that overlayfs allows, on every kernel. Runs on a thread of its own for the working directory. */
static void run_overlay_by_fd(struct isle_op *op) {
  int fds[512], count = 0;
  char data[4096];
  size_t used = (size_t)snprintf(data, sizeof data, "lowerdir=");
  for (char *lower = op->a[1].s; lower < op->a[1].s + op->a[1].n; lower += strlen(lower) + 1) {
    int fd = count < 512 ? open(lower, O_PATH | O_CLOEXEC | O_DIRECTORY) : (errno = E2BIG, -1);
    if (fd < 0) {
      op->error = errno;
      op->detail = strdup(lower);
      goto out;
    }
    fds[count++] = fd;
    used += (size_t)snprintf(data + used, used < sizeof data ? sizeof data - used : 0, "%s%d", count > 1 ? ":" : "", fd);
    if (used >= sizeof data) break;
  }
  if (used + op->a[2].n + 2 > sizeof data) {
    op->error = E2BIG;
    goto out;
  }
  if (op->a[2].n) snprintf(data + used, sizeof data - used, ",%s", op->a[2].s);
  if (unshare(CLONE_FS) || chdir("/proc/thread-self/fd"))
    op->error = errno;
  else
    isle_done(op, mount("overlay", op->a[0].s, "overlay", (unsigned long)op->a[3].i, data));
out:
  while (count) close(fds[--count]);
}

/* bindTree(source, target, recursive, attrSet, attrClear, attrRecursive, propagation, usernsFd, sourceFd, targetFd):
 * one bind mount with its attributes set before it is visible. A descriptor other than -1 stands for its path. */
static void run_bind_tree(struct isle_op *op) {
  bool recursive = op->a[2].i != 0;
  int source = (int)op->a[8].i, target = (int)op->a[9].i;
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0);
  int tree = source >= 0 ? open_tree(source, "", flags | AT_EMPTY_PATH)
                         : open_tree(AT_FDCWD, op->a[0].s, flags);
  if (tree < 0) {
    op->error = errno;
    return;
  }
  struct mount_attr attr = {
      .attr_set = (uint64_t)op->a[3].i,
      .attr_clr = (uint64_t)op->a[4].i,
      .propagation = (uint64_t)op->a[6].i,
  };
  if (op->a[7].i >= 0) {
    attr.attr_set |= MOUNT_ATTR_IDMAP;
    attr.userns_fd = (uint64_t)op->a[7].i;
  }
  unsigned how = AT_EMPTY_PATH | (op->a[5].i ? AT_RECURSIVE : 0);
  int result = 0;
  if (attr.attr_set || attr.attr_clr || attr.propagation)
    result = mount_setattr(tree, "", how, &attr, sizeof attr);
  if (!result)
    result = target >= 0
                 ? move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
                 : move_mount(tree, "", AT_FDCWD, op->a[1].s, MOVE_MOUNT_F_EMPTY_PATH);
  if (result) op->error = errno;
  close(tree);
}

/* bindInto(mountNamespace, source, target): a bind mount of `source` as this process sees it over what lies at `target` in another
 * mount namespace, in place of what is mounted there. */
static void run_bind_into(struct isle_op *op) {
  int there = open(op->a[0].s, O_RDONLY | O_CLOEXEC);
  int tree = there < 0 ? -1 : open_tree(AT_FDCWD, op->a[1].s, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (tree < 0 || unshare(CLONE_FS) || setns(there, CLONE_NEWNS)) {
    op->error = errno;
  } else {
    umount2(op->a[2].s, MNT_DETACH | UMOUNT_NOFOLLOW);
    isle_done(op, move_mount(tree, "", AT_FDCWD, op->a[2].s, MOVE_MOUNT_F_EMPTY_PATH));
  }
  if (tree >= 0) close(tree);
  if (there >= 0) close(there);
}

/* mountSetattr(path, recursive, attrSet, attrClear, propagation) */
static void run_mount_setattr(struct isle_op *op) {
  struct mount_attr attr = {
      .attr_set = (uint64_t)op->a[2].i,
      .attr_clr = (uint64_t)op->a[3].i,
      .propagation = (uint64_t)op->a[4].i,
  };
  isle_done(op, mount_setattr(AT_FDCWD, op->a[0].s, op->a[1].i ? AT_RECURSIVE : 0, &attr, sizeof attr));
}

static const struct isle_call calls[] = {
    {"mount", "zpziz", 'v', false, run_mount},
    {"umount", "pi", 'v', false, run_umount},
    {"overlayByFd", "pbsi", 'v', true, run_overlay_by_fd},
    {"bindTree", "ppiiiiiiii", 'v', false, run_bind_tree},
    {"bindInto", "ppp", 'v', true, run_bind_into},
    {"mountSetattr", "piiii", 'v', false, run_mount_setattr},
};

void isle_init_mount(napi_env env, napi_value exports) { ISLE_REGISTER(env, exports, calls); }
