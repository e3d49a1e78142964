/** The stages of `npm test`, in order; stops at the first that fails. See `scripts/test`. */
import { spawnSync } from 'node:child_process';
import { chmodSync, globSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compareHost, readHost } from '../test/fixtures/host-state.ts';
import { sweepRun } from '../test/fixtures/sweep.ts';
import { runTestFiles } from './test-files.ts';

type Stage = { name: string; run(): boolean | Promise<boolean> };

const stages: Stage[] = [
  { name: 'format', run: () => command('biome', ['format', '.']) },
  { name: 'lint', run: () => command('oxlint', ['--type-aware', 'src', 'test', 'bench', 'scripts']) },
  { name: 'types', run: () => command('tsc', ['--noEmit']) },
  { name: 'architecture', run: () => tests(['test/architecture.test.ts']) },
  { name: 'unit', run: () => tests(globSync('{src,scripts}/**/*.test.ts')) },
  // The rest starts daemons, bridges and processes: on two cores, files that run side by side disturb each other.
  { name: 'conformance', run: () => tests(globSync('test/conformance/**/*.test.ts')) },
  { name: 'integration', run: () => tests(globSync('test/integration/**/*.test.ts')) },
  { name: 'security', run: () => tests(globSync('test/security/**/*.test.ts')) },
  { name: 'crash', run: () => tests(globSync('test/crash/**/*.test.ts')) },
];

const total = { passed: 0, failed: 0, disturbed: [] as string[] };
const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !stages.some((stage) => stage.name === name));
if (unknown.length > 0) {
  console.error(
    `no such stage: ${unknown.join(', ')}; there are ${stages.map((stage) => stage.name).join(', ')}`,
  );
  process.exit(2);
}

const before = readHost();
const temporary = mkdtempSync(join(tmpdir(), 'isle-test-'));
// Roots of user namespaces lie below, and who is root there has to get to them.
chmodSync(temporary, 0o711);
const instances = join(temporary, 'instances');
for (const stage of stages) {
  if (asked.length > 0 && !asked.includes(stage.name)) continue;
  const started = performance.now();
  console.log(`\n=== ${stage.name}`);
  const ok = await stage.run();
  console.log(
    `=== ${stage.name}: ${ok ? 'ok' : 'failed'} in ${((performance.now() - started) / 1000).toFixed(1)} s`,
  );
  if (!ok) {
    conclude();
    process.exit(1);
  }
}

const left = await compareHost(before);
if (left.length > 0) {
  console.error(`\nthe tests left this on the host:\n${left.map((line) => `  ${line}`).join('\n')}`);
  process.exit(1);
}
// Not before: what is still mounted there is to be told.
rmSync(temporary, { recursive: true, force: true });
console.log('\nthe host is as it was: no mount, link, rule, cgroup, namespace or process left');
conclude();

function command(tool: string, args: string[]): boolean {
  return spawnSync(tool, args, { stdio: 'inherit' }).status === 0;
}

async function tests(files: string[], width = 2): Promise<boolean> {
  const env = { ...process.env, TMPDIR: temporary, ISLE_TEST_INSTANCES: instances };
  const { passed, failed, disturbed } = await runTestFiles(files, width, env, () =>
    sweepRun(temporary, instances),
  );
  total.passed += passed;
  total.failed += failed;
  total.disturbed.push(...disturbed);
  return failed === 0;
}

/** The last lines: what failed beside other tests and passed alone, and the count. */
function conclude(): void {
  for (const file of total.disturbed) console.log(`disturbed: ${file} failed beside others and passed alone`);
  console.log(`${total.passed} passed, ${total.failed} failed`);
}
