/**
 * Isle beside Docker and Podman, in one run: `node bench/run.ts [--quick] [--only NAME,…] [--json FILE]`.
 *
 * All are driven by the same `docker` client through their sockets; rounds go from one engine to the next, so that
 * noise on the host hits all alike. Prints medians, ratios and Isle's promise, and exits 1 when one is missed.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startRegistry } from '../test/fixtures/registry.ts';
import { type BenchEngine, docker, isle, podman, isleConfig } from './engines.ts';
import { median, memory, output, timeCommand, timeParallel } from './measure.ts';
import { machines } from './machines.ts';
import { bareQemu, monitorBytes, timeToOutput, untilHealthy } from './microvm.ts';
import { timePulls } from './pull.ts';
import { bootableArchive, inIsle, inNspawn } from './system.ts';
import { printTables, type Row } from './table.ts';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean' },
    only: { type: 'string' },
    json: { type: 'string' },
    peers: { type: 'string' },
  },
});
const rounds = values.quick ? 7 : 25;
const only = values.only?.split(',');
const root = join(import.meta.dirname, '..');
const work = mkdtempSync(join(tmpdir(), 'isle-bench-'));
// Roots of user namespaces reach theirs through it.
chmodSync(work, 0o711);
const image = 'isle/hello';

const registry = await startRegistry();
const peers = values.peers?.split(',') ?? ['docker', 'podman'];
const engines = [
  isle(work),
  peers.includes('docker') ? docker(work) : undefined,
  peers.includes('podman') ? podman(work, registry.host) : undefined,
].filter((engine): engine is BenchEngine => engine !== undefined);
const rows: Row[] = [];

try {
  for (const engine of engines) {
    await engine.start();
    client(engine, 'load', '-i', join(root, 'dist/shipped-image.tar'));
    console.error(`${engine.name}: ${engine.version}`);
  }
  if (wanted('idle')) await idle();
  if (wanted('run')) {
    await commands('docker run --rm, default network', ['run', '--rm', image, 'true'], {
      atMost: 50,
      ratios: { docker: 4, podman: 4 },
    });
    await commands('docker run --rm --network none', ['run', '--rm', '--network', 'none', image, 'true'], {
      atMost: 40,
      ratios: { docker: 3, podman: 2.5 },
    });
  }
  if (wanted('cli')) await commandLine();
  if (wanted('exec')) await exec();
  if (wanted('pull')) await pull();
  if (wanted('many')) await many();
  if (wanted('system')) await system();
  if (wanted('microvm')) await microvm();
  if (wanted('machines'))
    await machines({
      isle: join(root, 'isle'),
      socket: engines[0]!.socket,
      env: environment(engines[0]!),
      work,
      rounds: values.quick ? 3 : 7,
      record,
    });
  printTables(rows, engines);
  if (values.json)
    writeFileSync(
      values.json,
      JSON.stringify({ engines: engines.map(({ name, version }) => ({ name, version })), rows }, null, 2),
    );
} finally {
  await registry.stop();
  for (const engine of engines) await engine.remove();
  rmSync(work, { recursive: true, force: true });
}
process.exitCode = rows.some((row) => row.missed) ? 1 : 0;

function wanted(name: string): boolean {
  return only === undefined || only.includes(name);
}

function environment(engine: BenchEngine): NodeJS.ProcessEnv {
  return {
    ...process.env,
    DOCKER_HOST: `unix://${engine.socket}`,
    ISLE_HOST: `unix://${engine.socket}`,
    DOCKER_CONFIG: join(work, 'config'),
  };
}

function client(engine: BenchEngine, ...args: string[]): string {
  const done = spawnSync('docker', args, { env: environment(engine), encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`${engine.name}: docker ${args.join(' ')}: ${done.stderr}`);
  return done.stdout.trim();
}

function withFlags(engine: BenchEngine, args: string[]): string[] {
  return args[0] === 'run' ? ['run', ...(engine.runFlags ?? []), ...args.slice(1)] : args;
}

type Promised = { atMost?: number; ratios?: Record<string, number> };

/** One command of the docker client on every engine, round by round. */
async function commands(what: string, args: string[], promised: Promised): Promise<void> {
  const times = new Map(engines.map((engine) => [engine.name, [] as number[]]));
  for (let round = -2; round < rounds; round++) {
    for (const engine of engines) {
      const time = await timeCommand(['docker', ...withFlags(engine, args)], environment(engine));
      if (round >= 0) times.get(engine.name)!.push(time);
    }
  }
  record(what, 'ms', new Map([...times].map(([name, list]) => [name, median(list)])), promised);
}

/** Isle's own command line, against what the peers take with the docker client (measured before). */
async function commandLine(): Promise<void> {
  const command = join(root, 'isle');
  const engine = engines[0]!;
  for (const [what, args, atMost] of [
    ['isle version', ['version'], 45],
    ['isle run --rm', ['run', '--rm', image, 'true'], 90],
  ] as const) {
    const times: number[] = [];
    for (let round = -2; round < rounds; round++) {
      const time = await timeCommand([command, ...args], environment(engine));
      if (round >= 0) times.push(time);
    }
    const run = rows.find((row) => row.what.startsWith('docker run --rm, default'));
    const values = new Map(Object.entries((what === 'isle run --rm' && run?.values) || {}));
    values.set('isle', median(times));
    record(what, 'ms', values, { atMost, ratios: what === 'isle run --rm' ? { docker: 2, podman: 2 } : {} });
  }
}

async function exec(): Promise<void> {
  for (const engine of engines)
    client(engine, ...withFlags(engine, ['run', '-d', '--name', 'bench-exec', image, 'sleep', '3600']));
  await commands('docker exec', ['exec', 'bench-exec', 'true'], {
    atMost: 30,
    ratios: { docker: 1.5, podman: 2.5 },
  });
  for (const engine of engines) client(engine, 'rm', '-f', 'bench-exec');
}

async function idle(): Promise<void> {
  // Loading the image is no idleness: let worker threads end and memory be given back.
  await sleep(20_000);
  const values = new Map(engines.map((engine) => [engine.name, memory(engine.processes()).rss / 1e6]));
  record('engine idle, resident', 'MB', values, { atMost: 100, ratios: { docker: 1 } });
}

/** MicroVMs: the first line against QEMU by hand, what a monitor takes, exec, and many at once. */
async function microvm(): Promise<void> {
  const engine = engines[0]!;
  const env = environment(engine);
  const run = ['docker', 'run', '--rm', '--runtime', 'microvm', image, 'echo', 'up'];
  const boots = new Map([['isle', () => timeToOutput(run, env, /up/)], ...(await bareQemu(work))]);
  const times = new Map([...boots.keys()].map((name) => [name, [] as number[]]));
  for (let round = -1; round < (values.quick ? 3 : 9); round++)
    for (const [name, boot] of boots) {
      const time = await boot();
      if (round >= 0) times.get(name)!.push(time);
    }
  const medians = new Map([...times].map(([name, list]) => [name, median(list)]));
  const bare = { 'QEMU q35': 1 / 1.15, 'QEMU microvm': 1 / 1.15 };
  record('docker run --runtime microvm, to the first output', 'ms', medians, { ratios: bare });
  const id = client(engine, 'run', '-d', '--runtime', 'microvm', image, 'sleep', '3600');
  client(engine, 'exec', id, 'true');
  const execs: number[] = [];
  for (let round = 0; round < rounds; round++)
    execs.push(await timeCommand(['docker', 'exec', id, 'true'], env));
  record('docker exec into a microVM, after the first', 'ms', single(median(execs)), { atMost: 60 });
  record("a microVM's monitor, without the guest's memory", 'MB', single(monitorBytes(id) / 1e6), {
    atMost: 60,
  });
  client(engine, 'rm', '-f', id);
  const count = 20;
  const time = await untilHealthy(async (...args) => await output(['docker', ...args], env), image, count);
  record(`${count} microVMs at once, until all are healthy`, 's', single(time / 1000), {});
  await pooled(engine, run);
}

/** Each run takes the guest that waits; the next one has time to boot. */
async function pooled(engine: BenchEngine, run: string[]): Promise<void> {
  await engine.stop();
  writeFileSync(isleConfig(work), JSON.stringify({ microvm: { pool: 1 } }));
  await engine.start();
  const times: number[] = [];
  for (let round = -1; round < (values.quick ? 3 : 9); round++) {
    await sleep(8000);
    const time = await timeToOutput(run, environment(engine), /up/);
    if (round >= 0) times.push(time);
  }
  record('the same with a guest that has booted (microvm.pool)', 'ms', single(median(times)), {
    atMost: 150,
  });
  await engine.stop();
  writeFileSync(isleConfig(work), '{}');
  await engine.start();
}

function single(value: number): Map<string, number> {
  return new Map([['isle', value]]);
}

/** A whole Debian with systemd, to its default target; systemd-nspawn is the peer, on the same root. */
async function system(): Promise<void> {
  const tag = 'bench-systemd:latest';
  const archive = join(work, 'systemd.tar');
  writeFileSync(archive, bootableArchive(tag));
  client(engines[0]!, 'load', '-i', archive);
  const booters = [inIsle(environment(engines[0]!), tag), inNspawn(work)].filter((one) => one !== undefined);
  const times = new Map(booters.map(({ name }) => [name, [] as number[]]));
  for (let round = -1; round < (values.quick ? 5 : 11); round++)
    for (const { name, boot } of booters) {
      const time = await boot();
      if (round >= 0) times.get(name)!.push(time);
    }
  for (const booter of booters) booter.remove();
  record(
    'docker run --runtime system, to the default target',
    'ms',
    new Map([...times].map(([name, list]) => [name, median(list)])),
    { ratios: { 'systemd-nspawn': 1 } },
  );
}

async function pull(): Promise<void> {
  const times = await timePulls(registry, engines, values.quick ? 1 : 3, join(root, '.cache/large-image'));
  const seconds = new Map([...times].map(([name, list]) => [name, median(list) / 1000]));
  record('pull of a 4-layer image, 600 MB unpacked', 's', seconds, { ratios: { docker: 2, podman: 2 } });
}

/** 100 `run -d`, four at a time: throughput, memory a container, and the restart of the daemon with all running. */
async function many(): Promise<void> {
  const count = 100;
  const throughput = new Map<string, number>();
  const each = new Map<string, number>();
  const eachResident = new Map<string, number>();
  const restart = new Map<string, number>();
  for (const engine of engines) {
    const before = memory(engine.processes());
    const jobs = Array.from(
      { length: count },
      () => () =>
        timeCommand(
          ['docker', ...withFlags(engine, ['run', '-d', image, 'sleep', '3600'])],
          environment(engine),
        ),
    );
    throughput.set(engine.name, count / ((await timeParallel(jobs, 4)) / 1000));
    const after = memory(engine.processes());
    each.set(engine.name, (after.pss - before.pss) / count / 1e6);
    eachResident.set(engine.name, (after.rss - before.rss) / count / 1e6);
    await engine.stop();
    const started = performance.now();
    await engine.start();
    if (Number(client(engine, 'ps', '-q').split('\n').length) !== count)
      console.error(`${engine.name}: not all ${count} run after the restart`);
    restart.set(engine.name, performance.now() - started);
    const ids = client(engine, 'ps', '-aq').split('\n').filter(Boolean);
    client(engine, 'rm', '-f', ...ids);
  }
  record('100 run -d, four at a time', '/s', throughput, { ratios: { docker: 4 } });
  record('memory of each running container, shared pages counted once', 'MB', each, { atMost: 3 });
  record('the same, resident sizes added up', 'MB', eachResident, {});
  record('daemon start to ready, 100 running (+ ps)', 'ms', restart, { atMost: 700 });
}

function record(what: string, unit: string, values: Map<string, number>, promised: Promised): void {
  const mine = values.get('isle') ?? Number.NaN;
  const faster = (name: string): number =>
    unit === '/s' ? mine / values.get(name)! : values.get(name)! / mine;
  const ratios = new Map(
    [...values.keys()].filter((name) => name !== 'isle').map((name) => [name, faster(name)]),
  );
  const missed =
    (promised.atMost !== undefined && mine > promised.atMost) ||
    Object.entries(promised.ratios ?? {}).some(
      ([name, least]) => ratios.has(name) && ratios.get(name)! < least,
    );
  rows.push({
    what,
    unit,
    values: Object.fromEntries(values),
    ratios: Object.fromEntries(ratios),
    promised,
    missed,
  });
  console.error(
    `${what}: ${[...values].map(([name, value]) => `${name} ${value.toFixed(1)} ${unit}`).join(', ')}`,
  );
}
