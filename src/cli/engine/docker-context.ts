import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** The Docker context of an instance: `isle`, or `isle-NAME`. */
export function contextName(instance: string): string {
  return instance === 'isle' ? 'isle' : `isle-${instance}`;
}

/** Where the docker client keeps a context: a folder named by the SHA-256 of its name. */
function contextFolder(env: NodeJS.ProcessEnv, name: string): string {
  const id = createHash('sha256').update(name).digest('hex');
  const folder = env.DOCKER_CONFIG || join(env.HOME || homedir(), '.docker');
  return join(folder, 'contexts/meta', id);
}

/** Writes the context unless it is there already. */
export async function writeDockerContext(
  env: NodeJS.ProcessEnv,
  name: string,
  socket: string,
): Promise<void> {
  const folder = contextFolder(env, name);
  const path = join(folder, 'meta.json');
  const text = JSON.stringify({
    Name: name,
    Metadata: { Description: 'Isle' },
    Endpoints: { docker: { Host: `unix://${socket}`, SkipTLSVerify: false } },
  });
  const old = await readFile(path, 'utf8').catch(() => '');
  if (old === text) return;
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const temporary = `${path}.${process.pid}.tmp`;
  await writeFile(temporary, text, { mode: 0o644 });
  await rename(temporary, path);
}

export async function removeDockerContext(env: NodeJS.ProcessEnv, name: string): Promise<void> {
  await rm(contextFolder(env, name), { recursive: true, force: true });
}
