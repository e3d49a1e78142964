/* The numbers of src/runtimes/microvm/protocol.ts; a unit test compares the two. */
#ifndef ISLE_GUEST_PROTOCOL_H
#define ISLE_GUEST_PROTOCOL_H

enum frame_type {
  FRAME_HELLO = 1,
  FRAME_WELCOME = 2,

  FRAME_RUN = 10,
  FRAME_EXEC = 11,
  FRAME_SIGNAL = 12,
  FRAME_RESIZE = 13,
  FRAME_STATS = 14,
  FRAME_PROCESSES = 15,
  FRAME_CLOCK = 16,
  FRAME_RESEED = 17,
  FRAME_POWER_OFF = 18,

  FRAME_DONE = 30,
  FRAME_FAILED = 31,
  FRAME_STARTED = 32,
  FRAME_EXIT = 33,

  FRAME_STDIN = 40,
  FRAME_STDIN_END = 41,
  FRAME_STDOUT = 42,
  FRAME_STDERR = 43,
  FRAME_STDIN_CREDIT = 44,
  FRAME_OUTPUT_CREDIT = 45,
};

#define HEADER_SIZE 9
#define MAX_PAYLOAD 262144
#define FIRST_CREDIT 262144
#define PROTOCOL_VERSION 1

#define WORKLOAD_PORT "isle.workload"
#define AGENT_PORT "isle.agent"

#endif
