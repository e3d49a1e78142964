import { refused } from './bytes.ts';

export interface VmdkDescriptor {
  createType: string;
  /** Names another image that this one stands on. */
  hasParent: boolean;
  extents: VmdkExtent[];
}

export interface VmdkExtent {
  access: string;
  sectors: number;
  type: string;
  file?: string;
  /** Sectors before its data in the file. */
  offset: number;
}

/** Reads the text part of a VMDK (VMware's Virtual Disk Format 5.0). Throws `invalidDisk`. */
export function parseVmdkDescriptor(text: string): VmdkDescriptor {
  const lines = text.replace(/\0[^]*$/, '').split(/\r?\n/);
  const values = new Map<string, string>();
  const extents: VmdkExtent[] = [];
  for (const line of lines) {
    const extent = /^\s*(RW|RDONLY|NOACCESS)\s+(\d{1,15})\s+([A-Z]+)(?:\s+"([^"]*)"(?:\s+(\d{1,15}))?)?/.exec(
      line,
    );
    if (extent) extents.push(extentOf(extent));
    // One way to match only: a line may have a million characters.
    const pair = /^\s*([A-Za-z.0-9]+)\s*=(.*)$/.exec(line);
    if (pair?.[1] !== undefined)
      values.set(pair[1].toLowerCase(), (pair[2] ?? '').trim().replace(/^"/, '').replace(/"$/, '').trim());
  }
  if (extents.length > maxExtents) throw refused(`it consists of more than ${maxExtents} files`);
  const parent = (values.get('parentcid') ?? 'ffffffff').toLowerCase();
  return {
    createType: values.get('createtype') ?? '',
    hasParent: parent !== 'ffffffff' || values.has('parentfilenamehint'),
    extents,
  };
}

/** Of 2 GiB each for the largest disk that VMware makes would be 31,744; nobody has split one like that. */
const maxExtents = 512;

function extentOf([, access = '', sectors = '', type = '', file, offset = '0']: RegExpExecArray): VmdkExtent {
  return {
    access,
    sectors: Number(sectors),
    type,
    offset: Number(offset),
    ...(file !== undefined && { file }),
  };
}
