/* Numbers of src/runtimes/microvm/protocol.ts that the shim needs. */
#pragma once

enum {
  FRAME_SIGNAL = 12,
  FRAME_EXIT = 33,
  FRAME_STDIN = 40,
  FRAME_STDIN_END = 41,
  FRAME_STDOUT = 42,
  FRAME_STDERR = 43,
  FRAME_STDIN_CREDIT = 44,
};
