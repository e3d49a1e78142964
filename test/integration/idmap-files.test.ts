import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { DockerClient } from '../fixtures/docker-client.ts';

/** What a program may do with files, in the root, a bind and a volume: the same in a user namespace and in a guest. */
let daemon: TestDaemon;
let docker: DockerClient;
const here = mkdtempSync(join(tmpdir(), 'isle-files-'));

before(async () => {
  daemon = await startDaemon();
  docker = new DockerClient(daemon.host);
  writeFileSync(join(here, 'program.c'), program);
  execFileSync('gcc', ['-static', '-o', join(here, 'program'), join(here, 'program.c')]);
  await docker.ok('create', '--name', 'maker', 'busybox', 'true');
  await docker.ok('cp', join(here, 'program'), 'maker:/bin/program');
  await docker.ok('commit', 'maker', 'program');
  await docker.ok('rm', 'maker');
});

after(async () => {
  docker[Symbol.dispose]();
  rmSync(here, { recursive: true });
  await daemon.close();
});

const isolations = {
  container: ['--userns', 'host'],
  'user namespace': ['--security-opt', 'userns=auto'],
  microVM: ['--runtime', 'microvm'],
};

for (const [name, flags] of Object.entries(isolations))
  test(`files of a ${name}`, async () => {
    const bind = join(here, name);
    mkdirSync(bind);
    const script = 'mkdir /root/place; for place in /root/place /bind /volume; do program $place; done';
    const places = ['-v', `${bind}:/bind`, '-v', 'files:/volume'];
    const output = await docker.ok(
      'run',
      '--name',
      'files',
      ...flags,
      ...places,
      'program',
      'sh',
      '-c',
      script,
    );
    const root = name === 'container';
    // FUSE knows O_TMPFILE from Linux 6.2 on: programs make a file with a name instead.
    const temporary = name === 'microVM' ? /^temporary (ok|Operation not supported)$/ : /^temporary ok$/;
    const lines = output.split('\n');
    assert.equal(lines.length, expected.length * 3, output);
    for (const [at, line] of lines.entries()) {
      const wanted = expected[at % expected.length]!;
      if (wanted === 'temporary') assert.match(line, temporary);
      else if (wanted === 'node') assert.equal(line, root ? 'node ok' : 'node Operation not permitted');
      else assert.equal(line, wanted);
    }
    const { uid, gid, mode } = lstatSync(join(bind, 'file'));
    assert.deepEqual([uid, gid, mode & 0o7777], [1000, 1001, 0o4755]);
    assert.equal(lstatSync(join(bind, 'directory')).uid, 0);
    assert.match(await docker.ok('diff', 'files'), /^A \/root\/place\/file$/m);
    // What was written belongs, on the disk, to whom it belongs inside.
    await docker.ok('commit', 'files', 'written');
    const stat = ['stat', '-c', '%u:%g %a', '/root/place/file'];
    assert.equal(await docker.ok('run', '--rm', 'written', ...stat), '1000:1001 4755');
    await docker.ok('rm', '-v', 'files');
    await docker.ok('rmi', 'written');
    await docker.ok('volume', 'rm', 'files');
  });

const expected = [
  'create ok',
  'chown ok',
  'owner 1000:1001',
  'capability ok',
  'capability of 20 bytes',
  'user attribute ok',
  'trusted attribute Operation not permitted',
  'node',
  'fifo ok',
  'temporary',
  'link ok',
  'rename ok',
  'exchange ok',
  'no replacing File exists',
  'symbolic link ok',
  'truncate ok',
  'hole ok',
  'lock ok',
  'setuid ok',
  'mode 4755 links 2',
  'directory ok',
];

const program = `
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
static void say(const char *what, long result) { printf("%s %s\\n", what, result < 0 ? strerror(errno) : "ok"); }
int main(int argc, char **argv) {
  if (argc != 2 || chdir(argv[1])) return 1;
  struct stat st;
  char value[64];
  const unsigned char capability[20] = {1, 0, 0, 2, 0, 4};
  struct flock whole = {.l_type = F_WRLCK};
  int fd = open("file", O_CREAT | O_RDWR, 0644);
  say("create", fd);
  say("chown", fchown(fd, 1000, 1001));
  fstat(fd, &st);
  printf("owner %d:%d\\n", (int)st.st_uid, (int)st.st_gid);
  say("capability", setxattr("file", "security.capability", capability, sizeof capability, 0));
  printf("capability of %ld bytes\\n", (long)getxattr("file", "security.capability", value, sizeof value));
  say("user attribute", setxattr("file", "user.x", "1", 1, 0));
  say("trusted attribute", setxattr("file", "trusted.overlay.opaque", "y", 1, 0));
  say("node", mknod("node", S_IFCHR | 0666, makedev(1, 3)));
  say("fifo", mknod("fifo", S_IFIFO | 0666, 0));
  say("temporary", open(".", O_TMPFILE | O_RDWR, 0600));
  say("link", link("file", "hard"));
  say("rename", rename("hard", "moved"));
  say("exchange", renameat2(AT_FDCWD, "file", AT_FDCWD, "moved", RENAME_EXCHANGE));
  say("no replacing", renameat2(AT_FDCWD, "file", AT_FDCWD, "moved", RENAME_NOREPLACE));
  say("symbolic link", symlink("file", "symbolic"));
  say("truncate", ftruncate(fd, 1 << 20));
  say("hole", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
  say("lock", fcntl(fd, F_SETLK, &whole));
  say("setuid", chmod("file", 04755));
  stat("file", &st);
  printf("mode %o links %d\\n", st.st_mode & 07777, (int)st.st_nlink);
  say("directory", mkdir("directory", 0755));
  return 0;
}
`;
