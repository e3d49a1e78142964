/* The root that a confined tool sees. */
#include "confine.h"

/* Any directory that every host has: the new root is mounted over it, in this mount namespace only. */
static const char base[] = "/tmp";

static const char *const programs[] = {"/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin"};
static const char *const loader[] = {"/etc/ld.so.cache", "/etc/alternatives"};
static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/urandom"};

static const char *under(const char *path) {
  static char joined[4200];
  if (snprintf(joined, sizeof joined, "%s%s", base, path) >= (int)sizeof joined) {
    errno = ENAMETOOLONG;
    die("path", path);
  }
  return joined;
}

/* Every directory above `path` in the new root. */
static void make_parents(const char *path) {
  char copy[4096];
  snprintf(copy, sizeof copy, "%s", path);
  for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    if (mkdir(under(copy), 0755) && errno != EEXIST) die("mkdir", copy);
    *slash = '/';
  }
}

static void make_place(const char *path, bool directory) {
  make_parents(path);
  if (directory) {
    if (mkdir(under(path), 0755) && errno != EEXIST) die("mkdir", path);
    return;
  }
  int fd = open(under(path), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0) die("cannot make", path);
  close(fd);
}

static void show_read_only(const char *path, unsigned long long attributes) {
  struct stat st;
  if (lstat(path, &st)) return;
  if (S_ISLNK(st.st_mode)) {
    char target[4096];
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n < 0) return;
    target[n] = '\0';
    make_parents(path);
    if (symlink(target, under(path))) die("symlink", path);
    return;
  }
  make_place(path, S_ISDIR(st.st_mode));
  struct mount_attr attr = {.attr_set = attributes};
  if (mount(path, under(path), NULL, MS_BIND, NULL) ||
      mount_setattr(AT_FDCWD, under(path), 0, &attr, sizeof attr))
    die("bind", path);
}

static void show(const struct shown *file) {
  make_place(file->inside, file->directory);
  if (move_mount(file->tree, "", AT_FDCWD, under(file->inside), MOVE_MOUNT_F_EMPTY_PATH)) die("mount", file->inside);
}

void enter_room(struct plan *plan) {
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) die("mounts", "");
  if (mount("tmpfs", base, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755,size=1m,nr_inodes=4096"))
    die("tmpfs", base);
  for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
    show_read_only(programs[i], MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
  for (size_t i = 0; i < sizeof loader / sizeof *loader; i++)
    show_read_only(loader[i], MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
  for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
    show_read_only(devices[i], MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
  for (int i = 0; i < plan->count; i++) show(&plan->files[i]);
  if (mount(NULL, base, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
    die("remount", "");
  if (chdir(base) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/")) die("root", "");
}
