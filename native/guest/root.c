/* The workload's root: a directory of the share, what is mounted and hidden in it, and the way into it. */
#include "guest.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Whatever links the image has: they are followed, and lead nowhere but into the root. */
static int open_inside(int root, const char *path, uint64_t flags) {
  struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  return syscall(SYS_openat2, root, path, &how, sizeof how);
}

static int make_inside(int root, const char *path) {
  char part[4096];
  if (strlen(path) >= sizeof part) {
    errno = ENAMETOOLONG;
    return -1;
  }
  int parent = open_inside(root, ".", O_PATH | O_DIRECTORY);
  for (size_t at = 0; parent >= 0 && path[at];) {
    while (path[at] == '/') at++;
    size_t end = at + strcspn(path + at, "/");
    if (end == at) break;
    snprintf(part, sizeof part, "%.*s", (int)end, path);
    int next = open_inside(root, part, O_PATH | O_DIRECTORY);
    if (next < 0 && errno == ENOENT) {
      char name[256];
      snprintf(name, sizeof name, "%.*s", (int)(end - at), path + at);
      if (!mkdirat(parent, name, 0755) || errno == EEXIST) next = open_inside(root, part, O_PATH | O_DIRECTORY);
    }
    int error = errno;
    close(parent);
    errno = error;
    parent = next;
    at = end;
  }
  return parent;
}

int open_in_root(int root, const char *path, bool make) {
  int fd = open_inside(root, path, O_PATH);
  if (fd < 0 && errno == ENOENT && make) fd = make_inside(root, path);
  return fd;
}

/* A mount of its own at `path`, of what is there. */
static int bind_in_place(int root, const char *path, uint64_t attributes) {
  int fd = open_in_root(root, path, false);
  if (fd < 0) return -1;
  int tree = open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
  struct mount_attr attr = {.attr_set = attributes};
  int result = -1;
  if (tree >= 0 && (!attributes || !mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr)))
    result = move_mount(tree, "", fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
  int error = errno;
  if (tree >= 0) close(tree);
  close(fd);
  errno = error;
  return result;
}

/* Nothing is read there any more: an empty directory, or an empty file. */
static int mask(int root, const char *path) {
  int fd = open_in_root(root, path, false);
  if (fd < 0) return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
  struct stat status;
  char target[64];
  snprintf(target, sizeof target, "/proc/self/fd/%d", fd);
  fstat(fd, &status);
  int result = S_ISDIR(status.st_mode)
                   ? mount("tmpfs", target, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=0,mode=755")
                   : mount("/dev/null", target, NULL, MS_BIND, NULL);
  int error = errno;
  close(fd);
  errno = error;
  return result;
}

static int hide(int root, const struct run_spec *spec, struct failure *failure) {
  for (size_t index = 0; index < spec->masked.count; index++)
    if (mask(root, spec->masked.items[index])) return fail(failure, "mask the path", spec->masked.items[index]);
  for (size_t index = 0; index < spec->readonly.count; index++)
    if (bind_in_place(root, spec->readonly.items[index], MOUNT_ATTR_RDONLY) && errno != ENOENT && errno != ENOTDIR)
      return fail(failure, "make the path read-only", spec->readonly.items[index]);
  return 0;
}

/* The share is mounted at /share. A part of it that is a file system of its own appears when it is walked to. */
static int open_root(const char *directory, struct failure *failure) {
  int share = open("/share", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (share < 0) return fail(failure, "open the share", NULL);
  int fd = open_inside(share, directory[0] ? directory : ".", O_RDONLY | O_DIRECTORY);
  if (fd < 0) return fail(failure, "open the root in the share", directory);
  close(share);
  int tree = open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
  if (tree < 0 || move_mount(tree, "", AT_FDCWD, "/root", MOVE_MOUNT_F_EMPTY_PATH))
    return fail(failure, "mount the root", directory);
  close(fd);
  close(tree);
  int root = open("/root", O_PATH | O_DIRECTORY | O_CLOEXEC);
  return root < 0 ? fail(failure, "open the root", NULL) : root;
}

/* Binds and volumes are parts of the share: mounts of their own keep them writable. */
static int make_read_only(int root, const struct run_spec *spec, struct failure *failure) {
  for (size_t index = 0; index < spec->submounts.count; index++)
    if (bind_in_place(root, spec->submounts.items[index], 0))
      return fail(failure, "mount the volume", spec->submounts.items[index]);
  struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
  if (mount_setattr(root, "", AT_EMPTY_PATH, &attr, sizeof attr)) return fail(failure, "make the root read-only", NULL);
  return 0;
}

static int pivot(int root, struct failure *failure) {
  if (fchdir(root) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
    return fail(failure, "change to the root", NULL);
  return 0;
}

int enter_root(const struct run_spec *spec, struct failure *failure) {
  int root = open_root(spec->share_directory, failure);
  if (root < 0) return -1;
  for (size_t index = 0; index < spec->mount_count; index++)
    if (mount_in_root(root, &spec->mounts[index], failure)) return -1;
  if (spec->readonly_root && make_read_only(root, spec, failure)) return -1;
  if (hide(root, spec, failure)) return -1;
  return pivot(root, failure);
}
