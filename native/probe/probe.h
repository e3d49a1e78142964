/* isle-probe: what `isle compare` puts into a container to measure it. Static, so that any image can run it. */
#ifndef ISLE_PROBE_H
#define ISLE_PROBE_H

#include <stdint.h>
#include <stdio.h>

/* Monotonic nanoseconds. */
uint64_t now_ns(void);

/* Ends the program with one line on stderr: what failed, and the system's word for it. */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);

/* Writes all bytes, or dies. */
void write_all(int fd, const void *data, size_t length);

/* `text` as a JSON string, with its quotes. */
void print_json(FILE *out, const char *text, size_t length);

/* A whole number from `low` to `high`, or dies naming `what`. */
long parse_number(const char *what, const char *text, long low, long high);

/* Each prints one JSON object on stdout. `ms`: how long to measure. */
int probe_cpu(long ms);
int probe_files(const char *directory, long ms);
int probe_net(const char *address, long port, long ms);
int probe_calls(long ms);
int probe_facts(void);

/* The other end of `net`, and the one that says when a port opens: see peer.c. */
int run_peer(long port);

/* The first process of a container in which only probes run; ends by itself after `seconds`. */
int run_idle(long seconds);

/* Connects to a numeric IPv4 or IPv6 address; -1 and errno when it cannot within `ms`. */
int connect_to(const char *address, long port, long ms);

#endif
