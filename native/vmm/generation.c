#define _GNU_SOURCE
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *start_all(struct generation *generation, struct boot *boot, int *fds, int *count);

/* Descriptors of QEMU: 3 is its console, then a connection to each helper, then the taps. */
const char *generation_start(struct generation *generation, int number) {
  /* The names of helpers lie in it. */
  struct boot *boot = malloc(sizeof *boot);
  if (!boot) return "out of memory";
  int fds[MAX_FDS], count = 0;
  *generation = (struct generation){.number = number, .console = -1};
  const char *wrong = boot_read(boot, number);
  if (!wrong) wrong = start_all(generation, boot, fds, &count);
  int helpers = boot->helper_count;
  /* The taps stay open here. */
  for (int i = 0; i < count && i < 1 + helpers; i++) close(fds[i]);
  if (wrong) generation_kill(generation);
  return wrong;
}

static const char *start_all(struct generation *generation, struct boot *boot, int *fds, int *count) {
  static char failure[128];
  int console[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, console) < 0) return "socketpair";
  generation->console = console[0];
  fcntl(console[0], F_SETFL, O_NONBLOCK);
  fds[(*count)++] = console[1];
  generation->user = boot->qemu.user;
  generation->count = 1;
  generation->children[0] = (struct child){.name = "qemu", .words = -1, .ended = true};
  for (int i = 0; i < boot->helper_count; i++) {
    int ends[2];
    struct program *program = &boot->helpers[i];
    struct child *child = &generation->children[generation->count++];
    *child = (struct child){.name = program->name, .words = -1, .ended = true};
    if (!listening_pair(ends)) return "a helper's socket";
    fds[(*count)++] = ends[1];
    bool started = child_start(child, program->args, &ends[0], 1, program->user);
    close(ends[0]);
    if (!started) return "fork";
    child->ended = false;
  }
  for (int i = 0; i < boot->tap_count; i++) {
    int tap = tap_open(boot->taps[i], boot->qemu.user);
    if (tap < 0) {
      snprintf(failure, sizeof failure, "the tap %.15s cannot be opened: %s", boot->taps[i], strerror(errno));
      return failure;
    }
    fds[(*count)++] = tap;
  }
  if (!child_start(&generation->children[0], boot->qemu.args, fds, *count, boot->qemu.user)) return "fork";
  generation->children[0].ended = false;
  return NULL;
}

void generation_kill(struct generation *generation) {
  for (int i = 0; i < generation->count; i++) child_kill(&generation->children[i]);
}

bool generation_over(const struct generation *generation) {
  for (int i = 0; i < generation->count; i++)
    if (!generation->children[i].ended || generation->children[i].words >= 0) return false;
  return generation->console < 0;
}
