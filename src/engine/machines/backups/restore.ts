import { randomBytes } from 'node:crypto';
import { copyFile, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isleError } from '../../../lib/errors.ts';
import type { BackupDisk, BackupFile, BackupManifest } from '../../../storage/backups/manifest.ts';
import type { BackupRepository, OpenFile } from '../../../storage/backups/repository.ts';
import { stateDirOf } from '../../containers/paths.ts';
import type { EngineContext } from '../../context.ts';
import type { DiskRequest, MachineRequest } from '../../machines.ts';
import { createMachine, type MachineFiles } from '../create.ts';
import { type ParsedSettings, parseSettings } from './settings.ts';

export interface RestoreOptions {
  name?: string;
  signal: AbortSignal;
  onProgress?(done: number, total: number): void;
}

/**
 * Makes a machine of a backup. Every byte is compared before anything of it is used; what is then read is what was compared.
 * Throws `damagedBackup` naming the file.
 */
export async function restoreBackup(
  ctx: EngineContext,
  repository: BackupRepository,
  reference: string,
  { name, signal, onProgress }: RestoreOptions,
): Promise<{ id: string; warnings: string[] }> {
  const manifest = await repository.find(reference);
  const chain = repository.chainOf(manifest, await repository.list());
  const settings = parseSettings(manifest.settings, repository.fileOf(manifest, 'manifest.json'));
  const images = chain.map((one) => (one === manifest ? one : { ...one, files: [] }));
  const total = bytesOf(images) + manifest.disks.reduce((sum, { virtual }) => sum + virtual, 0);
  let done = 0;
  const more = (bytes: number): void => onProgress?.((done += bytes), total);
  await using held = new AsyncDisposableStack();
  const opened = new Map<string, OpenFile>();
  for (const backup of chain)
    for (const file of [...backup.disks, ...(backup === manifest ? manifest.files : [])])
      opened.set(
        `${backup.id}/${file.name}`,
        held.use(await repository.openFile(backup, file, { signal, onProgress: more })),
      );
  const { request, warnings } = requestOf(ctx, manifest, settings, (disk) => filesOf(chain, disk, opened));
  const made = await createMachine(ctx, name ?? freeName(ctx, manifest.machine.name), request, {
    signal,
    onProgress: progressOf(manifest, more),
    files: (directory, { id }) => putFiles(ctx, manifest, { directory, id, settings, opened }),
  });
  return { id: made.id, warnings: [...warnings, ...made.warnings] };
}

export function bytesOf(chain: BackupManifest[]): number {
  return chain.flatMap(({ disks, files }) => [...disks, ...files]).reduce((sum, { bytes }) => sum + bytes, 0);
}

/** A disk's image and those that it stands on, as descriptors. */
function filesOf(chain: BackupManifest[], { name }: BackupDisk, opened: Map<string, OpenFile>): string[] {
  const paths: string[] = [];
  for (const { id, disks } of chain) {
    const found = disks.find((disk) => disk.name === name);
    const path = opened.get(`${id}/${name}`)?.path;
    if (!found || path === undefined) break;
    paths.push(path);
    if (!found.increment) break;
  }
  return paths;
}

function requestOf(
  ctx: EngineContext,
  manifest: BackupManifest,
  { container, hardware, disks }: ParsedSettings,
  chainOf: (disk: BackupDisk) => string[],
): { request: MachineRequest; warnings: string[] } {
  const warnings: string[] = [];
  const requests = disks.map((disk): DiskRequest => {
    const saved = manifest.disks.find(({ target }) => target === disk.target);
    if (!saved)
      throw isleError('damagedBackup', {
        file: manifest.id,
        why: `it has no image of the disk ${disk.target}`,
      });
    const [path = '', ...chain] = chainOf(saved);
    return { ...disk, source: { kind: 'import', path, format: 'qcow2', chain } };
  });
  return {
    request: { container: placeOf(ctx, manifest, container, warnings), hardware, disks: requests },
    warnings,
  };
}

/** Networks that are not here are left out; addresses of a machine that is still here are its own. */
function placeOf(
  ctx: EngineContext,
  manifest: BackupManifest,
  container: MachineRequest['container'],
  warnings: string[],
): MachineRequest['container'] {
  const here = new Set(ctx.network.list().flatMap(({ id, name }) => [id, name]));
  const known = (name: string): boolean => ['default', 'bridge', 'none'].includes(name) || here.has(name);
  const twin = ctx.records.get(manifest.machine.id) !== undefined;
  const networks = Object.entries(container.networks).filter(([name]) => known(name));
  const missing = Object.keys(container.networks).filter((name) => !known(name));
  const mode = known(container.networkMode) ? container.networkMode : (networks[0]?.[0] ?? 'default');
  if (mode !== container.networkMode) missing.push(container.networkMode);
  for (const name of new Set(missing)) warnings.push(`there is no network "${name}" here: it was left out`);
  const ports = container.portBindings.filter(({ hostPort }) => hostPort !== 0);
  if (twin && ports.length > 0)
    warnings.push(
      'its published ports are those of the machine it was taken of, which is still here: one of the two can run',
    );
  return {
    ...container,
    networkMode: mode,
    networks: Object.fromEntries(
      networks.map(([name, endpoint]) => [name, twin ? { ...endpoint, macAddress: undefined } : endpoint]),
    ),
  };
}

function freeName(ctx: EngineContext, name: string): string {
  const taken = new Set(ctx.records.all().map((one) => one.name));
  if (!taken.has(name)) return name;
  return `${name.slice(0, 240)}-${randomBytes(3).toString('hex')}`;
}

/** What is written is as much as the guest sees, at most. */
function progressOf(
  { disks }: BackupManifest,
  more: (bytes: number) => void,
): (target: string, done: number, total: number) => void {
  const before = new Map<string, number>();
  return (target, done, total) => {
    const virtual = disks.find((disk) => disk.target === target)?.virtual ?? 0;
    const now = total > 0 ? Math.round((done / total) * virtual) : 0;
    more(now - (before.get(target) ?? 0));
    before.set(target, now);
  };
}

/** Everything beside the disks, and where the kernel lies from now on: out of the reach of the machine's QEMU. */
async function putFiles(
  ctx: EngineContext,
  manifest: BackupManifest,
  place: { directory: string; id: string; settings: ParsedSettings; opened: Map<string, OpenFile> },
): Promise<MachineFiles> {
  const { directory, id, settings, opened } = place;
  const own = stateDirOf(ctx, id);
  const nvram = manifest.disks.find(({ target }) => target === 'nvram');
  for (const file of [...(nvram ? [nvram] : []), ...manifest.files] satisfies BackupFile[]) {
    const from = opened.get(`${manifest.id}/${file.name}`)?.path;
    const target = targetOf(file.name, { directory, own });
    if (from === undefined || target === undefined) continue;
    await mkdir(dirname(target), { recursive: true, mode: 0o700 });
    await copyFile(from, target);
  }
  if (!settings.kernel) return {};
  const { arguments: line, initrd } = settings.kernel;
  return {
    kernel: { path: join(own, 'kernel'), arguments: line, ...(initrd && { initrd: join(own, 'initrd') }) },
  };
}

function targetOf(name: string, { directory, own }: { directory: string; own: string }): string | undefined {
  if (name === 'kernel' || name === 'initrd') return join(own, name);
  if (name === 'nvram.qcow2' || /^tpm\/tpm2-[\w.-]+$/.test(name)) return join(directory, name);
  return undefined;
}
