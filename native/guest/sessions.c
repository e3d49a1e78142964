/* The workload's first process and the execs beside it: their streams, their beginning and their end. */
#include "sessions.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of an exec that was hung up. */
#define HANGUP_GRACE 2000
/* For the host to say that it has the workload's end. */
#define END_GRACE 10000

enum workload_state workload_state;

static struct session sessions[MAX_SESSIONS];
static uint32_t run_request;
static int64_t restart_at;
static bool ending;
/* sessions[0] is the workload. */
static struct session *const workload = &sessions[0];

static struct session *find(uint32_t id) {
  if (id == 0) return workload->used ? workload : NULL;
  for (size_t index = 1; index < MAX_SESSIONS; index++)
    if (sessions[index].used && sessions[index].id == id && !sessions[index].orphan) return &sessions[index];
  return NULL;
}

static void watch_session(struct session *session, enum descriptor which, int fd) {
  watch_descriptor(session, which, fd, TOKEN_SESSIONS + (session - sessions) * DESCRIPTORS + which);
}

static void begin(struct session *session, uint32_t id, struct port *port, const struct process_spec *process,
                  const struct child *child) {
  *session = (struct session){
      .used = true, .starting = true, .id = id, .port = port, .pid = child->pid, .tty = process->tty,
      .detached = process->detached, .bounded = id != 0, .credit = FIRST_CREDIT, .oom_before = oom_kills(),
      .input = process->in ? malloc(STDIN_BUFFER) : NULL, .to_grant = process->in ? STDIN_BUFFER : 0};
  watch_session(session, CHANNEL, child->channel);
  watch_session(session, IN, child->in);
  watch_session(session, OUT, child->out);
  watch_session(session, ERR, child->err);
}

static int mount_share(const struct run_spec *spec, struct failure *failure) {
  mkdir("/share", 0755);
  mkdir("/root", 0755);
  if (mount(spec->share_tag, "/share", "virtiofs", MS_NODEV, NULL) && errno != EBUSY)
    return fail(failure, "mount the share", spec->share_tag);
  return 0;
}

static int prepare_machine(const struct run_spec *spec, struct failure *failure) {
  if (spec->time && set_clock(spec->time, failure)) return -1;
  if (reseed(spec->seed, failure)) return -1;
  for (size_t index = 0; index < spec->link_count; index++)
    if (set_up_link(&spec->links[index], failure)) return -1;
  return make_workload_cgroup(spec->pids_limit, failure) || mount_share(spec, failure) ? -1 : 0;
}

void begin_workload(struct run_spec *spec, uint32_t request) {
  struct failure failure = {0};
  struct child child;
  errno = EBUSY;
  if (workload_state != WORKLOAD_NONE || workload->used) {
    fail(&failure, "start a second workload", NULL);
  } else if (!prepare_machine(spec, &failure) && !start_workload(spec, &child, &failure)) {
    workload_state = WORKLOAD_STARTING;
    run_request = request;
    begin(workload, 0, &workload_port, &spec->process, &child);
    return;
  }
  send_failure(&agent_port, request, &failure);
}

void begin_exec(const struct process_spec *process, uint32_t id) {
  struct failure failure = {0};
  struct child child;
  size_t index = 1;
  while (index < MAX_SESSIONS && sessions[index].used) index++;
  errno = workload_state != WORKLOAD_RUNNING ? ESRCH : id == 0 || find(id) ? EINVAL : EAGAIN;
  if (errno != EAGAIN || index == MAX_SESSIONS) fail(&failure, "execute beside the workload", NULL);
  else if (!start_exec(process, &child, &failure)) {
    begin(&sessions[index], id, &agent_port, process, &child);
    return;
  }
  send_failure(&agent_port, id, &failure);
}

int signal_session(uint32_t id, int signal) {
  struct session *session = find(id);
  errno = ESRCH;
  if (!session || session->exited || session->starting) return -1;
  return kill(session->pid, signal);
}

int resize_session(uint32_t id, unsigned short columns, unsigned short rows) {
  struct session *session = find(id);
  struct winsize size = {.ws_row = rows, .ws_col = columns};
  errno = session ? ENOTTY : ESRCH;
  if (!session || !session->tty || session->fds[OUT] < 0) return -1;
  return ioctl(session->fds[OUT], TIOCSWINSZ, &size);
}

void take_stdin(uint32_t id, const uint8_t *data, size_t size) {
  struct session *session = find(id);
  if (!session || !session->input || session->input_ended) return;
  /* More than was granted is a broken host's. */
  if (size > STDIN_BUFFER - (session->input_end - session->input_start)) return;
  if (size > STDIN_BUFFER - session->input_end) {
    memmove(session->input, session->input + session->input_start, session->input_end - session->input_start);
    session->input_end -= session->input_start;
    session->input_start = 0;
  }
  memcpy(session->input + session->input_end, data, size);
  session->input_end += size;
}

void end_stdin(uint32_t id) {
  struct session *session = find(id);
  if (session) session->input_ended = true;
}

void grant_output(uint32_t id, uint32_t size) {
  struct session *session = find(id);
  if (session) session->credit += size;
}

static void hang_up(struct session *session) {
  session->orphan = true;
  session->input_ended = true;
  if (session->detached || session->exited) return;
  kill(-session->pid, SIGHUP);
  kill(session->pid, SIGHUP);
  session->kill_at = now_ms() + HANGUP_GRACE;
}

void hang_up_sessions(void) {
  run_request = 0;
  for (size_t index = 1; index < MAX_SESSIONS; index++)
    if (sessions[index].used && !sessions[index].orphan) hang_up(&sessions[index]);
}

void power_off(void) {
  ending = true;
  if (workload_state == WORKLOAD_NONE) restart();
  if (workload->used && !workload->exited) kill(workload->pid, SIGTERM);
}

void end_heard(void) {
  if (workload_state == WORKLOAD_ENDED) restart();
}

/* --- what the loop does with them */

void session_event(uint64_t token, uint32_t events) {
  struct session *session = &sessions[(token - TOKEN_SESSIONS) / DESCRIPTORS];
  enum descriptor which = (token - TOKEN_SESSIONS) % DESCRIPTORS;
  if (!session->used || session->fds[which] < 0) return;
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) || which == IN) session->ready[which] = true;
  if (session->tty && which == OUT && events & EPOLLOUT) session->ready[IN] = true;
}

void reap_children(void) {
  int status;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
    for (size_t index = 0; index < MAX_SESSIONS; index++) {
      struct session *session = &sessions[index];
      if (!session->used || session->exited || session->pid != pid) continue;
      session->exited = true;
      session->status = status;
      end_streams(session);
    }
}

/* The pid that the workload sees. */
static int inner_pid(pid_t pid) {
  char path[64], status[4096];
  int outer = 0, inner = 0;
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  const char *line = read_file(path, status, sizeof status) > 0 ? strstr(status, "\nNSpid:") : NULL;
  return line && sscanf(line + 7, "%d %d", &outer, &inner) == 2 ? inner : pid;
}

static void tell_started(struct session *session) {
  static struct text text;
  text.size = 0;
  if (session == workload) {
    workload_state = WORKLOAD_RUNNING;
    if (run_request) send_frame(&agent_port, FRAME_DONE, run_request, NULL, 0);
    return;
  }
  put_field(&text, "pid", "%d", inner_pid(session->pid));
  if (!session->orphan) send_text(&agent_port, FRAME_STARTED, session->id, &text);
}

/* Once nothing is left of it: the next may begin. */
static void tell_failed(const struct session *session) {
  uint32_t id = session == workload ? run_request : session->id;
  if (session == workload) workload_state = WORKLOAD_NONE;
  if (id && !session->orphan) send_failure(&agent_port, id, &session->failure);
}

/* Messages until the channel closes: by the program that was executed, or by a child that gave up. */
static void pump_channel(struct session *session) {
  struct failure failure;
  int terminal;
  while (session->ready[CHANNEL]) {
    ssize_t got = receive_message(session->fds[CHANNEL], &failure, &terminal);
    if (got < 0 && errno == EAGAIN) {
      session->ready[CHANNEL] = false;
      return;
    }
    if (terminal >= 0) {
      fcntl(terminal, F_SETFL, O_RDWR | O_NONBLOCK);
      watch_session(session, OUT, terminal);
      session->ready[IN] = true;
      continue;
    }
    close_descriptor(session, CHANNEL);
    session->starting = false;
    session->failed = got > 0;
    if (session->failed) session->failure = failure;
    else tell_started(session);
  }
}

static void release(struct session *session) {
  for (enum descriptor which = 0; which < DESCRIPTORS; which++) close_descriptor(session, which);
  free(session->input);
  session->input = NULL;
  session->used = false;
}

/* What it mapped and changed is in the share when that is not mounted any more; the host's disk need not be waited for. */
static void end_workload(void) {
  if (umount2("/share", 0)) umount2("/share", MNT_DETACH);
  close(workload_pidfd);
  workload_pidfd = -1;
  if (workload->failed) return;
  workload_state = WORKLOAD_ENDED;
  restart_at = now_ms() + END_GRACE;
}

static void tell_exit(struct session *session) {
  static struct text text;
  bool killed = WIFSIGNALED(session->status);
  bool oom = oom_kills() > session->oom_before && (session == workload || killed);
  text.size = 0;
  put_field(&text, "code", "%d", killed ? 128 + WTERMSIG(session->status) : WEXITSTATUS(session->status));
  put_field(&text, "oom", "%d", oom);
  send_text(session->port, FRAME_EXIT, session->id, &text);
}

static void finish(struct session *session) {
  if (!session->exited || session->starting || session->fds[OUT] >= 0 || session->fds[ERR] >= 0) return;
  if (port_room(session->port) < 4096 && !session->orphan) return;
  if (session == workload) end_workload();
  if (session->failed) tell_failed(session);
  else if (!session->orphan) tell_exit(session);
  release(session);
}

void pump_sessions(void) {
  for (size_t index = 0; index < MAX_SESSIONS; index++) {
    struct session *session = &sessions[index];
    if (!session->used) continue;
    pump_channel(session);
    pump_input(session);
    pump_output(session);
    if (session->kill_at && now_ms() >= session->kill_at && !session->exited) {
      kill(-session->pid, SIGKILL);
      kill(session->pid, SIGKILL);
      session->kill_at = 0;
    }
    finish(session);
  }
  if (restart_at && now_ms() >= restart_at) restart();
  if (ending && workload_state == WORKLOAD_NONE && !workload->used) restart();
}

static bool can_go_on(const struct session *session) {
  if (session->ready[CHANNEL]) return true;
  return has_output(session);
}

int next_deadline(void) {
  int64_t due = restart_at;
  for (size_t index = 0; index < MAX_SESSIONS; index++) {
    const struct session *session = &sessions[index];
    if (!session->used) continue;
    if (can_go_on(session)) return 0;
    if (session->kill_at && !session->exited && (!due || session->kill_at < due)) due = session->kill_at;
  }
  if (!due) return -1;
  int64_t left = due - now_ms();
  return left > 0 ? left : 0;
}
