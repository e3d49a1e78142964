#include "guest.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

static struct text answer;

static void done(uint32_t session) {
  send_frame(&agent_port, FRAME_DONE, session, NULL, 0);
}

static void refuse(uint32_t session, const char *what) {
  struct failure failure;
  fail(&failure, what, NULL);
  send_failure(&agent_port, session, &failure);
}

static uint64_t number_of(const void *payload, size_t size, const char *name) {
  const char *value = find_field(payload, size, name);
  return value ? strtoull(value, NULL, 10) : 0;
}

static void welcome(const void *payload, size_t size) {
  static const char *const states[] = {"none", "starting", "running", "ended"};
  const char *nonce = find_field(payload, size, "nonce");
  struct utsname names;
  uname(&names);
  agent_left();
  answer.size = 0;
  put_field(&answer, "nonce", "%.64s", nonce ? nonce : "");
  put_field(&answer, "version", "%d", PROTOCOL_VERSION);
  put_field(&answer, "kernel", "%s", names.release);
  put_field(&answer, "bootMs", "%lld", (long long)now_ms());
  put_field(&answer, "workload", "%s", states[workload_state]);
  send_text(&agent_port, FRAME_WELCOME, 0, &answer);
}

void agent_left(void) {
  hang_up_sessions();
  agent_port.out_start = agent_port.out_end = 0;
}

static void run(uint32_t session, const void *payload, size_t size) {
  struct failure failure;
  struct run_spec *spec = parse_spec(payload, size, &failure);
  if (!spec) {
    send_failure(&agent_port, session, &failure);
    return;
  }
  while (boot_more()) continue;
  spec->process.make_directory = true;
  begin_workload(spec, session);
  free_spec(spec);
}

static void exec(uint32_t session, const void *payload, size_t size) {
  struct failure failure;
  struct run_spec *spec = parse_spec(payload, size, &failure);
  if (!spec) {
    send_failure(&agent_port, session, &failure);
    return;
  }
  begin_exec(&spec->process, session);
  free_spec(spec);
}

static void ask_machine(uint8_t type, uint32_t session, const void *payload, size_t size) {
  struct failure failure;
  const char *seed = find_field(payload, size, "seed");
  int result = type == FRAME_CLOCK ? set_clock(number_of(payload, size, "time"), &failure)
                                   : reseed(seed ? seed : "", &failure);
  if (result) send_failure(&agent_port, session, &failure);
  else done(session);
}

static void answer_with(uint32_t session, void (*put)(struct text *)) {
  answer.size = 0;
  put(&answer);
  send_text(&agent_port, FRAME_DONE, session, &answer);
}

static void signal_process(uint32_t session, const void *payload, size_t size) {
  if (signal_session(number_of(payload, size, "session"), number_of(payload, size, "signal")))
    refuse(session, "signal the process");
  else done(session);
}

static void resize_terminal(uint32_t session, const void *payload, size_t size) {
  if (resize_session(number_of(payload, size, "session"), number_of(payload, size, "columns"),
                     number_of(payload, size, "rows")))
    refuse(session, "resize the terminal");
  else done(session);
}

static void handle_request(uint8_t type, uint32_t session, const void *payload, size_t size) {
  switch (type) {
    case FRAME_HELLO: return welcome(payload, size);
    case FRAME_RUN: return run(session, payload, size);
    case FRAME_EXEC: return exec(session, payload, size);
    case FRAME_SIGNAL: return signal_process(session, payload, size);
    case FRAME_RESIZE: return resize_terminal(session, payload, size);
    case FRAME_STATS: return answer_with(session, put_stats);
    case FRAME_PROCESSES: return answer_with(session, put_processes);
    case FRAME_CLOCK:
    case FRAME_RESEED: return ask_machine(type, session, payload, size);
    case FRAME_POWER_OFF: return power_off();
  }
}

static uint32_t credit_of(const uint8_t *payload, size_t size) {
  if (size != 4) return 0;
  return payload[0] | payload[1] << 8 | payload[2] << 16 | (uint32_t)payload[3] << 24;
}

static void handle_data(uint8_t type, uint32_t session, const uint8_t *payload, size_t size) {
  switch (type) {
    case FRAME_STDIN: return take_stdin(session, payload, size);
    case FRAME_STDIN_END: return end_stdin(session);
    case FRAME_OUTPUT_CREDIT: return grant_output(session, credit_of(payload, size));
  }
}

/* On the agent's port, session 0 is nobody's: the workload's streams are on the other one. */
void handle_frame(struct port *port, uint8_t type, uint32_t session, uint8_t *payload, size_t size) {
  if (port == &workload_port) {
    if (type == FRAME_SIGNAL) signal_session(0, number_of(payload, size, "signal"));
    else if (type == FRAME_DONE) end_heard();
    else if (type != FRAME_OUTPUT_CREDIT) handle_data(type, 0, payload, size);
    return;
  }
  if (type != FRAME_HELLO && session == 0) return;
  handle_request(type, session, payload, size);
  handle_data(type, session, payload, size);
}
