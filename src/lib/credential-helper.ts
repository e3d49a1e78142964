import { spawn } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { isleError } from './errors.ts';

const maxOutput = 1024 * 1024;
const timeout = 60_000;

/**
 * Runs `docker-credential-<name> <action>` with `input` on its standard input, by the protocol of
 * https://github.com/docker/docker-credential-helpers. The name comes from a file: it may only name a program of
 * the PATH, and no shell sees it. Undefined: the helper has nothing for this registry. Throws `invalidParameter`.
 */
export async function runCredentialHelper(
  name: string,
  action: 'get' | 'store' | 'erase',
  input: string,
  environment: NodeJS.ProcessEnv,
): Promise<{ username?: string; password?: string; identityToken?: string } | undefined> {
  const fail = (why: string, cause?: unknown) =>
    isleError('invalidParameter', { message: `credential helper "${name.slice(0, 60)}": ${why}` }, cause);
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name)) throw fail('this is not the name of a helper');
  const program = await find(`docker-credential-${name}`, environment.PATH ?? '');
  if (!program)
    throw fail(`docker-credential-${name} is not in the PATH: install it, or remove it from config.json`);
  const { code, output } = await run(program, action, input, environment).catch((error: unknown) => {
    throw fail(error instanceof Error ? error.message : 'it cannot be run', error);
  });
  if (code !== 0) {
    if (/credentials not found/.test(output)) return undefined;
    throw fail(output.trim().slice(0, 300).replace(/\s+/g, ' ') || `it ended with ${code}`);
  }
  return action === 'get' ? parse(output, fail) : undefined;
}

function parse(output: string, fail: (why: string, cause?: unknown) => Error) {
  let answer: unknown;
  try {
    answer = JSON.parse(output);
  } catch (error) {
    throw fail('its answer is not JSON', error);
  }
  const { Username: username, Secret: secret } = (answer ?? {}) as { Username?: unknown; Secret?: unknown };
  if (typeof username !== 'string' || typeof secret !== 'string')
    throw fail('its answer has no Username and Secret');
  return username === '<token>' ? { identityToken: secret } : { username, password: secret };
}

function run(program: string, action: string, input: string, environment: NodeJS.ProcessEnv) {
  return new Promise<{ code: number | null; output: string }>((resolve, reject) => {
    const child = spawn(program, [action], { stdio: ['pipe', 'pipe', 'inherit'], env: environment, timeout });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (output.length > maxOutput) child.kill('SIGKILL');
    });
    child.once('error', reject);
    child.once('close', (code, signal) =>
      signal ? reject(new Error(`it was ended by ${signal}`)) : resolve({ code, output }),
    );
    // It may answer without reading; its exit code says what counts.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}

/** Absolute directories only: a relative one in PATH would run what lies in the current directory. */
async function find(name: string, path: string): Promise<string | undefined> {
  for (const dir of path.split(':').filter(isAbsolute)) {
    const program = join(dir, name);
    try {
      await access(program, constants.X_OK);
      return program;
    } catch {
      // Not in this directory: look in the next.
    }
  }
  return undefined;
}
