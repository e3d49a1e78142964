/*
 * `boot.NUMBER` holds lists of strings, each string followed by NUL and each list by an empty string:
 * `helper NAME USER PROGRAM ARGUMENT…`, `tap NAME`, and last `qemu USER PROGRAM ARGUMENT…`.
 */
#define _GNU_SOURCE
#include "vmm.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *take_list(struct boot *boot, char **list, int length);

const char *boot_read(struct boot *boot, int number) {
  char name[32];
  snprintf(name, sizeof name, "boot.%d", number);
  int fd = open(name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return "its boot file cannot be opened";
  size_t length = 0;
  for (ssize_t got; (got = read(fd, boot->text + length, sizeof boot->text - length)) > 0;) length += (size_t)got;
  close(fd);
  if (length == 0 || length == sizeof boot->text || boot->text[length - 1] != 0) return "its boot file is not whole";
  boot->helper_count = boot->tap_count = 0;
  boot->qemu.args = NULL;
  int begin = 0, count = 0;
  for (char *at = boot->text, *end = boot->text + length; at < end; at += strlen(at) + 1) {
    if (count == MAX_ARGS) return "its boot file has too many words";
    boot->words[count++] = *at ? at : NULL;
    if (*at) continue;
    const char *wrong = take_list(boot, boot->words + begin, count - 1 - begin);
    if (wrong) return wrong;
    begin = count;
  }
  return boot->qemu.args ? NULL : "its boot file has no QEMU";
}

static const char *take_list(struct boot *boot, char **list, int length) {
  if (length >= 4 && strcmp(list[0], "helper") == 0 && boot->helper_count < MAX_HELPERS) {
    boot->helpers[boot->helper_count++] = (struct program){list[1], (uid_t)strtoul(list[2], NULL, 10), list + 3};
    return NULL;
  }
  if (length == 2 && strcmp(list[0], "tap") == 0 && boot->tap_count < MAX_TAPS) {
    boot->taps[boot->tap_count++] = list[1];
    return NULL;
  }
  uid_t user = length >= 3 ? (uid_t)strtoul(list[1], NULL, 10) : 0;
  if (user == 0 || strcmp(list[0], "qemu") != 0) return "its boot file has a list of an unknown kind";
  boot->qemu = (struct program){"qemu", user, list + 2};
  return NULL;
}
