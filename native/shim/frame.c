#include "shim.h"
#include "frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static size_t take_header(struct port *port, const uint8_t *bytes, size_t length);
static size_t take_small(struct port *port, const uint8_t *bytes, size_t length);
static size_t take_output(struct port *port, const uint8_t *bytes, size_t length);
static void small_done(struct port *port);
static void put_frame(struct port *port, uint8_t type, size_t length);

static size_t min(size_t a, size_t b) { return a < b ? a : b; }

static uint32_t u32(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

void port_open(struct port *port, int fd) {
  memset(port, 0, sizeof *port);
  port->fd = fd;
  port->stdin_open = true;
}

void port_read(struct port *port) {
  uint8_t bytes[MAX_CHUNK];
  /* Output is passed on before more is read: no more than fits into `chunk` is taken from the socket. */
  size_t wanted = port->header_length < HEADER ? HEADER - port->header_length : min(port->left, sizeof bytes);
  ssize_t got = recv(port->fd, bytes, wanted, MSG_DONTWAIT);
  if (got > 0)
    for (size_t taken = 0; taken < (size_t)got && !port->broken;)
      taken += port_take(port, bytes + taken, (size_t)got - taken);
  else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
    port->ended = true;
    if (port->header_length > 0) port->broken = port->broken ? port->broken : "it ended in the middle of a frame";
  }
  if (port->broken) port->ended = true;
}

size_t port_take(struct port *port, const uint8_t *bytes, size_t length) {
  if (port->broken) return length;
  if (port->header_length < HEADER) return take_header(port, bytes, length);
  return port->header[8] == FRAME_STDOUT || port->header[8] == FRAME_STDERR ? take_output(port, bytes, length)
                                                                            : take_small(port, bytes, length);
}

static size_t take_header(struct port *port, const uint8_t *bytes, size_t length) {
  size_t taken = min(length, HEADER - port->header_length);
  memcpy(port->header + port->header_length, bytes, taken);
  port->header_length += taken;
  if (port->header_length < HEADER) return taken;
  port->left = u32(port->header);
  port->small_length = 0;
  uint8_t type = port->header[8];
  bool output = type == FRAME_STDOUT || type == FRAME_STDERR;
  if (u32(port->header + 4) != 0) port->broken = "a frame of a session on the workload's port";
  else if (!output && type != FRAME_STDIN_CREDIT && type != FRAME_EXIT) port->broken = "a frame of an unknown type";
  else if (port->left > (output ? (size_t)MAX_PAYLOAD : sizeof port->small)) port->broken = "a frame that is too long";
  else if (port->exited) port->broken = "a frame after the workload's end";
  else if (port->left == 0 && output) port->header_length = 0;
  else if (port->left == 0) small_done(port);
  return taken;
}

static size_t take_output(struct port *port, const uint8_t *bytes, size_t length) {
  size_t taken = min(min(length, port->left), MAX_CHUNK);
  memcpy(port->chunk, bytes, taken);
  port->chunk_start = 0;
  port->chunk_end = taken;
  port->chunk_target = port->header[8] == FRAME_STDOUT ? STDOUT_FILENO : STDERR_FILENO;
  port->left -= (uint32_t)taken;
  if (port->left == 0) port->header_length = 0;
  return taken;
}

static size_t take_small(struct port *port, const uint8_t *bytes, size_t length) {
  size_t taken = min(length, port->left);
  memcpy(port->small + port->small_length, bytes, taken);
  port->small_length += taken;
  port->left -= (uint32_t)taken;
  if (port->left == 0) small_done(port);
  return taken;
}

/* The value of field `name` in `name NUL value NUL …`, or NULL. */
static const char *field(const struct port *port, const char *name) {
  const char *at = (const char *)port->small, *end = at + port->small_length;
  while (at < end) {
    const char *name_end = memchr(at, 0, (size_t)(end - at));
    const char *value = name_end ? name_end + 1 : end;
    const char *value_end = value < end ? memchr(value, 0, (size_t)(end - value)) : NULL;
    if (!value_end) return NULL;
    if (strcmp(at, name) == 0) return value;
    at = value_end + 1;
  }
  return NULL;
}

static void small_done(struct port *port) {
  port->header_length = 0;
  if (port->header[8] == FRAME_STDIN_CREDIT) {
    if (port->small_length != 4) port->broken = "a wrong credit";
    else if ((port->credit += u32(port->small)) > UINT32_MAX) port->broken = "more credit than there is";
    return;
  }
  const char *code = field(port, "code"), *oom = field(port, "oom");
  char *end = NULL;
  long value = code ? strtol(code, &end, 10) : -1;
  if (!code || *end || end == code || value < 0 || value > 255) {
    port->broken = "an exit without a code";
    return;
  }
  port->exited = true;
  port->code = (int)value;
  port->oom = oom && strcmp(oom, "1") == 0;
}

bool port_wants_stdin(const struct port *port) {
  return port->stdin_open && port->credit > 0 && port->out_end == 0 && port->signals == 0 && !port->exited;
}

void port_fill(struct port *port, bool stdin_ready) {
  if (port->out_end != 0) return;
  if (port->signals != 0) {
    int bit = __builtin_ctzll(port->signals);
    port->signals &= port->signals - 1;
    /* Field `signal`; signals are numbered from 1. */
    char *at = (char *)port->out + HEADER;
    memcpy(at, "signal", 7);
    int number = bit + 1, length = 7;
    if (number >= 10) at[length++] = (char)('0' + number / 10);
    at[length++] = (char)('0' + number % 10);
    at[length++] = 0;
    put_frame(port, FRAME_SIGNAL, (size_t)length);
  } else if (stdin_ready && port_wants_stdin(port)) {
    ssize_t got = read(STDIN_FILENO, port->out + HEADER, min(MAX_CHUNK, port->credit));
    if (got > 0) {
      port->credit -= (uint64_t)got;
      put_frame(port, FRAME_STDIN, (size_t)got);
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
      port->stdin_open = false;
      put_frame(port, FRAME_STDIN_END, 0);
    }
  }
}

static void put_frame(struct port *port, uint8_t type, size_t length) {
  memset(port->out, 0, HEADER);
  for (int byte = 0; byte < 4; byte++) port->out[byte] = (uint8_t)(length >> (8 * byte));
  port->out[8] = type;
  port->out_start = 0;
  port->out_end = HEADER + length;
}

void port_write(struct port *port) {
  ssize_t sent = send(port->fd, port->out + port->out_start, port->out_end - port->out_start, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent > 0) port->out_start += (size_t)sent;
  /* EPIPE: QEMU has ended, which is told by its end. */
  else if (errno != EAGAIN && errno != EINTR) port->out_start = port->out_end;
  if (port->out_start == port->out_end) port->out_start = port->out_end = 0;
}
