#include "guest.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

struct port agent_port, workload_port;

static bool find_port(const char *wanted, char *device, size_t size) {
  DIR *directory = opendir("/sys/class/virtio-ports");
  if (!directory) return false;
  struct dirent *entry;
  bool found = false;
  while (!found && (entry = readdir(directory))) {
    char path[320], name[64];
    snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", entry->d_name);
    if (entry->d_name[0] == '.' || read_file(path, name, sizeof name) <= 0) continue;
    name[strcspn(name, "\n")] = 0;
    found = !strcmp(name, wanted);
    snprintf(device, size, "/dev/%.60s", entry->d_name);
  }
  closedir(directory);
  return found;
}

/* The driver learns of its ports, and then of their names, after it was loaded. */
void open_port(struct port *port, const char *name) {
  char device[80];
  port->name = name;
  for (int tries = 0; tries < 20000; tries++) {
    if (find_port(name, device, sizeof device)) {
      port->fd = open(device, O_RDWR | O_NONBLOCK | O_CLOEXEC);
      if (port->fd >= 0) return;
    }
    usleep(500);
  }
  say("no port %s: the machine is of no use", name);
  restart();
}

size_t port_room(const struct port *port) {
  return sizeof port->out - (port->out_end - port->out_start);
}

bool port_empty(const struct port *port) {
  return port->out_start == port->out_end;
}

void reset_port(struct port *port) {
  port->in_size = port->out_start = port->out_end = 0;
}

static void put_u32(uint8_t *at, uint32_t value) {
  for (int byte = 0; byte < 4; byte++) at[byte] = value >> (8 * byte);
}

static uint32_t get_u32(const uint8_t *at) {
  return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

void send_frame(struct port *port, uint8_t type, uint32_t session, const void *payload, size_t size) {
  if (port->fd < 0 || size > MAX_PAYLOAD || port_room(port) < HEADER_SIZE + size) return;
  if (sizeof port->out - port->out_end < HEADER_SIZE + size) {
    memmove(port->out, port->out + port->out_start, port->out_end - port->out_start);
    port->out_end -= port->out_start;
    port->out_start = 0;
  }
  uint8_t *frame = port->out + port->out_end;
  put_u32(frame, size);
  put_u32(frame + 4, session);
  frame[8] = type;
  if (size) memcpy(frame + HEADER_SIZE, payload, size);
  port->out_end += HEADER_SIZE + size;
}

void send_text(struct port *port, uint8_t type, uint32_t session, const struct text *text) {
  send_frame(port, type, session, text->bytes, text->size);
}

void send_failure(struct port *port, uint32_t session, const struct failure *failure) {
  static struct text text;
  text.size = 0;
  put_field(&text, "errno", "%d", failure->code);
  put_field(&text, "what", "%s", failure->what);
  put_field(&text, "detail", "%s", failure->detail);
  send_text(port, FRAME_FAILED, session, &text);
}

static void flush(struct port *port) {
  while (!port_empty(port)) {
    ssize_t written = write(port->fd, port->out + port->out_start, port->out_end - port->out_start);
    if (written <= 0) return;
    port->out_start += written;
  }
  port->out_start = port->out_end = 0;
}

/* Hands on whole frames while their answers have room. One that is longer than a frame may be means that what came before was
   none: its sender went away in the middle, and all there is goes with it. */
static void hand_on(struct port *port) {
  size_t at = 0;
  while (port->in_size - at >= HEADER_SIZE && port_room(port) >= 2 * (HEADER_SIZE + MAX_PAYLOAD)) {
    uint8_t *frame = port->in + at;
    size_t size = get_u32(frame);
    if (size > MAX_PAYLOAD) {
      at = port->in_size;
      break;
    }
    if (port->in_size - at < HEADER_SIZE + size) break;
    at += HEADER_SIZE + size;
    handle_frame(port, frame[8], get_u32(frame + 4), frame + HEADER_SIZE, size);
  }
  memmove(port->in, port->in + at, port->in_size - at);
  port->in_size -= at;
}

void pump_port(struct port *port) {
  flush(port);
  for (;;) {
    hand_on(port);
    flush(port);
    if (port->in_size == sizeof port->in || port_room(port) < 2 * (HEADER_SIZE + MAX_PAYLOAD)) return;
    ssize_t got = read(port->fd, port->in + port->in_size, sizeof port->in - port->in_size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      /* Nothing there, but somebody who may send. */
      port->connected = true;
      return;
    }
    if (got == 0) {
      bool left = port->connected;
      port->connected = false;
      port->in_size = 0;
      if (left && port == &agent_port) agent_left();
      return;
    }
    port->connected = true;
    port->in_size += got;
  }
}
