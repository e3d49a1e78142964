import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { IdMap, Recovered } from '../../src/engine/runtime.ts';
import { detectCgroups } from '../../src/host/cgroup/detect.ts';
import { mountTable } from '../../src/host/mount.ts';
import { type OciFixture, ociFixture } from '../fixtures/oci.ts';
import { textOf, until } from '../fixtures/streams.ts';

const root = join(import.meta.dirname, '../..');
const points = globSync('src/runtimes/oci/*.ts', { cwd: root })
  .flatMap((file) => [...readFileSync(join(root, file), 'utf8').matchAll(/failpoint\('([^']+)'\)/g)])
  .map((match) => match[1] as string);

const ofNamespaces = points.filter((point) => /\.(staging|unstage)\./.test(point));

lives(
  'a daemon killed in the middle of a container’s life',
  undefined,
  (point) => !ofNamespaces.includes(point),
);
lives('the same with a user namespace', { hostId: 1_900_000_000, size: 65_536 }, (point) =>
  /\.(bundle|staging|unstage|monitor|delete|remove)\./.test(point),
);

function lives(title: string, idMap: IdMap | undefined, isWanted: (point: string) => boolean): void {
  describe(title, { concurrency: false }, () => {
    let fixture: OciFixture;
    before(async () => {
      fixture = await ociFixture({}, idMap);
    });
    after(async () => await fixture.dispose());

    assert.ok(points.length > 15, 'the failpoints were found');
    const wanted = points.filter(isWanted);
    for (const point of wanted) test(`killed at ${point}`, async () => await killedAt(point));
    for (const point of wanted) test(`failing at ${point}`, async () => await failingAt(point));

    test('killed at any moment of a create, and what it left is removed at once', async () => {
      for (let round = 0; round < 10; round++) {
        const workload = await fixture.workload({ args: ['sleep', '1000'] });
        const args = [join(import.meta.dirname, 'runtime-life.ts'), JSON.stringify(fixture.options)];
        const child = spawn(process.execPath, [...args, JSON.stringify(workload)], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        const over = new Promise((resolve) => child.once('exit', resolve));
        await until(child.stdout, 'begin');
        await delay(Math.random() * 40);
        child.kill('SIGKILL');
        await over;
        await (await fixture.restart()).delete(workload.id);
        await nothingLeft(workload.id);
      }
    });

    async function killedAt(point: string): Promise<void> {
      const workload = await fixture.workload({ args: ['sleep', '1000'] });
      const { done, signal } = await live(`${point}=kill`, workload);
      assert.equal(signal, 'SIGKILL', `the failpoint was reached; done: ${done.join(', ')}`);
      const runtime = await fixture.restart();
      const found = await runtime.recover(workload.id);
      assert.ok(states(done).includes(found.state), `${found.state} after ${done.join(', ')}`);
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
      const args = [join(import.meta.dirname, 'runtime-life.ts'), JSON.stringify(fixture.options)];
      const child = spawn(process.execPath, [...args, JSON.stringify(workload)], {
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

    async function nothingLeft(id: string): Promise<void> {
      const runtime = await fixture.restart();
      assert.deepEqual(await runtime.leftovers(), []);
      const own = (target: string): boolean =>
        target.startsWith(fixture.directory) && target !== fixture.rootfs;
      assert.ok(!(await mountTable()).some(({ target }) => own(target)));
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

/** The states a container may be found in when a daemon died after `done` and within the next step. */
function states(done: string[]): Recovered['state'][] {
  switch (done.at(-1)) {
    case undefined:
      return ['gone', 'created'];
    case 'create':
      return ['created', 'running'];
    case 'start':
    case 'exec':
      return ['running'];
    case 'update':
    case 'pause':
      return ['running', 'paused'];
    default:
      return ['running', 'exited', 'gone'];
  }
}
