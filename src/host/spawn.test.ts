import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { errnoOf } from '../lib/errors.ts';
import { spawnProgram } from './spawn.ts';

const env = { PATH: '/bin:/usr/bin', WHO: 'me and you' };

test('a program gets its arguments, environment, directory and descriptors, and no others', async () => {
  const file = openSync('/etc/hostname', 'r');
  const script =
    'echo "$1|$WHO|$PWD"; ls -1 /proc/self/fd | wc -l; read line <&5; echo "got $line"; readlink /proc/self/fd/4';
  const program = await spawnProgram('/bin/sh', ['-c', `{ ${script}; } >&3`, 'sh', "it's"], {
    env,
    cwd: '/usr',
    descriptors: ['null', 'null', 'null', 'out', file, 'in'],
  });
  closeSync(file);
  program.pipes.get(5)!.end('hello\n');
  const lines = (await text(program.pipes.get(3)!)).trim().split('\n');
  assert.deepEqual(lines, ["it's|me and you|/usr", '7', 'got hello', '/etc/hostname']);
  await program.ended;
});

test('signals are as a fresh program expects them', async () => {
  const program = await spawnProgram('/bin/cat', ['/proc/self/status'], {
    env,
    cwd: '/',
    descriptors: ['null', 'out', 'null'],
  });
  const status = await text(program.pipes.get(1)!);
  // Node ignores SIGPIPE; 32 and 33 are the C library's own.
  const ignored = BigInt(`0x${/^SigIgn:\s+(\w+)$/m.exec(status)?.[1]}`);
  assert.equal(ignored & 0x7fffffffn, 0n);
  assert.match(status, /^SigBlk:\s+0+$/m);
});

test('what cannot be executed throws, and nothing is left', async () => {
  const before = readdirSync('/proc/self/fd').length;
  const missing = spawnProgram('/no/such', [], { env, cwd: '/', descriptors: ['null', 'out'] });
  await assert.rejects(missing, (error) => errnoOf(error) === 'ENOENT');
  const place = spawnProgram('/bin/true', [], { env, cwd: '/no/such', descriptors: ['null', 'out'] });
  await assert.rejects(place, (error) => errnoOf(error) === 'ENOENT');
  assert.equal(readdirSync('/proc/self/fd').length, before);
});

test('an ended program is no zombie, and its descriptors are gone', async () => {
  const descriptors = () => readdirSync('/proc/self/fd').filter((fd) => !isGone(fd)).length;
  const before = descriptors();
  for (let i = 0; i < 50; i++) {
    const { pid, pipes, ended } = await spawnProgram('/bin/true', [], {
      env,
      cwd: '/',
      descriptors: ['null', 'out'],
    });
    pipes.get(1)!.resume();
    await ended;
    assert.throws(() => readFileSync(`/proc/${pid}/stat`));
  }
  assert.ok(descriptors() <= before + 2, `${before} descriptors became ${descriptors()}`);
});

function isGone(fd: string): boolean {
  try {
    readlinkSync(`/proc/self/fd/${fd}`);
    return false;
  } catch {
    return true;
  }
}
