/** The stages of `npm test`, in order; stops at the first that fails. See `scripts/test`. */
import { spawnSync } from 'node:child_process';
import { globSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compareHost, readHost } from '../test/fixtures/host-state.ts';

type Stage = { name: string; run(): number };

const stages: Stage[] = [
  { name: 'format', run: () => command('biome', ['format', '.']) },
  { name: 'lint', run: () => command('oxlint', ['--type-aware', 'src', 'test', 'bench', 'scripts']) },
  { name: 'types', run: () => command('tsc', ['--noEmit']) },
  { name: 'architecture', run: () => tests(['test/architecture.test.ts']) },
  { name: 'unit', run: () => tests(globSync('{src,scripts}/**/*.test.ts')) },
  // The rest starts daemons, bridges and processes: on two cores, files that run side by side disturb each other.
  { name: 'conformance', run: () => tests(globSync('test/conformance/**/*.test.ts'), 2) },
  { name: 'integration', run: () => tests(globSync('test/integration/**/*.test.ts'), 2) },
  { name: 'security', run: () => tests(globSync('test/security/**/*.test.ts'), 2) },
  { name: 'crash', run: () => tests(globSync('test/crash/**/*.test.ts'), 1) },
];

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
for (const stage of stages) {
  if (asked.length > 0 && !asked.includes(stage.name)) continue;
  const started = performance.now();
  console.log(`\n=== ${stage.name}`);
  const code = stage.run();
  console.log(
    `=== ${stage.name}: ${code === 0 ? 'ok' : 'failed'} in ${((performance.now() - started) / 1000).toFixed(1)} s`,
  );
  if (code !== 0) process.exit(1);
}
rmSync(temporary, { recursive: true, force: true });

const left = await compareHost(before);
if (left.length > 0) {
  console.error(`\nthe tests left this on the host:\n${left.map((line) => `  ${line}`).join('\n')}`);
  process.exit(1);
}
console.log('\nthe host is as it was: no mount, link, rule, cgroup, namespace or process left');

function command(tool: string, args: string[]): number {
  return spawnSync(tool, args, { stdio: 'inherit' }).status ?? 1;
}

function tests(files: string[], concurrency = 2): number {
  if (files.length === 0) return 0;
  const args = ['--disable-warning=ExperimentalWarning', '--test', `--test-concurrency=${concurrency}`];
  const env = { ...process.env, TMPDIR: temporary };
  return spawnSync(process.execPath, [...args, ...files.sort()], { stdio: 'inherit', env }).status ?? 1;
}
