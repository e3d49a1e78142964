import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { examineHost, type Finding, fixHost } from '../../src/host/doctor/doctor.ts';
import { runOk } from '../../src/host/run.ts';

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

test('a host without the tools fails, and an ordinary user is told what only root can see', async () => {
  const face = new URL('../../src/host/doctor/doctor.ts', import.meta.url).href;
  const look = (before: string) =>
    `import { examineHost } from ${JSON.stringify(face)};
     ${before}
     const findings = await examineHost({ dataRoot: '/tmp', runRoot: '/tmp', instance: 'isle' });
     console.log(JSON.stringify(findings));`;
  const examined = async (before: string) => {
    const { stdout } = await runOk(process.execPath, ['--input-type=module', '-e', look(before)]);
    return Object.fromEntries((JSON.parse(stdout) as Finding[]).map((finding) => [finding.name, finding]));
  };
  const bare = await examined(`process.env.PATH = '/nonexistent';`);
  assert.equal(bare['crun']?.status, 'fail');
  assert.match(bare['crun']?.found ?? '', /not installed/);
  assert.match(bare['conmon']?.advice ?? '', /apt-get install conmon/);
  const nobody = await examined('process.setuid(65534);');
  assert.equal(nobody['root']?.status, 'warn');
  assert.deepEqual([nobody['overlay']?.status, nobody['overlay']?.found], ['warn', 'not looked at']);
  assert.ok(
    Object.values(nobody).every((finding) => finding.status !== 'fail'),
    JSON.stringify(nobody),
  );
});
