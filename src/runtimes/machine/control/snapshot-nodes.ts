import type { MachineSpec } from '../../../engine/machine.ts';
import { isleError } from '../../../lib/errors.ts';
import type { Qmp } from '../../../host/qmp/qmp.ts';
import { snapshotDisks } from '../../../lib/snapshot-disks.ts';

/** Milliseconds for what goes through all of a disk's tables. */
export const tablePatience = 120_000;

/**
 * The nodes that a snapshot consists of: what the guest can write. Throws `conflict` for a disk whose format keeps no
 * snapshots, and for a machine without any that does.
 */
export function snapshotNodes({ disks, firmware }: Pick<MachineSpec, 'disks' | 'firmware'>): string[] {
  const written = snapshotDisks(disks);
  return [...written.map(({ target }) => diskNode(target)), ...(firmware === 'bios' ? [] : ['nvram'])];
}

/** The node with the format of a disk. */
export function diskNode(target: string): string {
  return `disk-${target}`;
}

export interface NodeSnapshot {
  name: string;
  /** Bytes of memory and devices; 0: disks only. */
  stateBytes: number;
}

/** By node. Sizes and names are as QEMU tells them: what makes no sense is left out. Throws `guestBroken`. */
export async function snapshotsOf(qmp: Qmp): Promise<Map<string, NodeSnapshot[]>> {
  const found = await qmp.execute('query-named-block-nodes', { flat: true }, { patience: tablePatience });
  if (!Array.isArray(found)) throw isleError('guestBroken', { why: 'its block nodes are no list' });
  return new Map(
    found.map((node: unknown) => {
      const listed = fieldOf(fieldOf(node, 'image'), 'snapshots');
      const snapshots = Array.isArray(listed) ? listed.flatMap(snapshotOf) : [];
      return [text(fieldOf(node, 'node-name')), snapshots];
    }),
  );
}

function snapshotOf(entry: unknown): NodeSnapshot[] {
  const name = text(fieldOf(entry, 'name'));
  const stateBytes = Number(fieldOf(entry, 'vm-state-size'));
  return name === '' ? [] : [{ name, stateBytes: Number.isFinite(stateBytes) ? stateBytes : 0 }];
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
