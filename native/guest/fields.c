#include "guest.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool next_field(struct fields *fields, const char **name, const char **value) {
  const char *first = memchr(fields->at, 0, fields->end - fields->at);
  if (!first) return false;
  const char *second = memchr(first + 1, 0, fields->end - (first + 1));
  if (!second) return false;
  *name = fields->at;
  *value = first + 1;
  fields->at = second + 1;
  return true;
}

const char *find_field(const void *payload, size_t size, const char *wanted) {
  struct fields fields = {payload, (const char *)payload + size};
  const char *name, *value;
  while (next_field(&fields, &name, &value))
    if (strcmp(name, wanted) == 0) return value;
  return NULL;
}

void put_field(struct text *text, const char *name, const char *format, ...) {
  size_t room = sizeof text->bytes - text->size;
  size_t name_size = strlen(name) + 1;
  va_list values;
  va_start(values, format);
  int size = name_size < room ? vsnprintf(text->bytes + text->size + name_size, room - name_size, format, values) : -1;
  va_end(values);
  if (size < 0 || name_size + size + 1 > room) {
    text->full = true;
    return;
  }
  memcpy(text->bytes + text->size, name, name_size);
  text->size += name_size + size + 1;
}
