export interface IsoFile {
  /** Lower-case letters, digits and dashes, as a seed's are. */
  name: string;
  content: Uint8Array;
}

const sector = 2048;
/** Where things are, in sectors. All directories and tables of a handful of files fit one each. */
const place = {
  primary: 16,
  joliet: 17,
  terminator: 18,
  tables: { primary: [19, 20], joliet: [21, 22] },
  root: { primary: 23, joliet: 24 },
  continuation: 25,
  files: 26,
} as const;

/**
 * A CD with a few files in its root: ISO 9660 (ECMA-119) with Rock Ridge names (IEEE P1282) for Linux and BSD, and Joliet's
 * for Windows. The label is as given, lower case too, as `cidata` is by custom.
 */
export function isoImage(label: string, files: readonly IsoFile[], created: Date): Buffer {
  let next: number = place.files;
  const entries: Entry[] = files.map(({ name, content }, at) => {
    const start = next;
    next += Math.ceil(content.length / sector);
    return { name, short: `FILE${String(at).padStart(4, '0')}.;1`, start, content };
  });
  const image = Buffer.alloc(next * sector);
  const put = (at: number, data: Uint8Array) => image.set(data, at * sector);
  put(place.primary, volume('primary', label, next, created));
  put(place.joliet, volume('joliet', label, next, created));
  put(place.terminator, Buffer.from([255, ...Buffer.from('CD001'), 1]));
  for (const tree of ['primary', 'joliet'] as const) {
    const [little, big] = place.tables[tree];
    put(little, pathTable(place.root[tree], 'little'));
    put(big, pathTable(place.root[tree], 'big'));
    put(place.root[tree], directory(tree, entries, created));
  }
  put(place.continuation, extensionReference());
  for (const { start, content } of entries) put(start, content);
  return image;
}

type Tree = 'primary' | 'joliet';

interface Entry extends IsoFile {
  /** Level 1: eight capitals, for readers that know nothing else. */
  short: string;
  start: number;
}

function volume(tree: Tree, label: string, sectors: number, created: Date): Buffer {
  const at = Buffer.alloc(sector);
  const text = (value: string, start: number, length: number) =>
    at.set(padded(tree === 'joliet' ? ucs2(value) : Buffer.from(value, 'latin1'), length, tree), start);
  at[0] = tree === 'primary' ? 1 : 2;
  at.write('CD001', 1, 'latin1');
  at[6] = 1;
  text('', 8, 32);
  text(label, 40, 32);
  both32(at, 80, sectors);
  // Joliet level 3: UCS-2.
  if (tree === 'joliet') at.write('%/E', 88, 'latin1');
  both16(at, 120, 1);
  both16(at, 124, 1);
  both16(at, 128, sector);
  both32(at, 132, pathTableSize);
  at.writeUInt32LE(place.tables[tree][0], 140);
  at.writeUInt32BE(place.tables[tree][1], 148);
  at.set(record(place.root[tree], sector, dotName, { directory: true, created }), 156);
  for (const start of [190, 318, 446, 574]) text('', start, 128);
  for (const start of [702, 739, 776]) text('', start, 37);
  const time = longTime(created);
  at.set(time, 813);
  at.set(time, 830);
  at.write('0'.repeat(16), 847, 'latin1');
  at.write('0'.repeat(16), 864, 'latin1');
  at[881] = 1;
  return at;
}

const pathTableSize = 10;

/** Of one directory, the root. */
function pathTable(root: number, order: 'little' | 'big'): Buffer {
  const table = Buffer.alloc(pathTableSize);
  table[0] = 1;
  if (order === 'little') {
    table.writeUInt32LE(root, 2);
    table.writeUInt16LE(1, 6);
  } else {
    table.writeUInt32BE(root, 2);
    table.writeUInt16BE(1, 6);
  }
  return table;
}

const dotName = Buffer.from([0]);
const dotDotName = Buffer.from([1]);

function directory(tree: Tree, entries: readonly Entry[], created: Date): Buffer {
  const rockRidge = tree === 'primary';
  const self = (name: Buffer, more: Buffer[]) =>
    record(place.root[tree], sector, name, { directory: true, created, more: rockRidge ? more : [] });
  const records = [
    self(dotName, [systemUse('SP', [0xbe, 0xef, 0]), attributes(0o40555, 2), continuationEntry()]),
    self(dotDotName, [attributes(0o40555, 2)]),
    ...[...entries]
      .sort((a, b) => (nameIn(tree, a).compare(nameIn(tree, b)) < 0 ? -1 : 1))
      .map((entry) =>
        record(entry.start, entry.content.length, nameIn(tree, entry), {
          directory: false,
          created,
          more: rockRidge ? [attributes(0o100400, 1), systemUse('NM', [0, ...Buffer.from(entry.name)])] : [],
        }),
      ),
  ];
  const data = Buffer.concat(records);
  if (data.length > sector) throw new RangeError('too many files for one sector of a directory');
  return data;
}

const nameIn = (tree: Tree, { name, short }: Entry): Buffer =>
  tree === 'joliet' ? ucs2(name) : Buffer.from(short, 'latin1');

function record(
  start: number,
  size: number,
  name: Buffer,
  options: { directory: boolean; created: Date; more?: Buffer[] },
): Buffer {
  const bare = 33 + name.length + (name.length % 2 === 0 ? 1 : 0);
  const more = Buffer.concat(options.more ?? []);
  const length = bare + more.length + (more.length % 2);
  const at = Buffer.alloc(length);
  at[0] = length;
  both32(at, 2, start);
  both32(at, 10, size);
  const { created } = options;
  at.set(
    [
      created.getUTCFullYear() - 1900,
      created.getUTCMonth() + 1,
      created.getUTCDate(),
      created.getUTCHours(),
      created.getUTCMinutes(),
      created.getUTCSeconds(),
      0,
    ],
    18,
  );
  at[25] = options.directory ? 2 : 0;
  both16(at, 28, 1);
  at[32] = name.length;
  at.set(name, 33);
  at.set(more, bare);
  return at;
}

/** An entry of the System Use Sharing Protocol, version 1. */
function systemUse(signature: string, data: Iterable<number>): Buffer {
  const bytes = Buffer.from([...data]);
  return Buffer.concat([Buffer.from(signature), Buffer.from([4 + bytes.length, 1]), bytes]);
}

/** POSIX: owned by root. */
function attributes(mode: number, links: number): Buffer {
  const data = Buffer.alloc(32);
  both32(data, 0, mode);
  both32(data, 8, links);
  return systemUse('PX', data);
}

const extensionName = 'RRIP_1991A';
const extensionAbout = 'THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS';

/** Says that these are Rock Ridge's; too long for the directory's own record. */
function extensionReference(): Buffer {
  const [name, about] = [Buffer.from(extensionName), Buffer.from(extensionAbout)];
  return systemUse('ER', [name.length, about.length, 0, 1, ...name, ...about]);
}

function continuationEntry(): Buffer {
  const data = Buffer.alloc(24);
  both32(data, 0, place.continuation);
  both32(data, 16, extensionReference().length);
  return systemUse('CE', data);
}

/** Numbers stand twice in ISO 9660: little and big end first. */
function both16(at: Buffer, start: number, value: number): void {
  at.writeUInt16LE(value, start);
  at.writeUInt16BE(value, start + 2);
}

function both32(at: Buffer, start: number, value: number): void {
  at.writeUInt32LE(value, start);
  at.writeUInt32BE(value, start + 4);
}

const ucs2 = (text: string): Buffer => Buffer.from(text, 'utf16le').swap16();

function padded(data: Buffer, length: number, tree: Tree): Buffer {
  const space = tree === 'joliet' ? Buffer.from([0, 32]) : Buffer.from([32]);
  return Buffer.concat([data, Buffer.alloc(length - data.length, space)]);
}

function longTime(date: Date): Buffer {
  const digits = date.toISOString().replace(/[^\d]/g, '').slice(0, 16);
  return Buffer.concat([Buffer.from(digits), Buffer.from([0])]);
}
