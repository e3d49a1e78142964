import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { messageOf } from '../../src/lib/errors.ts';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { busyboxImage, pushTo } from '../fixtures/image-builder.ts';
import { startRegistry, type TestRegistry } from '../fixtures/registry.ts';
import { bundleDaemon, failpoints } from './bundle.ts';
import { type ExpectedContainer, Model } from './model.ts';
import { type Remote, runScript } from './script.ts';
import { disagreements, fingerprint, readWorld, settled, type World } from './world.ts';

/** Daemons that die side by side. */
const lanes = 2;

// Guests and virtual machines have their crashes in suites of their own beside this one.
const names = failpoints((path) => readFileSync(path, 'utf8')).filter(
  (name) => !/^(guest|microvm|machines?|disk|backup|appliance)\./.test(name),
);
const only = process.env.ISLE_CRASH_ONLY?.split(',');
const wanted = only ? names.filter((name) => only.some((part) => name.includes(part))) : names;

let directory: string;
let main: string;
let registry: TestRegistry;
let remote: Remote;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'isle-crash-'));
  main = await bundleDaemon(directory);
  registry = await startRegistry();
  await pushTo(registry, 'app:1', busyboxImage({ 'etc/app': 'one' }));
  await pushTo(registry, 'busybox', busyboxImage());
  remote = { reference: `${registry.host}/app:1` };
});

after(async () => {
  await registry.stop();
  rmSync(directory, { recursive: true, force: true });
});

test('the suite sees the failpoints of every room', () => {
  for (const room of ['engine', 'images', 'content', 'layer', 'snapshot', 'network', 'runtime', 'volume'])
    assert.ok(
      names.some((name) => name.startsWith(`${room}.`)),
      `no failpoint of ${room}`,
    );
  assert.ok(names.length > 100, `only ${names.length} failpoints`);
});

test('killed at any failpoint, the engine loses nothing it acknowledged and leaves nothing stray', async () => {
  const results = await Promise.all(
    Array.from({ length: lanes }, (_, lane) =>
      killAtEach(wanted.filter((_name, index) => index % lanes === lane)),
    ),
  );
  const problems = results.flatMap((result) => result.problems);
  const silent = results.flatMap((result) => result.silent);
  assert.deepEqual(problems, []);
  assert.deepEqual(silent, [], 'failpoints that the script never reaches');
});

test('an effect that fails, on a broken or a full disk, takes nothing down with it', async () => {
  // Images and networks fail each of their effects in suites of their own.
  const before = wanted.filter(
    (name) => !/^(content|images|layer|load|network)\./.test(name) && !name.endsWith('.after'),
  );
  const results = await Promise.all(
    Array.from({ length: lanes }, (_, lane) =>
      failAtEach(before.filter((_name, index) => index % lanes === lane)),
    ),
  );
  assert.deepEqual(results.flat(), []);
});

/** Each failpoint fails every time it is reached: calls may fail, the daemon may not, and a restart finds nothing odd. */
async function failAtEach(points: string[]): Promise<string[]> {
  const problems: string[] = [];
  const daemon = await startWithImage();
  for (const [index, point] of points.entries()) {
    const armed = `${point}=${index % 2 === 0 ? 'error' : 'enospc'}`;
    const failed = (what: string[]) => problems.push(...what.map((line) => `${armed}: ${line}`));
    await daemon.kill9();
    await daemon.startOrDie({ ISLE_FAILPOINT: armed });
    const model = modelOf(readWorld(daemon));
    // A start that cannot do its part says so and ends; a daemon that serves goes on.
    if (daemon.alive) {
      await runScript(daemon, model, remote).catch((error: unknown) => {
        if (/no answer/.test(messageOf(error))) failed([messageOf(error)]);
      });
      if (!daemon.alive) failed([`the daemon ended: ${daemon.log().slice(-600)}`]);
      else await daemon.kill9();
    }
    await daemon.start();
    failed(await settled(daemon));
    failed(await broken(daemon, model));
  }
  await daemon.close();
  return problems;
}

async function startWithImage(): Promise<TestDaemon> {
  const daemon = await startDaemon({ main, busybox: false });
  await daemon.ok('POST', `/images/create?fromImage=${registry.host}/busybox&tag=latest`);
  const name = encodeURIComponent(`${registry.host}/busybox`);
  await daemon.ok('POST', `/images/${name}/tag?repo=busybox&tag=latest`);
  return daemon;
}

interface Outcome {
  problems: string[];
  silent: string[];
}

/**
 * One daemon's data root through many deaths: armed start (also the second reconcile of what the last recovery left),
 * script until it dies, unarmed start (the recovery), comparison.
 */
async function killAtEach(points: string[]): Promise<Outcome> {
  const outcome: Outcome = { problems: [], silent: [] };
  const daemon = await startWithImage();
  for (const point of points) {
    const failed = (what: string[]) => outcome.problems.push(...what.map((line) => `${point}: ${line}`));
    try {
      failed(await secondReconcile(daemon, `${point}=kill`));
      const model = modelOf(readWorld(daemon));
      const patient = point.includes('log-rotate');
      if (daemon.alive) await scriptUntilDeath(daemon, model, { ...remote, patient });
      if (daemon.alive) {
        outcome.silent.push(point);
        await daemon.kill9();
      }
      await daemon.start();
      failed(await settled(daemon));
      failed(await broken(daemon, model));
    } catch (error) {
      failed([messageOf(error)]);
      if (daemon.alive) await daemon.kill9();
      await daemon.start();
    }
  }
  await daemon.close();
  return outcome;
}

/** What an earlier life left is acknowledged too. */
function modelOf({ containers, rows }: World): Model {
  const model = new Model();
  for (const { name, state } of containers)
    model.containers.set(name, {
      phase: state.phase as ExpectedContainer['phase'],
      exitCode: state.exitCode,
    });
  // The anonymous ones go with their containers.
  for (const name of ['vol1', 'vol2']) if (rows.volumes!.includes(name)) model.volumes.add(name);
  for (const name of rows.networks!) model.networks.add(name);
  return model;
}

/** Starts again over a recovered root: nothing may change. Dying at the failpoint on the way is fine. */
async function secondReconcile(daemon: TestDaemon, armed: string): Promise<string[]> {
  const before = fingerprint(daemon);
  await daemon.kill9();
  await daemon.startOrDie({ ISLE_FAILPOINT: armed });
  if (!daemon.alive) return [];
  const left = await settled(daemon);
  const now = fingerprint(daemon);
  return now === before ? left : [...left, `a second reconcile changed\n${difference(before, now)}`];
}

async function scriptUntilDeath(daemon: TestDaemon, model: Model, remote: Remote): Promise<void> {
  try {
    await runScript(daemon, model, remote);
  } catch (error) {
    if (!(await daemon.diesSoon())) throw error;
  }
}

/** Where what was acknowledged and what is there differ. */
async function broken(daemon: TestDaemon, model: Model): Promise<string[]> {
  const world = readWorld(daemon);
  const found = new Map(world.containers.map((record) => [record.name, record.state]));
  const lines = disagreements(world);
  for (const [name, expected] of model.containers) {
    if (model.doubtful.has(name)) continue;
    const state = found.get(name);
    if (state === undefined) lines.push(`container ${name} was acknowledged and is gone`);
    else if (state.phase !== expected.phase)
      lines.push(`container ${name} is ${state.phase}, acknowledged was ${expected.phase}`);
    else if (expected.exitCode !== undefined && state.exitCode !== expected.exitCode)
      lines.push(`container ${name} ended with ${state.exitCode}, acknowledged was ${expected.exitCode}`);
  }
  for (const name of found.keys())
    if (!model.containers.has(name) && !model.doubtful.has(name))
      lines.push(`container ${name} is back after its removal`);
  for (const name of model.volumes)
    if (!model.doubtful.has(name) && !world.rows.volumes!.includes(name))
      lines.push(`volume ${name} is gone`);
  lines.push(...(await lost(daemon, model, world)));
  return lines;
}

/** Networks and images that were acknowledged and are not there. */
async function lost(daemon: TestDaemon, model: Model, { rows }: World): Promise<string[]> {
  const images = (await daemon.ok('GET', '/images/json')).json<{ RepoTags: string[] | null }[]>();
  const tags = images.flatMap(({ RepoTags }) => RepoTags ?? []);
  const certain = (name: string) => !model.doubtful.has(name);
  return [
    ...[...model.networks]
      .filter((name) => certain(name) && !rows.networks!.includes(name))
      .map((name) => `network ${name} is gone`),
    ...[...model.images]
      .filter((name) => certain(name) && !tags.includes(name))
      .map((name) => `image ${name} is gone`),
  ];
}

function difference(before: string, now: string): string {
  const [old, fresh] = [before.split('\n'), now.split('\n')];
  const lines = [
    ...old.filter((line) => !fresh.includes(line)).map((line) => `- ${line}`),
    ...fresh.filter((line) => !old.includes(line)).map((line) => `+ ${line}`),
  ];
  return lines.slice(0, 20).join('\n');
}
