import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { Workload } from '../../engine/runtime.ts';
import { socketPath } from '../../host/socket-path.ts';
import { layoutOf, type VmPlace } from './layout.ts';
import { readVmRecord, type VmRecord } from './record.ts';
import { Vm } from './vm.ts';

const soon = AbortSignal.timeout(20_000);

test('changes to the record that come at once are all kept', async (t) => {
  const place = placeFor(t, 'one');
  const record: VmRecord = {
    version: 1,
    workload: { id: 'one' } as Workload,
    memory: 1,
    links: [],
    phase: 'created',
  } as const;
  const vm = new Vm({ id: 'one', place, record: { ...record }, ended: new Promise(() => {}) });
  const texts = Array.from({ length: 50 }, (_, i) => 'x'.repeat(i * 1000));
  await Promise.all([vm.save({ phase: 'running' }), ...texts.map((reason) => vm.save({ reason }))]);
  const kept = await readVmRecord(place.record);
  assert.equal(kept?.phase, 'running');
  assert.equal(kept.reason, texts.at(-1));
});

test("a monitor that puts a link in place of its sockets' directory leads to nobody else's", async (t) => {
  const [own, other] = [placeFor(t, 'own'), placeFor(t, 'other')];
  mkdirSync(other.sockets, { recursive: true });
  const server = createServer().listen(other.agent);
  t.after(() => server.close());
  await once(server, 'listening');
  using found = await socketPath(other.agent, soon);
  assert.match(found.path, /^\/proc\/self\/fd\//);
  mkdirSync(dirname(own.sockets), { recursive: true });
  symlinkSync(other.sockets, own.sockets);
  await assert.rejects(socketPath(own.agent, soon), { code: 'ELOOP' });
});

function placeFor(t: TestContext, id: string): VmPlace {
  const runRoot = mkdtempSync(join(tmpdir(), 'isle-vm-'));
  t.after(() => rmSync(runRoot, { recursive: true }));
  const place = layoutOf(runRoot, 'isle-test').vm(id);
  mkdirSync(place.directory, { recursive: true });
  return place;
}
