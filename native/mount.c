/* mount(2), the newer mount API where it is needed, and openat-style bind mounts. */
#include "isle.h"
#include <sched.h>
#include <sys/mount.h>

static void run_mount(struct isle_op *op) {
  isle_done(op, mount(op->a[0].s, op->a[1].s, op->a[2].s, (unsigned long)op->a[3].i, op->a[4].s));
}

static void run_umount(struct isle_op *op) { isle_done(op, umount2(op->a[0].s, (int)op->a[1].i)); }

/* A file system context collects messages in its fd: they say which option was wrong. */
static void fail_with_log(struct isle_op *op, int fs) {
  op->error = errno;
  char log[1024];
  ssize_t n = read(fs, log, sizeof log - 1);
  if (n <= 2) return;
  log[n] = 0;
  if (log[n - 1] == '\n') log[n - 1] = 0;
  op->detail = strdup(log + 2); /* after "e " */
}

/* fsconfig takes strings up to 255 bytes, and overlayfs takes backslashes in some of its keys for escapes: such
 * paths go through a descriptor's magic link. */
static int set_path(int fs, const char *key, const char *path) {
  char link[64];
  int held = -1;
  if (strlen(path) > 255 || strchr(path, '\\')) {
    held = open(path, O_PATH | O_CLOEXEC);
    if (held < 0) return -1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", held);
    path = link;
  }
  int result = fsconfig(fs, FSCONFIG_SET_STRING, key, path, 0);
  if (held >= 0) close(held);
  return result;
}

/* overlayMany(target, lowers NUL-separated top first, upper, work, options NUL-separated key=value, flags).
 * Needs overlayfs' `lowerdir+` (Linux 6.5). */
static void run_overlay_many(struct isle_op *op) {
  int tree = -1;
  int fs = fsopen("overlay", FSOPEN_CLOEXEC);
  if (fs < 0) {
    op->error = errno;
    return;
  }
  if (fsconfig(fs, FSCONFIG_SET_STRING, "source", "overlay", 0)) goto fail;
  for (char *lower = op->a[1].s; lower < op->a[1].s + op->a[1].n; lower += strlen(lower) + 1)
    if (set_path(fs, "lowerdir+", lower)) goto fail;
  if (op->a[2].s && set_path(fs, "upperdir", op->a[2].s)) goto fail;
  if (op->a[3].s && set_path(fs, "workdir", op->a[3].s)) goto fail;
  for (char *option = op->a[4].s; option < op->a[4].s + op->a[4].n;) {
    char *next = option + strlen(option) + 1;
    char *value = strchr(option, '=');
    if (value) *value++ = 0;
    if (fsconfig(fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, option, value, 0)) goto fail;
    option = next;
  }
  if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0)) goto fail;
  tree = fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)op->a[5].i);
  if (tree < 0) goto fail;
  if (move_mount(tree, "", AT_FDCWD, op->a[0].s, MOVE_MOUNT_F_EMPTY_PATH)) goto fail;
  close(tree);
  close(fs);
  return;
fail:
  fail_with_log(op, fs);
  if (tree >= 0) close(tree);
  close(fs);
}

/* overlayByFd(target, lowers NUL-separated, rest of the options, flags): for kernels without `lowerdir+`. Each
 * layer is named by a 16-byte magic link, so that some 200 fit in the one page mount(2) takes. */
static void run_overlay_by_fd(struct isle_op *op) {
  int fds[512], count = 0;
  char *data = malloc(65536);
  if (!data) {
    op->error = ENOMEM;
    return;
  }
  size_t used = (size_t)snprintf(data, 65536, "lowerdir=");
  for (char *lower = op->a[1].s; lower < op->a[1].s + op->a[1].n; lower += strlen(lower) + 1) {
    int fd = count < 512 ? open(lower, O_PATH | O_CLOEXEC | O_DIRECTORY) : (errno = E2BIG, -1);
    if (fd < 0) {
      op->error = errno;
      goto out;
    }
    fds[count++] = fd;
    used += (size_t)snprintf(data + used, 65536 - used, "%s/proc/self/fd/%d", count > 1 ? ":" : "", fd);
  }
  if (used + op->a[2].n + 2 > 4096) {
    op->error = E2BIG;
    goto out;
  }
  if (op->a[2].n) snprintf(data + used, 65536 - used, ",%s", op->a[2].s);
  isle_done(op, mount("overlay", op->a[0].s, "overlay", (unsigned long)op->a[3].i, data));
out:
  while (count) close(fds[--count]);
  free(data);
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
    {"overlayMany", "pbzzbi", 'v', false, run_overlay_many},
    {"overlayByFd", "pbsi", 'v', false, run_overlay_by_fd},
    {"bindTree", "ppiiiiiiii", 'v', false, run_bind_tree},
    {"mountSetattr", "piiii", 'v', false, run_mount_setattr},
};

void isle_init_mount(napi_env env, napi_value exports) { ISLE_REGISTER(env, exports, calls); }
