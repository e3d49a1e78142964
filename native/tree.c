/*
 * Synchronous, byte-exact calls on file trees, for worker threads that unpack, pack, copy and remove them: a file of
 * an archive becomes one call (create, write, chown, chmod, utimens, close) instead of six trips through libuv.
 *
 * Names and link targets are byte strings (latin1 in JavaScript: one character is one byte), because names in a
 * tar need not be UTF-8. A call returns a result or a negative errno; it never throws. Every file descriptor is
 * O_CLOEXEC. A final symlink is never followed unless the caller asks for it.
 */
#include "isle.h"
#include <dirent.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/xattr.h>

#define MAX_ARGS 10
#define NAME_SIZE 4097

typedef struct {
  napi_env env;
  napi_value argv[MAX_ARGS];
} call_t;

static void call_read(call_t *call, napi_env env, napi_callback_info info) {
  size_t argc = MAX_ARGS;
  call->env = env;
  napi_get_cb_info(env, info, &argc, call->argv, NULL, NULL);
}

static int64_t arg_int(call_t *call, int i) {
  int64_t value = 0;
  napi_get_value_int64(call->env, call->argv[i], &value);
  return value;
}

/* Fills `out` (NAME_SIZE bytes). Returns 0 or an errno: a NUL inside would cut the name short unseen. */
static int arg_name(call_t *call, int i, char *out) {
  size_t length = 0;
  if (napi_get_value_string_latin1(call->env, call->argv[i], NULL, 0, &length) != napi_ok) return EINVAL;
  if (length >= NAME_SIZE - 1) return ENAMETOOLONG;
  napi_get_value_string_latin1(call->env, call->argv[i], out, NAME_SIZE, &length);
  if (memchr(out, 0, length)) return EINVAL;
  return 0;
}

static napi_value number(napi_env env, int64_t value) {
  napi_value result;
  napi_create_int64(env, value, &result);
  return result;
}

static napi_value outcome(napi_env env, int result) { return number(env, result < 0 ? -errno : result); }

static int open_retrying(int dir, const char *path, struct open_how *how) {
  /* EAGAIN: something was renamed while `..` was resolved in the root. A hostile renamer must not win for ever. */
  for (int tries = 0; tries < 128; tries++) {
    int fd = (int)syscall(SYS_openat2, dir, path, how, sizeof *how);
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) return fd;
  }
  return -1;
}

/* open(dirfd, path, flags, mode, resolve) → fd */
static napi_value tree_open(napi_env env, napi_callback_info info) {
  call_t c;
  char path[NAME_SIZE];
  call_read(&c, env, info);
  int bad = arg_name(&c, 1, path);
  if (bad) return number(env, -bad);
  struct open_how how = {0};
  how.flags = (uint64_t)arg_int(&c, 2) | O_CLOEXEC;
  how.mode = (how.flags & (O_CREAT | __O_TMPFILE)) ? (uint64_t)arg_int(&c, 3) : 0;
  how.resolve = (uint64_t)arg_int(&c, 4);
  return outcome(env, open_retrying((int)arg_int(&c, 0), path[0] ? path : ".", &how));
}

static int write_all(int fd, const char *data, size_t length, off_t position) {
  while (length > 0) {
    ssize_t n = pwrite(fd, data, length, position);
    if (n < 0) {
      if (errno == EINTR) continue;
      return -1;
    }
    data += n;
    length -= (size_t)n;
    position += n;
  }
  return 0;
}

/* Order matters: chown clears setuid and file capabilities, chmod after it puts the bits back. */
static int dress(int fd, mode_t mode, uid_t uid, gid_t gid, int64_t sec, long nsec) {
  struct timespec times[2] = {{.tv_sec = sec, .tv_nsec = nsec}, {.tv_sec = sec, .tv_nsec = nsec}};
  if (fchown(fd, uid, gid) < 0) return -1;
  if (fchmod(fd, mode) < 0) return -1;
  return futimens(fd, times);
}

/* writeFile(dirfd, name, buffer, mode, uid, gid, sec, nsec): a new file with this content */
static napi_value tree_write_file(napi_env env, napi_callback_info info) {
  call_t c;
  char name[NAME_SIZE];
  void *data = NULL;
  size_t length = 0;
  call_read(&c, env, info);
  int bad = arg_name(&c, 1, name);
  if (bad) return number(env, -bad);
  if (napi_get_buffer_info(env, c.argv[2], &data, &length) != napi_ok) return number(env, -EINVAL);
  int dir = (int)arg_int(&c, 0);
  int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return outcome(env, fd);
  int result = write_all(fd, data, length, 0);
  if (result == 0)
    result = dress(fd, (mode_t)arg_int(&c, 3), (uid_t)arg_int(&c, 4), (gid_t)arg_int(&c, 5), arg_int(&c, 6),
                   (long)arg_int(&c, 7));
  int saved = errno;
  if (result < 0) unlinkat(dir, name, 0);
  close(fd);
  errno = saved;
  return outcome(env, result);
}

/* write(fd, buffer, position) */
static napi_value tree_write(napi_env env, napi_callback_info info) {
  call_t c;
  void *data = NULL;
  size_t length = 0;
  call_read(&c, env, info);
  if (napi_get_buffer_info(env, c.argv[1], &data, &length) != napi_ok) return number(env, -EINVAL);
  return outcome(env, write_all((int)arg_int(&c, 0), data, length, (off_t)arg_int(&c, 2)));
}

/* read(fd, buffer, length, position) → bytes read, 0 at the end */
static napi_value tree_read(napi_env env, napi_callback_info info) {
  call_t c;
  void *data = NULL;
  size_t length = 0;
  call_read(&c, env, info);
  if (napi_get_buffer_info(env, c.argv[1], &data, &length) != napi_ok) return number(env, -EINVAL);
  int64_t wanted = arg_int(&c, 2);
  if (wanted < 0 || (size_t)wanted > length) return number(env, -EINVAL);
  return outcome(env, (int)pread((int)arg_int(&c, 0), data, (size_t)wanted, (off_t)arg_int(&c, 3)));
}

/* dress(fd, mode, uid, gid, sec, nsec) */
static napi_value tree_dress(napi_env env, napi_callback_info info) {
  call_t c;
  call_read(&c, env, info);
  return outcome(env, dress((int)arg_int(&c, 0), (mode_t)arg_int(&c, 1), (uid_t)arg_int(&c, 2),
                            (gid_t)arg_int(&c, 3), arg_int(&c, 4), (long)arg_int(&c, 5)));
}

/* truncate(fd, size) */
static napi_value tree_truncate(napi_env env, napi_callback_info info) {
  call_t c;
  call_read(&c, env, info);
  return outcome(env, ftruncate((int)arg_int(&c, 0), (off_t)arg_int(&c, 1)));
}

static napi_value tree_close(napi_env env, napi_callback_info info) {
  call_t c;
  call_read(&c, env, info);
  return outcome(env, close((int)arg_int(&c, 0)));
}

/* mkdir(dirfd, name, mode) → fd of the new directory */
static napi_value tree_mkdir(napi_env env, napi_callback_info info) {
  call_t c;
  char name[NAME_SIZE];
  call_read(&c, env, info);
  int bad = arg_name(&c, 1, name);
  if (bad) return number(env, -bad);
  int dir = (int)arg_int(&c, 0);
  if (mkdirat(dir, name, 0700) < 0) return outcome(env, -1);
  int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return outcome(env, fd);
  if (fchmod(fd, (mode_t)arg_int(&c, 2)) < 0) {
    int saved = errno;
    close(fd);
    errno = saved;
    return outcome(env, -1);
  }
  return outcome(env, fd);
}

static int dress_name(int dir, const char *name, uid_t uid, gid_t gid, int64_t sec, long nsec) {
  struct timespec times[2] = {{.tv_sec = sec, .tv_nsec = nsec}, {.tv_sec = sec, .tv_nsec = nsec}};
  if (fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0) return -1;
  return utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW);
}

/* symlink(target, dirfd, name, uid, gid, sec, nsec) */
static napi_value tree_symlink(napi_env env, napi_callback_info info) {
  call_t c;
  char target[NAME_SIZE], name[NAME_SIZE];
  call_read(&c, env, info);
  int bad = arg_name(&c, 0, target);
  if (!bad) bad = arg_name(&c, 2, name);
  if (bad) return number(env, -bad);
  int dir = (int)arg_int(&c, 1);
  if (symlinkat(target, dir, name) < 0) return outcome(env, -1);
  return outcome(env, dress_name(dir, name, (uid_t)arg_int(&c, 3), (gid_t)arg_int(&c, 4), arg_int(&c, 5),
                                 (long)arg_int(&c, 6)));
}

/* link(fromDirfd, fromName, dirfd, name): never through a final symlink */
static napi_value tree_link(napi_env env, napi_callback_info info) {
  call_t c;
  char from[NAME_SIZE], name[NAME_SIZE];
  call_read(&c, env, info);
  int bad = arg_name(&c, 1, from);
  if (!bad) bad = arg_name(&c, 3, name);
  if (bad) return number(env, -bad);
  return outcome(env, linkat((int)arg_int(&c, 0), from, (int)arg_int(&c, 2), name, 0));
}

/* mknod(dirfd, name, mode with type, major, minor, uid, gid, sec, nsec) */
static napi_value tree_mknod(napi_env env, napi_callback_info info) {
  call_t c;
  char name[NAME_SIZE], path[64];
  call_read(&c, env, info);
  int bad = arg_name(&c, 1, name);
  if (bad) return number(env, -bad);
  int dir = (int)arg_int(&c, 0);
  mode_t mode = (mode_t)arg_int(&c, 2);
  if (mknodat(dir, name, mode, makedev((unsigned)arg_int(&c, 3), (unsigned)arg_int(&c, 4))) < 0)
    return outcome(env, -1);
  if (dress_name(dir, name, (uid_t)arg_int(&c, 5), (gid_t)arg_int(&c, 6), arg_int(&c, 7), (long)arg_int(&c, 8)) < 0)
    return outcome(env, -1);
  int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return outcome(env, -1);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  struct stat st;
  int result = fstat(fd, &st);
  /* What the name leads to now may be another's: chmod only what was made above. */
  if (result == 0 && !S_ISLNK(st.st_mode)) result = chmod(path, mode & 07777);
  int saved = errno;
  close(fd);
  errno = saved;
  return outcome(env, result);
}

/* chown(dirfd, name, uid, gid), utimens(dirfd, name, sec, nsec): of the name itself; '' is the descriptor's own file */
static napi_value tree_chown(napi_env env, napi_callback_info info) {
  call_t c;
  char name[NAME_SIZE];
  call_read(&c, env, info);
  int bad = arg_name(&c, 1, name);
  if (bad) return number(env, -bad);
  return outcome(env, fchownat((int)arg_int(&c, 0), name, (uid_t)arg_int(&c, 2), (gid_t)arg_int(&c, 3),
                               AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH));
}

static napi_value tree_utimens(napi_env env, napi_callback_info info) {
  call_t c;
  char name[NAME_SIZE];
  call_read(&c, env, info);
  int bad = arg_name(&c, 1, name);
  if (bad) return number(env, -bad);
  struct timespec times[2];
  times[0].tv_sec = times[1].tv_sec = (time_t)arg_int(&c, 2);
  times[0].tv_nsec = times[1].tv_nsec = (long)arg_int(&c, 3);
  return outcome(env, utimensat((int)arg_int(&c, 0), name, times, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH));
}

/* stat(dirfd, name, Float64Array(13)): mode uid gid size mtimeSec mtimeNsec major minor nlink ino dev blocks ctimeMsec */
static napi_value tree_stat(napi_env env, napi_callback_info info) {
  call_t c;
  char name[NAME_SIZE];
  void *data = NULL;
  size_t length = 0;
  napi_typedarray_type type;
  struct stat st;
  call_read(&c, env, info);
  int bad = arg_name(&c, 1, name);
  if (bad) return number(env, -bad);
  if (napi_get_typedarray_info(env, c.argv[2], &type, &length, &data, NULL, NULL) != napi_ok ||
      type != napi_float64_array || length < 13)
    return number(env, -EINVAL);
  if (fstatat((int)arg_int(&c, 0), name, &st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0) return outcome(env, -1);
  double *out = data;
  out[0] = st.st_mode;
  out[1] = st.st_uid;
  out[2] = st.st_gid;
  out[3] = (double)st.st_size;
  out[4] = (double)st.st_mtim.tv_sec;
  out[5] = (double)st.st_mtim.tv_nsec;
  out[6] = major(st.st_rdev);
  out[7] = minor(st.st_rdev);
  out[8] = (double)st.st_nlink;
  out[9] = (double)st.st_ino;
  out[10] = (double)st.st_dev;
  out[11] = (double)st.st_blocks;
  out[12] = (double)st.st_ctim.tv_sec * 1e3 + (double)st.st_ctim.tv_nsec / 1e6;
  return number(env, 0);
}

/* readlink(dirfd, name) → byte string, or a negative errno; '' reads an O_PATH descriptor's own link */
static napi_value tree_readlink(napi_env env, napi_callback_info info) {
  call_t c;
  char name[NAME_SIZE], target[NAME_SIZE];
  call_read(&c, env, info);
  int bad = arg_name(&c, 1, name);
  if (bad) return number(env, -bad);
  ssize_t length = readlinkat((int)arg_int(&c, 0), name, target, sizeof target);
  if (length < 0) return outcome(env, -1);
  napi_value result;
  napi_create_string_latin1(env, target, (size_t)length, &result);
  return result;
}

/* list(dirfd) → names, or a negative errno; the descriptor's own position is left alone */
static napi_value tree_list(napi_env env, napi_callback_info info) {
  call_t c;
  call_read(&c, env, info);
  int fd = openat((int)arg_int(&c, 0), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return outcome(env, -1);
  DIR *dir = fdopendir(fd);
  if (!dir) {
    int saved = errno;
    close(fd);
    return number(env, -saved);
  }
  napi_value names, name;
  napi_create_array(env, &names);
  uint32_t count = 0;
  struct dirent *entry;
  for (errno = 0; (entry = readdir(dir)); errno = 0) {
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    napi_create_string_latin1(env, entry->d_name, NAPI_AUTO_LENGTH, &name);
    napi_set_element(env, names, count++, name);
  }
  int saved = errno;
  closedir(dir);
  return saved ? number(env, -saved) : names;
}

/* An O_PATH descriptor has no f*xattr; its /proc name leads to the very inode, a symlink's own included. */
static const char *fd_path(int fd, char *out, size_t size) {
  snprintf(out, size, "/proc/self/fd/%d", fd);
  return out;
}

/* setXattr(fd, key, buffer) */
static napi_value tree_set_xattr(napi_env env, napi_callback_info info) {
  call_t c;
  char key[NAME_SIZE], path[64];
  void *data = NULL;
  size_t length = 0;
  call_read(&c, env, info);
  int bad = arg_name(&c, 1, key);
  if (bad) return number(env, -bad);
  if (napi_get_buffer_info(env, c.argv[2], &data, &length) != napi_ok) return number(env, -EINVAL);
  return outcome(env, setxattr(fd_path((int)arg_int(&c, 0), path, sizeof path), key, data, length, 0));
}

/* xattrs(fd) → [key, buffer, key, buffer, …], or a negative errno */
static napi_value tree_xattrs(napi_env env, napi_callback_info info) {
  call_t c;
  char path[64];
  call_read(&c, env, info);
  fd_path((int)arg_int(&c, 0), path, sizeof path);
  napi_value result, item;
  napi_create_array(env, &result);
  ssize_t total = listxattr(path, NULL, 0);
  if (total < 0 && errno == ENOTSUP) return result;
  if (total <= 0) return total < 0 ? outcome(env, -1) : result;
  char *keys = malloc((size_t)total + 256);
  char *value = malloc(65536);
  if (!keys || !value) {
    free(keys);
    free(value);
    return number(env, -ENOMEM);
  }
  total = listxattr(path, keys, (size_t)total + 256);
  uint32_t count = 0;
  int failed = total < 0 ? errno : 0;
  for (ssize_t at = 0; !failed && at < total; at += (ssize_t)strlen(keys + at) + 1) {
    ssize_t size = getxattr(path, keys + at, value, 65536);
    if (size < 0) {
      if (errno != ENODATA && errno != ENOTSUP) failed = errno;
      continue;
    }
    napi_create_string_latin1(env, keys + at, NAPI_AUTO_LENGTH, &item);
    napi_set_element(env, result, count++, item);
    napi_create_buffer_copy(env, (size_t)size, value, NULL, &item);
    napi_set_element(env, result, count++, item);
  }
  free(keys);
  free(value);
  return failed ? number(env, -failed) : result;
}

/* unlink(dirfd, name, isDirectory), rename(fromDirfd, from, toDirfd, to, flags) */
static napi_value tree_unlink(napi_env env, napi_callback_info info) {
  call_t c;
  char name[NAME_SIZE];
  call_read(&c, env, info);
  int bad = arg_name(&c, 1, name);
  if (bad) return number(env, -bad);
  return outcome(env, unlinkat((int)arg_int(&c, 0), name, arg_int(&c, 2) ? AT_REMOVEDIR : 0));
}

static napi_value tree_rename(napi_env env, napi_callback_info info) {
  call_t c;
  char from[NAME_SIZE], to[NAME_SIZE];
  call_read(&c, env, info);
  int bad = arg_name(&c, 1, from);
  if (!bad) bad = arg_name(&c, 3, to);
  if (bad) return number(env, -bad);
  return outcome(env, (int)syscall(SYS_renameat2, (int)arg_int(&c, 0), from, (int)arg_int(&c, 2), to,
                                   (unsigned)arg_int(&c, 4)));
}

#define DEEPEST 64

/* `hold`, a directory in `top`, is made when the first entry has to be put off; -1 until then. */
struct removal {
  int top, hold;
  char name[64];
  unsigned long held;
};

static int put_off(struct removal *removal, int dir, const char *name) {
  static __thread unsigned long made;
  char up[32];
  while (removal->hold < 0) {
    snprintf(removal->name, sizeof removal->name, ".isle-deep-%d-%lx", (int)gettid(), ++made);
    if (mkdirat(removal->top, removal->name, 0700) == 0) {
      removal->hold = openat(removal->top, removal->name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (removal->hold < 0) return -1;
    } else if (errno != EEXIST) {
      return -1;
    }
  }
  snprintf(up, sizeof up, "%lx", ++removal->held);
  return (int)syscall(SYS_renameat2, dir, name, removal->hold, up, 1 /* RENAME_NOREPLACE */);
}

static int remove_levels(struct removal *removal, int dir, const char *name, int depth) {
  if (unlinkat(dir, name, 0) == 0) return 0;
  if (errno == ENOENT) return 0;
  if (errno != EISDIR && errno != EPERM) return -1;
  if (unlinkat(dir, name, AT_REMOVEDIR) == 0) return 0;
  if (errno != ENOTEMPTY && errno != EEXIST) return -1;
  if (depth >= DEEPEST) return put_off(removal, dir, name);
  int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return -1;
  DIR *list = fdopendir(fd);
  if (!list) {
    close(fd);
    return -1;
  }
  int result = 0, again = 1;
  /* Entries may be skipped by readdir while others go: read until a pass removes nothing. */
  while (result == 0 && again) {
    struct dirent *entry;
    again = 0;
    rewinddir(list);
    while (result == 0 && (entry = readdir(list))) {
      if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
      again = 1;
      result = remove_levels(removal, fd, entry->d_name, depth + 1);
    }
  }
  int saved = errno;
  closedir(list);
  if (result == 0) return unlinkat(dir, name, AT_REMOVEDIR);
  errno = saved;
  return result;
}

/*
 * Removes what `name` in `top` is, never following a symlink. One descriptor a level is held; what is deeper than
 * DEEPEST levels is put off until those above it are gone, so that a tree of any depth needs few descriptors and
 * little stack.
 */
static int remove_tree(int top, const char *name) {
  struct removal removal = {.top = top, .hold = -1};
  int result = remove_levels(&removal, top, name, 0);
  if (removal.hold < 0) return result;
  /* What is still too deep is put off into the same directory, and found there by its next pass. */
  if (result == 0) result = remove_levels(&removal, top, removal.name, 0);
  int saved = errno;
  close(removal.hold);
  errno = saved;
  return result;
}

/* remove(dirfd, name): with everything below it; no error when it is not there */
static napi_value tree_remove(napi_env env, napi_callback_info info) {
  call_t c;
  char name[NAME_SIZE];
  call_read(&c, env, info);
  int bad = arg_name(&c, 1, name);
  if (bad) return number(env, -bad);
  return outcome(env, remove_tree((int)arg_int(&c, 0), name));
}

/* seek(fd, offset, SEEK_DATA 3 or SEEK_HOLE 4) */
static napi_value tree_seek(napi_env env, napi_callback_info info) {
  call_t c;
  call_read(&c, env, info);
  off_t at = lseek((int)arg_int(&c, 0), (off_t)arg_int(&c, 1), (int)arg_int(&c, 2));
  return number(env, at < 0 ? -errno : at);
}

/* copyRange(fromFd, toFd, offset, length) → bytes copied: shared extents where the file system can */
static napi_value tree_copy_range(napi_env env, napi_callback_info info) {
  call_t c;
  call_read(&c, env, info);
  off_t in = (off_t)arg_int(&c, 2), out = in;
  ssize_t n = copy_file_range((int)arg_int(&c, 0), &in, (int)arg_int(&c, 1), &out, (size_t)arg_int(&c, 3), 0);
  return number(env, n < 0 ? -errno : n);
}

/* syncfs(fd): everything of the file system that holds it */
static napi_value tree_syncfs(napi_env env, napi_callback_info info) {
  call_t c;
  call_read(&c, env, info);
  return outcome(env, syncfs((int)arg_int(&c, 0)));
}

/* startWriting(fd, offset, length): begins write-back without waiting for it */
static napi_value tree_start_writing(napi_env env, napi_callback_info info) {
  call_t c;
  call_read(&c, env, info);
  return outcome(env, sync_file_range((int)arg_int(&c, 0), (off_t)arg_int(&c, 1), (off_t)arg_int(&c, 2),
                                      SYNC_FILE_RANGE_WRITE));
}

/* --- asynchronous calls, for the main thread --- */

/* Removes `a[0]` and everything below it. */
static void run_remove(struct isle_op *op) {
  int dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) {
    isle_done(op, -1);
    return;
  }
  /* What is put off lies beside the tree, on the same file system. */
  char *path = op->a[0].s, *slash = strrchr(path, '/');
  int top = dir;
  if (slash && slash != path) {
    *slash = 0;
    top = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    *slash = '/';
  }
  if (top < 0) {
    op->error = errno == ENOENT ? 0 : errno;
  } else {
    isle_done(op, remove_tree(top, slash ? slash + 1 : path));
    if (top != dir) close(top);
  }
  close(dir);
}

static void run_syncfs(struct isle_op *op) {
  int fd = open(op->a[0].s, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    isle_done(op, -1);
    return;
  }
  isle_done(op, syncfs(fd));
  close(fd);
}

#define USAGE_DEEPEST 512

/* Inodes with more than one link that were counted already: an open-addressed set. */
typedef struct {
  uint64_t *slots;
  size_t size, used;
  int64_t bytes, inodes;
} usage_t;

static bool seen_before(usage_t *usage, uint64_t inode) {
  if (usage->used * 2 >= usage->size) {
    size_t size = usage->size ? usage->size * 2 : 1024;
    uint64_t *slots = calloc(size, sizeof *slots);
    if (!slots) return false;
    for (size_t i = 0; i < usage->size; i++) {
      if (!usage->slots[i]) continue;
      size_t at = (usage->slots[i] * 0x9e3779b97f4a7c15u) & (size - 1);
      while (slots[at]) at = (at + 1) & (size - 1);
      slots[at] = usage->slots[i];
    }
    free(usage->slots);
    usage->slots = slots;
    usage->size = size;
  }
  size_t at = (inode * 0x9e3779b97f4a7c15u) & (usage->size - 1);
  for (; usage->slots[at]; at = (at + 1) & (usage->size - 1))
    if (usage->slots[at] == inode) return true;
  usage->slots[at] = inode;
  usage->used++;
  return false;
}

/* Takes over `fd`. What vanishes meanwhile is not counted; other file systems are left out. */
static void measure(usage_t *usage, int fd, dev_t device, int depth) {
  DIR *list = fdopendir(fd);
  if (!list) {
    close(fd);
    return;
  }
  struct dirent *entry;
  while ((entry = readdir(list))) {
    struct stat st;
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != device) continue;
    bool directory = S_ISDIR(st.st_mode);
    if (!directory && st.st_nlink > 1 && seen_before(usage, st.st_ino)) continue;
    usage->bytes += (int64_t)st.st_blocks * 512;
    usage->inodes++;
    if (!directory || depth >= USAGE_DEEPEST) continue;
    int child = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (child >= 0) measure(usage, child, device, depth + 1);
  }
  closedir(list);
}

/* Bytes on disk and inodes below `a[0]` (itself left out), as two int64. Hard links count once. */
static void run_usage(struct isle_op *op) {
  struct stat st;
  usage_t usage = {0};
  int fd = open(op->a[0].s, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) < 0) {
    isle_done(op, -1);
    if (fd >= 0) close(fd);
    return;
  }
  measure(&usage, fd, st.st_dev, 0);
  free(usage.slots);
  int64_t *out = malloc(2 * sizeof *out);
  if (!out) {
    op->error = ENOMEM;
    return;
  }
  out[0] = usage.bytes;
  out[1] = usage.inodes;
  op->data = out;
  op->size = 2 * sizeof *out;
}

/* What a file system does not know is no failure: the flag only helps its allocator. */
static void run_spread(struct isle_op *op) {
  int flags = 0;
  int fd = open(op->a[0].s, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return isle_done(op, -1);
  if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && !(flags & FS_TOPDIR_FL)) {
    flags |= FS_TOPDIR_FL;
    (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
  }
  close(fd);
}

static const struct isle_call async_calls[] = {
    {"spreadDirectories", "p", 'v', false, run_spread},
    {"removeTree", "p", 'v', false, run_remove},
    {"syncFilesystem", "p", 'v', false, run_syncfs},
    {"treeUsage", "p", 'b', false, run_usage},
};

void isle_init_tree(napi_env env, napi_value exports) {
  static const struct {
    const char *name;
    napi_callback call;
  } calls[] = {
      {"treeOpen", tree_open},         {"treeWriteFile", tree_write_file}, {"treeWrite", tree_write}, {"treeRead", tree_read},
      {"treeDress", tree_dress},       {"treeTruncate", tree_truncate},    {"treeClose", tree_close},
      {"treeMkdir", tree_mkdir},       {"treeSymlink", tree_symlink},      {"treeLink", tree_link},
      {"treeMknod", tree_mknod},       {"treeChown", tree_chown},          {"treeUtimens", tree_utimens},
      {"treeStat", tree_stat},         {"treeReadlink", tree_readlink},    {"treeList", tree_list},
      {"treeSetXattr", tree_set_xattr},{"treeXattrs", tree_xattrs},        {"treeUnlink", tree_unlink},
      {"treeRename", tree_rename},     {"treeRemove", tree_remove},        {"treeSeek", tree_seek},
      {"treeCopyRange", tree_copy_range},{"treeSyncfs", tree_syncfs},
      {"treeStartWriting", tree_start_writing},
  };
  ISLE_REGISTER(env, exports, async_calls);
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    napi_value function;
    if (napi_create_function(env, calls[i].name, NAPI_AUTO_LENGTH, calls[i].call, NULL, &function) != napi_ok ||
        napi_set_named_property(env, exports, calls[i].name, function) != napi_ok)
      return;
  }
}
