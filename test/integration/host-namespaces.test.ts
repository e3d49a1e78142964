import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { mount, setPropagation, unmount } from '../../src/host/mount.ts';
import { AF, createNetns, readInNetns, SOCK, socketIn, writeInNetns } from '../../src/host/namespaces.ts';
import { closeFd } from '../../src/host/paths.ts';

let root: string;
before(async () => {
  root = mkdtempSync(join(tmpdir(), 'isle-netns-'));
  await mount('tmpfs', root, 'tmpfs');
  await setPropagation(root, 'private');
});
after(async () => {
  await unmount(root, { detach: true });
  rmSync(root, { recursive: true });
});

function threadNetns(): string[] {
  return readdirSync('/proc/self/task').flatMap((tid) => {
    try {
      return [readlinkSync(`/proc/self/task/${tid}/ns/net`)];
    } catch {
      return []; // it has just ended
    }
  });
}

test('a created namespace is another one, lives on its file, and no thread of ours has moved', async () => {
  const path = join(root, 'one');
  await createNetns(path);
  assert.notEqual(statSync(path).ino, statSync('/proc/self/ns/net').ino);
  // The thread that made it is listed until the kernel has cleared it away.
  for (let i = 0; i < 100 && new Set(threadNetns()).size > 1; i++) await delay(10);
  assert.equal(new Set(threadNetns()).size, 1);
  await assert.rejects(createNetns(path), { code: 'EEXIST' });
});

test('files under /proc/sys/net and /proc/thread-self/net are the namespace’s own', async () => {
  const path = join(root, 'two');
  await createNetns(path);
  const host = readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8').trim();
  const other = host === '1' ? '0' : '1';
  await writeInNetns(path, 'net.ipv4.ip_forward', other);
  assert.equal((await readInNetns(path, 'net.ipv4.ip_forward')).trim(), other);
  const devices = await readInNetns(path, '/proc/thread-self/net/dev');
  assert.match(devices, /^\s*lo:/m);
  assert.doesNotMatch(devices, /eth0/);
  await assert.rejects(writeInNetns(path, 'net.ipv4.absent', '1'), { code: 'ENOENT' });
});

test('a socket opened in a namespace belongs to it, and missing namespaces are told', async () => {
  const path = join(root, 'three');
  await createNetns(path, { loopbackUp: false });
  const netlinkRoute = 0;
  const fd = await socketIn(path, AF.netlink, SOCK.raw, netlinkRoute);
  assert.match(readlinkSync(`/proc/self/fd/${fd}`), /^socket:/);
  closeFd(fd);
  await assert.rejects(socketIn(join(root, 'absent'), AF.inet, SOCK.dgram, 0), { code: 'ENOENT' });
});

test('a hundred namespaces at once come and go, and descriptors stay flat', async () => {
  const names = Array.from({ length: 100 }, (_, i) => join(root, `many-${i}`));
  const before = readdirSync('/proc/self/fd').length;
  await Promise.all(names.map((name) => createNetns(name)));
  await Promise.all(names.map((name) => unmount(name, { detach: true })));
  assert.equal(readdirSync('/proc/self/fd').length, before);
});
