/* Sockets of kinds that node:net does not know (SOCK_SEQPACKET). */
#include "isle.h"
#include <stddef.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

/* Socket paths hold 107 bytes: longer ones are reached through a descriptor of their directory. A leading @ means
 * the abstract namespace, where the address ends with the name. */
static int unix_address(const char *path, struct sockaddr_un *address, socklen_t *size, int *directory) {
  *directory = -1;
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  *size = sizeof *address;
  size_t length = strlen(path);
  if (path[0] == '@' && length <= sizeof address->sun_path) {
    memcpy(address->sun_path + 1, path + 1, length - 1);
    *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    return 0;
  }
  if (length < sizeof address->sun_path) {
    memcpy(address->sun_path, path, length + 1);
    return 0;
  }
  char parent[PATH_MAX];
  const char *slash = strrchr(path, '/');
  if (!slash || slash == path || (size_t)(slash - path) >= sizeof parent) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(parent, path, (size_t)(slash - path));
  parent[slash - path] = 0;
  *directory = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (*directory < 0) return -1;
  int n = snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d%s", *directory, slash);
  if (n > 0 && (size_t)n < sizeof address->sun_path) return 0;
  close(*directory);
  errno = ENAMETOOLONG;
  return -1;
}

/* connectUnix(path, type, timeout ms): a connected, non-blocking socket. With time-out 0 it fails with EAGAIN
 * at once when the listener's queue is full. */
static void run_connect_unix(struct isle_op *op) {
  struct sockaddr_un address;
  socklen_t size;
  int directory, wait = (int)op->a[2].i;
  int fd = socket(AF_UNIX, (int)op->a[1].i | SOCK_CLOEXEC | (wait ? 0 : SOCK_NONBLOCK), 0);
  if (fd < 0) {
    op->error = errno;
    return;
  }
  struct timeval limit = {.tv_sec = wait / 1000, .tv_usec = wait % 1000 * 1000};
  if (wait) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  int result = unix_address(op->a[0].s, &address, &size, &directory);
  if (!result) {
    do result = connect(fd, (struct sockaddr *)&address, size);
    while (result && errno == EINTR);
    int error = errno;
    if (directory >= 0) close(directory);
    errno = error;
  }
  if (!result && wait) result = fcntl(fd, F_SETFL, O_NONBLOCK);
  if (result) {
    op->error = errno;
    close(fd);
  } else {
    op->number = fd;
  }
}

static void run_shutdown(struct isle_op *op) { isle_done(op, shutdown((int)op->a[0].i, (int)op->a[1].i)); }

static const struct isle_call calls[] = {
    {"connectUnix", "pii", 'f', false, run_connect_unix},
    {"shutdownSocket", "ii", 'v', false, run_shutdown},
};

/* receive(fd) and send(fd, buffer, offset, length) are called per packet, and EAGAIN is no exception there: they
 * give a negative errno instead of throwing. */
enum { PACKET_LIMIT = 65536 };

static napi_value number(napi_env env, int64_t value) {
  napi_value result;
  napi_create_int64(env, value, &result);
  return result;
}

/* One whole packet as a Buffer; 0 at the end; -EMSGSIZE for a packet over 64 KiB. */
static napi_value receive(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argv[1], result;
  int32_t fd;
  char packet[PACKET_LIMIT];
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (napi_get_value_int32(env, argv[0], &fd) != napi_ok) return number(env, -EBADF);
  ssize_t n;
  do n = recv(fd, packet, sizeof packet, MSG_DONTWAIT | MSG_TRUNC);
  while (n < 0 && errno == EINTR);
  if (n <= 0) return number(env, n < 0 ? -errno : 0);
  if (n > PACKET_LIMIT) return number(env, -EMSGSIZE);
  napi_create_buffer_copy(env, (size_t)n, packet, NULL, &result);
  return result;
}

static napi_value transmit(napi_env env, napi_callback_info info) {
  size_t argc = 4, size;
  napi_value argv[4];
  int32_t fd;
  int64_t offset, length;
  char *data;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (napi_get_value_int32(env, argv[0], &fd) != napi_ok ||
      napi_get_buffer_info(env, argv[1], (void **)&data, &size) != napi_ok ||
      napi_get_value_int64(env, argv[2], &offset) != napi_ok ||
      napi_get_value_int64(env, argv[3], &length) != napi_ok || offset < 0 || length < 0 ||
      (uint64_t)offset > size || (uint64_t)length > size - (uint64_t)offset)
    return number(env, -EINVAL);
  ssize_t n;
  do n = send(fd, data + offset, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  return number(env, n < 0 ? -errno : n);
}

void isle_init_socket(napi_env env, napi_value exports) {
  napi_value function;
  ISLE_REGISTER(env, exports, calls);
  napi_create_function(env, "receive", NAPI_AUTO_LENGTH, receive, NULL, &function);
  napi_set_named_property(env, exports, "receive", function);
  napi_create_function(env, "send", NAPI_AUTO_LENGTH, transmit, NULL, &function);
  napi_set_named_property(env, exports, "send", function);
}
