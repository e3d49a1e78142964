import { posix } from 'node:path';
import type { ApplianceDiskFile } from '../appliances.ts';

/** Of a bare disk's name. */
export function formatOfSuffix(name: string): ApplianceDiskFile['format'] | undefined {
  return suffixes[posix.extname(name).toLowerCase()];
}

const suffixes: Record<string, ApplianceDiskFile['format']> = {
  '.vmdk': 'vmdk',
  '.vdi': 'vdi',
  '.vhdx': 'vhdx',
  '.vhd': 'vpc',
  '.qcow2': 'qcow2',
  '.raw': 'raw',
  '.img': 'raw',
  '.hdd': 'parallels',
  '.hds': 'parallels',
};
