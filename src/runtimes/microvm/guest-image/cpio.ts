export interface CpioEntry {
  path: string;
  /** With the type's bits, as stat(2) gives it. */
  mode: number;
  data?: Buffer;
  /** Of a device. */
  device?: { major: number; minor: number };
}

const trailer: CpioEntry = { path: 'TRAILER!!!', mode: 0 };

/** An archive in the `newc` format, as the kernel unpacks it: https://docs.kernel.org/driver-api/early-userspace/buffer-format.html */
export function packCpio(entries: CpioEntry[]): Buffer {
  return Buffer.concat([...entries, trailer].flatMap((entry, index) => packEntry(entry, index + 1)));
}

function packEntry({ path, mode, data = Buffer.alloc(0), device }: CpioEntry, inode: number): Buffer[] {
  const name = Buffer.from(`${path}\0`);
  const numbers = [
    inode,
    mode,
    0, // user
    0, // group
    1, // links
    0, // time: the same input gives the same bytes
    data.length,
    0, // device of the file system
    0,
    device?.major ?? 0,
    device?.minor ?? 0,
    name.length,
    0, // checksum
  ];
  const header = Buffer.from(`070701${numbers.map((value) => value.toString(16).padStart(8, '0')).join('')}`);
  return [header, name, padding(header.length + name.length), data, padding(data.length)];
}

function padding(size: number): Buffer {
  return Buffer.alloc(-size & 3);
}
