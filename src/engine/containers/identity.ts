import { chownSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../lib/errors.ts';
import type { Attachment } from '../../network/network.ts';
import type { EngineContext } from '../context.ts';
import { stateDirOf } from './paths.ts';
import type { PodNetwork } from './pod-network.ts';
import type { ContainerRecord } from './record.ts';

/** The files of a container's directory that are mounted over those of its image. */
export const identityFiles = ['hostname', 'hosts', 'resolv.conf'] as const;

export async function writeIdentity(ctx: EngineContext, record: ContainerRecord): Promise<void> {
  await write(ctx, record, 'hostname', `${record.hostname}\n`);
}

export async function writeNetworkFiles(
  ctx: EngineContext,
  record: ContainerRecord,
  pod: PodNetwork,
): Promise<void> {
  if (pod.hosts === undefined) return; // those of the pod's owner are used
  await Promise.all([
    write(ctx, record, 'hosts', pod.hosts),
    write(ctx, record, 'resolv.conf', pod.resolvConf ?? ''),
  ]);
}

/**
 * The pod of a running container joined or left a network: its files say so from now on. One that was edited inside
 * is left as it is.
 */
export async function refreshNetworkFiles(
  ctx: EngineContext,
  record: ContainerRecord,
  before: Attachment | undefined,
): Promise<void> {
  const after = ctx.network.attachment(record.podId);
  if (before === undefined || after === undefined) return;
  const directory = stateDirOf(ctx, record.id);
  const refresh = async (name: string, was: string, is: string): Promise<void> => {
    if (was === is || (await readFile(join(directory, name), 'utf8')) !== was) return;
    // In place: the file is mounted in the container.
    await write(ctx, record, name, is);
  };
  await Promise.all([
    refresh('hosts', before.hosts, after.hosts),
    refresh('resolv.conf', before.resolvConf, after.resolvConf),
  ]);
}

/** It belongs to root inside. Also makes the directory when a damaged data root lost it. */
async function write(
  ctx: EngineContext,
  { id, idMap }: ContainerRecord,
  name: string,
  content: string,
): Promise<void> {
  const directory = stateDirOf(ctx, id);
  const path = join(directory, name);
  try {
    await writeFile(path, content, { mode: 0o644 });
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await writeFile(path, content, { mode: 0o644 });
  }
  // Sooner done than handed to another thread.
  if (idMap) chownSync(path, idMap.hostId, idMap.hostId);
}
