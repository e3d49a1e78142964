#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static struct {
  char name[IFNAMSIZ];
  int fd;
} taps[MAX_TAPS];

static int attach(const char *name, uid_t user);

int tap_open(const char *name, uid_t user) {
  int unused = -1;
  for (int i = 0; i < MAX_TAPS; i++) {
    if (taps[i].name[0] && strcmp(taps[i].name, name) == 0) return taps[i].fd;
    if (!taps[i].name[0]) unused = i;
  }
  errno = EINVAL;
  if (unused < 0 || !name[0] || strlen(name) >= IFNAMSIZ) return -1;
  int fd = attach(name, user);
  if (fd < 0) return -1;
  strcpy(taps[unused].name, name);
  return taps[unused].fd = fd;
}

void tap_close(const char *name) {
  for (int i = 0; i < MAX_TAPS; i++)
    if (taps[i].name[0] && strcmp(taps[i].name, name) == 0) {
      close(taps[i].fd);
      taps[i].name[0] = 0;
    }
}

/* It belongs to QEMU's user, and so does the device. */
static int attach(const char *name, uid_t user) {
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
  strcpy(request.ifr_name, name);
  if (seteuid(user) < 0) return -1;
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  int result = fd < 0 ? -1 : ioctl(fd, TUNSETIFF, &request);
  int error = errno;
  if (seteuid(0) < 0) _exit(255);
  if (result == 0) return fd;
  if (fd >= 0) close(fd);
  errno = error;
  return -1;
}
