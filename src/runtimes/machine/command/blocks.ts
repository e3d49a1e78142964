import type { MachineDisk } from '../../../engine/machine.ts';

/** An object of QEMU's options, passed as JSON: nothing in it can be taken for another option. */
export type Node = Record<string, unknown>;

/** Where a file of the host is for QEMU. */
export type Visible = (path: string) => string;

/** The nodes of a disk, in the order they are made: `disk-vda` over `file-vda`; formats are always said. */
export function diskNodes(
  disk: MachineDisk,
  files: { path: string; chain: string[] },
  visible: Visible,
): Node[] {
  const { target, format, readOnly, cache, discard } = disk;
  const common = {
    'read-only': readOnly,
    cache: { direct: cache === 'none', 'no-flush': cache === 'unsafe' },
    ...(discard ? { discard: 'unmap' } : {}),
  };
  return [
    { driver: 'file', 'node-name': `file-${target}`, filename: visible(files.path), ...common },
    {
      driver: format,
      'node-name': `disk-${target}`,
      file: `file-${target}`,
      ...common,
      ...(format === 'qcow2' ? { backing: chainNode(target, files.chain, visible, 0) } : {}),
    },
  ];
}

/** What linked clones stand on; nobody writes it. Raw is what has that name in Isle's own store. */
function chainNode(target: string, chain: string[], visible: Visible, depth: number): Node | null {
  const [path, ...rest] = chain;
  if (path === undefined) return null;
  const raw = path.endsWith('.raw');
  return {
    driver: raw ? 'raw' : 'qcow2',
    'node-name': `base-${target}-${depth}`,
    'read-only': true,
    file: {
      driver: 'file',
      'node-name': `base-file-${target}-${depth}`,
      filename: visible(path),
      'read-only': true,
    },
    ...(raw ? {} : { backing: chainNode(target, rest, visible, depth + 1) }),
  };
}

/** The medium of a CD `sda`: the node `sda`. */
export function mediumNode(target: string, path: string): Node {
  return {
    driver: 'raw',
    'node-name': target,
    'read-only': true,
    file: { driver: 'file', 'node-name': `file-${target}`, filename: path, 'read-only': true },
  };
}
