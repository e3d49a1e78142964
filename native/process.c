/* Processes by descriptor, and resource limits. */
#include "isle.h"
#include <malloc.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>

static void run_pidfd_open(struct isle_op *op) { isle_done(op, pidfd_open((pid_t)op->a[0].i, 0)); }

static void run_pidfd_signal(struct isle_op *op) {
  isle_done(op, pidfd_send_signal((int)op->a[0].i, (int)op->a[1].i, NULL, 0));
}

/* getRlimit(pid, resource): two unsigned 64-bit numbers, soft and hard. */
static void run_get_rlimit(struct isle_op *op) {
  struct rlimit64 limit;
  if (prlimit64((pid_t)op->a[0].i, (int)op->a[1].i, NULL, &limit)) {
    op->error = errno;
    return;
  }
  uint64_t *values = malloc(16);
  if (!values) {
    op->error = ENOMEM;
    return;
  }
  values[0] = limit.rlim_cur;
  values[1] = limit.rlim_max;
  op->data = values;
  op->size = 16;
}

static void run_close(struct isle_op *op) { isle_done(op, close((int)op->a[0].i)); }

static void run_eventfd(struct isle_op *op) { isle_done(op, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

static void run_drain_eventfd(struct isle_op *op) {
  eventfd_t value;
  if (eventfd_read((int)op->a[0].i, &value) && errno != EAGAIN) op->error = errno;
}

/* pipe(): the read end and the write end as 32-bit numbers. Both close on exec. */
static void run_pipe(struct isle_op *op) {
  int *ends = malloc(2 * sizeof *ends);
  if (!ends) {
    op->error = ENOMEM;
    return;
  }
  if (pipe2(ends, O_CLOEXEC)) {
    op->error = errno;
    free(ends);
    return;
  }
  op->data = ends;
  op->size = 2 * sizeof *ends;
}

/* sealedCopy(path): a descriptor of a copy in memory that nobody can change any more. */
static void run_sealed_copy(struct isle_op *op) {
  int copy = -1, from = open(op->a[0].s, O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (from < 0 || fstat(from, &info)) goto failed;
  copy = memfd_create("isle", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (copy < 0) goto failed;
  for (off_t left = info.st_size; left > 0;) {
    ssize_t n = sendfile(copy, from, NULL, (size_t)left);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = EIO;
    if (n <= 0) goto failed;
    left -= n;
  }
  if (fcntl(copy, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)) goto failed;
  close(from);
  op->number = copy;
  return;
failed:
  op->error = errno;
  if (copy >= 0) close(copy);
  if (from >= 0) close(from);
}

/* What free() kept goes back to the kernel, from every arena. */
static void run_trim_memory(struct isle_op *op) { isle_done(op, malloc_trim(0)); }

/* pageOut(pidfd, address, length): the kernel need not keep these pages of another process in memory. */
static void run_page_out(struct isle_op *op) {
  struct iovec range = {(void *)(uintptr_t)op->a[1].i, (size_t)op->a[2].i};
  if (process_madvise((int)op->a[0].i, &range, 1, MADV_PAGEOUT, 0) < 0) op->error = errno;
}

static const struct isle_call calls[] = {
    {"pidfdOpen", "i", 'f', false, run_pidfd_open},
    {"pidfdSignal", "ii", 'v', false, run_pidfd_signal},
    {"getRlimit", "ii", 'b', false, run_get_rlimit},
    {"pipe", "", 'b', false, run_pipe},
    {"sealedCopy", "p", 'f', false, run_sealed_copy},
    {"eventfd", "", 'f', false, run_eventfd},
    {"drainEventfd", "i", 'v', false, run_drain_eventfd},
    {"pageOut", "iii", 'v', false, run_page_out},
    {"trimMemory", "", 'v', false, run_trim_memory},
    {"closeFd", "i", 'v', false, run_close},
};

void isle_init_process(napi_env env, napi_value exports) { ISLE_REGISTER(env, exports, calls); }
