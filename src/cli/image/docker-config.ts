import { spawn } from 'node:child_process';
import { chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { errnoOf, messageOf } from '../../lib/errors.ts';
import { Failure } from '../failure.ts';

/** What the API takes as registry credentials (X-Registry-Auth). */
export interface Credentials {
  username?: string;
  password?: string;
  identitytoken?: string;
  serveraddress?: string;
}

interface AuthEntry {
  auth?: string;
  identitytoken?: string;
}

interface DockerConfig {
  auths?: Record<string, AuthEntry>;
  credsStore?: string;
  credHelpers?: Record<string, string>;
  [key: string]: unknown;
}

/** The key Docker keeps Docker Hub's credentials under. */
const hubKey = 'https://index.docker.io/v1/';

export function configPath(env: NodeJS.ProcessEnv): string {
  return join(env.DOCKER_CONFIG || join(env.HOME || homedir(), '.docker'), 'config.json');
}

function keyOf(registry: string): string {
  return registry === 'docker.io' ? hubKey : registry;
}

/** The stored credentials for a registry host, from config.json or its credential helper. */
export async function readCredentials(
  env: NodeJS.ProcessEnv,
  registry: string,
): Promise<Credentials | undefined> {
  const config = await readConfig(env);
  const key = keyOf(registry);
  const helper = config.credHelpers?.[key] ?? config.credHelpers?.[registry] ?? config.credsStore;
  if (helper) {
    const found = await askHelper(helper, key);
    if (found) return { ...found, serveraddress: key };
  }
  for (const [name, entry] of Object.entries(config.auths ?? {})) {
    if (name !== key && hostOf(name) !== hostOf(key)) continue;
    const decoded = decode(entry);
    if (decoded) return { ...decoded, serveraddress: key };
  }
  return undefined;
}

/** Keeps credentials as `docker login` does: in the helper where one is configured, else in config.json (0600). */
export async function storeCredentials(
  env: NodeJS.ProcessEnv,
  registry: string,
  credentials: Credentials,
): Promise<{ helper: string | undefined; path: string }> {
  const config = await readConfig(env);
  const key = keyOf(registry);
  const helper = config.credHelpers?.[key] ?? config.credsStore;
  const path = configPath(env);
  const username = credentials.identitytoken ? '<token>' : (credentials.username ?? '');
  const secret = credentials.identitytoken ?? credentials.password ?? '';
  if (helper) {
    await runHelper(helper, 'store', JSON.stringify({ ServerURL: key, Username: username, Secret: secret }));
    config.auths = { ...config.auths, [key]: {} };
  } else {
    const auth = Buffer.from(`${credentials.username ?? ''}:${credentials.password ?? ''}`).toString(
      'base64',
    );
    const entry = credentials.identitytoken
      ? {
          auth: Buffer.from(`${credentials.username ?? ''}:`).toString('base64'),
          identitytoken: credentials.identitytoken,
        }
      : { auth };
    config.auths = { ...config.auths, [key]: entry };
  }
  await writeConfig(path, config);
  return { helper, path };
}

/** False when there was nothing to forget. */
export async function eraseCredentials(env: NodeJS.ProcessEnv, registry: string): Promise<boolean> {
  const config = await readConfig(env);
  const key = keyOf(registry);
  const names = Object.keys(config.auths ?? {}).filter(
    (name) => name === key || hostOf(name) === hostOf(key),
  );
  const helper = config.credHelpers?.[key] ?? config.credsStore;
  if (helper) await runHelper(helper, 'erase', key).catch(() => {});
  if (names.length === 0) return false;
  for (const name of names) delete config.auths?.[name];
  await writeConfig(configPath(env), config);
  return true;
}

async function readConfig(env: NodeJS.ProcessEnv): Promise<DockerConfig> {
  const path = configPath(env);
  try {
    const parsed: unknown = JSON.parse(await readFile(path, 'utf8'));
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
      throw new Error('not an object');
    return parsed as DockerConfig;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return {};
    throw new Failure(`cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
}

async function writeConfig(path: string, config: DockerConfig): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, `${JSON.stringify(config, null, '\t')}\n`, { mode: 0o600 });
    await chmod(temporary, 0o600);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw new Failure(`cannot write ${path}: ${messageOf(error)}`, { cause: error });
  }
}

function decode(entry: AuthEntry): Credentials | undefined {
  const [username = '', ...rest] = Buffer.from(entry.auth ?? '', 'base64')
    .toString()
    .split(':');
  if (entry.identitytoken) return { username, identitytoken: entry.identitytoken };
  const password = rest.join(':').replace(/\0+$/, '');
  return username === '' && password === '' ? undefined : { username, password };
}

function hostOf(key: string): string {
  return key
    .replace(/^https?:\/\//, '')
    .replace(/\/.*$/, '')
    .replace(/^index\.docker\.io$/, 'docker.io');
}

async function askHelper(helper: string, key: string): Promise<Credentials | undefined> {
  let text: string;
  try {
    text = await runHelper(helper, 'get', key);
  } catch {
    // A helper that knows nothing of this registry says so by failing: go on without.
    return undefined;
  }
  const { Username: username = '', Secret: secret = '' } = JSON.parse(text) as {
    Username?: string;
    Secret?: string;
  };
  return username === '<token>' ? { identitytoken: secret } : { username, password: secret };
}

function runHelper(helper: string, action: 'get' | 'store' | 'erase', input: string): Promise<string> {
  if (!/^[\w.-]+$/.test(helper)) throw new Failure(`invalid credential helper "${helper}" in config.json`);
  return new Promise((resolve, reject) => {
    const name = `docker-credential-${helper}`;
    const child = spawn(name, [action], { stdio: ['pipe', 'pipe', 'pipe'] });
    let output = '';
    let complaint = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
    child.on('error', (cause) => reject(new Failure(`cannot run ${name}: ${messageOf(cause)}`, { cause })));
    child.stdin.on('error', () => {});
    child.on('close', (code) => {
      if (code === 0) resolve(output);
      else reject(new Failure(`${name} ${action} failed: ${(complaint || output).trim()}`));
    });
    child.stdin.end(input);
  });
}
