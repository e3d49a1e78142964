import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Recovered, Runtime, Workload } from '../../src/engine/runtime.ts';
import { detectCgroups } from '../../src/host/cgroup/detect.ts';
import { mountTable } from '../../src/host/mount.ts';
import { textOf, until } from '../fixtures/streams.ts';

const root = join(import.meta.dirname, '../..');

/** The failpoints in the sources of a runtime. */
export function pointsOf(files: string): string[] {
  return globSync(files, { cwd: root })
    .flatMap((file) => [...readFileSync(join(root, file), 'utf8').matchAll(/failpoint\('([^']+)'\)/g)])
    .map((match) => match[1] as string);
}

export interface CrashFixture {
  directory: string;
  /** Where its control groups lie. */
  instance: string;
  rootfs: string;
  options: object;
  workload(changes: Partial<Workload>): Promise<Workload>;
  restart(): Promise<Runtime>;
  dispose(): Promise<void>;
}

export interface Lives {
  title: string;
  /** As runtime-life.ts knows it. */
  runtime: 'oci' | 'machine' | 'microvm' | 'pooled microvm';
  open(): Promise<CrashFixture>;
  points: string[];
  /** Failing there is told by the step's failure, and nothing else. Default: all. */
  failing?: string[];
  /** Milliseconds within which a create is killed, and how often. Absent: it is not. */
  creates?: { within: number; rounds: number };
  /** The states it may be found in when the daemon died after `done` and within the next step. */
  states(done: string[]): Recovered['state'][];
}

/** Leads a workload through its life in another process that dies or fails at each of the points, and looks what is left. */
export function lives({
  title,
  runtime: kind,
  open,
  points,
  failing = points,
  creates,
  states,
}: Lives): void {
  describe(title, { concurrency: false }, () => {
    let fixture: CrashFixture;
    before(async () => {
      fixture = await open();
    });
    after(async () => await fixture.dispose());

    for (const point of points) test(`killed at ${point}`, async () => await killedAt(point));
    for (const point of failing) test(`failing at ${point}`, async () => await failingAt(point));

    const anyMoment = 'killed at any moment of a create, and what it left is removed at once';
    if (creates) test(anyMoment, async () => await killedWithin(creates));

    async function killedWithin(creates: { within: number; rounds: number }): Promise<void> {
      for (let round = 0; round < creates.rounds; round++) {
        const workload = await fixture.workload({ args: ['sleep', '1000'] });
        const child = spawn(process.execPath, argumentsFor(workload), {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        const over = new Promise((resolve) => child.once('exit', resolve));
        await until(child.stdout, 'begin');
        await delay(Math.random() * creates.within);
        child.kill('SIGKILL');
        await over;
        await (await fixture.restart()).delete(workload.id);
        await nothingLeft(workload.id);
      }
    }

    function argumentsFor(workload: object): string[] {
      const life = join(import.meta.dirname, 'runtime-life.ts');
      return [life, kind, JSON.stringify(fixture.options), JSON.stringify(workload)];
    }

    async function killedAt(point: string): Promise<void> {
      const workload = await fixture.workload({ args: ['sleep', '1000'] });
      const { done, signal } = await live(`${point}=kill`, workload);
      assert.equal(signal, 'SIGKILL', `the failpoint was reached; done: ${done.join(', ')}`);
      const runtime = await fixture.restart();
      const found = await runtime.recover(workload.id);
      assert.ok(states(done).includes(found.state), `${found.state} after ${done.join(', ')}`);
      if (kind === 'pooled microvm') await removeStrangers(runtime, workload.id);
      const again = await (await fixture.restart()).recover(workload.id);
      assert.equal(again.state, found.state, 'a second look finds the same');
      await runtime.delete(workload.id);
      await nothingLeft(workload.id);
    }

    async function failingAt(point: string): Promise<void> {
      const workload = await fixture.workload({ args: ['sleep', '1000'] });
      const { done, failed } = await live(`${point}=error@1`, workload);
      assert.ok(failed.length > 0, 'the failpoint was reached');
      const runtime = await fixture.restart();
      if (failed[0]?.startsWith('create')) assert.equal((await runtime.recover(workload.id)).state, 'gone');
      if (!done.includes('delete')) await runtime.delete(workload.id);
      await nothingLeft(workload.id);
    }

    async function live(failpoint: string, workload: object) {
      const child = spawn(process.execPath, argumentsFor(workload), {
        env: { ...process.env, ISLE_FAILPOINT: failpoint },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const over = new Promise<NodeJS.Signals | null>((resolve) =>
        child.once('exit', (_, by) => resolve(by)),
      );
      const lines = (await textOf(child.stdout)).split('\n').filter(Boolean);
      return {
        signal: await over,
        done: lines.filter((line) => !line.startsWith('failed ') && line !== 'begin'),
        failed: lines.filter((line) => line.startsWith('failed ')).map((line) => line.slice(7)),
      };
    }

    /** What no container has, as the engine does. */
    async function removeStrangers(runtime: Runtime, id: string): Promise<void> {
      for (const other of await runtime.leftovers()) if (other !== id) await runtime.delete(other);
    }

    async function nothingLeft(id: string): Promise<void> {
      const runtime = await fixture.restart();
      assert.deepEqual(await runtime.leftovers(), []);
      const own = (target: string): boolean =>
        target.includes(id) || (target.startsWith(fixture.directory) && target !== fixture.rootfs);
      const kept = join(fixture.directory, 'netns');
      const mounts = (await mountTable())
        .map(({ target }) => target)
        .filter((target) => !target.startsWith(kept) && own(target));
      assert.deepEqual(mounts, []);
      assert.deepEqual(await (await detectCgroups()).children(`/${fixture.instance}`), []);
      for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
        let line = '';
        try {
          line = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        } catch {
          continue; // It ended meanwhile.
        }
        assert.ok(!line.includes(id), `process ${pid} is left: ${line.replaceAll('\0', ' ')}`);
      }
    }
  });
}
