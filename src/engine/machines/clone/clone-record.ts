import { randomUUID } from 'node:crypto';
import type { IdMap } from '../../runtime.ts';
import { freshState } from '../../containers/create.ts';
import type { CloudInit, MachineHardwareSpec } from '../../machine.ts';
import { specOf } from '../../snapshots/clone.ts';
import { now } from '../../time.ts';
import { hardwareOf } from '../moment.ts';
import type { MachineRecord } from '../record.ts';
import { findSnapshot } from '../snapshots/names.ts';
import type { DiskPair } from './disks.ts';

/** The record of a clone, and what people should know of it. */
export function cloneRecord(
  source: MachineRecord,
  pairs: DiskPair[],
  options: { id: string; name: string; ports: boolean; snapshot?: string; idMap: IdMap | undefined },
): { record: MachineRecord; warnings: string[] } {
  const { id, name, ports, snapshot, idMap } = options;
  const hostname = /^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$/.test(name) ? name : source.hostname;
  const had =
    snapshot === undefined ? hardwareOf(source.spec.machine) : findSnapshot(source, snapshot).hardware;
  const hardware: MachineHardwareSpec = {
    ...had,
    uuid: randomUUID(),
    generationId: randomUUID(),
    disks: pairs.map(({ disk, to }) => (to === undefined ? disk : { ...disk, diskId: to, path: undefined })),
    ...(had.cloudInit && { cloudInit: freshSeed(had.cloudInit, source.hostname, hostname) }),
  };
  const record: MachineRecord = {
    ...source,
    id,
    name,
    idMap,
    createdAt: now(),
    podId: id,
    spec: {
      ...specOf(source.spec, { hostname: source.spec.hostname === '' ? '' : hostname, ports }),
      machine: { ...hardware, snapshots: [] },
    },
    hostname,
    state: freshState(),
    revision: 1,
  };
  return { record, warnings: warningsFor(source, had) };
}

/** cloud-init takes another instance id for another machine: host keys, host name and machine-id are made anew. */
function freshSeed(seed: CloudInit, was: string, hostname: string): CloudInit {
  const instanceId = `isle-${randomUUID()}`;
  return {
    ...seed,
    instanceId,
    freshMachineId: true,
    hostname: seed.hostname === undefined || seed.hostname === was ? hostname : seed.hostname,
    ...(seed.metaData !== undefined && { metaData: withInstance(seed.metaData, instanceId) }),
  };
}

/** In a file of the user's: YAML lines, or JSON. */
function withInstance(metaData: string, instanceId: string): string {
  if (metaData.trimStart().startsWith('{')) {
    try {
      return JSON.stringify({ ...(JSON.parse(metaData) as object), 'instance-id': instanceId });
    } catch {
      return metaData; // No JSON: whatever it is, nothing is pasted into it.
    }
  }
  const lines = metaData.split('\n').filter((line) => !/^instance-id\s*:/.test(line));
  return [`instance-id: ${instanceId}`, ...lines].join('\n');
}

function warningsFor(
  source: MachineRecord,
  { tpm, cloudInit, shares, disks }: MachineHardwareSpec,
): string[] {
  const shared = disks.filter(({ path, readOnly }) => path !== undefined && readOnly);
  return [
    ...(cloudInit
      ? []
      : [
          'its guest has no cloud-init seed: change its host name, machine-id (empty /etc/machine-id and reboot) and SSH host keys in it',
        ]),
    ...(tpm ? ['its TPM is new and empty: what was sealed by that of the source cannot be opened'] : []),
    ...(shares.length > 0
      ? [`shared with the source, not copied: ${shares.map(({ tag }) => tag).join(', ')}`]
      : []),
    ...(shared.length > 0
      ? [`read by both: ${shared.map(({ target }) => target).join(', ')} (files of yours)`]
      : []),
    ...(source.spec.machine.saved ? ['the memory that is saved of the source is not copied'] : []),
  ];
}
