#include "guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Grows by doubling; `count` items of `size` bytes are there. The host is trusted not to send more than a frame of them. */
static void *grown(void *items, size_t count, size_t size) {
  if (count & (count - 1)) return items;
  void *more = realloc(items, (count ? 2 * count : 1) * size);
  if (!more) {
    say("out of memory");
    abort();
  }
  return more;
}

static void append(struct list *list, const char *item) {
  /* Room for the NULL that ends it. */
  size_t used = list->count + 1;
  if (!list->items) list->items = grown(NULL, 0, sizeof *list->items);
  list->items = grown(list->items, used, sizeof *list->items);
  list->items[list->count++] = (char *)item;
  list->items[list->count] = NULL;
}

static bool number(const char *text, uint64_t most, int base, uint64_t *value) {
  char *end;
  errno = 0;
  unsigned long long parsed = strtoull(text, &end, base);
  if (errno || !*text || *end || *text == '-' || parsed > most) {
    errno = EINVAL;
    return false;
  }
  *value = parsed;
  return true;
}

static bool add_rlimit(struct process_spec *process, const char *value) {
  struct rlimit_spec limit;
  unsigned long long soft, hard;
  if (sscanf(value, "%d %llu %llu", &limit.resource, &soft, &hard) != 3) {
    errno = EINVAL;
    return false;
  }
  limit.soft = soft;
  limit.hard = hard;
  process->rlimits = grown(process->rlimits, process->rlimit_count, sizeof limit);
  process->rlimits[process->rlimit_count++] = limit;
  return true;
}

static bool process_field(struct process_spec *process, const char *name, const char *value) {
  uint64_t parsed = 0;
  bool sound = true;
  if (!strcmp(name, "arg")) append(&process->args, value);
  else if (!strcmp(name, "env")) append(&process->env, value);
  else if (!strcmp(name, "cwd")) process->cwd = value;
  else if (!strcmp(name, "tty")) process->tty = true;
  else if (!strcmp(name, "stdin")) process->in = true;
  else if (!strcmp(name, "detached")) process->detached = true;
  else if (!strcmp(name, "noNewPrivileges")) process->no_new_privileges = true;
  else if (!strcmp(name, "rlimit")) sound = add_rlimit(process, value);
  else if (!strcmp(name, "oomScoreAdj")) process->oom_score_adj = atoi(value);
  else if (!strcmp(name, "capabilities")) sound = number(value, UINT64_MAX, 16, &process->capabilities);
  else if (!strcmp(name, "uid") && (sound = number(value, UINT32_MAX - 1, 10, &parsed))) process->uid = parsed;
  else if (!strcmp(name, "gid") && (sound = number(value, UINT32_MAX - 1, 10, &parsed))) process->gid = parsed;
  else if (!strcmp(name, "columns") && (sound = number(value, UINT16_MAX, 10, &parsed))) process->columns = parsed;
  else if (!strcmp(name, "rows") && (sound = number(value, UINT16_MAX, 10, &parsed))) process->rows = parsed;
  else if (!strcmp(name, "group") && (sound = number(value, UINT32_MAX - 1, 10, &parsed))) {
    process->groups = grown(process->groups, process->group_count, sizeof *process->groups);
    process->groups[process->group_count++] = parsed;
  }
  return sound;
}

static bool link_field(struct link_spec *link, const char *name, const char *value) {
  uint64_t mtu;
  if (!strcmp(name, "name")) link->name = value;
  else if (!strcmp(name, "boot")) link->boot_mac = value;
  else if (!strcmp(name, "address")) append(&link->addresses, value);
  else if (!strcmp(name, "route")) append(&link->routes, value);
  else if (!strcmp(name, "neighbour")) append(&link->neighbours, value);
  else if (!strcmp(name, "sysctl")) append(&link->sysctls, value);
  else if (!strcmp(name, "mtu")) {
    if (!number(value, 1 << 20, 10, &mtu)) return false;
    link->mtu = mtu;
  }
  return true;
}

static void add_link(struct run_spec *spec, const char *mac) {
  spec->links = grown(spec->links, spec->link_count, sizeof *spec->links);
  spec->links[spec->link_count++] = (struct link_spec){.mac = mac, .name = ""};
}

static void add_mount(struct run_spec *spec, const char *type) {
  spec->mounts = grown(spec->mounts, spec->mount_count, sizeof *spec->mounts);
  spec->mounts[spec->mount_count++] = (struct mount_spec){.type = type, .target = ""};
}

static bool spec_field(struct run_spec *spec, const char *name, const char *value) {
  if (!strcmp(name, "share.tag")) spec->share_tag = value;
  else if (!strcmp(name, "share.directory")) spec->share_directory = value;
  else if (!strcmp(name, "hostname")) spec->hostname = value;
  else if (!strcmp(name, "domainname")) spec->domainname = value;
  else if (!strcmp(name, "readonlyRoot")) spec->readonly_root = true;
  else if (!strcmp(name, "init")) spec->init = true;
  else if (!strcmp(name, "seed")) spec->seed = value;
  else if (!strcmp(name, "pidsLimit")) return number(value, INT32_MAX, 10, &spec->pids_limit);
  else if (!strcmp(name, "time")) return number(value, INT64_MAX, 10, &spec->time);
  else if (!strcmp(name, "submount")) append(&spec->submounts, value);
  else if (!strcmp(name, "masked")) append(&spec->masked, value);
  else if (!strcmp(name, "readonly")) append(&spec->readonly, value);
  else if (!strcmp(name, "sysctl")) append(&spec->sysctls, value);
  else if (!strcmp(name, "link")) add_link(spec, value);
  else if (!strncmp(name, "link.", 5) && spec->link_count)
    return link_field(&spec->links[spec->link_count - 1], name + 5, value);
  else if (!strcmp(name, "mount")) add_mount(spec, value);
  else if (!strcmp(name, "mount.target") && spec->mount_count) spec->mounts[spec->mount_count - 1].target = value;
  else if (!strcmp(name, "mount.option") && spec->mount_count)
    append(&spec->mounts[spec->mount_count - 1].options, value);
  else return process_field(&spec->process, name, value);
  return true;
}

struct run_spec *parse_spec(const void *payload, size_t size, struct failure *failure) {
  struct run_spec *spec = calloc(1, sizeof *spec);
  char *copy = malloc(size ? size : 1);
  if (!spec || !copy) {
    fail(failure, "read the request", NULL);
    free(spec);
    free(copy);
    return NULL;
  }
  memcpy(copy, payload, size);
  *spec = (struct run_spec){.payload = copy, .share_tag = "", .share_directory = "", .hostname = "", .domainname = "",
                            .seed = "", .process = {.cwd = "/"}};
  struct fields fields = {copy, copy + size};
  const char *name, *value;
  while (next_field(&fields, &name, &value))
    if (!spec_field(spec, name, value)) {
      fail(failure, "read the request", name);
      free_spec(spec);
      return NULL;
    }
  if (spec->process.args.count == 0) {
    errno = EINVAL;
    fail(failure, "read the request", "no command");
    free_spec(spec);
    return NULL;
  }
  return spec;
}

void free_spec(struct run_spec *spec) {
  for (size_t index = 0; index < spec->link_count; index++) {
    struct link_spec *link = &spec->links[index];
    free(link->addresses.items);
    free(link->routes.items);
    free(link->neighbours.items);
    free(link->sysctls.items);
  }
  for (size_t index = 0; index < spec->mount_count; index++) free(spec->mounts[index].options.items);
  free(spec->links);
  free(spec->mounts);
  free(spec->submounts.items);
  free(spec->masked.items);
  free(spec->readonly.items);
  free(spec->sysctls.items);
  free(spec->process.args.items);
  free(spec->process.env.items);
  free(spec->process.groups);
  free(spec->process.rlimits);
  free(spec->payload);
  free(spec);
}
