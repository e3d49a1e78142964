/* The guest's init and agent: one process, one thread, one poll loop. */
#ifndef ISLE_GUEST_H
#define ISLE_GUEST_H

#define _GNU_SOURCE

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "protocol.h"

/* --- failure.c: which step went wrong, for `failed` */

struct failure {
  int code; /* errno */
  char what[64];
  char detail[256];
};

/* Fills `failure` from errno; returns -1. */
int fail(struct failure *failure, const char *what, const char *detail);
/* To the console, whose last lines the host keeps. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- fields.c: `name NUL value NUL ...` */

struct fields {
  const char *at, *end;
};

/* The next field; false at the end, or where the payload is no list of fields. */
bool next_field(struct fields *fields, const char **name, const char **value);
const char *find_field(const void *payload, size_t size, const char *name);

struct text {
  size_t size;
  bool full; /* something did not fit: it was left out whole */
  char bytes[MAX_PAYLOAD];
};

void put_field(struct text *text, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* --- spec.c: what `run` and `exec` carry. Strings point into the payload. */

struct list {
  char **items; /* ends with NULL */
  size_t count;
};

struct mount_spec {
  const char *type, *target;
  struct list options;
};

struct link_spec {
  const char *mac, *name;
  const char *boot_mac; /* what it was booted with, when that is another one */
  unsigned mtu;
  struct list addresses, routes, neighbours, sysctls;
};

struct rlimit_spec {
  int resource;
  uint64_t soft, hard;
};

struct process_spec {
  struct list args, env;
  const char *cwd;
  uid_t uid;
  gid_t gid;
  gid_t *groups;
  size_t group_count;
  bool tty, in, detached, no_new_privileges, make_directory;
  unsigned short columns, rows;
  uint64_t capabilities;
  struct rlimit_spec *rlimits;
  size_t rlimit_count;
  int oom_score_adj;
};

struct run_spec {
  void *payload;
  const char *share_tag, *share_directory, *hostname, *domainname, *seed;
  bool readonly_root, init;
  uint64_t time;
  /* 0: none. */
  uint64_t pids_limit;
  struct link_spec *links;
  size_t link_count;
  struct mount_spec *mounts;
  size_t mount_count;
  struct list submounts, masked, readonly, sysctls;
  struct process_spec process;
};

/* Copies the payload. NULL with `failure` where a value cannot be meant; free_spec() what it returns. */
struct run_spec *parse_spec(const void *payload, size_t size, struct failure *failure);
void free_spec(struct run_spec *spec);

/* --- boot.c, modules.c: from the kernel to an open agent port */

void boot_first(void);
/* One piece of what a workload needs but the agent does not; false when nothing is left. */
bool boot_more(void);
/* What nobody waits for, once a workload runs. */
void boot_rest(void);
void load_modules(const char *class);
bool has_virtio_device(unsigned id);
int write_file(const char *path, const char *value);
/* Bytes read, cut to fit and terminated; -1 with errno. */
ssize_t read_file(const char *path, char *buffer, size_t size);

/* --- ports.c: frames over a virtio-serial port */

#define PORT_BUFFER (3 * (MAX_PAYLOAD + HEADER_SIZE))

struct port {
  int fd;
  const char *name;
  bool connected;
  size_t in_size, out_start, out_end;
  uint8_t in[HEADER_SIZE + MAX_PAYLOAD];
  uint8_t out[PORT_BUFFER];
};

extern struct port agent_port, workload_port;

void open_port(struct port *port, const char *name);
size_t port_room(const struct port *port);
bool port_empty(const struct port *port);
/* Drops the frame when it does not fit: callers look at port_room() first. */
void send_frame(struct port *port, uint8_t type, uint32_t session, const void *payload, size_t size);
void send_text(struct port *port, uint8_t type, uint32_t session, const struct text *text);
void send_failure(struct port *port, uint32_t session, const struct failure *failure);
/* Writes what the port takes and reads what is there, frame by frame. Never blocks. */
void pump_port(struct port *port);
void reset_port(struct port *port);

/* --- requests.c */

void handle_frame(struct port *port, uint8_t type, uint32_t session, uint8_t *payload, size_t size);
void agent_left(void);

/* --- links.c */

int set_up_loopback(struct failure *failure);
int set_up_link(const struct link_spec *link, struct failure *failure);

/* --- root.c, mounts.c: the workload's file system; called in its mount namespace */

int enter_root(const struct run_spec *spec, struct failure *failure);
int mount_in_root(int root, const struct mount_spec *mount, struct failure *failure);
/* O_PATH descriptor of `path` resolved inside `root`; made as a directory when missing and `make`. */
int open_in_root(int root, const char *path, bool make);

/* --- channel.c */

/* As recvmsg(2), without waiting; `descriptor` is -1 when none came. */
ssize_t receive_message(int channel, struct failure *failure, int *descriptor);
void send_message(int channel, struct failure *failure, int descriptor);

/* --- terminal.c, program.c, init.c, process.c: from a clone to the program */

/* Opens a terminal of the workload's /dev/pts; sends its master to the agent over `channel`. Returns the slave. */
int open_terminal(int channel, const struct process_spec *process, struct failure *failure);
void bind_console(int slave);

struct child {
  pid_t pid;
  int channel;                 /* of struct failure messages; closed by a program that was executed */
  int in, out, err;            /* the agent's ends of pipes, or -1 */
};

int start_workload(const struct run_spec *spec, struct child *child, struct failure *failure);
int start_exec(const struct process_spec *process, struct child *child, struct failure *failure);
/* Becomes the program; on failure tells `failure`. */
void become(const struct process_spec *process, struct failure *failure);
/* Reaps, forwards signals, ends as `main` does. */
_Noreturn void run_init(pid_t main);

extern int workload_pidfd;

/* --- sessions.c: the processes and their streams */

#define MAX_SESSIONS 256

/* The workload's first process is session 0 on the workload port. */
enum workload_state { WORKLOAD_NONE, WORKLOAD_STARTING, WORKLOAD_RUNNING, WORKLOAD_ENDED };
extern enum workload_state workload_state;

/* Both answer the request when the program was executed, or why it was not. */
void begin_workload(struct run_spec *spec, uint32_t request);
void begin_exec(const struct process_spec *process, uint32_t session);
int signal_session(uint32_t session, int signal);
int resize_session(uint32_t session, unsigned short columns, unsigned short rows);
void take_stdin(uint32_t session, const uint8_t *data, size_t size);
void end_stdin(uint32_t session);
void grant_output(uint32_t session, uint32_t size);
void hang_up_sessions(void);
void reap_children(void);
void pump_sessions(void);
/* Milliseconds until something is due or can go on; -1: nothing is. */
int next_deadline(void);
void session_event(uint64_t token, uint32_t events);
/* Ends the workload, then the machine. */
void power_off(void);
/* The workload's end was heard. */
void end_heard(void);

/* --- cgroup.c, stats.c, processes.c */

#define WORKLOAD_CGROUP "/sys/fs/cgroup/workload"

int make_workload_cgroup(uint64_t pids_limit, struct failure *failure);
/* A descriptor of the group a new process of the workload is born into. */
int open_workload_cgroup(void);
uint64_t oom_kills(void);
void put_stats(struct text *text);
void put_processes(struct text *text);

/* --- machine.c */

int set_clock(uint64_t nanoseconds, struct failure *failure);
int reseed(const char *hexadecimal, struct failure *failure);
_Noreturn void restart(void);
int64_t now_ms(void);

/* --- main.c */

extern int epoll_fd;
/* Tokens of epoll: above these, a session and which of its descriptors. */
enum { TOKEN_AGENT = 1, TOKEN_WORKLOAD, TOKEN_SIGNALS, TOKEN_SESSIONS };
void watch(int fd, uint32_t events, uint64_t token);

#endif
