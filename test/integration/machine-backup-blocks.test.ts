import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { MachineBlocks, MachineHardware } from '../../src/engine/machine.ts';
import { withQmp } from '../../src/host/qmp/connect.ts';
import { liveBlocks } from '../../src/runtimes/machine/control/backup.ts';
import { idleBlocks } from '../../src/runtimes/machine/idle-blocks.ts';
import { HandMachine, machineDisk, machineSpec } from '../fixtures/by-hand.ts';

const directory = mkdtempSync(join(tmpdir(), 'isle-backup-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const gib = 2 ** 30;
const mib = 2 ** 20;

test('an increment has what was written since the backup before it, and stands on that', async () => {
  await using guest = await start('increments', { vda: 10 * gib, vdb: gib });
  await guest.write('vda', ['write -P 1 0 20M', 'write -P 2 5G 4M']);
  await guest.write('vdb', ['write -P 3 1M 1M']);
  await guest.copy('one', { quiesce: false });
  await guest.write('vda', ['write -P 4 2G 100M', 'write -z 1M 1M', 'discard 2M 1M']);
  await guest.copy('two', { since: 'one' });
  await guest.write('vda', ['write -P 5 3G 1M']);
  await guest.copy('three', { since: 'two' });
  await guest.machine.quit();
  for (const disk of ['vda', 'vdb'])
    execFileSync('qemu-img', [
      'compare',
      '-f',
      'qcow2',
      '-F',
      'qcow2',
      guest.disk(disk),
      guest.file('three', disk),
    ]);
  const { size } = await stat(guest.file('two', 'vda'));
  assert.ok(size > 100 * mib && size < 120 * mib, `${size} bytes for 100 MiB`);
  assert.ok((await stat(guest.file('three', 'vda'))).size < 3 * mib);
  const names = execFileSync('qemu-img', ['info', '--output=json', guest.file('three', 'vda')], {
    encoding: 'utf8',
  });
  assert.match(names, /"backing-filename": "\.\.\/two\/vda\.qcow2"/);
  assert.match(names, /"backing-filename-format": "qcow2"/);
});

test('a copy that is given up leaves no job, node or bitmap, and the next increment loses nothing', async () => {
  await using guest = await start('aborted', { vda: gib });
  await guest.write('vda', ['write -P 1 0 64M']);
  await guest.copy('one', {});
  await guest.write('vda', ['write -P 2 100M 200M']);
  const abort = new AbortController();
  await assert.rejects(
    guest.copy('two', {
      since: 'one',
      signal: abort.signal,
      onBegun: () => abort.abort(new Error('enough')),
    }),
    /enough/,
  );
  assert.deepEqual(await guest.left(), { jobs: [], nodes: [], bitmaps: ['one'] });
  await guest.write('vda', ['write -P 3 500M 1M']);
  await guest.copy('three', { since: 'one', parent: 'one' });
  await guest.machine.quit();
  execFileSync('qemu-img', [
    'compare',
    '-f',
    'qcow2',
    '-F',
    'qcow2',
    guest.disk('vda'),
    guest.file('three', 'vda'),
  ]);
});

test('what a daemon that died left is taken away', async () => {
  await using guest = await start('abandoned', { vda: gib });
  await guest.write('vda', ['write -P 1 0 64M']);
  await withQmp(guest.machine.socket, async (qmp) => {
    const file = guest.file('half', 'vda');
    mkdirSync(join(guest.root, 'half'));
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', file, '1G']);
    await qmp.execute('blockdev-add', { driver: 'file', 'node-name': 'backup-file-vda', filename: file });
    await qmp.execute('blockdev-add', {
      driver: 'qcow2',
      'node-name': 'backup-vda',
      file: 'backup-file-vda',
    });
    const copy = { 'job-id': 'backup-vda', device: 'disk-vda', target: 'backup-vda', sync: 'full', speed: 1 };
    const bitmap = { node: 'disk-vda', name: 'isle-backup-half', persistent: true };
    await qmp.execute('transaction', {
      actions: [
        { type: 'block-dirty-bitmap-add', data: bitmap },
        { type: 'blockdev-backup', data: { ...copy, 'auto-dismiss': false } },
      ],
    });
  });
  {
    await using blocks = await guest.blocks();
    await blocks.abandon();
    await blocks.removeBitmaps(['half']);
  }
  assert.deepEqual(await guest.left(), { jobs: [], nodes: [], bitmaps: [] });
});

test('a machine that does not run is copied by a confined storage daemon, in the same chain', async () => {
  const disks = { vda: gib };
  const root = join(directory, 'idle');
  const never = new AbortController().signal;
  {
    await using guest = await start('idle', disks);
    await guest.write('vda', ['write -P 1 0 64M']);
    await guest.copy('one', {});
    await guest.write('vda', ['write -P 2 100M 10M']);
    await guest.machine.quit();
  }
  await using blocks = idleBlocks({
    spec: machineSpec([machineDisk('vda')]),
    directory: root,
    disks: [{ path: join(root, 'vda.qcow2'), chain: [] }],
  });
  assert.deepEqual(await bitmapsOf(blocks), [{ name: 'one', whole: true, changed: 10 * mib }]);
  const file = join(root, 'two/vda.qcow2');
  mkdirSync(join(root, 'two'));
  writeFileSync(file, '', { mode: 0o600 });
  const since = { bitmap: 'one', backing: '../one/vda.qcow2' };
  await blocks.copy({
    next: 'two',
    quiesce: false,
    signal: never,
    onProgress: () => undefined,
    disks: [{ target: 'vda', size: gib, file, track: true, since }],
  });
  assert.ok((await stat(file)).size < 12 * mib);
  await blocks.removeBitmaps(['one']);
  assert.deepEqual(await bitmapsOf(blocks), [{ name: 'two', whole: true, changed: 0 }]);
  execFileSync('qemu-img', ['compare', '-f', 'qcow2', '-F', 'qcow2', join(root, 'vda.qcow2'), file]);
  {
    await using guest = await start('idle', disks);
    await guest.write('vda', ['write -P 3 200M 1M']);
    await guest.copy('three', { since: 'two' });
    assert.ok((await stat(guest.file('three', 'vda'))).size < 3 * mib);
    await assert.rejects(blocks.disks(), /in use/);
  }
});

test('a bitmap of a QEMU that was killed is not whole', async () => {
  const disks = { vda: gib };
  {
    await using guest = await start('killed', disks);
    await guest.copy('one', {});
    await guest.machine.quit();
  }
  {
    await using guest = await start('killed', disks);
    await using blocks = await guest.blocks();
    assert.deepEqual(await bitmapsOf(blocks), [{ name: 'one', whole: true, changed: 0 }]);
    await guest.machine.kill();
  }
  await using guest = await start('killed', disks);
  await using blocks = await guest.blocks();
  assert.equal((await bitmapsOf(blocks))[0]?.whole, false);
  await blocks.removeBitmaps(['one']);
  assert.deepEqual(await bitmapsOf(blocks), []);
});

async function bitmapsOf(blocks: MachineBlocks) {
  return (await blocks.disks()).flatMap((disk) => disk.bitmaps);
}

interface Copy {
  since?: string;
  parent?: string;
  quiesce?: boolean;
  signal?: AbortSignal;
  onBegun?(): void;
}

async function start(name: string, disks: Record<string, number>): Promise<Guest> {
  const root = join(directory, name);
  mkdirSync(root, { recursive: true });
  const targets = Object.keys(disks);
  const hardware: MachineHardware = {
    spec: machineSpec(targets.map((target) => machineDisk(target))),
    directory: root,
    disks: targets.map((target) => ({ path: join(root, `${target}.qcow2`), chain: [] })),
  };
  for (const [index, target] of targets.entries()) {
    const { path } = hardware.disks[index]!;
    const there = await stat(path).catch(() => undefined);
    if (!there) execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', path, String(disks[target])]);
  }
  const machine = await HandMachine.start(root, hardware);
  const guest = new Guest(root, disks, machine);
  await withQmp(machine.socket, async (qmp) => {
    const addr = { type: 'unix', data: { path: join(root, 'nbd.sock') } };
    await qmp.execute('nbd-server-start', { addr });
    for (const target of targets)
      await qmp.execute('block-export-add', {
        type: 'nbd',
        id: `e-${target}`,
        'node-name': `disk-${target}`,
        name: target,
        writable: true,
      });
  });
  return guest;
}

class Guest implements AsyncDisposable {
  readonly root: string;
  readonly machine: HandMachine;
  readonly #disks: Record<string, number>;

  constructor(root: string, disks: Record<string, number>, machine: HandMachine) {
    this.root = root;
    this.#disks = disks;
    this.machine = machine;
  }

  disk(target: string): string {
    return join(this.root, `${target}.qcow2`);
  }

  file(backup: string, target: string): string {
    return join(this.root, backup, `${target}.qcow2`);
  }

  async blocks() {
    return await liveBlocks(this.machine.live, async () => ({
      [Symbol.asyncDispose]: async () => undefined,
    }));
  }

  /** As the guest would. */
  async write(target: string, commands: string[]): Promise<void> {
    const url = `nbd+unix:///${target}?socket=${join(this.root, 'nbd.sock')}`;
    execFileSync('qemu-io', ['-f', 'raw', '-d', 'unmap', ...commands.flatMap((one) => ['-c', one]), url]);
  }

  async copy(next: string, { since, parent = since, quiesce = false, signal, onBegun }: Copy): Promise<void> {
    mkdirSync(join(this.root, next));
    await using blocks = await this.blocks();
    await blocks.copy({
      next,
      quiesce,
      signal: signal ?? new AbortController().signal,
      onProgress: () => onBegun?.(),
      disks: Object.entries(this.#disks).map(([target, size]) => {
        writeFileSync(this.file(next, target), '');
        const increment = since ? { since: { bitmap: since, backing: `../${parent}/${target}.qcow2` } } : {};
        return { target, size, file: this.file(next, target), track: true, ...increment };
      }),
    });
  }

  async left(): Promise<{ jobs: unknown[]; nodes: string[]; bitmaps: string[] }> {
    await using blocks = await this.blocks();
    const bitmaps = (await blocks.disks()).flatMap((disk) => disk.bitmaps.map(({ name }) => name));
    return await withQmp(this.machine.socket, async (qmp) => {
      const nodes = await qmp.execute<{ 'node-name': string }[]>('query-named-block-nodes', { flat: true });
      return {
        jobs: await qmp.execute<unknown[]>('query-jobs'),
        nodes: nodes.map((node) => node['node-name']).filter((node) => node.startsWith('backup-')),
        bitmaps,
      };
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine[Symbol.asyncDispose]();
  }
}
