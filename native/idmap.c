/* Overlays over idmapped layers: for the root of a user namespace. */
#include "isle.h"
#include <linux/capability.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#define MAX_LAYERS 500

/* A detached clone of the mount at `path`, its owners translated by the user namespace; -errno. */
static int clone_mapped(const char *path, int userns) {
  int tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (tree < 0) return -errno;
  struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .propagation = MS_PRIVATE, .userns_fd = (uint64_t)userns};
  if (!mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof attr)) return tree;
  int error = errno;
  close(tree);
  return -error;
}

/*
 * What overlayfs does on its own it does as whoever mounted it, and a mapped file system takes only files of ids that
 * are mapped: the thread creates files as the namespace's root, and keeps the capabilities that this would cost.
 */
static int become(uid_t uid, gid_t gid) {
  int dumpable = prctl(PR_GET_DUMPABLE);
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct sets[2];
  if (syscall(SYS_capget, &header, sets)) return -1;
  setfsgid(gid);
  setfsuid(uid);
  if (syscall(SYS_capset, &header, sets)) return -1;
  /* The change has made the whole process undumpable, which is not meant. */
  if (dumpable == 1) prctl(PR_SET_DUMPABLE, 1);
  return 0;
}

/* actAs(uid, gid): files that this thread makes belong to them from now on. It keeps its capabilities. */
static void run_act_as(struct isle_op *op) { isle_done(op, become((uid_t)op->a[0].i, (gid_t)op->a[1].i)); }

static int append(char *data, size_t size, size_t *used, const char *before, int fd) {
  int n = snprintf(data + *used, size - *used, "%s%d", before, fd);
  if (n < 0 || (size_t)n >= size - *used) return errno = E2BIG, -1;
  *used += (size_t)n;
  return 0;
}

struct layers {
  int fds[MAX_LAYERS + 2], count;
  char data[4096];
  size_t used;
};

static int add(struct layers *l, struct isle_op *op, int tree, const char *path, const char *before) {
  if (l->count == MAX_LAYERS + 2) return errno = E2BIG, -1;
  int fd = openat(tree, path, O_PATH | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW);
  if (fd < 0) {
    op->detail = strdup(path);
    return -1;
  }
  l->fds[l->count++] = fd;
  return append(l->data, sizeof l->data, &l->used, before, fd);
}

/* Layers are named by their descriptors in /proc/thread-self/fd: that is where the thread stands. */
static int mount_overlay(struct isle_op *op, struct layers *l, int lower_tree, int upper_tree) {
  const char *before = "lowerdir=";
  for (char *lower = op->a[2].s; lower < op->a[2].s + op->a[2].n; lower += strlen(lower) + 1, before = ":")
    if (add(l, op, lower_tree, lower, before)) return -1;
  if (add(l, op, upper_tree, "upper", ",upperdir=") || add(l, op, upper_tree, "work", ",workdir=")) return -1;
  if (op->a[4].n) {
    int n = snprintf(l->data + l->used, sizeof l->data - l->used, ",%s", op->a[4].s);
    if (n < 0 || (size_t)n >= sizeof l->data - l->used) return errno = E2BIG, -1;
  }
  if (chdir("/proc/thread-self/fd")) return -1;
  return mount("overlay", op->a[0].s, "overlay", 0, l->data);
}

/*
 * The same in a mount namespace of the thread's own: before Linux 6.15 a layer must lie on a mount that is attached in the
 * mounter's namespace. It ends with the thread, and only the overlay comes out of it.
 */
static int mount_apart(struct isle_op *op, struct layers *l, int lower_tree, int upper_tree) {
  int home = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC), overlay = -1, result = -1;
  if (home < 0 || unshare(CLONE_NEWNS)) goto out;
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
      move_mount(lower_tree, "", AT_FDCWD, op->a[1].s, MOVE_MOUNT_F_EMPTY_PATH) ||
      move_mount(upper_tree, "", AT_FDCWD, op->a[3].s, MOVE_MOUNT_F_EMPTY_PATH) ||
      mount_overlay(op, l, lower_tree, upper_tree))
    goto out;
  overlay = open_tree(AT_FDCWD, op->a[0].s, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (overlay < 0 || setns(home, CLONE_NEWNS)) goto out;
  result = move_mount(overlay, "", AT_FDCWD, op->a[0].s, MOVE_MOUNT_F_EMPTY_PATH);
out:;
  int error = errno;
  if (overlay >= 0) close(overlay);
  if (home >= 0) close(home);
  errno = error;
  return result;
}

static void close_layers(struct layers *l) {
  while (l->count) close(l->fds[--l->count]);
  l->used = 0;
}

/*
 * overlayMapped(target, layers, lowers, writable, options, hostId, size, apart): mounts an overlay whose layers' owners
 * are translated for a user namespace with the ids from `hostId` on. `lowers` are NUL-terminated paths below `layers`;
 * `writable` holds the directories upper and work. Only the two directories are cloned, so that the number of layers
 * costs nothing. `apart`: do not try detached layers first.
 */
static void run_overlay_mapped(struct isle_op *op) {
  char map[64];
  snprintf(map, sizeof map, "0 %lld %lld\n", (long long)op->a[5].i, (long long)op->a[6].i);
  int userns = isle_userns(map, map);
  if (userns < 0) {
    op->error = errno;
    op->detail = strdup("user namespace");
    return;
  }
  struct layers *l = calloc(1, sizeof *l);
  int lower_tree = clone_mapped(op->a[1].s, userns);
  int upper_tree = lower_tree < 0 ? -1 : clone_mapped(op->a[3].s, userns);
  int result = -1;
  close(userns);
  if (!l) {
    op->error = ENOMEM;
  } else if (lower_tree < 0 || upper_tree < 0) {
    op->error = lower_tree < 0 ? -lower_tree : -upper_tree;
    op->detail = strdup("mount_setattr");
  } else if (unshare(CLONE_FS) || become((uid_t)op->a[5].i, (gid_t)op->a[5].i)) {
    op->error = errno;
  } else {
    if (!op->a[7].i) result = mount_overlay(op, l, lower_tree, upper_tree);
    if (result && (op->a[7].i || errno == EINVAL)) {
      close_layers(l);
      result = mount_apart(op, l, lower_tree, upper_tree);
    }
    if (result) op->error = errno;
  }
  if (l) close_layers(l);
  free(l);
  if (lower_tree >= 0) close(lower_tree);
  if (upper_tree >= 0) close(upper_tree);
}

/* canMap(path, userns): whether the owners on the file system at `path` can be translated; both are paths. */
static void run_can_map(struct isle_op *op) {
  int userns = open(op->a[1].s, O_RDONLY | O_CLOEXEC);
  if (userns < 0) {
    op->error = errno;
    return;
  }
  int tree = clone_mapped(op->a[0].s, userns);
  close(userns);
  op->number = tree >= 0;
  if (tree >= 0) close(tree);
  /* EINVAL: the file system cannot; EPERM: it belongs to another user namespace. */
  else if (tree != -EINVAL && tree != -EPERM) op->error = -tree;
}

static const struct isle_call calls[] = {
    {"overlayMapped", "ppbpsiii", 'v', true, run_overlay_mapped},
    {"canMap", "ps", 'n', false, run_can_map},
    {"actAs", "ii", 'v', false, run_act_as},
};

void isle_init_idmap(napi_env env, napi_value exports) { ISLE_REGISTER(env, exports, calls); }
