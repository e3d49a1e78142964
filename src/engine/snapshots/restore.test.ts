import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeEngine, specOf } from '../../../test/fixtures/fake-engine.ts';

test('a container that a restore could not start again is not started by the next daemon', async (t) => {
  const fake = await fakeEngine();
  t.after(() => fake.close());
  const { containers, snapshots } = fake.engine;
  const { id } = await containers.create('box', specOf(['sleep', '1000']));
  await containers.start(id);
  await snapshots.take(id, { comment: '' });
  fake.world.fail = (operation) => (operation === 'start' ? new Error('no room') : undefined);
  await assert.rejects(snapshots.restore(id, 'snap0', { restart: true, timeout: 1 }), /no room/);
  fake.world.fail = undefined;
  assert.notEqual(containers.get(id).state.phase, 'running');
  const next = await fake.restart();
  t.after(() => next.close());
  assert.deepEqual(next.store.table('intents').all(), []);
  assert.notEqual(next.engine.containers.get(id).state.phase, 'restarting');
  assert.notEqual(next.engine.containers.get(id).state.phase, 'running');
});
