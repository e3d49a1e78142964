import { bounds } from './bounds.ts';
import { refusal } from './refuse.ts';

/** The text of a VMDK: https://www.vmware.com/app/vmdk/?src=vmdk ("Virtual Disk Format 5.0"). */
export interface VmdkDescriptor {
  createType: string;
  contentId: string;
  /** Set when it holds only what changed since its parent. */
  parent?: { contentId: string; hint: string };
  extents: VmdkExtent[];
  /** bytes */
  size: number;
  adapterType?: string;
}

export interface VmdkExtent {
  kind: 'flat' | 'sparse' | 'zero';
  /** bytes */
  size: number;
  file?: string;
  /** bytes; of flat ones */
  offset: number;
}

const none = /^f{8}$/i;

export function parseVmdkDescriptor(text: string, where: string): VmdkDescriptor {
  if (!/^\s*#\s*Disk DescriptorFile/i.test(text)) throw refusal(where, 'it is no VMDK');
  const fields = new Map<string, string>();
  const extents: VmdkExtent[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*(#|$)/.test(line) || line.startsWith('\0')) continue;
    const place = `${where}, line ${index + 1}`;
    if (/^\s*(RW|RDONLY|NOACCESS)\s/i.test(line)) {
      if (extents.length >= bounds.files) throw refusal(where, `it has more than ${bounds.files} extents`);
      extents.push(parseExtent(line, place));
      continue;
    }
    // One way to match only: a line may have a million characters.
    const field = /^\s*([\w.]{1,128})\s*=(.*)$/.exec(line);
    if (!field) throw refusal(place, `this is no line of a VMDK: "${line}"`);
    const value = field[2]!.trim();
    fields.set(field[1]!.toLowerCase(), /^"([^"]*)"$/.exec(value)?.[1] ?? value);
  }
  const size = extents.reduce((sum, extent) => sum + extent.size, 0);
  if (extents.length === 0 || size === 0 || size > bounds.diskSize)
    throw refusal(where, `its extents have ${size} bytes`);
  const parentId = fields.get('parentcid') ?? 'ffffffff';
  return {
    createType: fields.get('createtype') ?? '',
    contentId: fields.get('cid') ?? '',
    ...(!none.test(parentId) && {
      parent: { contentId: parentId, hint: fields.get('parentfilenamehint') ?? '' },
    }),
    extents,
    size,
    adapterType: fields.get('ddb.adaptertype'),
  };
}

const kinds: Record<string, VmdkExtent['kind']> = {
  flat: 'flat',
  vmfs: 'flat',
  sparse: 'sparse',
  vmfssparse: 'sparse',
  zero: 'zero',
};

function parseExtent(line: string, where: string): VmdkExtent {
  const match = /^\s*(\w+)\s+(\d{1,15})\s+(\w+)(?:\s+"([^"]{1,1024})"(?:\s+(\d{1,15}))?)?/.exec(line);
  if (!match) throw refusal(where, `this is no extent: "${line}"`);
  const kind = kinds[match[3]!.toLowerCase()];
  if (kind === undefined)
    throw refusal(
      where,
      `extents of type ${match[3]} are not read: consolidate its snapshots, or export the machine as OVA`,
    );
  if (/^noaccess$/i.test(match[1]!) && kind !== 'zero') throw refusal(where, 'an extent cannot be accessed');
  if (kind !== 'zero' && match[4] === undefined) throw refusal(where, 'an extent has no file');
  return { kind, size: Number(match[2]) * 512, file: match[4], offset: Number(match[5] ?? 0) * 512 };
}
