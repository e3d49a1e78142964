import type { DiskRequest } from '../../../engine/machines.ts';
import type { Fields } from '../../http/fields.ts';
import { requiredText, requiredWord, word } from './parse-hardware.ts';
import { refuseUnknown } from './unknown-fields.ts';

const known = [
  ...['Source', 'Target', 'Format', 'Bus', 'ReadOnly', 'Cache', 'Discard', 'Serial', 'Limits', 'Controller'],
];
const formats = ['qcow2', 'raw'] as const;
const foreignFormats = [...formats, 'vmdk', 'vdi', 'vhdx', 'vpc', 'parallels'] as const;

/** One of `Disks`. Throws `invalidParameter`. */
export function parseDisk(fields: Fields): DiskRequest {
  refuseUnknown(fields, known);
  const bus = word(fields, 'Bus', ['virtio', 'scsi', 'sata', 'ide', 'nvme']) ?? 'virtio';
  const target = fields.text('Target');
  const serial = fields.text('Serial');
  const controller = word(fields, 'Controller', ['lsi53c895a', 'mptsas1068', 'megasas', 'pvscsi']);
  return {
    source: sourceOf(fields),
    ...(target !== '' && { target }),
    format: word(fields, 'Format', formats),
    bus,
    readOnly: fields.flag('ReadOnly'),
    cache: word(fields, 'Cache', ['none', 'writeback', 'writethrough', 'unsafe']) ?? 'writeback',
    discard: fields.optionalFlag('Discard') ?? true,
    ...(serial !== '' && { serial }),
    ...(controller && { controller }),
    limits: parseLimits(fields.object('Limits')),
  };
}

function sourceOf(disk: Fields): DiskRequest['source'] {
  const fields = disk.object('Source');
  if (!fields) throw disk.invalid('Source', 'missing: where the disk comes from');
  refuseUnknown(fields, ['Kind', 'Size', 'Path', 'Format', 'Digest', 'Disk', 'Linked']);
  const size = fields.positive('Size');
  switch (requiredWord(fields, 'Kind', ['empty', 'import', 'disk', 'file'])) {
    case 'empty':
      if (size === undefined || size < 0) throw fields.invalid('Size', 'an empty disk needs one (bytes)');
      return { kind: 'empty', size };
    case 'import':
      return {
        kind: 'import',
        path: requiredText(fields, 'Path'),
        format: requiredWord(fields, 'Format', foreignFormats),
        digest: fields.text('Digest') || undefined,
        size,
      };
    case 'disk':
      return { kind: 'disk', disk: requiredText(fields, 'Disk'), linked: fields.flag('Linked'), size };
    case 'file':
      return {
        kind: 'file',
        path: requiredText(fields, 'Path'),
        format: requiredWord(fields, 'Format', formats),
      };
  }
}

/** Bytes and operations a second; 0 and absent: no limit. */
export function parseLimits(fields: Fields | undefined): DiskRequest['limits'] {
  if (!fields) return {};
  refuseUnknown(fields, ['ReadBps', 'WriteBps', 'ReadIops', 'WriteIops']);
  return {
    readBps: fields.positive('ReadBps'),
    writeBps: fields.positive('WriteBps'),
    readIops: fields.positive('ReadIops'),
    writeIops: fields.positive('WriteIops'),
  };
}
