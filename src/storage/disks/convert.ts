import { open } from 'node:fs/promises';
import type { ConfinedFile } from '../../host/confined.ts';
import type { ForeignFormat } from '../disks.ts';
import { fileSizeOf, type ImageNode, nameImage, qemuImg } from './qemu-img.ts';

export interface Conversion {
  from: ImageNode;
  /** Files that the source consists of beside its first. */
  further?: ConfinedFile[];
  to: string;
  format: ForeignFormat;
  /** Of the target, as `qemu-img convert -o`. */
  options?: string[];
  compress?: boolean;
  /** An internal snapshot instead of the present. */
  snapshot?: string;
  /** bytes the guest sees */
  size: number;
  /** That is written to. */
  directory: string;
  what: string;
  /** Bytes of the guest's. */
  onProgress?(done: number, total: number): void;
  signal?: AbortSignal;
}

/** Writes the image anew into a file that is not there yet, and brings that to the disk. */
export async function convert(conversion: Conversion): Promise<void> {
  const { format, size, onProgress, snapshot, options = [] } = conversion;
  const { argument, files } = nameImage(conversion.from);
  await using target = await open(conversion.to, 'wx', 0o600);
  const args = [
    'convert',
    '-p',
    // Our own formats take writes in any order, so that none waits for those before it.
    ...(['qcow2', 'raw'].includes(format) && !conversion.compress ? ['-W', '-m', '16'] : []),
    '-O',
    format,
    ...(conversion.compress ? ['-c'] : []),
    ...(options.length > 0 ? ['-o', options.join(',')] : []),
    ...(snapshot === undefined ? [] : ['-l', `snapshot.name=${snapshot.replaceAll(',', ',,')}`]),
    argument,
    '/disk/target',
  ];
  const writeback = keepWriting(target);
  try {
    await qemuImg(args, {
      files: [
        ...files,
        ...(conversion.further ?? []),
        { path: conversion.to, inside: '/disk/target', write: true },
      ],
      fileSize: fileSizeOf(size, format),
      writesTo: conversion.directory,
      what: conversion.what,
      // The slowest: compressing at 1 MB/s of CPU time.
      cpu: 600 + Math.ceil(size / 1024 ** 2),
      patience: 600_000,
      signal: conversion.signal,
      ...(onProgress && { onProgress: (done: number) => onProgress(Math.round(done * size), size) }),
    });
  } finally {
    await writeback.stop();
  }
  await target.sync();
}

/** Brings what is written to the disk while more is being made, so that little is left to wait for at the end. */
function keepWriting(file: { datasync(): Promise<void> }): { stop(): Promise<void> } {
  let under: Promise<void> | undefined;
  const timer = setInterval(() => {
    under ??= file
      .datasync()
      .catch(() => undefined)
      .then(() => void (under = undefined));
  }, 100);
  return {
    async stop() {
      clearInterval(timer);
      await under;
    },
  };
}
