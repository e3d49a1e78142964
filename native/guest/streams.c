/* Between the pipes or the terminal of a session and its port. */
#include "sessions.h"

#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CHUNK 32768
/* What a terminal holds at most after its last writer ended. */
#define TERMINAL_REST 131072

void close_descriptor(struct session *session, enum descriptor which) {
  if (session->fds[which] >= 0) close(session->fds[which]);
  session->fds[which] = -1;
  session->ready[which] = false;
}

void watch_descriptor(struct session *session, enum descriptor which, int fd, uint64_t token) {
  session->fds[which] = fd;
  session->ready[which] = fd >= 0;
  if (fd >= 0) watch(fd, EPOLLIN | EPOLLOUT | EPOLLET, token);
}

static size_t most_after_end(const struct session *session, enum descriptor which) {
  if (session->tty) return TERMINAL_REST;
  int size = fcntl(session->fds[which], F_GETPIPE_SZ);
  return size > 0 ? size : 0;
}

void end_streams(struct session *session) {
  for (enum descriptor which = OUT; which <= ERR; which++) {
    session->ready[which] = session->fds[which] >= 0;
    session->rest[which] = session->ready[which] ? most_after_end(session, which) : 0;
  }
}

static bool may_send(const struct session *session) {
  if (session->orphan) return true;
  /* What is left is for answers. */
  if (port_room(session->port) < 2 * (HEADER_SIZE + MAX_PAYLOAD) + HEADER_SIZE + CHUNK) return false;
  return !session->bounded || session->credit > 0;
}

bool has_output(const struct session *session) {
  return !session->starting && (session->ready[OUT] || session->ready[ERR]) && may_send(session);
}

/* False when it has to wait. */
static bool pump_piece(struct session *session, enum descriptor which) {
  static uint8_t chunk[CHUNK];
  size_t size = sizeof chunk;
  if (session->bounded && !session->orphan && session->credit < size) size = session->credit;
  ssize_t got = read(session->fds[which], chunk, size);
  if (got < 0 && errno == EINTR) return true;
  /* A terminal says EIO while nobody has it open; somebody may open it again. */
  if (got < 0 && (errno == EAGAIN || errno == EIO) && !session->exited) {
    session->ready[which] = false;
    return false;
  }
  if (got <= 0) {
    close_descriptor(session, which);
    return false;
  }
  if (!session->orphan) {
    send_frame(session->port, which == OUT ? FRAME_STDOUT : FRAME_STDERR, session->id, chunk, got);
    session->credit -= session->bounded ? got : 0;
  }
  if (!session->exited || session->id == 0) return true;
  /* Others may still write there: what the process itself wrote has come. */
  session->rest[which] -= (size_t)got < session->rest[which] ? (size_t)got : session->rest[which];
  if (session->rest[which] == 0) close_descriptor(session, which);
  return true;
}

void pump_output(struct session *session) {
  /* One after the other in turns, so that their order is roughly kept. */
  for (bool more = !session->starting; more;) {
    more = false;
    for (enum descriptor which = OUT; which <= ERR; which++)
      if (session->ready[which] && may_send(session)) more |= pump_piece(session, which);
  }
}

void pump_input(struct session *session) {
  int fd = session->fds[session->tty ? OUT : IN];
  while (session->input && session->ready[IN] && session->input_start < session->input_end) {
    ssize_t written =
        fd < 0 ? -1 : write(fd, session->input + session->input_start, session->input_end - session->input_start);
    if (written < 0 && fd >= 0 && errno == EAGAIN) {
      session->ready[IN] = false;
      break;
    }
    /* A process that closed its input: what still comes is taken and dropped. */
    if (written < 0) written = session->input_end - session->input_start;
    session->input_start += written;
    session->to_grant += written;
  }
  if (!session->input) return;
  bool empty = session->input_start == session->input_end;
  if (session->input_ended && empty && !session->tty) close_descriptor(session, IN);
  if (session->to_grant < STDIN_BUFFER / 4 || session->orphan || session->starting) return;
  if (port_room(session->port) < HEADER_SIZE + 4) return;
  uint32_t grant = session->to_grant;
  session->to_grant = 0;
  send_frame(session->port, FRAME_STDIN_CREDIT, session->id, &grant, sizeof grant);
}
