import { mkdtemp, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fakeRuntime, fakeWorld } from '../fixtures/fake-runtime.ts';
import { workloadOf } from '../fixtures/workload.ts';
import { runtimeConformance } from './runtime.ts';

runtimeConformance('the fake', async () => {
  const directory = await mkdtemp('/tmp/isle-fake-');
  const world = fakeWorld();
  let count = 0;
  return {
    runtime: fakeRuntime(world),
    async workload(changes) {
      const stateDir = join(directory, String(count++));
      await mkdir(stateDir);
      return workloadOf({ rootfs: directory, stateDir, logPath: join(stateDir, 'log'), ...changes });
    },
    restart: async () => fakeRuntime(world),
    dispose: async () => await rm(directory, { recursive: true }),
  };
});
