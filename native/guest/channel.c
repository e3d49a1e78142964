/* What a child tells the agent before it becomes a program: a failure, or its terminal. The end of it means success. */
#include "guest.h"

#include <string.h>
#include <sys/socket.h>

static ssize_t exchange(int channel, struct failure *failure, int *descriptor, bool send) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } control = {0};
  struct iovec part = {failure, sizeof *failure};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (!send || *descriptor >= 0) {
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
  }
  if (send) {
    if (*descriptor >= 0) {
      struct cmsghdr *header = CMSG_FIRSTHDR(&message);
      *header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
      memcpy(CMSG_DATA(header), descriptor, sizeof(int));
    }
    return sendmsg(channel, &message, MSG_NOSIGNAL);
  }
  ssize_t got = recvmsg(channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
  if (header && header->cmsg_type == SCM_RIGHTS) memcpy(descriptor, CMSG_DATA(header), sizeof(int));
  return got;
}

ssize_t receive_message(int channel, struct failure *failure, int *descriptor) {
  *descriptor = -1;
  return exchange(channel, failure, descriptor, false);
}

void send_message(int channel, struct failure *failure, int descriptor) {
  exchange(channel, failure, &descriptor, true);
}
