/** Runs test files, several at a time, each in a process of its own with its output kept together. */
import { spawn } from 'node:child_process';
import { relative } from 'node:path';

export interface Outcome {
  passed: number;
  failed: number;
  /** Files that failed beside others and passed alone. */
  disturbed: string[];
}

/**
 * Files that fail are run once more, alone, after `sweep` took away what they left: what failed only because the machine was
 * busy with others is named at the end, and what is broken fails again.
 */
export async function runTestFiles(
  files: string[],
  width: number,
  env: NodeJS.ProcessEnv,
  sweep: () => Promise<void> = async () => {},
): Promise<Outcome> {
  const outcome: Outcome = { passed: 0, failed: 0, disturbed: [] };
  const queue = [...files].sort();
  const again: string[] = [];
  const worker = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const result = await runFile(file, env);
      if (result.code === 0) outcome.passed += result.passed;
      else again.push(file);
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  for (const file of again) {
    await sweep();
    console.log(`--- once more, alone: ${file}`);
    const result = await runFile(file, env);
    outcome.passed += result.passed;
    outcome.failed += result.code === 0 ? 0 : Math.max(1, result.failed);
    if (result.code === 0) outcome.disturbed.push(file);
  }
  return outcome;
}

async function runFile(
  file: string,
  env: NodeJS.ProcessEnv,
): Promise<{ code: number; passed: number; failed: number }> {
  const started = performance.now();
  const args = ['--disable-warning=ExperimentalWarning', '--test', '--test-reporter=spec', file];
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve(status ?? 1));
  });
  const output = Buffer.concat(chunks).toString();
  const count = (what: string): number =>
    Number(new RegExp(`^ℹ ${what} (\\d+)$`, 'm').exec(output)?.[1] ?? 0);
  const [passed, failed] = [count('pass'), count('fail') + count('cancelled')];
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const name = relative(process.cwd(), file);
  console.log(
    `${code === 0 ? 'ok    ' : 'FAILED'} ${name}: ${passed} passed, ${failed} failed, ${seconds} s`,
  );
  if (code !== 0) console.log(output);
  return { code, passed, failed };
}
