import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, beforeEach, describe, test } from 'node:test';
import type { Qmp } from '../../src/host/qmp/qmp.ts';
import { readMemory, writeMemory } from '../../src/runtimes/machine/control/memory-file.ts';
import { snapshotsOf } from '../../src/runtimes/machine/control/snapshot-nodes.ts';
import { fileSnapshots } from '../../src/storage/disks/file-snapshots.ts';

/** QEMU can write to its machine's directory, and answers on its monitor: both are a guest's that has taken it over. */
describe('what a monitor that was taken over leaves for snapshots and saved memory', () => {
  let directory: string;
  let canary: string;
  let path: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'isle-hostile-'));
    canary = join(directory, 'canary');
    path = join(directory, 'saved');
  });
  beforeEach(() => {
    for (const name of readdirSync(directory)) rmSync(join(directory, name), { recursive: true });
    writeFileSync(canary, 'whole');
  });
  after(() => rmSync(directory, { recursive: true }));

  test('memory is written through no link, and over no directory', async () => {
    symlinkSync(canary, `${path}.part`);
    symlinkSync(canary, path);
    await writeMemory(path, Readable.from([Buffer.alloc(1000)]), 1000);
    assert.equal(readFileSync(canary, 'utf8'), 'whole');
    assert.ok(readFileSync(path).subarray(0, 8).equals(Buffer.from('ISLEMEM1')));
  });

  test('a stream without end fills no disk', async () => {
    async function* endless() {
      for (;;) yield Buffer.alloc(1 << 20);
    }
    await assert.rejects(writeMemory(path, Readable.from(endless()), 8 << 20), /more than 8388608 bytes/);
    assert.deepEqual(readdirSync(directory), ['canary']);
  });

  test('memory is read from a plain file only, and waits for nothing', async () => {
    symlinkSync(canary, path);
    await assert.rejects(readMemory(path), { code: 'ELOOP' });
    rmSync(path);
    execFileSync('mkfifo', [path]);
    await assert.rejects(readMemory(path), /it is no file/);
    rmSync(path);
    for (const content of ['', 'ISLEMEM', 'ISLEMEM2rest']) {
      writeFileSync(path, content);
      await assert.rejects(readMemory(path), /does not begin/);
    }
    writeFileSync(path, 'ISLEMEM1this is not zstd');
    const memory = await readMemory(path);
    await assert.rejects(memory.toArray());
  });

  test('a pipe, a link or nonsense in place of the NVRAM has no snapshots', () => {
    execFileSync('mkfifo', [path]);
    assert.deepEqual(fileSnapshots(path), []);
    rmSync(path);
    symlinkSync('/dev/zero', path);
    assert.deepEqual(fileSnapshots(path), []);
    rmSync(path);
    const header = Buffer.alloc(4096, 0xff);
    header.write('QFI\xfb', 'latin1');
    writeFileSync(path, header);
    assert.deepEqual(fileSnapshots(path), []);
    assert.deepEqual(fileSnapshots(join(directory, 'missing')), []);
    assert.ok(existsSync(canary));
  });

  test('answers that no QEMU gives are refused', async () => {
    for (const answer of [undefined, null, 7, 'nodes', {}, { length: 1 }])
      await assert.rejects(snapshotsOf(monitorThatSays(answer)), { code: 'guestBroken' });
    for (const answer of [
      [null],
      [{ image: 7 }],
      [{ image: { snapshots: 'all' } }],
      [{ image: { snapshots: [null] } }],
    ])
      assert.deepEqual([...(await snapshotsOf(monitorThatSays(answer))).values()].flat(), []);
  });
});

function monitorThatSays(answer: unknown): Qmp {
  return { execute: async () => answer } as unknown as Qmp;
}
