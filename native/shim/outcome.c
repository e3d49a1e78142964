/* Beside the children's ends: `code 3`, `oom 1`, `killed qemu` (by the shim), `broken WHY`. */
#include "shim.h"

void outcome_write(const struct port *port, const struct child *children, int count, bool killed) {
  FILE *file = outcome_begin();
  if (!file) return;
  if (port->exited) fprintf(file, "code %d\noom %d\n", port->code, port->oom);
  if (killed) fputs("killed qemu\n", file);
  if (port->broken) fprintf(file, "broken %s\n", port->broken);
  for (int i = 0; i < count; i++) outcome_child(file, &children[i]);
  outcome_end(file);
}
