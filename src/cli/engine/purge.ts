import { spawn } from 'node:child_process';
import { readdir, readFile, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../lib/errors.ts';
import type { Client } from '../client/client.ts';
import type { ContainerSummary, ImageSummary, NetworkBody, VolumeBody } from '../client/types.ts';
import { ApiError } from '../client/errors.ts';
import { Failure } from '../failure.ts';
import type { EnginePlace } from './options.ts';

/** Removes all that the engine knows, by the engine's own removal. */
export async function removeEverything(client: Client): Promise<void> {
  const containers = await client.get<ContainerSummary[]>('/containers/json', { all: true });
  await Promise.all(
    containers.map(({ Id }) => gone(client.delete(`/containers/${Id}`, { force: true, v: true }))),
  );
  const predefined = new Set(['bridge', 'host', 'none']);
  const networks = await client.get<NetworkBody[]>('/networks');
  for (const { Id, Name } of networks)
    if (!predefined.has(Name)) await gone(client.delete(`/networks/${Id}`));
  const { Volumes } = await client.get<{ Volumes: VolumeBody[] | null }>('/volumes');
  for (const { Name } of Volumes ?? [])
    await gone(client.delete(`/volumes/${encodeURIComponent(Name)}`, { force: true }));
  const images = await client.get<ImageSummary[]>('/images/json', { all: true });
  for (const { Id } of images) await gone(client.delete(`/images/${Id}`, { force: true }));
}

async function gone(removal: Promise<void>): Promise<void> {
  try {
    await removal;
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 404)) throw error;
  }
}

/**
 * What Isle can make again, first: the engine cannot record that something is gone while the disk is full. A guest that
 * still runs holds the files it was booted from.
 */
export async function makeRoom(place: EnginePlace): Promise<void> {
  await rm(join(place.dataRoot, 'guest'), { recursive: true, force: true });
}

/** Removes what a stopped engine leaves on purpose for its successor: bridge, rules, cgroups, namespaces, both roots. */
export async function purgeHost(place: EnginePlace): Promise<void> {
  // A name that could mean anything else would be a command line of its own.
  if (!/^[a-z][a-z0-9-]{0,11}$/.test(place.instance))
    throw new Failure(`invalid instance name "${place.instance}"`);
  await tool('ip', ['link', 'delete', 'dev', `${place.instance}0`]);
  await tool('nft', ['delete', 'table', 'inet', place.instance]);
  await unmountBelow(place.runRoot);
  await unmountBelow(place.dataRoot);
  await removeCgroups(place.instance);
  for (const root of [place.runRoot, place.dataRoot]) await removeRoot(root);
}

/** Runs a tool for what may be gone already. */
function tool(name: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(name, args, { stdio: 'ignore' });
    child.on('error', (cause) => reject(new Failure(`${name}: ${messageOf(cause)}`, { cause })));
    child.on('close', () => resolve());
  });
}

async function unmountBelow(root: string): Promise<void> {
  const table = await readFile('/proc/self/mountinfo', 'utf8');
  const targets = table
    .split('\n')
    .map((line) =>
      (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, code: string) =>
        String.fromCharCode(Number.parseInt(code, 8)),
      ),
    )
    .filter((target) => target.startsWith(`${root}/`));
  // Last mounted first.
  for (const target of targets.reverse()) await tool('umount', ['-l', target]);
}

/** The instance's group in every hierarchy, children first; a group that still holds a process stays, and is said. */
async function removeCgroups(instance: string): Promise<void> {
  const base = '/sys/fs/cgroup';
  const hierarchies = ['', ...(await readdir(base).catch(() => []))].map((name) => join(base, name));
  for (const hierarchy of hierarchies) await removeCgroup(join(hierarchy, instance));
}

async function removeCgroup(path: string): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => undefined);
  if (!entries) return;
  for (const entry of entries) if (entry.isDirectory()) await removeCgroup(join(path, entry.name));
  await rmdir(path).catch((cause: unknown) => {
    throw new Failure(`cannot remove the cgroup ${path}: ${messageOf(cause)}`, { cause });
  });
}

async function removeRoot(root: string): Promise<void> {
  for (const name of await readdir(root).catch(() => []))
    await rm(join(root, name), { recursive: true, force: true });
  // A root that is a mount point of its own stays, empty.
  await rmdir(root).catch(() => {});
}
