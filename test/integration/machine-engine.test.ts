import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { DockerClient } from '../fixtures/docker-client.ts';
import { consoleShows, stateOf, tinyMachine } from '../fixtures/tiny-machine.ts';

const mebibyte = 1024 * 1024;
const disk = { Source: { Kind: 'empty', Size: 8 * mebibyte } };

let daemon: TestDaemon;

before(async () => {
  daemon = await startDaemon({ busybox: false });
});

after(async () => await daemon.close());

test('a machine boots, is shown, is asked to power off, and goes with its disks', async () => {
  const file = join(daemon.root, 'data.qcow2');
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', file, '16M']);
  const { uid, mode } = await stat(file);
  const own = { Source: { Kind: 'file', Path: file, Format: 'qcow2' } };
  const body = tinyMachine('web', { Disks: [disk, own], Hardware: { OsVariant: 'tiny' } });
  const { Id } = (await daemon.ok('POST', '/isle/v1/machines', body)).json<{ Id: string }>();
  assert.ok(existsSync(join(daemon.dataRoot, 'disks/web-vda/disk.qcow2')));
  await daemon.ok('POST', '/containers/web/start');
  const shown = await consoleShows(daemon, 'web');
  assert.match(shown, /tiny login:/);
  const other = await daemon.call('POST', '/isle/v1/machines', tinyMachine('thief', { Disks: [own] }));
  assert.match(other.text, /is the disk vdb of the machine \\"web\\"/);
  const [row] = (await daemon.ok('GET', '/containers/json')).json<Record<string, string>[]>();
  assert.deepEqual([row?.Image, row?.State, row?.Id], ['tiny', 'running', Id]);
  const machine = (await daemon.ok('GET', '/isle/v1/machines/web')).json<{
    Running: { Accelerator: string; Vcpus: number };
    Addresses: string[];
  }>();
  assert.match(machine.Running.Accelerator, /^(kvm|tcg)$/);
  assert.equal(machine.Running.Vcpus, 1);
  assert.equal(machine.Addresses.length, 1);
  assert.equal((await daemon.call('DELETE', '/containers/web')).status, 409);
  await daemon.ok('POST', '/isle/v1/machines/web/shutdown');
  while ((await stateOf(daemon, 'web')).Status === 'running') await sleep(200);
  const { Status, ExitCode } = await stateOf(daemon, 'web');
  assert.deepEqual([Status, ExitCode], ['exited', 0]);
  await daemon.ok('DELETE', '/isle/v1/machines/web?disks=1');
  while ((await readdir(join(daemon.dataRoot, 'disks'))).length > 0) await sleep(20);
  const left = await stat(file);
  assert.deepEqual([left.uid, left.mode], [uid, mode], 'the file of the user is the user’s again');
});

test('the killed daemon leaves it running; what ends meanwhile comes up again by its policy', async () => {
  const policy = { HostConfig: { RestartPolicy: { Name: 'always' } } };
  for (const name of ['stays', 'falls'])
    await daemon.ok('POST', '/isle/v1/machines', tinyMachine(name, { Container: policy, Disks: [disk] }));
  await daemon.ok('POST', '/containers/stays/start');
  await consoleShows(daemon, 'stays');
  await daemon.ok('POST', '/containers/falls/start');
  const [stays, falls] = [await stateOf(daemon, 'stays'), await stateOf(daemon, 'falls')];
  await daemon.kill9();
  process.kill(falls.Pid, 'SIGKILL');
  await daemon.start();
  assert.deepEqual(await stateOf(daemon, 'stays'), stays);
  while ((await stateOf(daemon, 'falls')).Status !== 'running') await sleep(100);
  assert.notEqual((await stateOf(daemon, 'falls')).Pid, falls.Pid);
  for (const name of ['falls', 'stays'])
    await daemon.ok('DELETE', `/isle/v1/machines/${name}?force=1&disks=1`);
});

test('one that starts with the engine goes down with it in order, and comes up again', async () => {
  const labels = { Labels: { 'isle.autostart': '5' } };
  await daemon.ok('POST', '/isle/v1/machines', tinyMachine('auto', { Container: labels }));
  await daemon.ok('POST', '/containers/auto/start');
  await consoleShows(daemon, 'auto');
  const { Pid } = await stateOf(daemon, 'auto');
  const stopped = daemon.call('POST', '/isle/v1/stop-workloads').catch(() => undefined);
  while ((await stateOf(daemon, 'auto')).Status === 'running') await sleep(200);
  await stopped;
  // Its guest powered itself off, because it was asked to: nobody switched it off for good.
  assert.deepEqual((await stateOf(daemon, 'auto')).ExitCode, 0);
  await daemon.stop();
  await daemon.start();
  while ((await stateOf(daemon, 'auto')).Status !== 'running') await sleep(100);
  assert.notEqual((await stateOf(daemon, 'auto')).Pid, Pid);
  await daemon.ok('DELETE', '/isle/v1/machines/auto?force=1');
});

test('stock docker shows, stops and removes it, and is told what it cannot do', async () => {
  await daemon.ok('POST', '/isle/v1/machines', tinyMachine('box', { Disks: [disk] }));
  using docker = new DockerClient(daemon.host);
  await docker.ok('start', 'box');
  const shown = await docker.ok(
    'ps',
    '--filter',
    'name=box',
    '--format',
    '{{.Names}} {{.Image}} {{.Command}}',
  );
  assert.equal(shown, 'box - "q35, 1 CPU, 128 MiB"');
  const inspected = await docker.ok(
    'inspect',
    '--format',
    '{{.Config.Image}} {{.HostConfig.Runtime}}',
    'box',
  );
  assert.equal(inspected, '- machine');
  const refused = await docker.run(['commit', 'box', 'copy']);
  assert.match(refused.stderr, /it is a virtual machine.*isle vm clone/);
  const run = await docker.run(['run', '--runtime', 'machine', 'busybox']);
  assert.match(run.stderr, /isle vm create/);
  await docker.ok('kill', 'box');
  await docker.ok('rm', '-v', 'box');
});

test('a paused one powers off when it is stopped, and is removed by force', async () => {
  await daemon.ok('POST', '/isle/v1/machines', tinyMachine('still', { Disks: [disk] }));
  await daemon.ok('POST', '/containers/still/start');
  await consoleShows(daemon, 'still');
  await daemon.ok('POST', '/containers/still/pause');
  await daemon.ok('POST', '/containers/still/stop?t=60');
  assert.equal((await stateOf(daemon, 'still')).ExitCode, 0, 'its guest was asked, and had the time');
  await daemon.ok('POST', '/containers/still/start');
  await daemon.ok('POST', '/containers/still/pause');
  await daemon.ok('DELETE', '/isle/v1/machines/still?force=1&disks=1');
});

test('a block device that the host has mounted is nobody else’s', async (t) => {
  const file = join(daemon.root, 'loop.img');
  await writeFile(file, '');
  await truncate(file, 16 * mebibyte);
  const run = (tool: string, ...args: string[]) => execFileSync(tool, args, { encoding: 'utf8' }).trim();
  run('mkfs.ext4', '-q', file);
  const device = run('losetup', '--find', '--show', file);
  t.after(() => run('losetup', '--detach', device));
  const body = tinyMachine('loop', { Disks: [{ Source: { Kind: 'file', Path: device, Format: 'raw' } }] });
  const point = join(daemon.root, 'mounted');
  await mkdir(point);
  run('mount', device, point);
  try {
    const { status, text } = await daemon.call('POST', '/isle/v1/machines', body);
    assert.deepEqual([status, /is in use on this host/.test(text)], [409, true], text);
  } finally {
    run('umount', point);
  }
  await daemon.ok('POST', '/isle/v1/machines', body);
  await daemon.ok('DELETE', '/isle/v1/machines/loop');
});
