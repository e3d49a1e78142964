import { constants } from 'node:fs';
import { lchown, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, isleError } from '../../../lib/errors.ts';
import { machineDirOf, stateDirOf } from '../../containers/paths.ts';
import type { EngineContext } from '../../context.ts';
import { checkSnapshotName } from './names.ts';
import type { Idle } from './disk-snapshots.ts';

/** swtpm keeps some files of a few KiB; it may have been taken over, and fill its directory. */
const mostFiles = 32;
const mostBytes = 4 * 1024 * 1024;

/** The TPM's state is files of swtpm's, each replaced as a whole: copied beside the log, where no monitor comes. */
export async function copyTpm(ctx: EngineContext, { id, hardware }: Idle, name: string): Promise<void> {
  if (!hardware.tpm) return;
  await dropTpm(ctx, id, name);
  const target = keptOf(ctx, id, name);
  await mkdir(target, { recursive: true, mode: 0o700 });
  for (const [file, content] of await read(tpmOf(ctx, id))) await write(join(target, file), content);
}

/** Absent in a snapshot of a machine whose TPM had no state yet: its next start makes one. */
export async function returnTpm(ctx: EngineContext, { id, hardware }: Idle, name: string): Promise<void> {
  if (!hardware.tpm) return;
  const directory = tpmOf(ctx, id);
  const content = await read(keptOf(ctx, id, name));
  const owner = await stat(directory).catch(() => undefined);
  const fresh = `${directory}.new`;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh, { mode: 0o700 });
  for (const [file, bytes] of content) await write(join(fresh, file), bytes, owner);
  if (owner) await lchown(fresh, owner.uid, owner.gid);
  await rm(directory, { recursive: true, force: true });
  await rename(fresh, directory);
}

export async function dropTpm(ctx: EngineContext, id: string, name: string): Promise<void> {
  await rm(keptOf(ctx, id, name), { recursive: true, force: true });
}

function tpmOf(ctx: Pick<EngineContext, 'dataRoot'>, id: string): string {
  return join(machineDirOf(ctx, id), 'tpm');
}

function keptOf(ctx: Pick<EngineContext, 'dataRoot'>, id: string, name: string): string {
  checkSnapshotName(name);
  return join(stateDirOf(ctx, id), 'tpm', name);
}

/** Plain files, through no link. */
async function read(directory: string): Promise<[string, Buffer][]> {
  const names = await readdir(directory).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  });
  const found: [string, Buffer][] = [];
  let sum = 0;
  for (const name of names.filter((one) => /^[\w.-]+$/.test(one) && !one.startsWith('.')).sort()) {
    await using file = await open(join(directory, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch(notLink);
    const info = await file?.stat();
    if (!file || !info?.isFile()) continue;
    sum += info.size;
    if (found.length >= mostFiles || sum > mostBytes)
      throw isleError('conflict', {
        message: `the state of the TPM has more than ${mostFiles} files or ${mostBytes} bytes: no sound one has`,
      });
    const { buffer, bytesRead } = await file.read(Buffer.alloc(info.size), 0, info.size, 0);
    found.push([name, buffer.subarray(0, bytesRead)]);
  }
  return found;
}

function notLink(error: unknown): undefined {
  if (['ELOOP', 'ENXIO', 'ENOENT'].includes(errnoOf(error) ?? '')) return undefined;
  throw error;
}

async function write(path: string, content: Buffer, owner?: { uid: number; gid: number }): Promise<void> {
  await using file = await open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  await file.writeFile(content);
  if (owner) await file.chown(owner.uid, owner.gid);
  await file.sync();
}

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants;
