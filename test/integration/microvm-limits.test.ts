import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { isIsleError } from '../../src/lib/errors.ts';
import { newId } from '../../src/lib/ids.ts';
import { type MicrovmFixture, microvmFixture } from '../fixtures/microvm.ts';

const mib = 1024 * 1024;

describe('limits of a microVM', { concurrency: false }, () => {
  let fixture: MicrovmFixture;
  let id: string;
  before(async () => {
    fixture = await microvmFixture();
    const workload = await fixture.workload({
      args: ['sleep', '1000'],
      resources: { memory: 192 * mib, nanoCpus: 500_000_000, pidsLimit: 20 },
      ulimits: [{ name: 'nofile', soft: 300, hard: 400 }],
    });
    id = workload.id;
    await fixture.runtime.create(workload);
    await fixture.runtime.start(id);
  });
  after(async () => {
    await fixture.runtime.delete(id);
    await fixture.dispose();
  });

  async function inside(...args: string[]): Promise<string> {
    const spec = {
      id: newId(),
      args,
      env: ['PATH=/bin'],
      cwd: '/',
      user: '',
      tty: false,
      stdin: false,
      privileged: false,
    };
    const { streams, exit } = await fixture.runtime.exec(id, spec);
    const [out, err] = await Promise.all([text(streams.stdout), text(streams.stderr)]);
    await exit;
    return `${out}${err}`.trim();
  }

  const memoryTotal = async () =>
    Number(/MemTotal:\s+(\d+)/.exec(await inside('cat', '/proc/meminfo'))?.[1]) * 1024;

  test('its memory is the guest’s, and its processes and files are limited inside', async () => {
    const total = await memoryTotal();
    assert.ok(total > 150 * mib && total < 192 * mib, `${total}`);
    assert.equal(await inside('sh', '-c', 'ulimit -Sn; ulimit -Hn'), '300\n400');
    assert.match(
      await inside('sh', '-c', 'for i in $(seq 1 40); do sleep 5 & done; wait'),
      /fork|temporarily/,
    );
    const { memory } = await fixture.runtime.stats(id);
    assert.ok(memory.limit > 150 * mib && memory.limit < 192 * mib);
  });

  test('a running one gives memory back, and gets it again', async () => {
    const before = await memoryTotal();
    await fixture.runtime.update(id, { memory: 128 * mib });
    assert.ok((await memoryTotal()) <= before - 60 * mib);
    const again = await fixture.restart();
    await again.update(id, { memory: 192 * mib });
    again.disconnect();
    assert.ok((await memoryTotal()) > before - 8 * mib);
  });

  test('processor time is changed while it runs; what its guest cannot have is refused', async () => {
    const { runtime } = fixture;
    await runtime.update(id, { nanoCpus: 1_000_000_000 });
    const refused = (changes: object) =>
      assert.rejects(runtime.update(id, changes), (error) => isIsleError(error, 'invalidParameter'));
    await refused({ memory: 1024 * mib });
    await refused({ memory: 16 * mib });
    await refused({ pidsLimit: 40 });
    await refused({ nanoCpus: 1 });
  });
});
