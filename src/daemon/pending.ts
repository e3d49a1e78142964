import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerFiles, ReadLog, VolumeFiles } from '../engine/faces.ts';
import { isleError } from '../lib/errors.ts';

/** Parts that other rooms are about to land: until then they say so. */
export function pendingFiles(): ContainerFiles {
  const notYet = (): Promise<never> => Promise.reject(isleError('notImplemented', { what: 'copying files' }));
  return { stat: notYet, read: notYet, write: notYet, export: notYet };
}

export const pendingLogs: ReadLog = () => {
  throw isleError('notImplemented', { what: 'reading logs' });
};

export function pendingVolumes(dataRoot: string): VolumeFiles {
  const root = join(dataRoot, 'volumes');
  const path = (name: string) => join(root, name, '_data');
  return {
    path,
    create: async (name) => {
      await mkdir(path(name), { recursive: true, mode: 0o701 });
      return path(name);
    },
    remove: (name) => rm(join(root, name), { recursive: true, force: true }),
    fill: async () => {},
    usage: async () => 0,
    list: () => readdir(root).catch(() => []),
  };
}
