import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runInGuest } from '../fixtures/guest.ts';

/** What must hold on a pure v2 host as it does here. */
const suites = [
  'test/integration/host-cgroup.test.ts',
  'test/integration/host-mount.test.ts',
  'test/integration/host-files.test.ts',
  'test/integration/host-pidfd.test.ts',
  'test/integration/host-doctor.test.ts',
  'test/conformance/runtime-oci.test.ts',
  'test/conformance/network-kernel.test.ts',
  'test/integration/network-pods.test.ts',
  'test/integration/network-ports.test.ts',
  'test/integration/runtime-containers.test.ts',
];

test('a host with unified control groups and an older kernel keeps the same promises', async (t) => {
  const flags =
    '--disable-warning=ExperimentalWarning --test --test-isolation=none --test-force-exit --test-reporter=tap';
  const { code, console } = await runInGuest(`node ${flags} ${suites.join(' ')}`, 600_000);
  const failed = console.split('\n').filter((line) => /^\s*not ok/.test(line));
  assert.deepEqual(failed, [], console);
  assert.equal(code, 0, console);
  const passed = /^# pass (\d+)/m.exec(console)?.[1];
  t.diagnostic(`${passed} tests passed in the guest`);
  assert.ok(Number(passed) > 30, console);
});
