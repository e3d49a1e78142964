import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { copyEarly, copyTree, finishCopy } from '../../src/host/tree-copy.ts';
import { tree, openTree, must } from '../../src/host/tree.ts';
import { renewIdentity } from '../../src/storage/renew-identity.ts';

/** Everything that an upper directory may hold, made by the host's own tools. */
const make = `
  cd "$1"
  mkdir -p d/empty d/opaque 'odd
name' && chmod 1777 d/empty && chown 1000:2000 d
  printf x > d/plain && chown 70000:70001 d/plain && chmod 6755 d/plain && touch -d '2001-02-03 04:05:06.123456789' d/plain
  ln d/plain hard1 && ln d/plain 'd/empty/hard2'
  ln -s /nowhere/$(printf '\\377') d/link && chown -h 5:6 d/link && touch -h -d '1999-01-01 00:00:00.5' d/link
  mknod d/whiteout c 0 0 && mknod d/block b 7 300 && mknod d/char c 1 3 && chmod 666 d/char && mkfifo -m 640 d/fifo
  truncate -s 5M d/hole && printf end | dd of=d/hole bs=1 seek=3000000 conv=notrunc status=none
  truncate -s 1T d/huge
  head -c 3000000 /dev/urandom > d/data
  python3 - <<'PY'
import os, socket, struct
os.chdir('d')
s = socket.socket(socket.AF_UNIX); s.bind('socket'); s.close(); os.chmod('socket', 0o751)
os.setxattr('opaque', 'trusted.overlay.opaque', b'y')
os.setxattr('data', 'user.binary', bytes(range(256)))
os.setxattr('data', 'trusted.overlay.origin', b'\\x00\\xfb\\x1d')
os.setxattr('link', 'trusted.note', b'on a link', follow_symlinks=False)
os.setxattr('whiteout', 'trusted.note', b'', follow_symlinks=False)
os.setxattr('data', 'security.capability', bytes.fromhex('0100000200040000000000000000000000000000'))
os.setxattr('empty', 'system.posix_acl_default', struct.pack('<I', 2) + b''.join(
    struct.pack('<HHI', *e) for e in [(1, 7, 0xffffffff), (2, 5, 4242), (4, 5, 0xffffffff), (16, 5, 0xffffffff), (32, 0, 0xffffffff)]))
PY
  touch -d '1980-01-01' d/opaque d/empty d . && chmod 711 . && chown 8:9 .`;

/** One line a name: everything that can be told by looking. */
const describe = `
import os, stat, sys, hashlib
root = os.fsencode(sys.argv[1]); seen = {}
def line(p):
    s = os.lstat(p); rel = os.path.relpath(p, root)
    first = seen.setdefault(s.st_ino, rel) if s.st_nlink > 1 and not stat.S_ISDIR(s.st_mode) else None
    x = sorted((k, os.getxattr(p, k, follow_symlinks=False)) for k in os.listxattr(p, follow_symlinks=False))
    body = os.readlink(p) if stat.S_ISLNK(s.st_mode) else None
    if stat.S_ISREG(s.st_mode) and s.st_size < 1 << 30: body = hashlib.sha256(open(p, 'rb').read()).hexdigest()
    small = s.st_blocks * 512 < s.st_size if stat.S_ISREG(s.st_mode) else None
    print(rel, oct(s.st_mode), s.st_uid, s.st_gid, None if stat.S_ISDIR(s.st_mode) else s.st_size, s.st_rdev, s.st_mtime_ns, first, x, body, small)
for d, ds, fs in os.walk(root):
    ds.sort()
    line(d)
    for f in sorted(fs + [n for n in ds if os.path.islink(os.path.join(d, n))]): line(os.path.join(d, f))`;

function listing(path: string): string[] {
  return execFileSync('python3', ['-c', describe, path], { encoding: 'utf8' }).trim().split('\n');
}

test('a copy of a tree cannot be told from it', () => {
  const base = mkdtempSync(join(tmpdir(), 'isle-copy-'));
  try {
    const [from, to] = [join(base, 'from'), join(base, 'to')];
    for (const path of [from, to]) mkdirSync(path);
    execFileSync('sh', ['-ec', make, 'sh', from]);
    copyTree(from, to);
    const [want, got] = [listing(from), listing(to)];
    assert.ok(want.length >= 17, want.join('\n'));
    assert.deepEqual(got, want);
    assert.throws(() => copyTree(from, to), { code: 'EEXIST' });
  } finally {
    rmSync(base, { recursive: true });
  }
});

/** What can happen between the two parts of a copy. */
const change = `
  cd "$1"
  mkdir -p a/x b/x; echo a > a/x/f; echo b > b/x/f; mv a c; mv b a; mv c b
  printf y | dd of=d/plain bs=1 count=1 conv=notrunc status=none
  printf 'more' >> d/data; truncate -s 6M d/hole; chmod 600 d/char; chown 77:78 d/fifo
  rm hard1; ln d/block block2; ln -sf elsewhere d/link
  rm -rf d/empty; echo now-a-file > d/empty; rm d/socket; mkdir d/socket; touch d/socket/in
  mkdir new; echo n > new/n; mv moved-away/inner moved-here; rm gone
  setfattr -x trusted.overlay.opaque d/opaque 2>/dev/null || python3 -c "import os; os.removexattr('d/opaque', 'trusted.overlay.opaque')"
  python3 -c "
import mmap, os
f = open('mapped', 'r+b'); m = mmap.mmap(f.fileno(), 0); m[5000:5004] = b'late'; m.flush()"
  touch -d '1970-01-05' d/data d; chmod 700 .`;

test('a copy in two parts is the same as one that is made at the end', () => {
  const base = mkdtempSync(join(tmpdir(), 'isle-copy-'));
  try {
    const [from, to] = [join(base, 'from'), join(base, 'to')];
    for (const path of [from, to]) mkdirSync(path);
    execFileSync('sh', ['-ec', make, 'sh', from]);
    const before =
      'cd "$1"; mkdir -p a/x b/x moved-away/inner/deep; echo 1 > a/x/f; echo 2 > b/x/f; echo g > gone; echo kept > kept; head -c 9000 /dev/zero > mapped; sleep 0.5';
    execFileSync('sh', ['-ec', before, 'sh', from]);
    const since = sync(from);
    const early = copyEarly(from, to);
    const kept = statSync(join(to, 'kept')).ino;
    execFileSync('sh', ['-ec', change, 'sh', from]);
    finishCopy(from, to, early, since);
    assert.deepEqual(listing(to), listing(from));
    assert.equal(statSync(join(to, 'kept')).ino, kept, 'what did not change was copied twice');
    finishCopy(from, to, early, 0);
    assert.deepEqual(listing(to), listing(from));
  } finally {
    rmSync(base, { recursive: true });
  }
});

test('a copy in two parts of a tree that is written to all the time is right, whatever the first part met', async () => {
  const base = mkdtempSync(join(tmpdir(), 'isle-copy-'));
  const [from, to] = [join(base, 'from'), join(base, 'to')];
  for (const path of [from, to]) mkdirSync(path);
  const writer = spawn('python3', ['-c', busy], { cwd: from, stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(writer.stdout!, 'data');
    for (let round = 0; round < 5; round++) {
      for (const path of readdirSync(to)) rmSync(join(to, path), { recursive: true });
      const since = sync(from);
      let early: Map<number, number> = new Map();
      try {
        early = copyEarly(from, to);
      } catch {
        // A directory was moved away under it: as the daemon does, all over again.
        for (const path of readdirSync(to)) rmSync(join(to, path), { recursive: true });
      }
      writer.kill('SIGSTOP');
      await stopped(writer.pid!);
      finishCopy(from, to, early, since);
      assert.deepEqual(listing(to), listing(from));
      writer.kill('SIGCONT');
    }
  } finally {
    writer.kill('SIGKILL');
    await once(writer, 'close');
    rmSync(base, { recursive: true });
  }
});

/** Writes, maps, moves, links and removes without a pause. */
const busy = `
import os, random, mmap, shutil
r = random.Random(1)
for i in range(20):
  os.makedirs(f'd{i}/s', exist_ok=True)
  for j in range(20): open(f'd{i}/f{j}', 'wb').write(os.urandom(5000))
open('mapped', 'wb').write(bytes(1 << 20)); f = open('mapped', 'r+b'); m = mmap.mmap(f.fileno(), 0)
print('ready', flush=True)
n = 0
while True:
  n += 1
  at = r.randrange(1 << 20); m[at:at+1] = bytes([n & 255])
  p = f'd{r.randrange(20)}/f{r.randrange(25)}'; q = f'd{r.randrange(20)}/f{r.randrange(25)}'
  try:
    k = r.randrange(9)
    if k == 0: os.rename(p, q)
    elif k == 1: open(p, 'r+b').write(b'%d' % n)
    elif k == 2: os.unlink(p)
    elif k == 3: os.link(p, q)
    elif k == 4: open(p, 'wb').write(b'new %d' % n)
    elif k == 5 and n % 7 == 0: os.rename(f'd{r.randrange(20)}/s', f'd{r.randrange(20)}/t')
    elif k == 6 and n % 7 == 0: os.rename(f'd{r.randrange(20)}/t', f'd{r.randrange(20)}/s')
    elif k == 7: os.symlink(q, p)
    elif k == 8: os.chmod(p, r.randrange(512))
  except OSError: pass`;

function sync(path: string): number {
  const since = Date.now() - 100;
  const fd = openTree(path);
  must(tree.treeSyncfs(fd), 'syncfs', path);
  tree.treeClose(fd);
  return since;
}

async function stopped(pid: number): Promise<void> {
  while (!/\) T /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))) await sleep(5);
}

test('a very deep tree is copied with a handful of descriptors', () => {
  const base = mkdtempSync(join(tmpdir(), 'isle-copy-'));
  try {
    const [from, to] = [join(base, 'from'), join(base, 'to')];
    for (const path of [from, to]) mkdirSync(path);
    const deep = `import os\nfor _ in range(3000):\n  os.mkdir('directory'); os.chdir('directory')\nopen('file', 'w').write('x')`;
    execFileSync('python3', ['-c', deep], { cwd: from });
    const script = `import { copyTree } from ${JSON.stringify(join(import.meta.dirname, '../../src/host/tree-copy.ts'))}; copyTree(process.argv[1], process.argv[2]);`;
    const limited = [
      '-c',
      'ulimit -n 64; exec "$@"',
      'sh',
      process.execPath,
      '--input-type=module-typescript',
      '-e',
    ];
    execFileSync('sh', [...limited, script, from, to], { stdio: ['ignore', 'inherit', 'ignore'] });
    const count = `import os\nn = 0\nwhile os.listdir() == ['directory']:\n  os.chdir('directory'); n += 1\nprint(n, os.listdir())`;
    assert.equal(execFileSync('python3', ['-c', count], { cwd: to, encoding: 'utf8' }), "3000 ['file']\n");
  } finally {
    execFileSync('rm', ['-rf', base]);
  }
});

test("a clone's machine-id is emptied where it is a file of the container's own, and nothing else is touched", () => {
  const base = mkdtempSync(join(tmpdir(), 'isle-copy-'));
  const cases = `
    mkdir -p own/etc none/etc link/etc up/target deleted/etc linked/etc
    printf '0123456789abcdef0123456789abcdef\\n' | tee own/etc/machine-id canary up/target/machine-id linked/etc/machine-id > /dev/null
    ln -s ../../canary link/etc/machine-id; ln -s target up/etc; mknod deleted/etc/machine-id c 0 0
    ln linked/etc/machine-id linked/other`;
  try {
    execFileSync('sh', ['-ec', cases], { cwd: base });
    for (const name of ['own', 'none', 'link', 'up', 'deleted', 'linked']) renewIdentity(join(base, name));
    const sizes = execFileSync(
      'stat',
      ['-c', '%s', 'own/etc/machine-id', 'canary', 'up/target/machine-id', 'linked/other'],
      {
        cwd: base,
        encoding: 'utf8',
      },
    );
    assert.equal(sizes, '0\n33\n33\n33\n');
    writeFileSync(join(base, 'own/etc/machine-id'), 'again');
  } finally {
    rmSync(base, { recursive: true });
  }
});
