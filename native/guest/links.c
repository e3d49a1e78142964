/* Network links by rtnetlink: name, mtu, addresses, routes, permanent neighbours, and their sysctls. */
#include "guest.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct message {
  struct nlmsghdr header;
  char body[512];
};

struct address {
  int family, bits;
  unsigned char bytes[16];
};

static size_t size_of(const struct address *address) {
  return address->family == AF_INET ? 4 : 16;
}

static void *begin(struct message *message, int type, int flags, size_t size) {
  memset(message, 0, sizeof *message);
  message->header.nlmsg_type = type;
  message->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
  message->header.nlmsg_len = NLMSG_LENGTH(size);
  return message->body;
}

static void put(struct message *message, int type, const void *data, size_t size) {
  struct rtattr *attribute = (struct rtattr *)((char *)message + NLMSG_ALIGN(message->header.nlmsg_len));
  attribute->rta_type = type;
  attribute->rta_len = RTA_LENGTH(size);
  memcpy(RTA_DATA(attribute), data, size);
  message->header.nlmsg_len = NLMSG_ALIGN(message->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
}

/* Sends it and waits for the kernel's verdict. What is there already is as good. */
static int ask(struct message *message) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return -1;
  struct {
    struct nlmsghdr header;
    struct nlmsgerr error;
    char rest[1024];
  } answer;
  int result = -1;
  if (send(fd, message, message->header.nlmsg_len, 0) >= 0 && recv(fd, &answer, sizeof answer, 0) > 0) {
    errno = answer.header.nlmsg_type == NLMSG_ERROR ? -answer.error.error : EPROTO;
    result = errno == 0 || errno == EEXIST ? 0 : -1;
  }
  int error = errno;
  close(fd);
  errno = error;
  return result;
}

/* `1.2.3.4/24`; without a length all bits count. */
static bool parse_address(const char *text, struct address *address) {
  char copy[64];
  snprintf(copy, sizeof copy, "%s", text);
  char *slash = strchr(copy, '/');
  if (slash) *slash = 0;
  address->family = strchr(copy, ':') ? AF_INET6 : AF_INET;
  int most = address->family == AF_INET ? 32 : 128;
  address->bits = slash ? atoi(slash + 1) : most;
  if (inet_pton(address->family, copy, address->bytes) == 1 && address->bits >= 0 && address->bits <= most) return true;
  errno = EINVAL;
  return false;
}

static bool parse_mac(const char *text, unsigned char *mac) {
  int used = 0;
  if (sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5, &used) ==
          6 &&
      !text[used])
    return true;
  errno = EINVAL;
  return false;
}

static int change_link(int index, const char *name, unsigned mtu, bool up) {
  struct message message;
  struct ifinfomsg *info = begin(&message, RTM_NEWLINK, 0, sizeof *info);
  info->ifi_index = index;
  if (up) info->ifi_flags = info->ifi_change = IFF_UP;
  if (name) put(&message, IFLA_IFNAME, name, strlen(name) + 1);
  if (mtu) put(&message, IFLA_MTU, &mtu, sizeof mtu);
  return ask(&message);
}

static int add_address(int index, const char *text) {
  struct address address;
  if (!parse_address(text, &address)) return -1;
  struct message message;
  struct ifaddrmsg *info = begin(&message, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof *info);
  info->ifa_family = address.family;
  info->ifa_prefixlen = address.bits;
  info->ifa_index = index;
  /* The host made sure that nobody else has it: a second of silence before it is usable would be lost. */
  if (address.family == AF_INET6) info->ifa_flags = IFA_F_NODAD;
  put(&message, IFA_LOCAL, address.bytes, size_of(&address));
  put(&message, IFA_ADDRESS, address.bytes, size_of(&address));
  return ask(&message);
}

/* `destination gateway|- table|-` */
static int add_route(int index, const char *text) {
  char destination[64], gateway[64], table[16];
  struct address to, by;
  if (sscanf(text, "%63s %63s %15s", destination, gateway, table) != 3) {
    errno = EINVAL;
    return -1;
  }
  bool direct = !strcmp(gateway, "-");
  if (!parse_address(destination, &to) || (!direct && !parse_address(gateway, &by))) return -1;
  uint32_t number = strcmp(table, "-") ? strtoul(table, NULL, 10) : RT_TABLE_MAIN;
  struct message message;
  struct rtmsg *info = begin(&message, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof *info);
  info->rtm_family = to.family;
  info->rtm_dst_len = to.bits;
  info->rtm_table = number < 256 ? number : RT_TABLE_UNSPEC;
  info->rtm_protocol = RTPROT_STATIC;
  info->rtm_scope = direct && to.family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  info->rtm_type = RTN_UNICAST;
  put(&message, RTA_TABLE, &number, sizeof number);
  if (to.bits) put(&message, RTA_DST, to.bytes, size_of(&to));
  if (!direct) put(&message, RTA_GATEWAY, by.bytes, size_of(&by));
  put(&message, RTA_OIF, &index, sizeof index);
  return ask(&message);
}

/* `address mac` */
static int add_neighbour(int index, const char *text) {
  char ip[64], mac_text[32];
  unsigned char mac[6];
  struct address address;
  if (sscanf(text, "%63s %31s", ip, mac_text) != 2) {
    errno = EINVAL;
    return -1;
  }
  if (!parse_address(ip, &address) || !parse_mac(mac_text, mac)) return -1;
  struct message message;
  struct ndmsg *info = begin(&message, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, sizeof *info);
  info->ndm_family = address.family;
  info->ndm_ifindex = index;
  info->ndm_state = NUD_PERMANENT;
  put(&message, NDA_DST, address.bytes, size_of(&address));
  put(&message, NDA_LLADDR, mac, sizeof mac);
  return ask(&message);
}

static bool has_mac(const char *link, const unsigned char *wanted) {
  char path[320], text[64];
  unsigned char mac[6];
  snprintf(path, sizeof path, "/sys/class/net/%s/address", link);
  if (read_file(path, text, sizeof text) <= 0) return false;
  text[strcspn(text, "\n")] = 0;
  return parse_mac(text, mac) && !memcmp(mac, wanted, sizeof mac);
}

static int find_link(const unsigned char *mac) {
  DIR *directory = opendir("/sys/class/net");
  struct dirent *entry;
  int index = 0;
  while (directory && !index && (entry = readdir(directory)))
    if (entry->d_name[0] != '.' && has_mac(entry->d_name, mac)) index = if_nametoindex(entry->d_name);
  if (directory) closedir(directory);
  return index;
}

/* Another link may have the name that this one is to get: it gets its own later. */
static int rename_link(int index, const char *name) {
  char current[IF_NAMESIZE], aside[IF_NAMESIZE];
  if (if_indextoname(index, current) && !strcmp(current, name)) return 0;
  int other = if_nametoindex(name);
  snprintf(aside, sizeof aside, "isle%d", other);
  if (other && change_link(other, aside, 0, false)) return -1;
  return change_link(index, name, 0, false);
}

static int set_mac(int index, const unsigned char *mac) {
  struct message message;
  struct ifinfomsg *info = begin(&message, RTM_NEWLINK, 0, sizeof *info);
  info->ifi_index = index;
  put(&message, IFLA_ADDRESS, mac, 6);
  return ask(&message);
}

/* `name=value`, below /proc/sys/net. A kernel without IPv6 has no settings of it. */
static int set_link_sysctl(const char *text) {
  char path[256];
  const char *equals = strchr(text, '=');
  if (!equals || strstr(text, "..")) {
    errno = EINVAL;
    return -1;
  }
  snprintf(path, sizeof path, "/proc/sys/net/%.*s", (int)(equals - text), text);
  if (!strncmp(text, "ipv6/", 5) && access("/proc/sys/net/ipv6", F_OK)) return 0;
  return write_file(path, equals + 1);
}

static int each(const struct list *list, int index, int (*act)(int, const char *), struct failure *failure,
                const char *what) {
  for (size_t at = 0; at < list->count; at++)
    if (act(index, list->items[at])) return fail(failure, what, list->items[at]);
  return 0;
}

int set_up_loopback(struct failure *failure) {
  return change_link(if_nametoindex("lo"), NULL, 0, true) ? fail(failure, "set up the link", "lo") : 0;
}

int set_up_link(const struct link_spec *link, struct failure *failure) {
  unsigned char mac[6], boot_mac[6];
  const char *boot = link->boot_mac ? link->boot_mac : link->mac;
  if (!parse_mac(boot, boot_mac)) return fail(failure, "find the link", boot);
  if (!parse_mac(link->mac, mac)) return fail(failure, "address the link", link->mac);
  int index = find_link(boot_mac);
  /* The driver may still be at it. */
  for (int tries = 0; !index && tries < 2000; tries++) {
    usleep(1000);
    index = find_link(boot_mac);
  }
  errno = ENODEV;
  if (!index) return fail(failure, "find the link", boot);
  if (link->boot_mac && set_mac(index, mac)) return fail(failure, "address the link", link->mac);
  if (link->name[0] && rename_link(index, link->name)) return fail(failure, "name the link", link->name);
  for (size_t at = 0; at < link->sysctls.count; at++)
    if (set_link_sysctl(link->sysctls.items[at])) return fail(failure, "set a sysctl", link->sysctls.items[at]);
  if (change_link(index, NULL, link->mtu, true)) return fail(failure, "set up the link", link->name);
  if (each(&link->addresses, index, add_address, failure, "add the address")) return -1;
  if (each(&link->neighbours, index, add_neighbour, failure, "add the neighbour")) return -1;
  return each(&link->routes, index, add_route, failure, "add the route");
}
