/* What a system call and a new process cost. */
#include "probe.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int probe_calls(long ms) {
  uint64_t start = now_ns(), until = start + (uint64_t)ms * 1000000u, calls = 0, end;
  do {
    for (int i = 0; i < 256; i++) syscall(SYS_getppid);
    calls += 256;
    end = now_ns();
  } while (end < until);
  uint64_t call_ns = end - start, spawns = 0;

  start = now_ns();
  until = start + (uint64_t)ms * 1000000u;
  do {
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) _exit(0);
    waitpid(child, NULL, 0);
    spawns++;
    end = now_ns();
  } while (end < until);
  printf("{\"calls\":{\"count\":%llu,\"ns\":%llu},\"forks\":{\"count\":%llu,\"ns\":%llu}}\n", (unsigned long long)calls,
         (unsigned long long)call_ns, (unsigned long long)spawns, (unsigned long long)(end - start));
  return 0;
}
