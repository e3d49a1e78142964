/** What virtual machines cost: Isle's beside the same QEMU by hand, with the same accelerator, disk and memory. */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, copyFileSync, ftruncateSync, openSync, rmSync, writeSync } from 'node:fs';
import { randomFillSync } from 'node:crypto';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { callApi } from '../test/fixtures/docker-api.ts';
import { MachineConsole } from '../test/fixtures/machine-console.ts';
import { tinyImage, tinyPrompt } from '../test/fixtures/tiny-guest.ts';
import { detectKvm } from '../src/host/kvm.ts';
import { median, output, timeCommand, timeParallel } from './measure.ts';
import { monitorBytes } from './microvm.ts';

/** How the figures get out. */
export type Record = (
  what: string,
  unit: string,
  values: Map<string, number>,
  promised: { atMost?: number; ratios?: { [peer: string]: number } },
) => void;

export interface MachineBench {
  /** The `isle` command. */
  isle: string;
  socket: string;
  env: NodeJS.ProcessEnv;
  /** A directory for files. */
  work: string;
  rounds: number;
  record: Record;
}

const mebibyte = 1024 * 1024;

/** The hardware that QEMU by hand is given, too. */
const asByHand = ['--vcpus', '1', '--graphics', 'none'];

/** Everything that is promised of virtual machines, one after the other. */
export async function machines(bench: MachineBench): Promise<void> {
  await boots(bench);
  await snapshots(bench);
  await clones(bench);
  await backups(bench);
  await imports(bench);
  await idleOnes(bench);
  await lists(bench);
}

/** From the call to the prompt of a guest that boots from its disk by BIOS and a boot loader. */
async function boots(bench: MachineBench): Promise<void> {
  const times = { isle: [] as number[], QEMU: [] as number[] };
  for (let round = -1; round < bench.rounds; round++) {
    const mine = await bootHere(bench);
    const theirs = await timeToPrompt(await byHand(bench, 256));
    if (round < 0) continue;
    times.isle.push(mine);
    times.QEMU.push(theirs);
  }
  const medians = new Map(Object.entries(times).map(([name, list]) => [name, median(list)]));
  bench.record('isle vm start, to the login prompt', 'ms', medians, { ratios: { QEMU: 1 / 1.05 } });
}

async function bootHere(bench: MachineBench): Promise<number> {
  await create(bench, 'boot', ['--memory', '256', ...asByHand]);
  const started = performance.now();
  await isle(bench, 'vm', 'start', 'boot');
  await prompt(bench, 'boot');
  const time = performance.now() - started;
  await remove(bench, 'boot');
  return time;
}

/** QEMU as somebody would call it who knows what it costs, on the tiny image. */
async function byHand({ work }: MachineBench, memory: number, more: string[] = []): Promise<string[]> {
  const disk = join(work, 'by-hand.qcow2');
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', tinyImage(), disk]);
  const kvm = (await detectKvm()).usable;
  return [
    ...[
      'qemu-system-x86_64',
      '-machine',
      'q35',
      '-accel',
      kvm ? 'kvm' : 'tcg',
      '-cpu',
      kvm ? 'host' : 'max,pku=off',
    ],
    ...[
      '-m',
      `${memory}M`,
      '-smp',
      '1',
      '-nodefaults',
      '-no-user-config',
      '-display',
      'none',
      '-serial',
      'stdio',
    ],
    ...[
      '-drive',
      `file=${disk},format=qcow2,if=virtio`,
      '-netdev',
      'user,id=net',
      '-device',
      'virtio-net-pci,netdev=net',
    ],
    ...more,
  ];
}

/** Milliseconds from its start until it shows its prompt; it is killed then. */
async function timeToPrompt(command: string[]): Promise<number> {
  const started = performance.now();
  const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  let text = '';
  child.stdout.on('data', (data: Buffer) => {
    text += data.toString();
    if (text.includes(tinyPrompt)) resolve(performance.now() - started);
  });
  child.on('error', reject);
  child.on('close', () => reject(new Error(`QEMU by hand ended: ${text.slice(-500)}`)));
  const late = setTimeout(
    () => reject(new Error(`QEMU by hand never came up: ${text.slice(-500)}`)),
    120_000,
  );
  return await promise.finally(() => {
    clearTimeout(late);
    child.kill('SIGKILL');
  });
}

/** The pause of a snapshot of a running 1 GiB guest; with memory its time, beside the monitor's `savevm`. */
async function snapshots(bench: MachineBench): Promise<void> {
  await create(bench, 'snap', ['--memory', '1024', ...asByHand]);
  await isle(bench, 'vm', 'start', 'snap');
  await prompt(bench, 'snap');
  const pauses: number[] = [];
  const withMemory: number[] = [];
  for (let round = 0; round < bench.rounds; round++) {
    pauses.push((await snapshot(bench, `disk${round}`, false)).paused);
    withMemory.push((await snapshot(bench, `memory${round}`, true)).took);
  }
  await remove(bench, 'snap');
  bench.record("snapshot of a running 1 GiB guest's disk, its pause", 'ms', single(median(pauses)), {
    atMost: 300,
  });
  const values = new Map([
    ['isle', median(withMemory)],
    ['savevm', median(await savevm(bench))],
  ]);
  bench.record('snapshot with memory of a 1 GiB guest', 'ms', values, { ratios: { savevm: 1 / 1.2 } });
}

async function snapshot({ socket }: MachineBench, name: string, memory: boolean) {
  const started = performance.now();
  const answer = await callApi(socket, {
    method: 'POST',
    path: '/isle/v1/machines/snap/snapshots',
    body: { Name: name, Memory: memory },
  });
  if (answer.status !== 201) throw new Error(answer.text);
  return { took: performance.now() - started, paused: answer.json<{ PausedMs: number }>().PausedMs };
}

async function savevm(bench: MachineBench): Promise<number[]> {
  const monitor = join(bench.work, 'monitor');
  const [command = '', ...args] = await byHand(bench, 1024, [
    '-monitor',
    `unix:${monitor},server=on,wait=off`,
  ]);
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    let text = '';
    child.stdout.on('data', (data: Buffer) => (text += data.toString()));
    for (const until = Date.now() + 60_000; !text.includes(tinyPrompt); await sleep(50))
      if (Date.now() > until) throw new Error('QEMU by hand never came up');
    const times: number[] = [];
    for (let round = 0; round < bench.rounds; round++) {
      const started = performance.now();
      await humanMonitor(monitor, `savevm s${round}`);
      times.push(performance.now() - started);
    }
    await humanMonitor(monitor, 'quit').catch(() => {});
    return times;
  } finally {
    child.kill('SIGKILL');
  }
}

/** Resolves when the monitor prompts again. */
async function humanMonitor(path: string, line: string): Promise<void> {
  const socket = connect({ path });
  let prompts = 0;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.on('data', (data: Buffer) => {
    prompts += data.toString().split('(qemu)').length - 1;
    if (prompts === 1) socket.write(`${line}\n`);
    // The line that is typed is shown with a prompt before it.
    else if (prompts > 1) resolve();
  });
  socket.on('error', reject);
  socket.on('close', () => reject(new Error('QEMU closed its monitor')));
  await promise.finally(() => socket.destroy());
}

async function clones(bench: MachineBench): Promise<void> {
  await create(bench, 'base', ['--memory', '256']);
  const times: number[] = [];
  for (let round = 0; round < 2 * bench.rounds; round++) {
    const started = performance.now();
    await isle(bench, 'vm', 'clone', '--linked', 'base', `clone${round}`);
    times.push(performance.now() - started);
  }
  for (let round = 0; round < 2 * bench.rounds; round++) await remove(bench, `clone${round}`);
  await remove(bench, 'base');
  bench.record('linked clone', 'ms', single(median(times)), { atMost: 200 });
}

/** A disk of 10 GiB, 100 MB of which are written between two backups. */
async function backups(bench: MachineBench): Promise<void> {
  // The first disk takes the image.
  await create(bench, 'kept', ['--memory', '256', '--disk', 'size=1', '--disk', 'size=10']);
  await isle(bench, 'vm', 'start', 'kept');
  await prompt(bench, 'kept');
  const repository = join(bench.work, 'backups');
  await isle(bench, 'vm', 'backup', 'kept', '--to', repository);
  {
    using console = new MachineConsole(bench.socket, 'kept');
    const write = 'dd if=/dev/urandom of=/dev/vdb bs=1000000 count=100 conv=fsync 2>/dev/null';
    await console.run(`test -b /dev/vdb && ${write}`, 300_000);
  }
  await isle(bench, 'vm', 'backup', 'kept', '--to', repository);
  const list = await isle(bench, 'vm', 'backup-list', repository, '--format', '{{.Mode}} {{.Size}}');
  const bytes = Number(/^incremental (\d+)$/m.exec(list)?.[1]);
  if (!(bytes >= 100e6)) throw new Error(`the second backup has not what was written:\n${list}`);
  await remove(bench, 'kept');
  rmSync(repository, { recursive: true, force: true });
  bench.record('incremental backup of a 10 GiB disk, 100 MB changed', 'MB', single(bytes / 1e6), {
    atMost: 120,
  });
}

/** A VMDK of 2 GiB, half of it data that no compression shrinks, beside qemu-img's conversion. */
async function imports(bench: MachineBench): Promise<void> {
  const { work } = bench;
  const [raw, vmdk, target] = ['import.raw', 'import.vmdk', 'import.qcow2'].map((name) =>
    join(work, name),
  ) as [string, string, string];
  const fd = openSync(raw, 'w');
  ftruncateSync(fd, 2048 * mebibyte);
  const chunk = Buffer.alloc(mebibyte);
  for (let at = 0; at < 2048; at += 2) writeSync(fd, randomFillSync(chunk), 0, chunk.length, at * mebibyte);
  closeSync(fd);
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'vmdk', raw, vmdk]);
  rmSync(raw);
  const times = { isle: [] as number[], 'qemu-img': [] as number[] };
  for (let round = 0; round < Math.min(3, bench.rounds); round++) {
    rmSync(target, { force: true });
    times['qemu-img'].push(
      await timeCommand(
        ['sh', '-c', 'qemu-img convert -f vmdk -O qcow2 "$1" "$2" && sync -f "$2"', 'sh', vmdk, target],
        bench.env,
      ),
    );
    times.isle.push(await timeCommand([bench.isle, 'vm', 'import', vmdk, '--name', 'imported'], bench.env));
    await remove(bench, 'imported');
  }
  rmSync(vmdk);
  rmSync(target);
  const medians = new Map(Object.entries(times).map(([name, list]) => [name, median(list)]));
  bench.record('import of a 2 GiB VMDK', 'ms', medians, { ratios: { 'qemu-img': 1 / 1.1 } });
}

/** Memory beside the guests': QEMU, its supervisor and the monitor of each, shared pages counted once. */
async function idleOnes(bench: MachineBench): Promise<void> {
  const names = Array.from({ length: 10 }, (_, index) => `idle${index}`);
  for (const name of names) {
    await create(bench, name, ['--memory', '256']);
    await isle(bench, 'vm', 'start', name);
    await prompt(bench, name);
  }
  await sleep(5000);
  const ids = await Promise.all(
    names.map(
      async (name) =>
        (await callApi(bench.socket, { path: `/isle/v1/machines/${name}` })).json<{ Id: string }>().Id,
    ),
  );
  const bytes =
    ids.map((id) => monitorBytes(id, 256 * mebibyte)).reduce((sum, value) => sum + value, 0) / ids.length;
  for (const name of names) await remove(bench, name);
  bench.record("each of 10 idle machines, without the guest's memory", 'MB', single(bytes / 1e6), {
    atMost: 60,
  });
}

async function lists(bench: MachineBench): Promise<void> {
  const names = Array.from({ length: 200 }, (_, index) => `listed${index}`);
  const disk = ['--disk', 'size=1', '--memory', '256', '--no-start', '--network', 'none'];
  await timeParallel(
    names.map((name) => () => isle(bench, 'vm', 'create', name, ...disk)),
    2,
  );
  const times: number[] = [];
  for (let round = -1; round < 4 * bench.rounds; round++) {
    const time = await timeCommand([bench.isle, 'vm', 'list', '--all'], bench.env);
    if (round >= 0) times.push(time);
  }
  await timeParallel(
    names.map((name) => () => remove(bench, name)),
    2,
  );
  bench.record('isle vm list with 200 machines', 'ms', single(median(times)), { atMost: 80 });
}

/** One of the tiny image, not started. */
async function create(bench: MachineBench, name: string, flags: string[]): Promise<void> {
  const image = join(bench.work, 'tiny.raw');
  copyFileSync(tinyImage(), image);
  await isle(bench, 'vm', 'create', name, '--image', `${image},format=raw`, '--no-start', ...flags);
}

function isle(bench: MachineBench, ...args: string[]): Promise<string> {
  return output([bench.isle, ...args], bench.env);
}

async function remove(bench: MachineBench, name: string): Promise<void> {
  await isle(bench, 'vm', 'remove', '-y', '--force', name);
}

async function prompt({ socket }: MachineBench, name: string): Promise<void> {
  using console = new MachineConsole(socket, name);
  await console.see(tinyPrompt);
}

function single(value: number): Map<string, number> {
  return new Map([['isle', value]]);
}
