/*
 * Network jobs: a short script of steps (enter a namespace, talk netlink, write a sysctl, bind a socket) that runs
 * on one thread of its own. Attaching a pod is one such job, so it costs one hop off the main thread whatever
 * it does; the thread ends with the job, so a namespace it entered cannot leak into other work.
 *
 * The script and the results are arrays of native-endian 32-bit words and length-prefixed bytes padded to four;
 * src/host/netlink.ts writes the one and reads the other, and encodes the messages themselves.
 */
#include "isle.h"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/time.h>

enum step { ENTER = 1, CREATE, HOST, INNER, NETLINK, WRITE, SOCKET, REMOVE, TARGET, TAP, PACKET };
enum patch { PATCH_INNER_FD = 1, PATCH_IFINDEX };
enum { MAX_SOCKETS = 4096, RECEIVE_BYTES = 64 * 1024, MAX_RESULT = 64 * 1024 * 1024 };

struct job {
  const char *at, *end;
  int host, inner; /* namespace descriptors, -1 when not open */
  char *created;   /* path of the namespace this job made: taken back when a later step fails */
  char *out;
  size_t used, room;
  int sockets[MAX_SOCKETS];
  size_t socket_count;
  char detail[PATH_MAX + 64];
};

static int fail(int error) {
  errno = error;
  return -1;
}

static int word(struct job *job, uint32_t *value) {
  if (job->end - job->at < 4) return fail(EBADMSG);
  memcpy(value, job->at, 4);
  job->at += 4;
  return 0;
}

static int bytes(struct job *job, const char **data, size_t *size) {
  uint32_t length;
  if (word(job, &length)) return -1;
  size_t padded = ((size_t)length + 3) & ~(size_t)3;
  if ((size_t)(job->end - job->at) < padded) return fail(EBADMSG);
  *data = job->at;
  *size = length;
  job->at += padded;
  return 0;
}

static int text(struct job *job, char *into, size_t room) {
  const char *data;
  size_t size;
  if (bytes(job, &data, &size)) return -1;
  if (size >= room || memchr(data, 0, size)) return fail(EBADMSG);
  memcpy(into, data, size);
  into[size] = 0;
  return 0;
}

static int append(struct job *job, const void *data, size_t size) {
  if (job->used + size > job->room) {
    size_t room = job->room ? job->room * 2 : 1024;
    while (room < job->used + size) room *= 2;
    char *more = room > MAX_RESULT ? NULL : realloc(job->out, room);
    if (!more) return fail(ENOMEM);
    job->out = more;
    job->room = room;
  }
  memcpy(job->out + job->used, data, size);
  job->used += size;
  return 0;
}

static int enter_fd(int fd) { return fd < 0 ? fail(EBADF) : setns(fd, CLONE_NEWNET); }

static int open_inner(struct job *job, const char *path) {
  if (job->inner >= 0) close(job->inner);
  job->inner = open(path, O_RDONLY | O_CLOEXEC);
  return job->inner < 0 ? -1 : 0;
}

static int step_enter(struct job *job) {
  char path[PATH_MAX];
  if (text(job, path, sizeof path)) return -1;
  snprintf(job->detail, sizeof job->detail, "network namespace %s", path);
  return open_inner(job, path) ? -1 : enter_fd(job->inner);
}

static int step_target(struct job *job) {
  char path[PATH_MAX];
  if (text(job, path, sizeof path)) return -1;
  snprintf(job->detail, sizeof job->detail, "network namespace %s", path);
  return open_inner(job, path);
}

static int step_create(struct job *job) {
  char path[PATH_MAX];
  uint32_t owned;
  if (text(job, path, sizeof path) || word(job, &owned)) return -1;
  snprintf(job->detail, sizeof job->detail, "network namespace %s", path);
  int fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
  if (fd < 0) return -1;
  close(fd);
  free(job->created);
  job->created = strdup(path);
  if (!job->created) return fail(ENOMEM);
  if (owned) return isle_owned_network(path) || open_inner(job, path) || enter_fd(job->inner) ? -1 : 0;
  if (unshare(CLONE_NEWNET)) return -1;
  if (mount("/proc/thread-self/ns/net", path, NULL, MS_BIND, NULL)) return -1;
  return open_inner(job, path);
}

static int step_remove(struct job *job) {
  char path[PATH_MAX];
  if (text(job, path, sizeof path)) return -1;
  snprintf(job->detail, sizeof job->detail, "network namespace %s", path);
  /* EINVAL: not a mount point. A crash between the two leaves the plain file. */
  if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) && errno != EINVAL && errno != ENOENT) return -1;
  return unlink(path) && errno != ENOENT ? -1 : 0;
}

static int patch(struct job *job, char *message, size_t size) {
  uint32_t count, at, kind;
  if (word(job, &count)) return -1;
  while (count--) {
    char name[IF_NAMESIZE];
    if (word(job, &at) || word(job, &kind) || text(job, name, sizeof name)) return -1;
    uint32_t value = (uint32_t)job->inner;
    if (kind == PATCH_IFINDEX && !(value = if_nametoindex(name))) {
      snprintf(job->detail, sizeof job->detail, "no link %s", name);
      return -1;
    }
    if (size < 4 || at > size - 4) return fail(EBADMSG);
    memcpy(message + at, &value, 4);
  }
  return 0;
}

/* Requests in `message` that the kernel will answer with an acknowledgement, an error or the end of a dump. */
static int count_answers(const char *message, size_t size) {
  int count = 0;
  for (size_t at = 0; at + sizeof(struct nlmsghdr) <= size;) {
    struct nlmsghdr header;
    memcpy(&header, message + at, sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > size - at) return fail(EBADMSG);
    if (header.nlmsg_flags & (NLM_F_ACK | NLM_F_DUMP)) count++;
    at += NLMSG_ALIGN(header.nlmsg_len);
  }
  return count;
}

/* What the kernel says in words besides the errno (NETLINK_EXT_ACK). */
static void explain(struct job *job, const struct nlmsghdr *header) {
  const struct nlmsgerr *error = NLMSG_DATA(header);
  size_t skip = sizeof *error;
  if (!(header->nlmsg_flags & NLM_F_ACK_TLVS)) return;
  if (!(header->nlmsg_flags & NLM_F_CAPPED)) skip += NLMSG_ALIGN(error->msg.nlmsg_len - sizeof error->msg);
  size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(skip);
  while (at + sizeof(struct nlattr) <= header->nlmsg_len) {
    const struct nlattr *attribute = (const void *)((const char *)header + at);
    if (attribute->nla_len < sizeof *attribute || attribute->nla_len > header->nlmsg_len - at) return;
    if ((attribute->nla_type & NLA_TYPE_MASK) == NLMSGERR_ATTR_MSG)
      snprintf(job->detail, sizeof job->detail, "%.*s", (int)(attribute->nla_len - sizeof *attribute),
               (const char *)(attribute + 1));
    at += NLA_ALIGN(attribute->nla_len);
  }
}

/* Reads answers until `expected` have come. Data goes to the result; the first error is kept. A list that changed
 * while it was read lacks entries: EINTR says to ask again. */
static int receive_answers(struct job *job, int fd, char *buffer, int expected, bool tolerate, int *error) {
  while (expected > 0) {
    ssize_t n = recv(fd, buffer, RECEIVE_BYTES, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno == EAGAIN ? ETIMEDOUT : errno);
    int left = (int)n;
    for (struct nlmsghdr *header = (void *)buffer; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
      if ((header->nlmsg_flags & NLM_F_MULTI) && (header->nlmsg_flags & NLM_F_DUMP_INTR) && !tolerate)
        *error = EINTR;
      if (header->nlmsg_type == NLMSG_DONE) {
        expected--;
      } else if (header->nlmsg_type == NLMSG_ERROR) {
        const struct nlmsgerr *answer = NLMSG_DATA(header);
        expected--;
        /* A refused batch is answered on its frame, which asked for nothing: no more will come. */
        if (answer->error && !(answer->msg.nlmsg_flags & (NLM_F_ACK | NLM_F_DUMP))) expected = 0;
        if (answer->error && !*error && !tolerate) {
          *error = -answer->error;
          explain(job, header);
        }
        if (tolerate && append(job, header, NLMSG_ALIGN(sizeof *header + sizeof *answer))) return -1;
      } else if (append(job, header, NLMSG_ALIGN(header->nlmsg_len))) {
        return -1;
      }
    }
  }
  return 0;
}

static int exchange(struct job *job, int fd, const char *message, size_t size, bool tolerate) {
  int on = 1, megabyte = 1 << 20, error = 0;
  struct timeval limit = {.tv_sec = 10};
  setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &megabyte, sizeof megabyte);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &megabyte, sizeof megabyte);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  int expected = count_answers(message, size);
  if (expected < 0 || sendto(fd, message, size, 0, (void *)&kernel, sizeof kernel) < 0) return -1;
  char *buffer = malloc(RECEIVE_BYTES);
  if (!buffer) return fail(ENOMEM);
  size_t start = job->used;
  uint32_t length = 0;
  int result = append(job, &length, 4);
  if (!result) result = receive_answers(job, fd, buffer, expected, tolerate, &error);
  free(buffer);
  if (result) return -1;
  length = (uint32_t)(job->used - start - 4);
  memcpy(job->out + start, &length, 4);
  return error ? fail(error) : 0;
}

static int step_netlink(struct job *job) {
  uint32_t protocol, tolerate;
  const char *data;
  size_t size;
  if (word(job, &protocol) || word(job, &tolerate) || bytes(job, &data, &size)) return -1;
  snprintf(job->detail, sizeof job->detail, "netlink %u", protocol);
  char *message = malloc(size + 1);
  if (!message) return fail(ENOMEM);
  memcpy(message, data, size);
  int result = patch(job, message, size);
  int fd = result ? -1 : socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, (int)protocol);
  if (fd < 0) {
    result = -1;
  } else {
    result = exchange(job, fd, message, size, tolerate != 0);
    int error = errno;
    close(fd);
    errno = error;
  }
  free(message);
  return result;
}

static int step_write(struct job *job) {
  char path[PATH_MAX];
  const char *data;
  size_t size;
  uint32_t optional;
  if (text(job, path, sizeof path) || word(job, &optional) || bytes(job, &data, &size)) return -1;
  snprintf(job->detail, sizeof job->detail, "%s", path);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return optional && errno == ENOENT ? 0 : -1;
  ssize_t n = write(fd, data, size);
  int error = errno;
  close(fd);
  return n == (ssize_t)size ? 0 : fail(n < 0 ? error : EIO);
}

/* A tap that stays when its descriptor is closed, and that the user `owner` may open by its name. */
static int step_tap(struct job *job) {
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
  uint32_t owner;
  if (text(job, request.ifr_name, sizeof request.ifr_name) || word(job, &owner)) return -1;
  snprintf(job->detail, sizeof job->detail, "/dev/net/tun");
  int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (fd < 0) return -1;
  snprintf(job->detail, sizeof job->detail, "tap %s", request.ifr_name);
  int result = ioctl(fd, TUNSETIFF, &request);
  if (!result) result = ioctl(fd, TUNSETOWNER, (unsigned long)owner);
  if (!result) result = ioctl(fd, TUNSETPERSIST, 1UL);
  int error = errno;
  close(fd);
  return result ? fail(error) : 0;
}

enum socket_flags { HOLD = 1, V6ONLY = 2, LISTEN = 4 };

/*
 * HOLD keeps a port from others without serving it. It binds with SO_REUSEADDR, so that connections of an earlier
 * server in TIME_WAIT do not count as users, and takes the option back, so that no later listener gets through.
 */
static int bind_socket(int fd, const struct sockaddr *address, socklen_t size, int type, uint32_t flags) {
  int on = 1, off = 0, least = 1;
  if (type == SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on)) return -1;
  if ((flags & V6ONLY) && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on)) return -1;
  if (bind(fd, address, size)) return -1;
  if (flags & LISTEN) return listen(fd, 64);
  if (!(flags & HOLD)) return 0;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof least);
  return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &off, sizeof off);
}

static int step_socket(struct job *job) {
  uint32_t family, type, protocol, port, flags;
  const char *address;
  size_t size;
  if (word(job, &family) || word(job, &type) || word(job, &protocol) || word(job, &port) || word(job, &flags) ||
      bytes(job, &address, &size))
    return -1;
  if (job->socket_count == MAX_SOCKETS) return fail(EMFILE);
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
  struct sockaddr_nl nl = {.nl_family = AF_NETLINK, .nl_groups = port};
  const void *bound = family == AF_INET ? (void *)&v4 : family == AF_INET6 ? (void *)&v6 : (void *)&nl;
  socklen_t length = family == AF_INET ? sizeof v4 : family == AF_INET6 ? sizeof v6 : sizeof nl;
  if (family == AF_INET && size == 4) memcpy(&v4.sin_addr, address, 4);
  if (family == AF_INET6 && size == 16) memcpy(&v6.sin6_addr, address, 16);
  snprintf(job->detail, sizeof job->detail, "socket %zu", job->socket_count);
  int fd = socket((int)family, (int)type | SOCK_CLOEXEC | SOCK_NONBLOCK, (int)protocol);
  if (fd < 0) return -1;
  job->sockets[job->socket_count++] = fd;
  if (bind_socket(fd, bound, length, (int)type, flags)) return -1;
  uint32_t result[3] = {8, (uint32_t)fd, 0};
  length = family == AF_INET ? sizeof v4 : sizeof v6;
  if (family != AF_NETLINK) {
    if (getsockname(fd, family == AF_INET ? (void *)&v4 : (void *)&v6, &length)) return -1;
    result[2] = ntohs(family == AF_INET ? v4.sin_port : v6.sin6_port);
  }
  return append(job, result, sizeof result);
}

/*
 * A packet socket that gets the frames coming in by a link that its filter (an array of struct sock_filter) takes,
 * before any rule sees them. It is bound last, so that it never gets another.
 */
static int step_packet(struct job *job) {
  char name[IF_NAMESIZE];
  const char *data;
  size_t size;
  if (text(job, name, sizeof name) || bytes(job, &data, &size)) return -1;
  snprintf(job->detail, sizeof job->detail, "packets of %s", name);
  if (size % sizeof(struct sock_filter) || size > BPF_MAXINSNS * sizeof(struct sock_filter)) return fail(EBADMSG);
  if (job->socket_count == MAX_SOCKETS) return fail(EMFILE);
  struct sock_filter *code = malloc(size + 1);
  if (!code) return fail(ENOMEM);
  memcpy(code, data, size);
  struct sock_fprog filter = {.len = (unsigned short)(size / sizeof *code), .filter = code};
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
  address.sll_ifindex = (int)if_nametoindex(name);
  int on = 1, fd = address.sll_ifindex ? socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
  int result = -1;
  if (fd >= 0) {
    job->sockets[job->socket_count++] = fd;
    result = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
    if (!result) result = setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
    if (!result) result = bind(fd, (const void *)&address, sizeof address);
  }
  int error = errno;
  free(code);
  if (result) return fail(error);
  uint32_t answer[3] = {8, (uint32_t)fd, 0};
  return append(job, answer, sizeof answer);
}

static int run_step(struct job *job) {
  uint32_t step;
  if (word(job, &step)) return -1;
  switch (step) {
    case ENTER: return step_enter(job);
    case CREATE: return step_create(job);
    case HOST: return enter_fd(job->host);
    case INNER: return enter_fd(job->inner);
    case NETLINK: return step_netlink(job);
    case WRITE: return step_write(job);
    case SOCKET: return step_socket(job);
    case REMOVE: return step_remove(job);
    case TARGET: return step_target(job);
    case TAP: return step_tap(job);
    case PACKET: return step_packet(job);
  }
  return fail(EBADMSG);
}

static void undo(struct job *job) {
  while (job->socket_count) close(job->sockets[--job->socket_count]);
  if (!job->created) return;
  umount2(job->created, MNT_DETACH | UMOUNT_NOFOLLOW);
  unlink(job->created);
}

/* networkJob(script): the results of its steps. On failure nothing it opened or created stays. */
static void run_network_job(struct isle_op *op) {
  struct job *job = calloc(1, sizeof *job);
  if (!job) {
    op->error = ENOMEM;
    return;
  }
  job->at = op->a[0].s;
  job->end = job->at + op->a[0].n;
  job->inner = -1;
  job->host = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  int result = job->host < 0 ? -1 : 0;
  while (!result && job->at < job->end) result = run_step(job);
  if (result) {
    op->error = errno;
    op->detail = strdup(job->detail);
    undo(job);
    free(job->out);
  } else {
    op->data = job->out;
    op->size = job->used;
  }
  if (job->host >= 0) close(job->host);
  if (job->inner >= 0) close(job->inner);
  free(job->created);
  free(job);
}

static const struct isle_call calls[] = {
    {"networkJob", "b", 'b', true, run_network_job},
};

void isle_init_netlink(napi_env env, napi_value exports) { ISLE_REGISTER(env, exports, calls); }
