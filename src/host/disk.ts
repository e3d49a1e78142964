import { statfs } from 'node:fs/promises';

/** Room of a file system, in bytes and inodes. */
export interface DiskSpace {
  total: number;
  /** What unprivileged processes may still take. */
  available: number;
  used: number;
  inodes: number;
  inodesFree: number;
  /** Name of the file system's kind (`ext4`, `overlay`), or its magic number in hexadecimal. */
  type: string;
}

/** Of the file system that holds `path`. Rejects with the system error. */
export async function diskSpace(path: string): Promise<DiskSpace> {
  const info = await statfs(path);
  return {
    total: info.blocks * info.bsize,
    available: info.bavail * info.bsize,
    used: (info.blocks - info.bfree) * info.bsize,
    inodes: info.files,
    inodesFree: info.ffree,
    type: kinds[info.type] ?? `0x${info.type.toString(16)}`,
  };
}

/** Magic numbers of linux/magic.h. */
const kinds: Record<number, string> = {
  0xef53: 'ext4',
  0x58465342: 'xfs',
  0x9123683e: 'btrfs',
  0x2fc12fc1: 'zfs',
  0x01021994: 'tmpfs',
  0x794c7630: 'overlay',
  0x6969: 'nfs',
  0x65735546: 'fuse',
  0xf2f52010: 'f2fs',
  0xca451a4e: 'bcachefs',
};
