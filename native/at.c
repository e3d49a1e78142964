/* Opening paths inside a root, and locks on open files. */
#include "isle.h"
#include <linux/openat2.h>
#include <sys/file.h>

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

static void run_flock(struct isle_op *op) {
  int result;
  do result = flock((int)op->a[0].i, (int)op->a[1].i);
  while (result && errno == EINTR);
  isle_done(op, result);
}

static const struct isle_call calls[] = {
    {"openat2", "ipiii", 'f', false, run_openat2},
    {"flock", "ii", 'v', false, run_flock},
};

void isle_init_at(napi_env env, napi_value exports) { ISLE_REGISTER(env, exports, calls); }
