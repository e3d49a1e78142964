import type { Workload } from '../../engine/runtime.ts';
import { defaultCapabilities } from '../oci/spec-capabilities.ts';

/**
 * What the root of a distribution expects to be able to do, of all that a user namespace confines to itself. Not among
 * them: what acts on the host's kernel as a whole (modules, raw I/O, the clock, the kernel's log, mandatory access
 * control, its audit rules, tracing).
 */
const namespaced = [
  'DAC_READ_SEARCH',
  'LINUX_IMMUTABLE',
  'NET_BROADCAST',
  'NET_ADMIN',
  'IPC_LOCK',
  'IPC_OWNER',
  'SYS_PTRACE',
  'SYS_ADMIN',
  'SYS_BOOT',
  'SYS_NICE',
  'SYS_RESOURCE',
  'SYS_TTY_CONFIG',
  'LEASE',
].map((name) => `CAP_${name}`);

/** Without a user namespace these would be the host's: only what ends the container's own system is added. */
const ownOnly = ['CAP_SYS_BOOT'];

/**
 * The capabilities to add for an init, beside those of every container. `--cap-drop` and `--cap-add` go over them as
 * usual.
 */
export function initCapabilities(
  { idMap, capAdd, capDrop, privileged }: Pick<Workload, 'idMap' | 'capAdd' | 'capDrop' | 'privileged'>,
  host: ReadonlySet<string>,
): string[] {
  const dropped = new Set(capDrop.map(fullName));
  if (privileged || dropped.has('ALL')) return capAdd;
  const wanted = (idMap ? namespaced : ownOnly).filter((name) => host.has(name) && !dropped.has(name));
  return [...new Set([...wanted, ...capAdd])].filter((name) => !defaultCapabilities.includes(name));
}

function fullName(name: string): string {
  const upper = name.toUpperCase();
  return upper === 'ALL' || upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
}
