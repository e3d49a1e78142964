import { readFile, readdir, readlink } from 'node:fs/promises';
import { parseAddress } from '../lib/address.ts';

/**
 * Which process of the host has a port that cannot be bound, in words for an error message. Walks /proc: for the
 * failing path only.
 */
export async function describePortOwner(protocol: string, address: string, port: number): Promise<string> {
  const inode = await findSocket(protocol, address, port);
  if (inode === undefined) return 'another process of the host has it';
  const owner = await findProcess(inode);
  return owner === undefined
    ? 'another process of the host has it'
    : `process ${owner.name} (pid ${owner.pid}) has it`;
}

async function findSocket(protocol: string, address: string, port: number): Promise<string | undefined> {
  const wanted = parseAddress(address);
  const LISTEN = '0A';
  for (const table of [protocol, `${protocol}6`]) {
    const text = await readFile(`/proc/net/${table}`, 'latin1').catch(() => '');
    for (const line of text.split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/);
      const [hex = '', hexPort = ''] = (fields[1] ?? '').split(':');
      if (Number.parseInt(hexPort, 16) !== port) continue;
      if (protocol === 'tcp' && fields[3] !== LISTEN) continue;
      const local = readHexAddress(hex);
      const clash = isAny(local) || wanted === undefined || isAny(wanted) || local.equals(wanted);
      if (clash && fields[9] !== undefined) return fields[9];
    }
  }
  return undefined;
}

async function findProcess(inode: string): Promise<{ pid: number; name: string } | undefined> {
  const link = `socket:[${inode}]`;
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const directory = `/proc/${pid}/fd`;
    // Processes come and go while we look.
    const fds = await readdir(directory).catch(() => []);
    for (const fd of fds) {
      if ((await readlink(`${directory}/${fd}`).catch(() => '')) !== link) continue;
      const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => 'unknown')).trim();
      return { pid: Number(pid), name };
    }
  }
  return undefined;
}

/** The kernel prints words of 32 bits in the host's byte order. */
function readHexAddress(hex: string): Buffer {
  const bytes = Buffer.from(hex, 'hex');
  return bytes.length % 4 === 0 ? bytes.swap32() : bytes;
}

function isAny(address: Buffer): boolean {
  return address.every((byte) => byte === 0);
}
