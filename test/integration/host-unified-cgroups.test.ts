import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runInGuest } from '../fixtures/guest.ts';

const node =
  'node --disable-warning=ExperimentalWarning --test --test-isolation=none --test-force-exit --test-reporter=tap';

/** What must hold on a pure v2 host as it does here; of the longest suite only what control groups are part of. */
const suites = [
  'test/integration/host-cgroup.test.ts test/integration/host-mount.test.ts test/integration/host-pidfd.test.ts',
  'test/integration/host-doctor.test.ts test/conformance/runtime-oci.test.ts test/conformance/snapshots-overlay.test.ts',
  '--test-name-pattern="limits|memory" test/integration/runtime-containers.test.ts',
];

/** Emulation takes ten times as long as the machine, and the machine may be busy. */
const patience = 900_000;

test('a host with unified control groups and an older kernel keeps the same promises', async (t) => {
  const script = suites.map((files) => `${node} ${files}`).join(' && ');
  const { code, console } = await runInGuest(script, patience);
  const failed = console.split('\n').filter((line) => /^\s*not ok/.test(line));
  assert.deepEqual(failed, [], console);
  assert.equal(code, 0, console);
  const passed = [...console.matchAll(/^# pass (\d+)/gm)].map(([, count]) => Number(count));
  assert.equal(passed.length, suites.length, console);
  t.diagnostic(`${passed.reduce((sum, count) => sum + count)} tests passed in the guest`);
  assert.ok(
    passed.every((count) => count > 1),
    console,
  );
});
