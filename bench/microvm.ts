/** What a kernel of its own costs: Isle's microVMs beside QEMU by hand, with the same kernel and accelerator. */
import { execFileSync, spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { detectKvm } from '../src/host/kvm.ts';
import { packCpio } from '../src/runtimes/microvm/guest-image/cpio.ts';
import { guestMemoryPss } from './measure.ts';

const root = join(import.meta.dirname, '..');

/** Starts a machine and resolves with the milliseconds to its first line. */
export type Boot = () => Promise<number>;

/**
 * QEMU by hand: the kernel as the distribution packs it and an initramfs with one program of a few hundred bytes, on
 * the machine that everybody takes (q35) and on the small one. Undefined without QEMU.
 */
export async function bareQemu(work: string): Promise<Map<string, Boot>> {
  const initramfs = join(work, 'bare.cpio');
  const init = join(work, 'bare-init');
  const source = join(import.meta.dirname, 'bare-init.c');
  execFileSync('gcc', ['-Os', '-static', '-nostdlib', '-o', init, source]);
  writeFileSync(initramfs, packCpio([{ path: 'init', mode: 0o100755, data: readFileSync(init) }]));
  const accelerator = (await detectKvm()).usable ? 'kvm' : 'tcg';
  // Without a timer to measure by, the small machine's kernel waits for ever to learn how fast its clock is.
  const khz = execFileSync(join(root, 'build/isle-shim'), ['--tsc'], { encoding: 'utf8' }).trim();
  const clock = accelerator === 'tcg' ? ` no_timer_check tsc_early_khz=${khz}` : '';
  const machine = (name: string) => [
    `qemu-system-${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}`,
    ...['-machine', `${name},accel=${accelerator}`, '-cpu', accelerator === 'kvm' ? 'host' : 'max,pku=off'],
    ...['-m', '512M', '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-kernel', join(root, '.cache/guest/vmlinuz'), '-initrd', initramfs],
    ...['-append', `console=ttyS0 quiet panic=-1 reboot=t${clock}`],
    ...['-chardev', 'stdio,id=console', '-serial', 'chardev:console'],
  ];
  return new Map(
    ['q35', 'microvm,rtc=on'].map((name) => [
      `QEMU ${name.split(',')[0]}`,
      () => timeToOutput(machine(name), process.env, /up/),
    ]),
  );
}

/** Milliseconds from spawning `command` until `pattern` is in its output; then waits for its end. */
export async function timeToOutput(
  command: string[],
  env: NodeJS.ProcessEnv,
  pattern: RegExp,
): Promise<number> {
  const started = performance.now();
  const child = spawn(command[0]!, command.slice(1), { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  let time: number | undefined;
  let output = '';
  child.stdout.on('data', (data: Buffer) => {
    output += data.toString();
    if (pattern.test(output)) time ??= performance.now() - started;
  });
  child.stderr.on('data', (data: Buffer) => (output += data.toString()));
  child.on('error', reject);
  child.on('close', () => {
    if (time !== undefined) resolve(time);
    else reject(new Error(`${command.join(' ')} never said ${pattern}: ${output.slice(-500)}`));
  });
  return await promise;
}

/** Bytes that a guest takes beside its `memory`: QEMU, its helpers, the shim and the monitor. */
export function monitorBytes(id: string, memory?: number): number {
  return processesOf(id)
    .map((pid) => guestMemoryPss(pid, memory))
    .reduce((sum, { others }) => sum + others, 0);
}

/** Whatever lies in the container's control group, and what was started for it. */
function processesOf(id: string): number[] {
  const has = (pid: string, file: string) => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, 'utf8').includes(id);
    } catch {
      return false; // It ended while we looked.
    }
  };
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && (has(pid, 'cgroup') || has(pid, 'cmdline')))
    .map(Number);
}

/** Starts `count` at once and resolves with the milliseconds until all are healthy. Throws when one never is. */
export async function untilHealthy(
  docker: (...args: string[]) => Promise<string>,
  image: string,
  count: number,
): Promise<number> {
  const health = ['--health-cmd', 'true', '--health-interval', '1s'];
  const started = performance.now();
  const ids = await Promise.all(
    Array.from({ length: count }, () =>
      docker('run', '-d', '--runtime', 'microvm', '-m', '128m', ...health, image, 'sleep', '3600'),
    ),
  );
  for (let states: string[] = []; states.length < count; await sleep(200)) {
    if (performance.now() - started > 600_000) throw new Error(`only ${states.length} of ${count} came up`);
    const table = await docker('ps', '--filter', 'health=healthy', '--format', '{{.ID}}');
    states = table.split('\n').filter(Boolean);
  }
  const time = performance.now() - started;
  await docker('rm', '-f', ...ids);
  return time;
}
