import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isle, Terminal } from '../fixtures/command-line.ts';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { consoleShows, tinyMachine } from '../fixtures/tiny-machine.ts';

const mib = 2 ** 20;

let daemon: TestDaemon;
let repository: string;

before(async () => {
  daemon = await startDaemon({ busybox: false });
  repository = join(daemon.root, 'backups');
});
after(async () => await daemon.close());

test('a machine that runs is backed up twice, moved, restored and the same, whatever becomes of the daemon', async () => {
  const { host } = daemon;
  const vm = async (...args: string[]) => {
    const outcome = await isle(host, ['vm', ...args]);
    assert.equal(outcome.code, 0, `${args.join(' ')}: ${outcome.stderr}`);
    return outcome;
  };
  const disk = { Source: { Kind: 'empty', Size: 10 * 1024 * mib } };
  const { Id } = (await daemon.ok('POST', '/isle/v1/machines', tinyMachine('web', { Disks: [disk] }))).json<{
    Id: string;
  }>();
  await daemon.ok('POST', '/containers/web/start');
  await consoleShows(daemon, 'web');
  await guest('yes one | dd of=/dev/vda bs=1M count=2 iflag=fullblock conv=fsync');
  const full = (await vm('backup', 'web', '--to', repository)).stdout.trim();

  await daemon.kill9();
  await daemon.start({ ISLE_FAILPOINT: 'machine.backup.jobs.begun=kill' });
  await guest('dd if=/dev/zero of=/dev/vda bs=1M count=20 seek=4096 conv=fsync');
  await isle(host, ['vm', 'backup', 'web', '--to', repository]);
  assert.ok(await daemon.diesSoon(), 'nobody came by');
  await daemon.start();
  assert.deepEqual(await readdir(join(repository, Id)), [full]);

  const second = await vm('backup', 'web', '--incremental', '--to', repository);
  const listed = JSON.parse(
    (await daemon.ok('GET', `/isle/v1/backups?repository=${encodeURIComponent(repository)}`)).text,
  ) as { Backups: { Id: string; Parent?: string; Disks: { Bytes: number }[] }[] };
  const [, increment] = listed.Backups;
  assert.equal(increment?.Id, second.stdout.trim());
  assert.equal(increment?.Parent, full);
  const bytes = increment?.Disks[0]?.Bytes ?? 0;
  assert.ok(bytes > 20 * mib && bytes < 24 * mib, `${bytes} bytes for 20 MiB`);

  const moved = await vm('migrate', 'web');
  assert.match(moved.stderr, /runs in a new QEMU [\d.]+.*; its guest stood still for \d+ ms/);
  const third = await vm('backup', '--incremental', 'web', '--to', repository);
  assert.match(third.stderr, /changes since/);
  assert.match((await vm('backup-verify', repository, 'web')).stdout, /is whole, with 2 that it stands on/);
  await vm('restore', repository, 'web', '--name', 'again');
  await daemon.ok('POST', '/containers/web/kill');
  execFileSync('qemu-img', [
    'compare',
    '-f',
    'qcow2',
    '-F',
    'qcow2',
    ...['web', 'again'].map((name) => join(daemon.dataRoot, 'disks', `${name}-vda`, 'disk.qcow2')),
  ]);
  await daemon.ok('POST', '/containers/again/start');
  await consoleShows(daemon, 'again');
  await vm('remove', '--disks', '-f', 'web');
  await vm('remove', '--disks', '-f', 'again');
});

/** Types at the guest's prompt, and waits until that is done. */
async function guest(command: string): Promise<void> {
  await using terminal = new Terminal(daemon.host, ['attach', 'web']);
  terminal.type('\n');
  await terminal.until(/tiny#/, 60_000);
  terminal.type(`${command} && echo do''ne\n`);
  await terminal.until(/\ndone/, 120_000);
}
