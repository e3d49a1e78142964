/* The process of a microVM's container: see main.c. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../monitor/monitor.h"

/* --- frame.c: the shim's half of port `isle.workload` (src/runtimes/microvm/protocol.ts) */

enum { HEADER = 9, MAX_PAYLOAD = 256 * 1024, MAX_CHUNK = 32 * 1024 };

/* What a guest sends is hostile: after `broken` is set nothing of it is believed any more. */
struct port {
  int fd;
  bool ended;
  const char *broken;

  /* Guest to host: a header, then its payload, of which stdout and stderr are passed on as they come. */
  uint8_t header[HEADER];
  size_t header_length;
  uint32_t left;
  uint8_t small[1024];
  size_t small_length;
  uint8_t chunk[MAX_CHUNK];
  size_t chunk_start, chunk_end;
  int chunk_target;

  uint64_t credit;
  bool exited, oom;
  int code;

  /* Host to guest: one frame at a time. */
  uint8_t out[HEADER + MAX_CHUNK];
  size_t out_start, out_end;
  uint64_t signals;
  bool stdin_open;
};

void port_open(struct port *port, int fd);
/* Reads once. Nothing may be in `chunk` any more. */
void port_read(struct port *port);
/* As port_read, with bytes that came from elsewhere; returns how many were taken (for the fuzzer too). */
size_t port_take(struct port *port, const uint8_t *bytes, size_t length);
/* Fills `out` with the next frame when it is empty and something waits: signals first, then stdin. */
void port_fill(struct port *port, bool stdin_ready);
void port_write(struct port *port);
bool port_wants_stdin(const struct port *port);

/* --- console.c: the last 64 KiB of the guest's console, in a file of that size */

struct console {
  int fd, file;
  uint64_t written;
};

bool console_open(struct console *console, int fd, const char *path);
/* Reads once; closes and returns false at the end. */
bool console_read(struct console *console);

/* --- outcome.c */

/* Writes `outcome` durably: what the daemon is told of how it ended. */
void outcome_write(const struct port *port, const struct child *children, int count, bool killed);

/* --- tsc.c */

int print_tsc(void);
