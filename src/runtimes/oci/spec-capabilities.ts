import { readFileSync } from 'node:fs';
import { isleError } from '../../lib/errors.ts';
import type { OciCapabilities } from './spec-types.ts';

/** The capabilities that an unprivileged container keeps: Docker's fourteen. */
export const defaultCapabilities = [
  'CHOWN',
  'DAC_OVERRIDE',
  'FSETID',
  'FOWNER',
  'MKNOD',
  'NET_RAW',
  'SETGID',
  'SETUID',
  'SETFCAP',
  'SETPCAP',
  'NET_BIND_SERVICE',
  'SYS_CHROOT',
  'KILL',
  'AUDIT_WRITE',
].map((name) => `CAP_${name}`);

/** Every capability of Linux 6.x by its bit number (linux/capability.h). */
export const allCapabilities = [
  'CHOWN',
  'DAC_OVERRIDE',
  'DAC_READ_SEARCH',
  'FOWNER',
  'FSETID',
  'KILL',
  'SETGID',
  'SETUID',
  'SETPCAP',
  'LINUX_IMMUTABLE',
  'NET_BIND_SERVICE',
  'NET_BROADCAST',
  'NET_ADMIN',
  'NET_RAW',
  'IPC_LOCK',
  'IPC_OWNER',
  'SYS_MODULE',
  'SYS_RAWIO',
  'SYS_CHROOT',
  'SYS_PTRACE',
  'SYS_PACCT',
  'SYS_ADMIN',
  'SYS_BOOT',
  'SYS_NICE',
  'SYS_RESOURCE',
  'SYS_TIME',
  'SYS_TTY_CONFIG',
  'MKNOD',
  'LEASE',
  'AUDIT_WRITE',
  'AUDIT_CONTROL',
  'SETFCAP',
  'MAC_OVERRIDE',
  'MAC_ADMIN',
  'SYSLOG',
  'WAKE_ALARM',
  'BLOCK_SUSPEND',
  'AUDIT_READ',
  'PERFMON',
  'BPF',
  'CHECKPOINT_RESTORE',
].map((name) => `CAP_${name}`);

/** The capabilities this process could hand on (its bounding set): a host may have taken some from root. */
export function hostCapabilities(): Set<string> {
  const status = readFileSync('/proc/self/status', 'latin1');
  const bits = BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  return new Set(allCapabilities.filter((_, bit) => (bits >> BigInt(bit)) & 1n));
}

export interface CapabilityRequest {
  privileged: boolean;
  capAdd: string[];
  capDrop: string[];
}

/**
 * The capabilities a workload gets, in bit order.
 *
 * As Docker: `ALL` in add starts from everything, `ALL` in drop from nothing; privileged ignores both. What the
 * host lacks is left out of `ALL` and of privileged, and refused by name when it was named.
 */
export function capabilitiesOf(request: CapabilityRequest, host: Set<string>): string[] {
  if (request.privileged) return allCapabilities.filter((name) => host.has(name));
  const add = request.capAdd.map(normalize);
  const drop = request.capDrop.map(normalize);
  const granted = new Set(defaultCapabilities.filter((name) => host.has(name)));
  if (drop.includes('ALL')) granted.clear();
  if (add.includes('ALL')) for (const name of host) granted.add(name);
  for (const name of add) {
    if (name === 'ALL') continue;
    if (!host.has(name))
      throw invalid(
        `capability ${name} cannot be added: this host does not grant it to Isle (see isle doctor)`,
      );
    granted.add(name);
  }
  for (const name of drop) granted.delete(name);
  return allCapabilities.filter((name) => granted.has(name));
}

/**
 * The sets for the process. Inheritable and ambient are always empty (CVE-2022-27649); a process that is not
 * root has capabilities in its bounding set only, as with Docker.
 */
export function capabilitySets(granted: string[], uid: number): OciCapabilities {
  const active = uid === 0 ? granted : [];
  return { bounding: granted, effective: active, permitted: active, inheritable: [], ambient: [] };
}

function normalize(name: string): string {
  const upper = name.toUpperCase();
  if (upper === 'ALL') return upper;
  const full = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  if (!allCapabilities.includes(full)) throw invalid(`unknown capability "${name}"`);
  return full;
}

function invalid(message: string) {
  return isleError('invalidParameter', { message });
}
