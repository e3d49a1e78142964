#include "guest.h"

#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

int set_clock(uint64_t nanoseconds, struct failure *failure) {
  struct timespec time = {nanoseconds / 1000000000, nanoseconds % 1000000000};
  if (clock_settime(CLOCK_REALTIME, &time)) return fail(failure, "set the clock", NULL);
  return 0;
}

static int digit(char letter) {
  const char *digits = "0123456789abcdef", *found = letter ? strchr(digits, letter) : NULL;
  return found ? (int)(found - digits) : -1;
}

int reseed(const char *hexadecimal, struct failure *failure) {
  unsigned char bytes[512];
  union {
    struct rand_pool_info info;
    char room[sizeof(struct rand_pool_info) + sizeof bytes];
  } pool;
  size_t size = 0;
  for (const char *at = hexadecimal; at[0] && at[1] && size < sizeof bytes; at += 2) {
    int high = digit(at[0]), low = digit(at[1]);
    if (high < 0 || low < 0) {
      errno = EINVAL;
      return fail(failure, "seed the random pool", "not hexadecimal");
    }
    bytes[size++] = high << 4 | low;
  }
  if (size == 0) return 0;
  pool.info.buf_size = size;
  pool.info.entropy_count = size * 8;
  memcpy(pool.room + offsetof(struct rand_pool_info, buf), bytes, size);
  int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
  int result = fd < 0 || ioctl(fd, RNDADDENTROPY, &pool.info) ? fail(failure, "seed the random pool", NULL) : 0;
  /* Kernels from before 4.17 do not know it. */
  if (result == 0) ioctl(fd, RNDRESEEDCRNG);
  if (fd >= 0) close(fd);
  return result;
}

void restart(void) {
  sync();
  reboot(RB_AUTOBOOT);
  for (;;) pause();
}
