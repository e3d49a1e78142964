import { statfs } from 'node:fs/promises';
import type { ConfinedFile } from '../../host/confined.ts';
import { runConfined } from '../../host/confined.ts';
import { isIsleError, isleError } from '../../lib/errors.ts';
import type { DiskFormat, ForeignFormat } from '../disks.ts';

/** A disk image as QEMU's block layer is told of it: every driver, file and backing file by name, none probed. */
export interface ImageNode {
  driver: ForeignFormat;
  path: string;
  write?: boolean;
  /** Under which name it is seen; files that name each other keep theirs. */
  inside?: string;
  backing?: ImageNode;
  /** Also while a machine writes it: of what is read nothing may change, as in a snapshot. */
  shared?: boolean;
}

export interface QemuImgOptions {
  /** Bytes that the file it writes may have. */
  fileSize?: number;
  /** Further files to be seen. */
  files?: ConfinedFile[];
  /** The directory that grows: when its file system is nearly full, it ends with `diskFull`. */
  writesTo?: string;
  /** Said of a full disk. */
  what?: string;
  /** Exit codes that are answers. */
  codes?: readonly number[];
  /** Seconds of CPU. */
  cpu?: number;
  patience?: number;
  /** From 0 to 1. */
  onProgress?(done: number): void;
  signal?: AbortSignal;
}

/** What `qemu-img info` says that matters here. */
export interface ImageInfo {
  'virtual-size': number;
  'actual-size'?: number;
  format: string;
  'cluster-size'?: number;
  'backing-filename'?: string;
  encrypted?: boolean;
  snapshots?: { name: string }[];
  'format-specific'?: { type: string; data: Record<string, unknown> };
}

/** The files of `node` and what it stands on, and the argument that names them. Nothing of what the files say of backing files is followed. */
export function nameImage(node: ImageNode): { argument: string; files: ConfinedFile[] } {
  const files: ConfinedFile[] = [];
  const describe = (one: ImageNode): object => {
    const inside = one.inside ?? `/disk/${files.length}`;
    files.push({ path: one.path, inside, write: one.write === true });
    return {
      driver: one.driver,
      'read-only': one.write !== true,
      ...(one.shared && { 'force-share': true }),
      file: { driver: 'file', filename: inside, 'read-only': one.write !== true },
      ...(one.driver === 'qcow2' && { backing: one.backing ? describe(one.backing) : null }),
    };
  };
  return { argument: `json:${JSON.stringify(describe(node))}`, files };
}

/** Runs qemu-img, confined. Throws `diskFull`, `conflict` for an image that is in use, else `invalidDisk` with its words. */
export async function qemuImg(args: string[], options: QemuImgOptions & { files: ConfinedFile[] }) {
  const { writesTo, what = 'writing a disk', signal } = options;
  const full = new AbortController();
  const guard = writesTo === undefined ? undefined : watchSpace(writesTo, full);
  try {
    const result = await runConfined('qemu-img', args, {
      files: options.files,
      fileSize: options.fileSize ?? 0,
      cpu: options.cpu ?? 60,
      patience: options.patience ?? 60_000,
      signal: signal ? AbortSignal.any([signal, full.signal]) : full.signal,
      maxOutput: 1024 * 1024,
      ...(options.onProgress && { onOutput: progressReader(options.onProgress) }),
    });
    if (result.code === 0 || options.codes?.includes(result.code)) return result.stdout;
    throw explain(result.stderr, result.code, writesTo, what);
  } catch (error) {
    if (isIsleError(error, 'hostTool') && /no such program/.test(error.message))
      throw isleError('hostTool', {
        tool: 'qemu-img',
        message: 'this host has no such program: install the package qemu-utils (see isle doctor)',
      });
    if (error === full.signal.reason && full.signal.aborted && writesTo !== undefined)
      throw isleError('diskFull', { path: writesTo, what });
    throw error;
  } finally {
    clearInterval(guard);
  }
}

export async function imageInfo(node: ImageNode, further: readonly ConfinedFile[] = []): Promise<ImageInfo> {
  const { argument, files } = nameImage(node);
  return JSON.parse(
    await qemuImg(['info', '--output=json', argument], { files: [...files, ...further] }),
  ) as ImageInfo;
}

export interface ImageCheck {
  corruptions?: number;
  'check-errors'?: number;
  /** Bytes that the file has to have at least. */
  'image-end-offset'?: number;
}

/** Compares the tables of an image with each other; nothing is known of formats that have no such check. */
export async function checkImage(node: ImageNode, further: readonly ConfinedFile[]): Promise<ImageCheck> {
  const { argument, files } = nameImage(node);
  const answer = await qemuImg(['check', '--output=json', argument], {
    files: [...files, ...further],
    codes: [2, 3, 63],
    cpu: 600,
    patience: 600_000,
  });
  return answer.trimStart().startsWith('{') ? (JSON.parse(answer) as ImageCheck) : {};
}

/** Of the file system, kept free for everything else that has to be written: bytes. */
async function reserveOf(directory: string): Promise<{ free: number; reserve: number }> {
  const { bsize, blocks, bavail } = await statfs(directory);
  return { free: bavail * bsize, reserve: Math.min(256 * 1024 * 1024, (blocks * bsize) / 50) };
}

function watchSpace(directory: string, full: AbortController): NodeJS.Timeout {
  const look = async () => {
    const { free, reserve } = await reserveOf(directory);
    if (free < reserve) full.abort(new Error('the disk is full'));
  };
  return setInterval(() => void look().catch(() => undefined), 250);
}

/** qemu-img -p writes `    (12.34/100%)\r`. */
function progressReader(onProgress: (done: number) => void): (text: string) => void {
  let last = -1;
  return (text) => {
    const percent = [...text.matchAll(/\((\d+\.\d+)\/100%\)/g)].at(-1)?.[1];
    if (percent === undefined || Number(percent) <= last) return;
    last = Number(percent);
    onProgress(last / 100);
  };
}

function explain(stderr: string, code: number, path = '', what: string): Error {
  const words = stderr
    .replace(/\p{C}+/gu, ' ')
    .replace(/(Could not open )?'?json:\{.*\}'?:? ?/g, '')
    .replace(/qemu-img: /g, '')
    .trim()
    .slice(-400);
  if (/No space left|Disk quota exceeded/.test(words)) return isleError('diskFull', { path, what });
  if (/Failed to get .* lock|Is another process using/.test(words))
    return isleError('conflict', { message: 'the disk is in use by a machine that runs: stop it first' });
  if (/File too large/.test(words) || code === 128 + 25)
    return isleError('invalidDisk', { why: 'it would become larger than it says that it is' });
  if (/Cannot allocate memory|failed to allocate|out of memory/i.test(words))
    return isleError('invalidDisk', { why: `reading it takes too much memory (${words})` });
  if (code >= 128 && words === '')
    return isleError('invalidDisk', { why: `reading it was ended by signal ${code - 128}` });
  return isleError('invalidDisk', { why: words || `qemu-img ended with code ${code}` });
}

/** What a file of a disk may become: its guest's bytes, and what the format needs or takes in advance beside them. */
export function fileSizeOf(size: number, format: DiskFormat | ForeignFormat): number {
  return format === 'raw' ? size : Math.ceil(size * 1.02) + 512 * 1024 * 1024;
}
