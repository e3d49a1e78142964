import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { ExecSpec, Runtime, Workload } from '../../src/engine/runtime.ts';
import { isIsleError } from '../../src/lib/errors.ts';
import { newId } from '../../src/lib/ids.ts';
import { outputOf, textOf, until } from '../fixtures/streams.ts';

/** What an implementation gives the suite. */
export interface RuntimeUnderTest {
  runtime: Runtime;
  /** A workload of this implementation that the suite may change; its log lies in `stateDir/log`. */
  workload(changes: Partial<Workload>): Promise<Workload>;
  /** The same runtime as a freshly started daemon would make it. */
  restart(): Promise<Runtime>;
  /** Removes everything and fails when something is left. */
  dispose(): Promise<void>;
}

/** Holds an implementation to the promises of the Runtime contract. */
export function runtimeConformance(name: string, make: () => Promise<RuntimeUnderTest>): void {
  describe(`${name} keeps the Runtime contract`, { concurrency: false }, () => {
    let under: RuntimeUnderTest;
    let runtime: Runtime;
    before(async () => {
      under = await make();
      runtime = under.runtime;
    });
    after(async () => await under.dispose());

    async function created(changes: Partial<Workload>): Promise<Workload> {
      const workload = await under.workload(changes);
      await runtime.create(workload);
      return workload;
    }
    async function started(changes: Partial<Workload>): Promise<Workload> {
      const workload = await created(changes);
      await runtime.start(workload.id);
      return workload;
    }

    test('a process runs and its exit code is told', async () => {
      for (const [args, code] of [
        [['true'], 0],
        [['false'], 1],
        [['sh', '-c', 'exit 42'], 42],
      ] as const) {
        const { id } = await started({ args: [...args] });
        const exit = await runtime.wait(id);
        assert.equal(exit.code, code);
        assert.equal(exit.oomKilled, false);
        assert.ok(Math.abs(Date.parse(exit.finishedAt) - Date.now()) < 60_000, exit.finishedAt);
        await runtime.delete(id);
      }
    });

    test('it does not start before it is started', async () => {
      const workload = await created({ args: ['echo', 'hello'] });
      const streams = await runtime.attach(workload.id);
      const output = outputOf(streams);
      await delay(50);
      assert.equal(streams.stdout.readableLength, 0);
      const { pid } = await runtime.start(workload.id);
      assert.ok(pid > 0);
      assert.deepEqual(await output, { stdout: 'hello\n', stderr: '' });
      await runtime.delete(workload.id);
    });

    test('standard output and standard error are told apart, attached and in the log', async () => {
      const workload = await created({ args: ['sh', '-c', 'echo out; echo err >&2'] });
      const output = outputOf(await runtime.attach(workload.id));
      await runtime.start(workload.id);
      await runtime.wait(workload.id);
      assert.deepEqual(await output, { stdout: 'out\n', stderr: 'err\n' });
      const log = await readFile(workload.logPath!, 'utf8');
      assert.match(log, /^\S+ stdout F out$/m);
      assert.match(log, /^\S+ stderr F err$/m);
      await runtime.delete(workload.id);
    });

    test('several clients see the same output', async () => {
      const { id } = await created({ args: ['sh', '-c', 'echo one; echo two'] });
      const outputs = [];
      for (let client = 0; client < 3; client++) outputs.push(outputOf(await runtime.attach(id)));
      await runtime.start(id);
      for (const output of await Promise.all(outputs)) assert.equal(output.stdout, 'one\ntwo\n');
      await runtime.delete(id);
    });

    test('stdin reaches the process, and ending it half-closes', async () => {
      const { id } = await created({ args: ['cat'], stdin: true, stdinOnce: true });
      const streams = await runtime.attach(id);
      const output = textOf(streams.stdout);
      streams.stderr.resume();
      await runtime.start(id);
      streams.stdin!.write('line 1\n');
      streams.stdin!.end('line 2\n');
      assert.equal(await output, 'line 1\nline 2\n');
      assert.equal((await runtime.wait(id)).code, 0);
      await runtime.delete(id);
    });

    test('without stdinOnce a client can go and another one goes on writing', async () => {
      const { id } = await created({ args: ['sh', '-c', 'read A; read B; echo $A-$B'], stdin: true });
      const first = await runtime.attach(id);
      await runtime.start(id);
      const written = Promise.withResolvers<void>();
      first.stdin!.end('a\n', () => written.resolve());
      await written.promise;
      await delay(50);
      first.close();
      const second = await runtime.attach(id);
      second.stderr.resume();
      const output = textOf(second.stdout);
      second.stdin!.write('b\n');
      assert.equal(await output, 'a-b\n');
      await runtime.delete(id);
    });

    test('a client that goes does not touch the process', async () => {
      const { id } = await created({ args: ['sh', '-c', 'sleep 0.2; echo done'] });
      const leaving = await runtime.attach(id);
      const staying = await runtime.attach(id);
      const output = outputOf(staying);
      await runtime.start(id);
      leaving.close();
      assert.equal((await output).stdout, 'done\n');
      await runtime.delete(id);
    });

    test('a signal ends the process with 128 + its number', async () => {
      const { id } = await started({ args: ['sleep', '100'] });
      await runtime.signal(id, 9);
      assert.equal((await runtime.wait(id)).code, 137);
      await assert.rejects(runtime.signal(id, 15), (error) => isIsleError(error, 'conflict'));
      await runtime.delete(id);
    });

    test('any number may wait', async () => {
      const { id } = await created({ args: ['sh', '-c', 'exit 3'] });
      const waiting = [runtime.wait(id), runtime.wait(id), runtime.wait(id)];
      await runtime.start(id);
      for (const exit of await Promise.all(waiting)) assert.equal(exit.code, 3);
      assert.equal((await runtime.wait(id)).code, 3);
      await runtime.delete(id);
    });

    test('a command that does not exist is named, and nothing is left', async () => {
      await assert.rejects(
        runtime.create(await under.workload({ args: ['no-such-command'], tty: true })),
        (error) => isIsleError(error, 'commandNotFound'),
      );
      const workload = await under.workload({ args: ['no-such-command'] });
      await assert.rejects(runtime.create(workload), (error) => {
        assert.ok(isIsleError(error, 'commandNotFound'), String(error));
        assert.match(error.message, /no-such-command.*executable file not found/);
        return true;
      });
      assert.ok(!(await runtime.leftovers()).includes(workload.id));
      assert.deepEqual(await runtime.recover(workload.id), { state: 'gone' });
    });

    test('a command that may not be executed is named', async () => {
      const workload = await under.workload({ args: ['/etc/passwd'] });
      await assert.rejects(runtime.create(workload), (error) => {
        assert.ok(isIsleError(error, 'commandNotExecutable'), String(error));
        assert.match(error.message, /permission denied/);
        return true;
      });
      assert.ok(!(await runtime.leftovers()).includes(workload.id));
    });

    test('users that do not exist or are out of range are refused', async () => {
      for (const user of ['nobody-here', '2147483648', '4294967296', '-1', '4294967295:0']) {
        const workload = await under.workload({ user });
        await assert.rejects(
          runtime.create(workload),
          (error) => isIsleError(error, 'invalidParameter'),
          user,
        );
        assert.ok(!(await runtime.leftovers()).includes(workload.id));
      }
    });

    test('delete works in every state, any number of times', async () => {
      const inState = {
        created: await created({}),
        running: await started({ args: ['sleep', '100'] }),
        exited: await started({ args: ['true'] }),
        paused: await started({ args: ['sleep', '100'] }),
      };
      await runtime.wait(inState.exited.id);
      await runtime.pause(inState.paused.id);
      for (const { id } of Object.values(inState)) {
        assert.ok((await runtime.leftovers()).includes(id));
        await runtime.delete(id);
        await runtime.delete(id);
        assert.deepEqual(await runtime.recover(id), { state: 'gone' });
        assert.ok(!(await runtime.leftovers()).includes(id));
      }
      await runtime.delete((await under.workload({})).id);
    });

    test('who waits is told when the workload is deleted while it runs', async () => {
      const { id } = await started({ args: ['sleep', '100'] });
      const waiting = runtime.wait(id);
      await runtime.delete(id);
      assert.equal((await waiting).code, 137);
    });

    test('an id can be used again after delete, and not before', async () => {
      const workload = await started({ args: ['sh', '-c', 'exit 1'] });
      await assert.rejects(runtime.create(workload), (error) => isIsleError(error, 'conflict'));
      assert.equal((await runtime.wait(workload.id)).code, 1);
      await runtime.delete(workload.id);
      await runtime.create({ ...workload, args: ['sh', '-c', 'exit 2'] });
      await runtime.start(workload.id);
      assert.equal((await runtime.wait(workload.id)).code, 2);
      await runtime.delete(workload.id);
    });

    test('pause stops it, resume lets it go on, and a paused one is recovered as such', async () => {
      const { id } = await started({ args: ['sh', '-c', 'sleep 0.1; exit 5'] });
      await runtime.pause(id);
      assert.equal((await (await under.restart()).recover(id)).state, 'paused');
      await runtime.resume(id);
      assert.equal((await runtime.wait(id)).code, 5);
      await runtime.delete(id);
    });

    test('environment, working directory and arguments arrive as given', async () => {
      const { id } = await created({ args: ['env'], env: ['A=b c', 'EMPTY=', 'PERCENT=%s%n'], cwd: '/tmp' });
      const output = outputOf(await runtime.attach(id));
      await runtime.start(id);
      const lines = (await output).stdout.split('\n');
      for (const line of ['A=b c', 'EMPTY=', 'PERCENT=%s%n']) assert.ok(lines.includes(line), line);
      await runtime.delete(id);
    });

    const exec = (changes: Partial<ExecSpec>): ExecSpec => ({
      id: newId(),
      args: ['true'],
      env: ['PATH=/bin'],
      cwd: '/',
      user: '',
      tty: false,
      stdin: false,
      privileged: false,
      ...changes,
    });

    test('exec runs another process, with its output, its stdin and its exit code', async () => {
      const { id } = await started({ args: ['sleep', '100'] });
      for (const [args, code] of [
        [['true'], 0],
        [['sh', '-c', 'exit 33'], 33],
      ] as const) {
        const session = await runtime.exec(id, exec({ args: [...args] }));
        assert.ok(session.pid > 0);
        assert.deepEqual(await outputOf(session.streams), { stdout: '', stderr: '' });
        assert.deepEqual(await session.exit, { code });
      }
      const session = await runtime.exec(
        id,
        exec({ args: ['sh', '-c', 'echo out; echo err >&2; echo $WHO'], env: ['PATH=/bin', 'WHO=me'] }),
      );
      assert.deepEqual(await outputOf(session.streams), { stdout: 'out\nme\n', stderr: 'err\n' });
      const cat = await runtime.exec(id, exec({ args: ['cat'], stdin: true }));
      const output = outputOf(cat.streams);
      cat.streams.stdin!.end('through\n');
      assert.equal((await output).stdout, 'through\n');
      assert.deepEqual(await cat.exit, { code: 0 });
      await runtime.delete(id);
    });

    test('a detached exec runs to its end and tells its exit code', async () => {
      const { id } = await started({ args: ['sleep', '100'] });
      const session = await runtime.exec(id, exec({ args: ['sh', '-c', 'echo x; exit 6'], detached: true }));
      session.streams.stdout.resume();
      session.streams.stderr.resume();
      assert.equal((await session.exit).code, 6);
      await runtime.delete(id);
    });

    test('exec names a command that is not there or may not be executed, and a wrong user', async () => {
      const { id } = await started({ args: ['sleep', '100'] });
      for (const how of [{}, { tty: true }, { detached: true }, { tty: true, detached: true }]) {
        await assert.rejects(runtime.exec(id, exec({ args: ['no-such'], ...how })), (error) =>
          isIsleError(error, 'commandNotFound'),
        );
        await assert.rejects(runtime.exec(id, exec({ args: ['/etc/passwd'], ...how })), (error) =>
          isIsleError(error, 'commandNotExecutable'),
        );
      }
      await assert.rejects(runtime.exec(id, exec({ user: 'nobody-here' })), (error) =>
        isIsleError(error, 'invalidParameter'),
      );
      await runtime.pause(id);
      await assert.rejects(runtime.exec(id, exec({})), (error) => isIsleError(error, 'conflict'));
      await runtime.delete(id);
    });

    test('exec needs a running process', async () => {
      const { id } = await started({ args: ['true'] });
      await runtime.wait(id);
      await assert.rejects(runtime.exec(id, exec({})), (error) => isIsleError(error, 'conflict'));
      await runtime.delete(id);
    });

    test('what exec started can be killed, and killing it again is no error', async () => {
      const { id } = await started({ args: ['sleep', '100'] });
      const session = await runtime.exec(id, exec({ args: ['sleep', '100'] }));
      const output = outputOf(session.streams);
      await session.kill();
      assert.equal((await session.exit).code, 137);
      await session.kill();
      await output;
      await runtime.delete(id);
    });

    test('what exec started ends with the container', async () => {
      const { id } = await started({ args: ['sleep', '100'] });
      const session = await runtime.exec(id, exec({ args: ['sleep', '100'] }));
      const output = outputOf(session.streams);
      await runtime.delete(id);
      assert.equal((await session.exit).code, 137);
      await output;
    });

    test('stats and processes tell about what runs', async () => {
      const { id } = await created({ args: ['sleep', '100'] });
      const { pid } = await runtime.start(id);
      assert.ok((await runtime.processes(id)).includes(pid));
      const stats = await runtime.stats(id);
      assert.ok(stats.memory.usage > 0);
      assert.ok(stats.pids.current >= 1);
      await runtime.delete(id);
    });

    test('another daemon finds each state again', async () => {
      const waiting = await created({ args: ['sh', '-c', 'exit 9'] });
      const running = await started({ args: ['sh', '-c', 'read A; echo got $A; exit 4'], stdin: true });
      const exited = await started({ args: ['sh', '-c', 'exit 7'] });
      await runtime.wait(exited.id);
      runtime = await under.restart();
      assert.equal((await runtime.recover(waiting.id)).state, 'created');
      const found = await runtime.recover(running.id);
      assert.equal(found.state, 'running');
      const over = await runtime.recover(exited.id);
      assert.equal(over.state === 'exited' && over.exit.code, 7);
      assert.equal((await runtime.wait(exited.id)).code, 7);
      await runtime.start(waiting.id);
      assert.equal((await runtime.wait(waiting.id)).code, 9);
      const streams = await runtime.attach(running.id);
      streams.stderr.resume();
      const heard = until(streams.stdout, 'got it');
      streams.stdin!.write('it\n');
      await heard;
      assert.equal((await runtime.wait(running.id)).code, 4);
      for (const { id } of [waiting, running, exited]) await runtime.delete(id);
    });
  });
}

export function logPathOf(stateDir: string): string {
  return join(stateDir, 'log');
}
