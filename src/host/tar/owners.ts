import { TarError, type TarEntry } from '../../lib/tar/entry.ts';
import type { PlainMap } from '../user-namespace.ts';

/** Whom the kernel shows where an owner has no id (/proc/sys/kernel/overflowuid). */
const nobody = 65_534;

/**
 * Translates the owners of archive members between those inside a user namespace, which archives have, and those on the
 * host, which the file system shows where it is mounted for that namespace: of files, in access control lists, and of
 * file capabilities, which belong to a namespace's root.
 */
export class Owners {
  readonly #map: PlainMap;

  constructor(map: PlainMap) {
    this.#map = map;
  }

  /** From what was read on the host to what the archive says. */
  toInside(entry: TarEntry): void {
    entry.uid = this.#inside(entry.uid) ?? nobody;
    entry.gid = this.#inside(entry.gid) ?? nobody;
    for (const [key, value] of entry.xattrs) {
      const translated = this.#xattr(key, value, (id) => this.#inside(id));
      if (translated) entry.xattrs.set(key, translated);
      else entry.xattrs.delete(key);
    }
  }

  /** From what the archive says to what is to be written on the host. Throws TarError for an owner that has no id there. */
  toHost(entry: TarEntry): void {
    entry.uid = this.#host(entry.uid);
    entry.gid = this.#host(entry.gid);
    for (const [key, value] of entry.xattrs) {
      const translated = this.#xattr(key, value, (id) => this.#host(id));
      if (translated) entry.xattrs.set(key, translated);
    }
  }

  #inside(id: number): number | undefined {
    const { hostId, size } = this.#map;
    return id >= hostId && id < hostId + size ? id - hostId : undefined;
  }

  #host(id: number): number {
    const { hostId, size } = this.#map;
    if (id < size) return hostId + id;
    throw new TarError(`its owner ${id} does not exist in the container's user namespace (${size} ids)`);
  }

  #xattr(key: string, value: Buffer, translate: (id: number) => number | undefined): Buffer | undefined {
    if (key === 'security.capability') return capability(value, translate);
    if (key.startsWith('system.posix_acl_')) return accessList(value, translate);
    return value;
  }
}

const version2 = 0x0200_0000;
const version3 = 0x0300_0000;
const versionMask = 0xff00_0000;

/**
 * `struct vfs_ns_cap_data` (linux/capability.h): version 3 names the root of the namespace that it holds in; version 2
 * holds where it is read from. Undefined when it means nothing on the other side.
 */
function capability(value: Buffer, translate: (id: number) => number | undefined): Buffer | undefined {
  if (value.length < 20) return value;
  const magic = value.readUInt32LE(0);
  const version = (magic & versionMask) >>> 0;
  if (version !== version2 && !(version === version3 && value.length >= 24)) return value;
  const root = translate(version === version3 ? value.readUInt32LE(20) : 0);
  if (root === undefined) return undefined;
  const flags = magic & ~versionMask;
  const result = Buffer.alloc(root === 0 ? 20 : 24);
  value.copy(result, 4, 4, 20);
  result.writeUInt32LE(((root === 0 ? version2 : version3) | flags) >>> 0, 0);
  if (root !== 0) result.writeUInt32LE(root, 20);
  return result;
}

const namedUser = 0x02;
const namedGroup = 0x08;

/** `struct posix_acl_xattr_header` and its entries (linux/posix_acl_xattr.h). An entry of nobody's is left out. */
function accessList(value: Buffer, translate: (id: number) => number | undefined): Buffer {
  const parts = [value.subarray(0, 4)];
  for (let at = 4; at + 8 <= value.length; at += 8) {
    const entry = Buffer.from(value.subarray(at, at + 8));
    const tag = entry.readUInt16LE(0);
    if (tag === namedUser || tag === namedGroup) {
      const id = translate(entry.readUInt32LE(4));
      if (id === undefined) continue;
      entry.writeUInt32LE(id, 4);
    }
    parts.push(entry);
  }
  return Buffer.concat(parts);
}
