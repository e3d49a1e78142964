/** A distribution's boot: from the command to systemd's default target, in Isle and in systemd-nspawn, from one root. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { distribution, distributionLayers } from '../test/fixtures/distributions.ts';
import { dockerArchive } from '../test/fixtures/daemon.ts';
import type { LayerFiles } from '../test/fixtures/image-builder.ts';

/** With the time in nanoseconds: how long its output takes to get here is not the boot's. */
const sign = /TARGET-REACHED-(\d{19})/;

/** Says on the console that everything else is up. */
const unit = `[Unit]
DefaultDependencies=no
After=graphical.target
[Service]
Type=oneshot
StandardOutput=tty
ExecStart=/bin/date +TARGET-REACHED-%%s%%N
`;

const extra: LayerFiles = {
  'etc/systemd/system/bench-ready.service': unit,
  'etc/systemd/system/graphical.target.wants/bench-ready.service': {
    type: 'symlink',
    target: '../bench-ready.service',
  },
};

export interface Booter {
  name: string;
  /** Milliseconds from starting the command to the target. */
  boot(): Promise<number>;
  remove(): void;
}

/** Archive of the image that Isle boots, as `docker load` takes it. */
export function bootableArchive(tag: string): Buffer {
  return dockerArchive(distribution('systemd', extra), tag);
}

export function inIsle(env: NodeJS.ProcessEnv, tag: string): Booter {
  const name = 'bench-system';
  return {
    name: 'isle',
    async boot() {
      const command = ['docker', 'run', '--name', name, '--runtime', 'system', tag];
      return await untilSign(command, env, () => {
        const removed = spawnSync('docker', ['rm', '-f', name], { env, encoding: 'utf8' });
        if (removed.status !== 0) throw new Error(removed.stderr);
      });
    },
    remove() {},
  };
}

/** Undefined where it is not installed (package systemd-container). */
export function inNspawn(work: string): Booter | undefined {
  if (spawnSync('systemd-nspawn', ['--version']).status !== 0) return undefined;
  const root = join(work, 'nspawn');
  mkdirSync(root);
  for (const layer of ['base', 'systemd'])
    execFileSync('tar', ['-C', root, '-xf', join(distributionLayers(), `${layer}.tar`)]);
  const units = join(root, 'etc/systemd/system');
  execFileSync(
    'sh',
    [
      '-c',
      'cat >"$0/bench-ready.service"; mkdir -p "$0/graphical.target.wants"; ln -s ../bench-ready.service "$0/graphical.target.wants/"',
      units,
    ],
    { input: unit },
  );
  // No user namespace: without a systemd on the host it cannot give the payload control groups of its own then.
  const nspawn = `exec systemd-nspawn --quiet --register=no --keep-unit --boot --private-network --directory '${root}'`;
  // Its console is to be a terminal, as ours is.
  const command = ['script', '--quiet', '--flush', '--return', '--command', nspawn, '/dev/null'];
  // Without a service manager on the host it asks for the control groups of that one.
  const env = { ...process.env, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' };
  return {
    name: 'systemd-nspawn',
    boot: () => untilSign(command, env, (pid) => killBelow(pid)),
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}

/** Runs `command` until it prints the sign, then `end`s it and waits. */
async function untilSign(
  command: string[],
  env: NodeJS.ProcessEnv,
  end: (pid: number) => void,
): Promise<number> {
  const started = performance.timeOrigin + performance.now();
  const child = spawn(command[0]!, command.slice(1), { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = new Promise((resolve) => child.once('close', resolve));
  let output = '';
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const listen = (data: Buffer) => {
    output += data.toString();
    const reached = sign.exec(output)?.[1];
    if (reached !== undefined) resolve(Number(reached) / 1e6 - started);
  };
  child.stdout.on('data', listen);
  child.stderr.on('data', listen);
  child.once('error', reject);
  child.once('close', () => reject(new Error(`${command.join(' ')}: ${output.slice(-800)}`)));
  try {
    return await promise;
  } finally {
    end(child.pid ?? 0);
    await exited;
  }
}

/** The payload first: an nspawn that is killed leaves it running. */
function killBelow(pid: number): void {
  for (const child of childrenOf(pid)) killBelow(child);
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && parentOf(name) === pid)
    .map(Number);
}

function parentOf(name: string): number {
  try {
    const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return 0; // It ended while we looked.
  }
}
