import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { examineHost, fixHost } from '../../src/host/doctor/doctor.ts';

test('this host is fit, every finding is whole, and looking leaves nothing behind', async () => {
  const root = mkdtempSync(join(tmpdir(), 'isle-doctor-'));
  const options = { dataRoot: join(root, 'not/yet'), runRoot: root, instance: 'isle' };
  const mounts = () => readFileSync('/proc/self/mountinfo', 'utf8').split('\n').length;
  const before = mounts();
  const findings = await examineHost(options);
  assert.deepEqual(
    findings.filter((finding) => finding.status === 'fail').map(({ name, found }) => `${name}: ${found}`),
    [],
  );
  assert.equal(new Set(findings.map((finding) => finding.name)).size, findings.length);
  for (const finding of findings) {
    assert.ok(finding.found !== '' && finding.why !== '', finding.name);
    assert.ok(!finding.found.startsWith('could not be checked'), `${finding.name}: ${finding.found}`);
    assert.equal(finding.status === 'ok', finding.advice === undefined, finding.name);
  }
  assert.equal(mounts(), before);
  assert.deepEqual(readdirSync(root), []);
  rmSync(root, { recursive: true });
});

test('a fix that fails is told, and the others still run', async () => {
  const ran: string[] = [];
  const finding = (name: string, run: () => Promise<void>) => ({
    name,
    status: 'warn' as const,
    found: 'x',
    why: 'y',
    fix: { does: name, run },
  });
  const told: string[] = [];
  await fixHost(
    { dataRoot: '/tmp', runRoot: '/tmp', instance: 'isle' },
    [
      finding('bad', () => Promise.reject(new Error('no'))),
      finding('good', async () => void ran.push('good')),
    ],
    (fixed, error) => told.push(`${fixed.name}${error === undefined ? '' : ' failed'}`),
  );
  assert.deepEqual(ran, ['good']);
  assert.deepEqual(told, ['bad failed', 'good']);
});
