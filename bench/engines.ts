/** The engines that a run compares: each started on roots of its own, driven through its Docker socket. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface BenchEngine {
  name: string;
  version: string;
  socket: string;
  /** What `docker run` needs on this host with this engine. */
  runFlags?: string[];
  start(): Promise<void>;
  /** Stops the engine process only; containers go on where the engine can do that. */
  stop(): Promise<void>;
  /** Stops everything and removes what it left on the host. */
  remove(): Promise<void>;
  /** Pids of the engine's own processes: daemon, helpers, one or more monitors a container. */
  processes(): number[];
}

const root = join(import.meta.dirname, '..');

export function isle(work: string): BenchEngine {
  const dir = join(work, 'isle');
  const socket = join(dir, 'run', 'docker.sock');
  const args = [
    ...['--data-root', join(dir, 'data'), '--run-root', join(dir, 'run')],
    ...['--docker-socket', socket, '--instance', 'isbench'],
  ];
  mkdirSync(dir, { recursive: true });
  writeFileSync(isleConfig(work), '{}');
  return daemon({
    name: 'isle',
    version: firstLine(join(root, 'isle'), ['--version']),
    socket,
    dir,
    command: [join(root, 'isle'), 'daemon', ...args, '--config', isleConfig(work)],
    owns: (command) => command.includes(dir),
    // Needs the engine up: it knows what is its own.
    beforeStop: async () => {
      const down = spawn(join(root, 'isle'), ['down', '--purge', '--force', ...args], {
        stdio: 'inherit',
      });
      await new Promise((resolve) => down.once('exit', resolve));
    },
  });
}

/** Read at each start. */
export function isleConfig(work: string): string {
  return join(work, 'isle', 'config.json');
}

export function docker(work: string): BenchEngine | undefined {
  if (!installed('dockerd')) return undefined;
  const dir = join(work, 'docker');
  const socket = join(dir, 'docker.sock');
  return daemon({
    name: 'docker',
    version: firstLine('dockerd', ['--version']),
    socket,
    dir,
    command: [
      'dockerd',
      ...['--data-root', join(dir, 'data'), '--exec-root', join(dir, 'exec'), '--pidfile', join(dir, 'pid')],
      ...['-H', `unix://${socket}`, '--live-restore', '--bip', '172.31.0.1/16'],
    ],
    owns: (command) => command.includes(dir),
    cleanUp: () => {
      spawnSync('ip', ['link', 'delete', 'docker0']);
      for (const tool of ['iptables', 'ip6tables']) dropChains(tool, /DOCKER|docker0/);
    },
  });
}

/** @param registry host of a registry without TLS that it shall pull from */
export function podman(work: string, registry: string): BenchEngine | undefined {
  if (!installed('podman')) return undefined;
  const dir = join(work, 'podman');
  const socket = join(dir, 'podman.sock');
  const global = ['--root', join(dir, 'data'), '--runroot', join(dir, 'run'), '--cgroup-manager', 'cgroupfs'];
  const registries = join(dir, 'registries.conf');
  mkdirSync(dir, { recursive: true });
  writeFileSync(registries, `[[registry]]\nlocation = "${registry}"\ninsecure = true\n`);
  return daemon({
    name: 'podman',
    env: { CONTAINERS_REGISTRIES_CONF: registries },
    // Podman's own defaults raise these limits, which a host without CAP_SYS_RESOURCE refuses.
    runFlags: ['--ulimit', 'nofile=1000:1000', '--ulimit', 'nproc=1000:1000'],
    version: firstLine('podman', ['--version']),
    socket,
    dir,
    command: [
      'podman',
      ...global,
      ...[
        '--storage-driver',
        'overlay',
        '--events-backend',
        'file',
        '--network-config-dir',
        join(dir, 'networks'),
      ],
      ...['system', 'service', '--time', '0', `unix://${socket}`],
    ],
    owns: (command) => command.includes(dir),
    cleanUp: () => {
      spawnSync('ip', ['link', 'delete', 'podman0']);
      for (const tool of ['iptables', 'ip6tables']) dropChains(tool, /NETAVARK|CNI|podman/);
    },
  });
}

type Definition = Omit<BenchEngine, 'start' | 'stop' | 'remove' | 'processes'> & {
  dir: string;
  command: string[];
  env?: Record<string, string>;
  owns(command: string): boolean;
  beforeStop?(): Promise<void>;
  cleanUp?(): void;
};

function daemon(definition: Definition): BenchEngine {
  const { name, socket, dir, command, owns } = definition;
  let child: ChildProcess | undefined;
  const processes = (): number[] =>
    allProcesses()
      .filter(({ command: line }) => owns(line))
      .map(({ pid }) => pid);
  const stop = async (): Promise<void> => {
    const running = child;
    if (!running || running.exitCode !== null) return;
    running.kill('SIGTERM');
    await new Promise((resolve) => running.once('exit', resolve));
    child = undefined;
  };
  return {
    ...definition,
    processes,
    stop,
    async start() {
      mkdirSync(dir, { recursive: true });
      const log = openSync(join(dir, 'log'), 'a');
      rmSync(socket, { force: true });
      child = spawn(command[0]!, command.slice(1), {
        stdio: ['ignore', log, log],
        env: { ...process.env, ...definition.env },
      });
      child.on('error', () => {});
      await ready(socket, 60_000, () => `${name} did not come up; its log ends:\n${tail(join(dir, 'log'))}`);
    },
    async remove() {
      if (child) {
        const ids = spawnSync('docker', ['-H', `unix://${socket}`, 'ps', '-aq'], { encoding: 'utf8' })
          .stdout.split('\n')
          .filter(Boolean);
        if (ids.length > 0) spawnSync('docker', ['-H', `unix://${socket}`, 'rm', '-fv', ...ids]);
      }
      if (child) await definition.beforeStop?.();
      await stop();
      definition.cleanUp?.();
      for (const pid of processes()) process.kill(pid, 'SIGKILL');
      await sleep(200);
      for (const mount of mountsBelow(dir)) spawnSync('umount', ['-l', mount]);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Resolves when `socket` answers `GET /_ping`; polls every 2 ms, since no engine tells. */
export async function ready(socket: string, timeoutMs: number, why: () => string): Promise<void> {
  const until = performance.now() + timeoutMs;
  while (performance.now() < until) {
    if (existsSync(socket) && (await ping(socket))) return;
    await sleep(2);
  }
  throw new Error(why());
}

function ping(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket, () => connection.write('GET /_ping HTTP/1.0\r\n\r\n'));
    connection.once('data', (data) => {
      resolve(data.toString().includes(' 200 '));
      connection.destroy();
    });
    connection.once('error', () => resolve(false));
    connection.once('close', () => resolve(false));
  });
}

export function allProcesses(): { pid: number; command: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({ pid: Number(name), command: commandLine(name) }));
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return ''; // It ended while we looked.
  }
}

function installed(tool: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${tool}`]).status === 0;
}

function firstLine(tool: string, args: string[]): string {
  return execFileSync(tool, args, { encoding: 'utf8' }).trim().split('\n')[0] ?? '';
}

function tail(file: string): string {
  return readFileSync(file, 'utf8').split('\n').slice(-15).join('\n');
}

function mountsBelow(dir: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(dir))
    .reverse();
}

/** The peers write into the host's iptables and leave it there: take out what they added. */
function dropChains(tool: string, pattern: RegExp): void {
  const saved = spawnSync(`${tool}-save`, [], { encoding: 'utf8' });
  if (saved.status !== 0) return;
  const kept = saved.stdout
    .split('\n')
    .filter((line) => !pattern.test(line))
    .join('\n')
    .replace(/^:FORWARD DROP/m, ':FORWARD ACCEPT');
  spawnSync(`${tool}-restore`, [], { input: kept });
}
