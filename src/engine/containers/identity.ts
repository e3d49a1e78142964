import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import { stateDirOf } from './paths.ts';
import type { PodNetwork } from './pod-network.ts';
import type { ContainerRecord } from './record.ts';

/** The files of a container's directory that are mounted over those of its image. */
export const identityFiles = ['hostname', 'hosts', 'resolv.conf'] as const;

export async function writeIdentity(ctx: EngineContext, record: ContainerRecord): Promise<void> {
  await write(stateDirOf(ctx, record.id), 'hostname', `${record.hostname}\n`);
}

export async function writeNetworkFiles(
  ctx: EngineContext,
  record: ContainerRecord,
  pod: PodNetwork,
): Promise<void> {
  if (pod.hosts === undefined) return; // those of the pod's owner are used
  const directory = stateDirOf(ctx, record.id);
  await Promise.all([
    write(directory, 'hosts', pod.hosts),
    write(directory, 'resolv.conf', pod.resolvConf ?? ''),
  ]);
}

/** Also makes the directory when a damaged data root lost it. */
async function write(directory: string, name: string, content: string): Promise<void> {
  const path = join(directory, name);
  try {
    await writeFile(path, content, { mode: 0o644 });
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await writeFile(path, content, { mode: 0o644 });
  }
}
