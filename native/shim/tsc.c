/*
 * An emulated guest's time stamp counter is the host's, and it has no clock to measure it by that a busy host does not
 * disturb: it hangs when that fails. So it is told the frequency.
 */
#include "shim.h"

#include <stdio.h>
#include <time.h>

#ifdef __x86_64__
#include <x86intrin.h>

static uint64_t nanoseconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC_RAW, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* Reads both clocks at one moment: of several tries the one with the least between the readings of the counter. */
static void read_both(uint64_t *time, uint64_t *ticks) {
  uint64_t best = UINT64_MAX;
  for (int i = 0; i < 32; i++) {
    uint64_t before = __rdtsc(), now = nanoseconds(), after = __rdtsc();
    if (after - before >= best) continue;
    best = after - before;
    *time = now;
    *ticks = before + best / 2;
  }
}

int print_tsc(void) {
  uint64_t time[2], ticks[2];
  read_both(&time[0], &ticks[0]);
  nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
  read_both(&time[1], &ticks[1]);
  printf("%llu\n", (unsigned long long)((ticks[1] - ticks[0]) * 1000000 / (time[1] - time[0])));
  return 0;
}
#else
int print_tsc(void) {
  puts("0");
  return 0;
}
#endif
