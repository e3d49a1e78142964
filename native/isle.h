/* The addon's own small frame: a system call is a row in a table, and gets a promise and a sync form. */
#ifndef ISLE_H
#define ISLE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define NAPI_VERSION 9
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#define ISLE_MAX_ARGS 10

struct isle_arg {
  int64_t i;
  char *s;  /* NUL-terminated copy; NULL for an absent 'z' */
  size_t n; /* bytes in s without the NUL */
};

struct isle_op {
  const struct isle_call *call;
  struct isle_arg a[ISLE_MAX_ARGS];
  int error;      /* errno of the failure, or 0 */
  char *detail;   /* malloc'd: what the kernel said besides errno; freed by the frame */
  int64_t number; /* result 'n' */
  void *data;     /* result 'b': malloc'd, freed by the frame */
  size_t size;
  napi_deferred deferred;
  napi_async_work work;
};

/*
 * args, one letter each: i integer (number or bigint), p path (named in errors), s string, z string or null,
 * b bytes; each but i takes a string or a Uint8Array. A NUL inside is refused in all but b.
 * result: v nothing, n number, b Buffer, f file descriptor (closed when nobody can take it), e number or
 * -errno instead of a throw (sync form only).
 * own_thread: run on a thread of its own that ends afterwards, because the call changes the thread (setns).
 */
struct isle_call {
  const char *name;
  const char *args;
  char result;
  bool own_thread;
  void (*run)(struct isle_op *op);
};

/* Exports each call as `name` (promise, on libuv's thread pool) and `nameSync`. */
void isle_register(napi_env env, napi_value exports, const struct isle_call *calls, size_t count);
#define ISLE_REGISTER(env, exports, calls) \
  isle_register(env, exports, calls, sizeof(calls) / sizeof((calls)[0]))

/* Throws a system error in JS: `code`, `errno`, `syscall` as Node's own have them. */
void isle_throw(napi_env env, int error, const char *syscall);

/* For run functions: result of a system call that gives -1 on failure. */
static inline void isle_done(struct isle_op *op, int64_t result) {
  if (result < 0)
    op->error = errno;
  else
    op->number = result;
}

/*
 * A short-lived child for what a threaded process cannot do: it shares our memory, and waits until it is ended. `flags` are
 * those of clone(2); `run` may do something first, and then has to wait too.
 */
struct isle_child {
  pid_t pid;
  char *stack;
};
int isle_child_start(struct isle_child *child, int flags, int (*run)(void *), void *data);
/* A descriptor of one of its namespaces, by its name in /proc/PID/ns. */
int isle_child_open(const struct isle_child *child, const char *name);
void isle_child_end(struct isle_child *child);

/* A descriptor of a new user namespace with these maps; -1. */
int isle_userns(const char *uids, const char *gids);

/* Mounts on the file `path` a new network namespace, which belongs to a new user namespace without maps. */
int isle_owned_network(const char *path);

/* One per source file with calls; called from addon.c. */
void isle_init_mount(napi_env env, napi_value exports);
void isle_init_at(napi_env env, napi_value exports);
void isle_init_process(napi_env env, napi_value exports);
void isle_init_namespace(napi_env env, napi_value exports);
void isle_init_idmap(napi_env env, napi_value exports);
void isle_init_socket(napi_env env, napi_value exports);
void isle_init_poll(napi_env env, napi_value exports);
void isle_init_tree(napi_env env, napi_value exports);
void isle_init_spawn(napi_env env, napi_value exports);
void isle_init_netlink(napi_env env, napi_value exports) __attribute__((weak));

#endif
