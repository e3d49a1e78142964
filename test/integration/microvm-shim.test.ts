import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chown, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { bootFile } from '../../src/runtimes/microvm/boot-file.ts';
import { encodeFields } from '../../src/runtimes/microvm/guest/fields.ts';
import { encodeFrame } from '../../src/runtimes/microvm/guest/frame-codec.ts';
import { lastLines, readConsole } from '../../src/runtimes/microvm/console.ts';
import { frameType } from '../../src/runtimes/microvm/protocol.ts';

/** In place of QEMU runs a shell, whose descriptor 4 is the workload's port and 5 the console; see native/shim/main.c. */
const shim = join(import.meta.dirname, '../../build/isle-shim');
const nobody = 65_534;

const exit = (fields: [string, string][]) => encodeFrame(frameType.exit, 0, encodeFields(fields));
const end = exit([
  ['code', '7'],
  ['oom', '0'],
]);

async function withShim(
  script: string,
  frames: Record<string, Uint8Array>,
  use: (child: ReturnType<typeof spawn>, directory: string) => Promise<void>,
): Promise<void> {
  const directory = await mkdtemp('/tmp/isle-shim-');
  await chown(directory, nobody, nobody);
  for (const [name, frame] of Object.entries(frames))
    await writeFile(join(directory, name), frame, { mode: 0o644 });
  await writeFile(join(directory, 'boot'), bootFile([], ['/bin/busybox', 'sh', '-c', script]));
  const child = spawn(shim, [directory, String(nobody)], { stdio: ['pipe', 'pipe', 'pipe'] });
  try {
    await use(child, directory);
  } finally {
    child.kill('SIGKILL');
    await rm(directory, { recursive: true });
  }
}

async function ended(child: ReturnType<typeof spawn>): Promise<number | null> {
  const { promise, resolve } = Promise.withResolvers<number | null>();
  child.once('close', resolve);
  return await promise;
}

async function textOf(stream: NodeJS.ReadableStream | null): Promise<string> {
  let text = '';
  for await (const chunk of stream!) text += String(chunk);
  return text;
}

const outcome = async (directory: string) => await readFile(join(directory, 'outcome'), 'utf8');

test('output, errors and the exit code are the workload’s, and QEMU is ended after them', async () => {
  const frames = {
    all: Buffer.concat([
      encodeFrame(frameType.stdout, 0, Buffer.from('out\n')),
      encodeFrame(frameType.stderr, 0, Buffer.from('err\n')),
      encodeFrame(frameType.stdout, 0, Buffer.alloc(200_000, 'x')),
      end,
    ]),
  };
  await withShim('cat all >&4; exec sleep 1000', frames, async (child, directory) => {
    const [stdout, stderr, code] = await Promise.all([
      textOf(child.stdout),
      textOf(child.stderr),
      ended(child),
    ]);
    assert.equal(stdout, `out\n${'x'.repeat(200_000)}`);
    assert.equal(stderr, 'err\n');
    assert.equal(code, 7);
    assert.match(await outcome(directory), /^code 7\noom 0\n.*qemu killed 9\n$/s);
  });
});

test('stdin is sent as far as it is granted, and its end', async () => {
  const credit = (bytes: number) => {
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(bytes);
    return encodeFrame(frameType.stdinCredit, 0, payload);
  };
  const script = 'cat four >&4; head -c 13 <&4 >got; cat more >&4; head -c 20 <&4 >>got; cat end >&4';
  await withShim(script, { four: credit(4), more: credit(100), end }, async (child, directory) => {
    child.stdin!.end('abcdef');
    child.stdout!.resume();
    child.stderr!.resume();
    assert.equal(await ended(child), 7);
    assert.deepEqual(
      await readFile(join(directory, 'got')),
      Buffer.concat([
        encodeFrame(frameType.stdin, 0, Buffer.from('abcd')),
        encodeFrame(frameType.stdin, 0, Buffer.from('ef')),
        encodeFrame(frameType.stdinEnd, 0),
      ]),
    );
  });
});

test('a signal is passed on', async () => {
  const frame = encodeFrame(frameType.signal, 0, encodeFields([['signal', '10']]));
  const script = `echo ready; printf ready >&5; head -c ${frame.length} <&4 >got; cat end >&4`;
  await withShim(script, { end }, async (child, directory) => {
    child.stdout!.resume();
    child.stderr!.resume();
    while (!(await readConsole(join(directory, 'console'))).includes('ready'))
      await new Promise((go) => setTimeout(go, 5));
    child.kill('SIGUSR1');
    assert.equal(await ended(child), 7);
    assert.deepEqual(await readFile(join(directory, 'got')), frame);
  });
});

for (const [what, frame, why] of [
  ['a frame of a host', encodeFrame(frameType.stdin, 0, Buffer.from('x')), 'unknown type'],
  ['a frame of a session', encodeFrame(frameType.stdout, 3, Buffer.from('x')), 'session'],
  ['a frame that is too long', Buffer.from([0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 42]), 'too long'],
  ['an exit that is none', exit([['code', '256']]), 'without a code'],
  [
    'half a frame',
    encodeFrame(frameType.stdout, 0, Buffer.from('long')).subarray(0, 11),
    'middle of a frame',
  ],
] as const)
  test(`a guest that sends ${what} is ended, and why is told`, async () => {
    const hold = what === 'half a frame' ? '' : '; exec sleep 1000';
    await withShim(`cat bad >&4${hold}`, { bad: frame }, async (child, directory) => {
      child.stdout!.resume();
      child.stderr!.resume();
      assert.equal(await ended(child), 255);
      assert.match(await outcome(directory), new RegExp(`^broken .*${why}`, 'm'));
    });
  });

test('how QEMU was killed is told, with its last words, and the guest’s console is kept in 64 KiB', async () => {
  const script =
    'i=0; while [ $i -lt 4000 ]; do echo "console line $i of many"; i=$((i+1)); done >&5; echo "went wrong: $(printf \'\\033\')[1m" >&2; kill -9 $$';
  await withShim(script, {}, async (child, directory) => {
    child.stdout!.resume();
    child.stderr!.resume();
    assert.equal(await ended(child), 137);
    assert.match(await outcome(directory), /^qemu killed 9\nqemu-said went wrong: \?\[1m\n$/m);
    const console = await readConsole(join(directory, 'console'));
    assert.equal(console.length, 64 * 1024);
    assert.deepEqual(lastLines(console, 1), ['console line 3999 of many']);
    assert.ok((await stat(join(directory, 'console'))).size <= 64 * 1024 + 16);
  });
});

test('output that nobody reads stops the guest, and goes on when somebody does', async () => {
  const frames = { big: encodeFrame(frameType.stdout, 0, Buffer.alloc(250_000, 'y')), end };
  const script =
    'for n in 1 2 3 4 5 6 7 8; do cat big >&4; done; printf written >&5; cat end >&4; exec sleep 1000';
  await withShim(script, frames, async (child, directory) => {
    child.stderr!.resume();
    await new Promise((go) => setTimeout(go, 300));
    assert.equal(await readConsole(join(directory, 'console')), '', 'the writer waits');
    const [text, code] = await Promise.all([textOf(child.stdout), ended(child)]);
    assert.equal(text.length, 2_000_000);
    assert.equal(code, 7);
  });
});

test('QEMU ends with the shim', async () => {
  await withShim('echo $$ >&5; exec sleep 1000', {}, async (child, directory) => {
    let pid = 0;
    while (pid === 0) pid = Number((await readConsole(join(directory, 'console'))).trim() || 0);
    child.kill('SIGKILL');
    await ended(child);
    const gone = async () =>
      !(await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => ' Z ')).includes(' S ');
    while (!(await gone())) await new Promise((go) => setTimeout(go, 5));
  });
});
