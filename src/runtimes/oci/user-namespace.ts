import { readFile, stat } from 'node:fs/promises';
import type { IdMap, Workload } from '../../engine/runtime.ts';
import { closeFd } from '../../host/paths.ts';
import { usernsFdOf, usernsOfNetwork } from '../../host/user-namespace.ts';
import { isleError } from '../../lib/errors.ts';

/** The user namespace that a workload is to run in. */
export interface UserNamespace extends Disposable {
  map: IdMap;
  /** For the OCI runtime to join; good until it is closed. */
  path: string;
  /** Whether the workload's network namespace belongs to it: then whoever is root inside may configure that. */
  ownsNetwork: boolean;
}

/**
 * Finds the namespace that fits what the workload joins: that of the process whose IPC or processes it shares; else the
 * one that its network namespace belongs to; else a fresh one. Throws `invalidParameter` when that has another map.
 */
export async function openUserNamespace(
  workload: Workload,
  tool: 'crun' | 'runc',
): Promise<UserNamespace | undefined> {
  const { idMap: map, netns, ipc, pid } = workload;
  if (map === undefined) return undefined;
  if (tool !== 'crun')
    throw isleError('idMapUnsupported', { why: `Isle makes user namespaces with crun, not with ${tool}` });
  const owner = netns === undefined ? undefined : await usernsOfNetwork(netns, map);
  const joined = [pid, ipc].find((namespace) => typeof namespace === 'object');
  if (joined === undefined) {
    const fd = owner ?? (await usernsFdOf(map));
    return { map, path: pathOf(fd), ownsNetwork: owner !== undefined, [Symbol.dispose]: () => closeFd(fd) };
  }
  try {
    const path = `/proc/${joined.pid}/ns/user`;
    await checkMap(joined.pid, map);
    const ownsNetwork = owner !== undefined && (await sameNamespace(path, pathOf(owner)));
    return { map, path, ownsNetwork, [Symbol.dispose]() {} };
  } finally {
    if (owner !== undefined) closeFd(owner);
  }
}

function pathOf(fd: number): string {
  return `/proc/${process.pid}/fd/${fd}`;
}

async function checkMap(pid: number, { hostId, size }: IdMap): Promise<void> {
  const text = await readFile(`/proc/${pid}/uid_map`, 'latin1');
  if (text.trim().split(/\s+/).map(Number).join() === [0, hostId, size].join()) return;
  throw isleError('invalidParameter', {
    message:
      'a container cannot share IPC or processes with one in another user namespace: give both the same --userns',
  });
}

async function sameNamespace(one: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all([stat(one), stat(other)]);
  return a.ino === b.ino && a.dev === b.dev;
}
