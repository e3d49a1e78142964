/* What sessions.c and streams.c share. */
#ifndef ISLE_GUEST_SESSIONS_H
#define ISLE_GUEST_SESSIONS_H

#include "guest.h"

#define STDIN_BUFFER 65536

enum descriptor { CHANNEL, IN, OUT, ERR, DESCRIPTORS };

struct session {
  bool used, tty, starting, detached, failed, exited;
  struct failure failure;
  bool orphan; /* nobody listens any more: output is dropped, the end is not told */
  uint32_t id;
  struct port *port;
  pid_t pid;
  int status;
  int64_t kill_at;
  uint64_t oom_before;
  int fds[DESCRIPTORS]; /* a terminal's master is OUT */
  bool ready[DESCRIPTORS];
  bool bounded;
  uint64_t credit;             /* what may be sent, unless it is the workload's */
  size_t rest[DESCRIPTORS];    /* after the end: what may still be in OUT and ERR */
  uint8_t *input;
  size_t input_start, input_end, to_grant;
  bool input_ended;
};

/* --- streams.c */

void close_descriptor(struct session *session, enum descriptor which);
void watch_descriptor(struct session *session, enum descriptor which, int fd, uint64_t token);
/* Its process ended: what is still in its streams is the rest. */
void end_streams(struct session *session);
/* What the process wrote goes to the port, as far as that and its credit go; what came for it goes in. */
void pump_output(struct session *session);
void pump_input(struct session *session);
/* Whether there is output that the port and the credit have room for. */
bool has_output(const struct session *session);

#endif
