/* The process of a machine's container: see main.c. */
#pragma once
#include "../monitor/monitor.h"

#include <stdbool.h>
#include <stdint.h>

enum { MAX_HELPERS = 16, MAX_TAPS = 16, MAX_ARGS = 512, MAX_GENERATIONS = 2 };

/* --- boot.c: what a generation consists of, read from a file */

struct program {
  const char *name;
  uid_t user;
  char **args;
};

struct boot {
  struct program helpers[MAX_HELPERS];
  int helper_count;
  const char *taps[MAX_TAPS];
  int tap_count;
  struct program qemu;
  char *words[MAX_ARGS + 1];
  char text[256 * 1024];
};

/* NULL, or what is wrong with it. */
const char *boot_read(struct boot *boot, int number);

/* --- taps.c: links whose descriptors outlive a QEMU */

/* A descriptor that the caller must not close, opened when it is not yet; -1 and errno. */
int tap_open(const char *name, uid_t user);
void tap_close(const char *name);

/* --- generation.c: one QEMU and its helpers. Two at once while a machine moves from one to the other. */

struct generation {
  /* 0: none. */
  int number;
  /* QEMU, then its helpers. */
  struct child children[1 + MAX_HELPERS];
  int count;
  /* The serial console; -1 when it has ended. */
  int console;
  uid_t user;
};

/* NULL, or what failed; then nothing of it runs. */
const char *generation_start(struct generation *generation, int number);
void generation_kill(struct generation *generation);
/* Everything of it has ended, and all it said was read. */
bool generation_over(const struct generation *generation);

/* --- qmp.c: the supervisor's own monitor, `NUMBER/vmm` */

/* Gives QEMU a command (JSON), with a descriptor when `fd` is not -1, and waits for its answer. NULL, or why not. */
const char *qmp_ask(const struct generation *of, const char *before, int fd, const char *command);
const char *qmp_power_button(const struct generation *of);
const char *qmp_plug_tap(const struct generation *of, const char *tap, int fd, const char *netdev);

/* --- console.c: between the generations' consoles and this process's standard streams */

/* Milliseconds for which output waits for the rest of its line: a guest's UART gives it byte by byte, and each write is an entry of the log. */
enum { GATHER = 8 };

struct flow {
  char bytes[16 * 1024];
  size_t start, end;
  /* When the first of them came. */
  int64_t since;
  bool closed;
};

/* Milliseconds, monotonic. */
int64_t now(void);

static inline bool flow_empty(const struct flow *flow) {
  return flow->start == flow->end;
}

static inline bool flow_full(const struct flow *flow) {
  return flow->end == sizeof flow->bytes;
}

/* Reads once, behind what is there; at the end of `fd` it is closed. */
void flow_fill(struct flow *flow, int fd);
/* Whether it is time to write. */
bool flow_due(const struct flow *flow, int64_t time);
/* Writes what it can; what nobody takes any more is dropped. */
void flow_drain(struct flow *flow, int fd);
/* Nothing on the way is changed or answered: the guest's own terminal does that. */
void console_raw(int fd);
