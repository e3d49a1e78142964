import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { openScreen, takeScreenshot } from '../../src/runtimes/machine/control/screen.ts';
import type { LiveMachine } from '../../src/runtimes/machine/live-machine.ts';
import { HandMadeMachine } from '../fixtures/live-machine.ts';

describe('the screen of a machine', { concurrency: false }, () => {
  test('is seen as a PNG and through its VNC server, and leaves nothing behind', async () => {
    await using machine = new HandMadeMachine({ boots: false, graphics: true });
    const picture = await takeScreenshot(machine);
    // An independent reader.
    const { stdout } = spawnSync('python3', ['-c', reader], { input: picture, encoding: 'utf8' });
    assert.match(stdout, /^\d{3,4} \d{3,4} sound\n$/);
    assert.deepEqual(
      readdirSync(machine.directory).filter((name) => name.endsWith('.png')),
      [],
    );
    const [one, two] = [await openScreen(machine), await openScreen(machine)];
    for (const viewer of [one, two]) {
      const [greeting] = (await once(viewer, 'data')) as [Buffer];
      assert.equal(greeting.toString(), 'RFB 003.008\n');
      viewer.destroy();
    }
  });

  test('what a monitor that was taken over puts there is not read', async () => {
    await using machine = new HandMadeMachine({ boots: false, graphics: true });
    writeFileSync(join(machine.directory, 'secret'), 'of the host');
    const tricks: [string, (path: string) => void, RegExp][] = [
      ['a link', (path) => symlinkSync(join(machine.directory, 'secret'), path), /ELOOP/],
      ['a directory', (path) => mkdirSync(path), /no file/],
      ['a pipe', (path) => void spawnSync('mkfifo', [path]), /no file/],
      ['no end', (path) => (writeFileSync(path, ''), truncateSync(path, 2 ** 40)), /1099511627776 bytes/],
      ['no picture', (path) => writeFileSync(path, 'x'), /no PNG/],
      ['nothing', () => {}, /ENOENT/],
    ];
    for (const [what, trick, message] of tricks) {
      const hostile: LiveMachine = Object.assign(Object.create(machine) as LiveMachine, {
        hardware: machine.hardware,
        pathOf: (path: string) => path,
        qmp: async () => ({
          execute: async (_: string, { filename }: { filename: string }) => trick(filename),
        }),
      });
      await assert.rejects(takeScreenshot(hostile), { code: 'guestBroken', message }, what);
    }
  });

  test('a machine without one says so', async () => {
    await using machine = new HandMadeMachine({ boots: false });
    await assert.rejects(takeScreenshot(machine), { code: 'conflict', message: /no screen/ });
    await assert.rejects(openScreen(machine), { code: 'conflict', message: /no screen/ });
  });
});

/** Width and height of a PNG whose pixels are all there. */
const reader = `
import struct, sys, zlib
data = sys.stdin.buffer.read()
w, h = struct.unpack('>II', data[16:24])
at, pixels = 8, b''
while at < len(data):
    n, kind = struct.unpack('>I4s', data[at:at + 8])
    if kind == b'IDAT': pixels += data[at + 8:at + 8 + n]
    at += n + 12
print(w, h, 'sound' if len(zlib.decompress(pixels)) == h * (1 + 3 * w) else 'broken')
`;
