import { refusal } from './refuse.ts';
import { nodeAt, type SettingTree } from './setting-tree.ts';

/**
 * Hyper-V's binary settings (VMCX): two headers, an object table, and key tables whose entries name their parents. Microsoft has not
 * published it; the layout is that which fox-it's dissect.hypervisor found (its documentation of `HyperVStorage`).
 * Undefined for a version whose layout is not known.
 */
export function parseVmcx(content: Buffer, where: string): SettingTree | undefined {
  try {
    if (!isKnown(content, where)) return undefined;
    const tables = keyTables(content);
    const root: SettingTree = { name: '', value: undefined, children: [] };
    const nodes = new Map<string, SettingTree>();
    const entries = [...tables.values()].flatMap((table) => entriesOf(content, table));
    if (entries.length > mostEntries) throw refusal(where, `it has more than ${mostEntries} settings`);
    for (const { key, tree } of entries) nodes.set(key, tree);
    for (const { tree, parent } of entries)
      (parent === undefined ? root : nodes.get(parent))?.children.push(tree);
    const configuration = nodeAt(root, 'configuration');
    if (configuration === undefined) throw refusal(where, 'it has no configuration in it');
    checkCircles(configuration, where);
    return configuration;
  } catch (error) {
    if (error instanceof RangeError) throw refusal(where, 'it is damaged: its tables lead out of it', error);
    throw error;
  }
}

const mostEntries = 50_000;
const signatures = { header: 0x01282014, objects: 0x01110001, keys: 2 };
const version = 0x400;
const objectTableAt = 0x2000;

function isKnown(content: Buffer, where: string): boolean {
  const headers = [0, 0x1000].filter(
    (at) => content.length >= at + 46 && content.readUInt32LE(at) === signatures.header,
  );
  if (headers.length === 0) throw refusal(where, 'it is no VMCX of Hyper-V');
  const newest = headers.toSorted((a, b) => content.readUInt16LE(b + 8) - content.readUInt16LE(a + 8))[0]!;
  return content.readUInt32LE(newest + 10) === version;
}

interface KeyTable {
  at: number;
  size: number;
  index: number;
  sequence: number;
}

/** Of each index, the newest. */
function keyTables(content: Buffer): Map<number, KeyTable> {
  const tables = new Map<number, KeyTable>();
  const seen = new Set<number>();
  const waiting = [objectTableAt];
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    if (seen.has(at) || seen.size > 1000 || content.readUInt32LE(at) !== signatures.objects) continue;
    seen.add(at);
    const count = Math.min(content.readUInt32LE(at + 4), 10_000);
    for (let entry = at + 8, index = 0; index < count && entry + 18 <= content.length; index++, entry += 18) {
      if (content[entry + 17] === 0) continue;
      const place = Number(content.readBigUInt64LE(entry + 5));
      const size = content.readUInt32LE(entry + 13);
      if (content[entry] === 1) waiting.push(place);
      if (content[entry] !== 2 || content.readUInt16LE(place) !== signatures.keys) continue;
      const table = {
        at: place,
        size,
        index: content.readUInt16LE(place + 2),
        sequence: content.readUInt16LE(place + 4),
      };
      if (table.sequence >= (tables.get(table.index)?.sequence ?? 0)) tables.set(table.index, table);
    }
  }
  return tables;
}

interface Entry {
  key: string;
  parent: string | undefined;
  tree: SettingTree;
}

const entryHeader = 21;
const types = { free: 1, int: 3, uint: 4, double: 5, string: 6, bool: 8 };

function entriesOf(content: Buffer, table: KeyTable): Entry[] {
  const entries: Entry[] = [];
  const end = Math.min(table.at + table.size, content.length);
  for (let at = table.at + 10; at + entryHeader <= end && entries.length < mostEntries; ) {
    const type = content.readUInt16LE(at);
    const size = content.readUInt32LE(at + 2);
    if (size < entryHeader) break;
    const parentTable = content.readUInt16LE(at + 6);
    const nameEnd = at + entryHeader + content[at + 20]!;
    if ((type & 0xff) !== types.free && nameEnd <= at + size && nameEnd > at + entryHeader) {
      const name = content.toString('utf8', at + entryHeader, nameEnd - 1);
      entries.push({
        key: `${table.index}:${at - table.at}`,
        parent: parentTable === 0 ? undefined : `${parentTable}:${content.readUInt32LE(at + 8)}`,
        tree: { name, value: valueOf(content, type, nameEnd, at + size), children: [] },
      });
    }
    at += size;
  }
  return entries;
}

function valueOf(content: Buffer, type: number, at: number, end: number): string | undefined {
  const elsewhere = (type & 0x100) !== 0;
  switch (type & 0xff) {
    case types.int:
      return String(content.readBigInt64LE(at));
    case types.uint:
      return String(content.readBigUInt64LE(at));
    case types.bool:
      return content.readUInt32LE(at) === 0 ? 'False' : 'True';
    case types.string: {
      const length = Math.min(content.readUInt32LE(at), 1 << 16);
      const from = elsewhere ? Number(content.readBigUInt64LE(at + 4)) : at + 4;
      const limit = elsewhere ? content.length : end;
      return withoutEnd(content.toString('utf16le', Math.min(from, limit), Math.min(from + length, limit)));
    }
    default:
      return undefined;
  }
}

/** An entry could name one of those below it as its parent: then nothing leads there from the root, but this is cheap. */
function checkCircles(tree: SettingTree, where: string): void {
  const seen = new Set<SettingTree>();
  const waiting = [tree];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (seen.has(next)) throw refusal(where, 'its settings go round in a circle');
    seen.add(next);
    waiting.push(...next.children);
  }
}

/** Undefined when nothing is left of it. */
function withoutEnd(text: string): string | undefined {
  let end = text.length;
  while (end > 0 && text[end - 1] === '\0') end--;
  return text.slice(0, end) || undefined;
}
