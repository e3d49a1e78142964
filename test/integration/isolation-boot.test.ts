import assert from 'node:assert/strict';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { spawnIsle } from '../fixtures/command-line.ts';
import { type SideBySide, sideBySide } from '../fixtures/side-by-side.ts';

/** A boot takes seconds: whoever wants the container down, or the daemon, does not wait for it. */
describe('while a microVM boots', { concurrency: false }, () => {
  let world: SideBySide;
  before(async () => {
    world = await sideBySide();
    // The guest's kernel is prepared for the first one; that is no boot.
    await world.docker.ok('run', '--rm', '--runtime', 'microvm', 'app', 'true');
  });
  after(async () => await world[Symbol.asyncDispose]());

  const vm = (...words: string[]) => ['--runtime', 'microvm', ...words];

  interface Boot {
    started: Promise<{ code: number; stderr: string }>;
    goOn(): void;
  }

  /** Begins a start whose guest stands still from its first moments on. */
  async function boot(name: string, ...flags: string[]): Promise<Boot> {
    await world.docker.ok('create', '--name', name, ...flags, ...vm('app', 'sleep', '1000'));
    const id = await world.inspect(name, '{{.Id}}');
    const started = world.docker.run(['start', name]);
    return { started, goOn: await stopped(id) };
  }

  async function stopped(id: string): Promise<() => void> {
    for (;;) {
      const found = world.processesOf(id).find(({ program }) => program.startsWith('qemu-system'));
      if (found) {
        process.kill(found.pid, 'SIGSTOP');
        return () => process.kill(found.pid, 'SIGCONT');
      }
      await sleep(5);
    }
  }

  for (const [word, state] of [
    ['stop', 'created 137'],
    ['kill', 'created 137'],
    ['rm', ''],
  ] as const)
    test(`${word} ends it at once, and nothing stays`, async () => {
      const name = `early-${word}`;
      const { started } = await boot(name, '--restart', 'always');
      const id = await world.inspect(name, '{{.Id}}');
      await world.docker.ok(word, ...(word === 'rm' ? ['-f'] : []), name);
      const { code, stderr } = await started;
      assert.equal(code, 1);
      assert.match(stderr, /was stopped while it started/);
      await world.until('nothing of it runs', async () => world.processesOf(id).length === 0);
      if (state === '') return;
      assert.equal(await world.inspect(name, '{{.State.Status}} {{.State.ExitCode}}'), state);
      await world.docker.ok('rm', name);
    });

  test('Ctrl-C of a client without a terminal ends it, and --rm removes it', async () => {
    const words = ['run', '--rm', '--name', 'left', ...vm('app', 'sleep', '1000')];
    for (const client of [() => world.docker.start(words), () => spawnIsle(world.daemon.host, words)]) {
      const child = client();
      const said = text(child.stderr!);
      let id = '';
      await world.until('it is there', async () => (id = await world.inspect('left', '{{.Id}}')) !== '');
      await stopped(id);
      child.kill('SIGINT');
      const [code] = (await once(child, 'exit')) as [number | null];
      assert.ok(code !== null && code >= 125, `exit code ${code}`);
      assert.match(await said, /was stopped while it started/);
      await world.until('it is gone', async () => (await world.docker.ok('ps', '-aq')) === '');
    }
  });

  test('a daemon that is asked to end lets the boot come to its end, and the next one has it', async () => {
    const { started, goOn } = await boot('patient');
    const stopping = world.daemon.stop();
    goOn();
    await Promise.all([stopping, started]);
    await world.daemon.start();
    assert.equal(await world.inspect('patient', '{{.State.Status}}'), 'running');
    assert.equal(await world.inside('patient', 'echo', 'here'), 'here');
    await world.docker.ok('rm', '-f', 'patient');
  });

  test('of a daemon that was killed the next one undoes the boot, and can start it again', async () => {
    const { started } = await boot('halved');
    const id = await world.inspect('halved', '{{.Id}}');
    await world.daemon.kill9();
    await started;
    await world.daemon.start();
    await world.until('nothing of it runs', async () => world.processesOf(id).length === 0);
    assert.equal(await world.inspect('halved', '{{.State.Status}}'), 'created');
    await world.docker.ok('start', 'halved');
    assert.equal(await world.inside('halved', 'echo', 'here'), 'here');
    await world.docker.ok('rm', '-f', 'halved');
  });
});
