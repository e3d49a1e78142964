#include "guest.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int fail(struct failure *failure, const char *what, const char *detail) {
  failure->code = errno;
  snprintf(failure->what, sizeof failure->what, "%s", what);
  snprintf(failure->detail, sizeof failure->detail, "%s", detail ? detail : "");
  return -1;
}

void say(const char *format, ...) {
  char line[512];
  va_list values;
  va_start(values, format);
  int size = vsnprintf(line, sizeof line - 1, format, values);
  va_end(values);
  if (size < 0) return;
  if ((size_t)size > sizeof line - 2) size = sizeof line - 2;
  line[size] = '\n';
  dprintf(2, "isle: %.*s", size + 1, line);
}
