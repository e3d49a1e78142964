#include "guest.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static bool is_device(int fd, unsigned major_number, unsigned minor_number) {
  struct stat status;
  return !fstat(fd, &status) && S_ISCHR(status.st_mode) && status.st_rdev == makedev(major_number, minor_number);
}

/* The image or the workload may have put something else there: never waited for, and looked at before it is used. */
int open_terminal(int channel, const struct process_spec *process, struct failure *failure) {
  int master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (master < 0) return fail(failure, "open a terminal", "/dev/pts/ptmx");
  errno = ENOTTY;
  if (!is_device(master, 5, 2)) return fail(failure, "open a terminal", "/dev/pts/ptmx");
  int unlock = 0;
  ioctl(master, TIOCSPTLCK, &unlock);
  struct winsize size = {.ws_row = process->rows, .ws_col = process->columns};
  if (process->rows && process->columns) ioctl(master, TIOCSWINSZ, &size);
  int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0) return fail(failure, "open a terminal", "/dev/pts");
  struct failure none = {0};
  send_message(channel, &none, master);
  close(master);
  return slave;
}

void bind_console(int slave) {
  /* Where the root has no such file, the workload has no console: nothing depends on it. */
  int fd = open("/dev/console", O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
  if (fd >= 0) close(fd);
  char source[64];
  if (ttyname_r(slave, source, sizeof source) == 0) mount(source, "/dev/console", NULL, MS_BIND, NULL);
}
