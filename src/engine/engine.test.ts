import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { type FakeEngine, fakeEngine, specOf } from '../../test/fixtures/fake-engine.ts';
import { ContainerRecords } from './containers/records.ts';
import type { ContainerSpec } from './model.ts';
import { pods } from './pods.ts';
import { isIsleError } from '../lib/errors.ts';

const never = new AbortController().signal;

async function engineFor(t: { after(fn: () => Promise<void>): void }): Promise<FakeEngine> {
  const fake = await fakeEngine();
  t.after(() => fake.close());
  return fake;
}

async function run(fake: FakeEngine, command: string[], more: Partial<ContainerSpec> = {}, name?: string) {
  const { id } = await fake.engine.containers.create(name, specOf(command, more));
  const removed = fake.engine.containers.wait(id, 'next-exit', never);
  await fake.engine.containers.start(id);
  return { id, exit: removed.exit };
}

const actions = (fake: FakeEngine, id: string) =>
  fake.engine.events
    .past({ filters: {} })
    .filter(({ actor }) => actor.id === id || actor.attributes.container === id)
    .map(({ action }) => action);

test('a container runs, its exit code is kept, and removal leaves nothing', async (t) => {
  const fake = await engineFor(t);
  const { containers } = fake.engine;
  const { id, exit } = await run(fake, ['sh', '-c', 'exit 7'], {}, 'one');
  assert.deepEqual(await exit, { code: 7 });
  const container = containers.get('one');
  assert.equal(container.state.phase, 'exited');
  assert.equal(container.state.exitCode, 7);
  assert.equal(containers.get(`/one`).id, id);
  assert.equal(containers.get(id.slice(0, 6)).id, id);
  await containers.remove('one', { force: false, volumes: false });
  assert.throws(
    () => containers.get(id),
    (error) => isIsleError(error, 'noSuchContainer'),
  );
  assert.deepEqual(actions(fake, id), ['create', 'connect', 'start', 'die', 'disconnect', 'destroy']);
  assert.equal(fake.world.workloads.size, 0);
});

test('starting twice is no error, stopping what does not run neither', async (t) => {
  const fake = await engineFor(t);
  const { containers } = fake.engine;
  const { id } = await run(fake, ['sleep', '100']);
  assert.equal(await containers.start(id), false);
  assert.equal(await containers.stop(id, { timeout: 1 }), true);
  assert.equal(await containers.stop(id, { timeout: 1 }), false);
  assert.equal(containers.get(id).state.exitCode, 143);
  assert.equal(containers.get(id).state.stoppedByUser, true);
});

test('auto-remove takes the container, its anonymous volumes, and wakes who waits for the removal', async (t) => {
  const fake = await engineFor(t);
  const { containers, volumes } = fake.engine;
  const anonymous = {
    type: 'volume',
    source: '',
    target: '/data',
    readOnly: false,
    origin: 'binds',
  } as const;
  const { id } = await containers.create(
    undefined,
    specOf(['true'], { autoRemove: true, mounts: [anonymous] }),
  );
  assert.equal(volumes.list().length, 1);
  const removed = containers.wait(id, 'removed', never);
  await containers.start(id);
  assert.deepEqual(await removed.exit, { code: 0 });
  assert.equal(containers.list().length, 0);
  assert.equal(volumes.list().length, 0);
  await fake.engine.close();
  assert.ok(fake.calls.includes(`snapshot remove ${id}`));
});

test('of parallel creates of one name one wins and the others get a clear conflict', async (t) => {
  const fake = await engineFor(t);
  const results = await Promise.allSettled(
    Array.from({ length: 8 }, () => fake.engine.containers.create('same', specOf(['true']))),
  );
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
  for (const result of results)
    if (result.status === 'rejected')
      assert.ok(isIsleError(result.reason, 'nameInUse'), String(result.reason));
});

test('of a create and the removal of its volume at once, no container without its volume is left', async (t) => {
  const fake = await engineFor(t);
  const { containers, volumes } = fake.engine;
  const where = { source: 'shared', target: '/data', readOnly: false, noCopy: true };
  const mount = { type: 'volume', origin: 'mounts', ...where } as const;
  const removeAfter = async (turns: number) => {
    for (let turn = 0; turn < turns; turn++) await Promise.resolve();
    await volumes.remove('shared', false);
  };
  for (let i = 0; i < 40; i++) {
    await volumes.create({ name: 'shared', driver: '', options: {}, labels: {} });
    const [made] = await Promise.allSettled([
      containers.create(`user${i}`, specOf(['true'], { mounts: [mount] })),
      removeAfter(i),
    ]);
    if (made.status === 'fulfilled') {
      assert.deepEqual(volumes.users('shared'), [made.value.id]);
      assert.equal(volumes.get('shared').name, 'shared');
      await containers.remove(made.value.id, { force: true, volumes: false });
    } else assert.ok(isIsleError(made.reason, 'noSuchVolume'), String(made.reason));
  }
});

test('a kill gets through while a stop waits', async (t) => {
  const fake = await engineFor(t);
  const { containers } = fake.engine;
  const { id } = await run(fake, ['sh', '-c', "trap '' TERM; sleep 100"]);
  const stopping = containers.stop(id, { timeout: 60 });
  await sleep(20);
  await containers.kill(id, 'KILL');
  assert.equal(await stopping, true);
  assert.equal(containers.get(id).state.exitCode, 137);
});

test('the longest stop timeout is waited for, not none', async (t) => {
  const fake = await engineFor(t);
  const { containers } = fake.engine;
  const { id } = await run(fake, ['sh', '-c', "trap '' TERM; sleep 100"]);
  const stopping = containers.stop(id, { timeout: 1e9 });
  await sleep(20);
  assert.equal(containers.get(id).state.phase, 'running');
  await containers.kill(id, 'KILL');
  assert.equal(await stopping, true);
  assert.equal(containers.get(id).state.exitCode, 137);
});

test('a start that fails undoes everything and says why', async (t) => {
  const fake = await engineFor(t);
  const { containers } = fake.engine;
  const { id } = await containers.create('bad', specOf(['nosuchcommand']));
  await assert.rejects(containers.start(id), (error) => isIsleError(error, 'commandNotFound'));
  const { state } = containers.get(id);
  assert.equal(state.phase, 'created');
  assert.equal(state.exitCode, 127);
  assert.match(state.error, /executable file not found/);
  assert.ok(fake.calls.includes(`detach ${id}`));
  assert.ok(fake.calls.includes(`unmount ${id}`));
});

test('on-failure restarts as often as it may, with growing delays', async (t) => {
  const fake = await engineFor(t);
  const { containers } = fake.engine;
  const { id } = await containers.create(
    undefined,
    specOf(['false'], { restartPolicy: { name: 'on-failure', maximumRetryCount: 2 } }),
  );
  const done = containers.wait(id, 'next-exit', never);
  const started = performance.now();
  await containers.start(id);
  assert.deepEqual(await done.exit, { code: 1 });
  assert.ok(performance.now() - started >= 300, 'after 100 and 200 ms');
  assert.equal(containers.get(id).state.restartCount, 2);
  assert.equal(fake.world.calls.filter((call) => call === `start ${id}`).length, 3);
});

test('a stop between two tries of the policy ends them', async (t) => {
  const fake = await engineFor(t);
  const { containers } = fake.engine;
  const { id } = await containers.create(
    undefined,
    specOf(['false'], { restartPolicy: { name: 'always', maximumRetryCount: 0 } }),
  );
  await containers.start(id);
  while (containers.get(id).state.phase !== 'restarting') await sleep(5);
  assert.equal(await containers.stop(id, {}), true);
  assert.equal(containers.get(id).state.phase, 'exited');
});

test('restart stops and starts, also what removes itself', async (t) => {
  const fake = await engineFor(t);
  const { containers } = fake.engine;
  const { id } = await run(fake, ['sleep', '100'], { autoRemove: true });
  await containers.restart(id, { timeout: 1 });
  assert.equal(containers.get(id).state.phase, 'running');
  await containers.remove(id, { force: true, volumes: true });
  assert.equal(containers.list().length, 0);
});

test('after a restart of the engine what runs is watched again and what ended has its own code', async (t) => {
  const first = await fakeEngine();
  const running = await run(first, ['sh', '-c', "trap 'exit 5' TERM; sleep 100"], {}, 'running');
  const ending = await run(first, ['sh', '-c', "trap 'exit 9' TERM; sleep 100"], {}, 'ending');
  await first.engine.close();
  first.world.workloads.get(ending.id)!.process.signal(15);
  await sleep(20);
  const second = await first.restart();
  t.after(() => second.close());
  const { containers } = second.engine;
  assert.equal(containers.get('ending').state.exitCode, 9);
  assert.equal(containers.get('ending').state.phase, 'exited');
  assert.equal(containers.get('running').state.phase, 'running');
  const done = containers.wait(running.id, 'not-running', never);
  await containers.stop('running', {});
  assert.deepEqual(await done.exit, { code: 5 });
});

test('a second reconcile changes nothing', async (t) => {
  const first = await fakeEngine();
  await run(first, ['sleep', '100'], {}, 'up');
  await run(first, ['true'], {}, 'down').then(({ exit }) => exit);
  const second = await first.restart();
  const before = JSON.stringify(second.engine.containers.list());
  const third = await second.restart();
  t.after(() => third.close());
  assert.equal(JSON.stringify(third.engine.containers.list()), before);
});

test('policies bring back what a reboot took, and not what the user stopped', async (t) => {
  const first = await fakeEngine();
  const policy = (name: 'always' | 'unless-stopped' | 'no') => ({
    restartPolicy: { name, maximumRetryCount: 0 },
  });
  for (const name of ['always', 'unless-stopped', 'no'] as const)
    await run(first, ['sleep', '100'], policy(name), name);
  await run(first, ['sleep', '100'], policy('unless-stopped'), 'stopped');
  await first.engine.containers.stop('stopped', { timeout: 1 });
  await first.engine.close();
  for (const { process } of first.world.workloads.values()) process.signal(9);
  first.world.workloads.clear(); // the host went down
  const second = await first.restart();
  t.after(() => second.close());
  await sleep(150);
  const phases = Object.fromEntries(
    second.engine.containers.list().map(({ name, state }) => [name, state.phase]),
  );
  assert.deepEqual(phases, {
    always: 'running',
    'unless-stopped': 'running',
    no: 'exited',
    stopped: 'exited',
  });
  assert.equal(second.engine.containers.get('no').state.exitCode, 255);
});

test('a health check turns unhealthy after its retries and healthy with a success', async (t) => {
  const fake = await engineFor(t);
  const healthcheck = { test: ['CMD', 'false'], interval: 10e6, retries: 2 };
  const { id } = await run(fake, ['sleep', '100'], { healthcheck });
  while (fake.engine.containers.get(id).state.health?.status !== 'unhealthy') await sleep(5);
  assert.ok(actions(fake, id).includes('health_status: unhealthy'));
  assert.ok((fake.engine.containers.get(id).state.health?.log.length ?? 0) <= 5);
});

test('what contradicts itself is refused and leaves nothing', async (t) => {
  const fake = await engineFor(t);
  const { containers } = fake.engine;
  const refused = async (more: Partial<ContainerSpec>, pattern: RegExp, name?: string) =>
    await assert.rejects(containers.create(name, specOf(['true'], more)), pattern);
  await refused({ autoRemove: true, restartPolicy: { name: 'always', maximumRetryCount: 0 } }, /AutoRemove/);
  await refused({ resources: { memory: 1000 } }, /Minimum memory limit allowed is 6MB/);
  await refused({ image: 'nope' }, /No such image: nope/);
  await refused({ networkMode: 'nope' }, /network nope not found/);
  await refused({ platform: 'linux/arm64' }, /does not match the specified platform/);
  await refused({ logConfig: { driver: 'syslog', options: {} } }, /no log driver named 'syslog'/);
  await refused(
    { logConfig: { driver: 'json-file', options: { 'max-sise': '1m' } } },
    /did you mean "max-size"/,
  );
  await refused({}, /Invalid container name/, 'no/slash');
  await refused(
    { mounts: [{ type: 'bind', source: '/nonexistent/x', target: '/x', readOnly: false, origin: 'mounts' }] },
    /bind source path does not exist: \/nonexistent\/x/,
  );
  await refused({ stopSignal: 'SIGNOPE' }, /Invalid signal: SIGNOPE/);
  assert.equal(containers.list().length, 0);
  assert.equal(fake.calls.filter((call) => call.startsWith('prepare')).length, 0);
});

test('a container that joins another one is in its pod, and a plain one is a pod of one', async (t) => {
  const fake = await engineFor(t);
  const { id } = await run(fake, ['sleep', '100'], {}, 'base');
  const joined = await run(fake, ['sleep', '100'], { networkMode: 'container:base' }, 'joined');
  const alone = await run(fake, ['sleep', '100'], {}, 'alone');
  const records = new ContainerRecords(fake.store);
  const found = pods({ records, network: fake.options.network });
  const names = Object.fromEntries(found.map((pod) => [pod.id, pod.containers.map(({ name }) => name)]));
  assert.deepEqual(names, { [id]: ['base', 'joined'], [alone.id]: ['alone'] });
  assert.ok(found.every((pod) => pod.running));
  assert.equal(fake.world.workloads.get(joined.id)?.workload.netns, `/netns/${id}`);
});

test('exit codes of execs outlive the daemon, and go with the container', async () => {
  const fake = await fakeEngine();
  const { id } = await run(fake, ['sleep', '100']);
  const { execs } = fake.engine;
  const exec = await execs.create(id, {
    args: ['sh', '-c', 'exit 9'],
    env: ['SECRET=1'],
    cwd: '',
    user: '',
    tty: false,
    attachStdin: false,
    attachStdout: true,
    attachStderr: true,
    privileged: false,
  });
  await (await execs.start(exec, { detach: false, tty: false }))!.exit;
  const next = await fake.restart();
  const { running, exitCode, env } = next.engine.execs.get(exec);
  assert.deepEqual({ running, exitCode, env }, { running: false, exitCode: 9, env: [] });
  await next.engine.containers.remove(id, { force: true, volumes: false });
  const last = await next.restart();
  assert.throws(
    () => last.engine.execs.get(exec),
    (error) => isIsleError(error, 'noSuchExec'),
  );
  await last.close();
});

test('execs that are never started are bounded, and go when the container ends', async (t) => {
  const fake = await engineFor(t);
  const { id } = await run(fake, ['sleep', '100']);
  const { execs, containers } = fake.engine;
  const create = () =>
    execs.create(id, {
      args: ['true'],
      env: [],
      cwd: '',
      user: '',
      tty: false,
      attachStdin: false,
      attachStdout: false,
      attachStderr: false,
      privileged: false,
    });
  const first = await create();
  for (let i = 1; i < 1000; i++) await create();
  await assert.rejects(create(), /1000 execs that were created and never started/);
  await containers.kill(id, undefined);
  await containers.start(id);
  assert.throws(
    () => execs.get(first),
    (error) => isIsleError(error, 'noSuchExec'),
  );
  await create();
});
