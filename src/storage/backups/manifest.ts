import { createHash } from 'node:crypto';
import { isleError } from '../../lib/errors.ts';
import { Fields } from '../../lib/json-fields.ts';

/** What `manifest.json` of a backup says. Whoever can write to the repository can have written it: {@link parseManifest}. */
export interface BackupManifest {
  id: string;
  createdAt: string;
  mode: 'full' | 'incremental';
  /** Why it is a full one although an increment was wanted. */
  reason?: string;
  /** The backup that its increments stand on. */
  parent?: string;
  quiesced: boolean;
  machine: { id: string; name: string };
  disks: BackupDisk[];
  /** What else belongs to the machine, whole: `nvram.qcow2`, `seed.iso`, `tpm/tpm2-00.permall`, `kernel`, `initrd`. */
  files: BackupFile[];
  /** The machine's settings: JSON that the engine checks when it restores. */
  settings: unknown;
}

export interface BackupFile {
  /** Below the backup's directory. */
  name: string;
  bytes: number;
  sha256: string;
}

/** A qcow2 file. */
export interface BackupDisk extends BackupFile {
  target: string;
  /** bytes the guest sees */
  virtual: number;
  /** It has what changed since the parent's file of the same name, and stands on that. */
  increment: boolean;
}

/** Bytes of a manifest that are read. */
export const maxManifest = 1024 * 1024;

const backupIdPattern = /^\d{8}T\d{6}Z-[0-9a-f]{8}$/;
export const machineIdPattern = /^[0-9a-f]{64}$/;
const sha256Pattern = /^[0-9a-f]{64}$/;
/** At most two levels, no dot in front: nothing that leads out of a directory, or is a temporary name. */
const fileNamePattern = /^[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,99}(\/[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,99})?$/;
const targetPattern = /^[a-z][a-z0-9-]{0,31}$/;
const maxBytes = 2 ** 50;

/** Sorts by time. */
export function newBackupId(at: Date, random: Uint8Array): string {
  const time = at.toISOString().replace(/\.\d+/, '').replaceAll(/[-:]/g, '');
  return `${time}-${Buffer.from(random).toString('hex').slice(0, 8)}`;
}

export function renderManifest(manifest: BackupManifest): string {
  const text = JSON.stringify(manifest);
  return `${JSON.stringify({ isleBackup: 1, sha256: sha256(text), manifest }, undefined, 1)}\n`;
}

/** Throws `damagedBackup` naming `path` for what is not a manifest of the backup `id`. */
export function parseManifest(text: string, id: string, path: string): BackupManifest {
  const fail = (why: string): Error => isleError('damagedBackup', { file: path, why });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw isleError('damagedBackup', { file: path, why: 'it is not JSON' }, error);
  }
  const outer = new Fields(value, '', fail);
  if (outer.raw('isleBackup') !== 1)
    throw fail('it was written by another version of Isle, or is no manifest of a backup');
  const inner = outer.raw('manifest');
  if (outer.text('sha256', { pattern: sha256Pattern }) !== sha256(JSON.stringify(inner)))
    throw fail('its checksum is another one: it was changed');
  const manifest = readManifest(new Fields(inner, '', fail));
  if (manifest.id !== id) throw fail(`it is that of the backup ${manifest.id}`);
  const names = [...manifest.disks, ...manifest.files].map(({ name }) => name);
  if (new Set(names).size < names.length) throw fail('it names a file twice');
  if (new Set(manifest.disks.map(({ target }) => target)).size < manifest.disks.length)
    throw fail('it names a disk twice');
  if (manifest.parent === undefined && manifest.disks.some(({ increment }) => increment))
    throw fail('it has an increment but no parent');
  return manifest;
}

function readManifest(fields: Fields): BackupManifest {
  const machine = fields.object('machine');
  return {
    id: fields.text('id', { pattern: backupIdPattern }),
    createdAt: fields.text('createdAt', { pattern: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/ }),
    mode: fields.oneOf('mode', ['full', 'incremental']),
    ...fields.maybe('reason', (it) => ({ reason: it.text('reason', { most: 1000 }) })),
    ...fields.maybe('parent', (it) => ({ parent: it.text('parent', { pattern: backupIdPattern }) })),
    quiesced: fields.flag('quiesced'),
    machine: {
      id: machine.text('id', { pattern: machineIdPattern }),
      name: machine.text('name', { pattern: /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/ }),
    },
    disks: fields.list('disks', 64, (disk) => ({
      ...readFile(disk),
      target: disk.text('target', { pattern: targetPattern }),
      virtual: disk.integer('virtual', { most: maxBytes }),
      increment: disk.flag('increment'),
    })),
    files: fields.list('files', 64, readFile),
    settings: fields.raw('settings'),
  };
}

function readFile(file: Fields): BackupFile {
  return {
    name: file.text('name', { most: 201, pattern: fileNamePattern }),
    bytes: file.integer('bytes', { most: maxBytes }),
    sha256: file.text('sha256', { pattern: sha256Pattern }),
  };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
