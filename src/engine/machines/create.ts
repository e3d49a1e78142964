import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { isleError, messageOf } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { newId } from '../../lib/ids.ts';
import { Rollback } from '../../lib/rollback.ts';
import { checkIsolation } from '../containers/check-isolation.ts';
import { checkSpec } from '../containers/check-spec.ts';
import { freshState, withDefaults } from '../containers/create.ts';
import { publishContainer } from '../containers/events.ts';
import { machineDirOf, stateDirOf } from '../containers/paths.ts';
import { networksOf } from '../containers/pod-network.ts';
import { takeIdMap } from '../containers/user-namespace.ts';
import type { EngineContext } from '../context.ts';
import { explainFull } from '../disk-full.ts';
import type { MachineSpec } from '../machine.ts';
import type { MachineRequest, MachineWork } from '../machines.ts';
import type { ContainerSpec, PortKey } from '../model.ts';
import { now } from '../time.ts';
import { checkMachineContainer } from './check-container.ts';
import { checkHardware } from './check-hardware.ts';
import { makeDisk, type PlannedDisk, planDisk } from './disks.ts';
import { type MachineRecord, machineRuntime } from './record.ts';
import { cdTargets, nextTarget } from './targets.ts';
import { checkUserFiles, refuseFileOfOther } from './user-files.ts';
import { unikernelHardware, unikernelRuntime } from './unikernel.ts';
import { warningsFor } from './warnings.ts';

/**
 * Makes a machine's record, directory and every disk. All or nothing; of two creates of one name one wins and the other gets
 * `nameInUse`. `work`: of the disks that are imported.
 */
export async function createMachine(
  ctx: EngineContext,
  name: string | undefined,
  request: MachineRequest,
  work: MachineMaking = {},
): Promise<{ id: string; warnings: string[] }> {
  const id = newId();
  const named = withTargets(request);
  const runtimeName = named.container.runtime === unikernelRuntime ? unikernelRuntime : machineRuntime;
  const hardware: Omit<MachineSpec, 'disks'> = {
    ...(runtimeName === unikernelRuntime ? await unikernelHardware(named.hardware) : named.hardware),
    uuid: named.hardware.uuid ?? randomUUID(),
    snapshots: [],
  };
  checkHardware({ ...hardware, disks: named.disks.map((disk) => ({ format: 'qcow2', ...disk })) });
  const asked: ContainerSpec = { ...request.container, image: '', runtime: runtimeName };
  checkMachineContainer(asked);
  const runtime = await ctx.runtimes.require(runtimeName);
  const spec = withDefaults(ctx, asked);
  const warnings = [...checkSpec(spec), ...(await warningsFor(ctx, hardware))];
  checkIsolation(ctx, runtime.traits, spec);
  for (const { network } of networksOf(spec)) ctx.network.get(network);
  await checkUserFiles(ctx, hardware);
  const reserved = ctx.records.reserve(name, id);
  try {
    using taken = await takeIdMap(ctx, runtime, spec);
    const disks: PlannedDisk[] = [];
    for (const disk of named.disks)
      disks.push(await planDisk(ctx, { id, name: reserved }, disk, disk.target));
    checkDisksOnce(disks);
    const record: MachineRecord = {
      id,
      name: reserved,
      createdAt: now(),
      podId: id,
      imageId: '',
      runtimeName,
      spec: { ...spec, machine: { ...hardware, disks: disks.map(({ disk }) => disk) } },
      process: { path: '', args: [], env: [], cwd: '', user: '' },
      idMap: taken?.map,
      stopSignal: spec.stopSignal ?? '',
      healthcheck: spec.healthcheck?.test.length ? spec.healthcheck : undefined,
      exposedPorts: portsOf(spec),
      labels: spec.labels,
      hostname: spec.hostname || hostnameOf(reserved),
      mounts: [],
      mountSpecs: [],
      anonymousVolumes: [],
      state: freshState(),
      revision: 1,
    };
    await makeMachine(ctx, record, disks, work);
    return { id, warnings };
  } catch (error) {
    ctx.records.release(reserved, id);
    throw explainFull(ctx, error, `creating machine ${reserved}`);
  }
}

/** What of its hardware is another when its disks are made: a kernel in its directory, buses that its guest was changed for. */
export type MachineFiles = Partial<Pick<MachineSpec, 'kernel' | 'disks' | 'boot' | 'nicModels'>>;

/** `files`: of a machine that is not new, when its disks are there and nobody knows it yet. */
export interface MachineMaking extends MachineWork {
  files?(directory: string, machine: MachineRecord): Promise<MachineFiles>;
}

/** All that a new record needs on the disk, and the record itself. */
async function makeMachine(
  ctx: EngineContext,
  record: MachineRecord,
  disks: PlannedDisk[],
  work: MachineMaking = {},
): Promise<void> {
  const { id } = record;
  const made = disks.flatMap((planned) => (planned.made ? (planned.disk.diskId ?? []) : []));
  await using undo = new Rollback();
  ctx.intents.add({ kind: 'create', id, volumes: [], disks: made });
  undo.add('intent', () => ctx.intents.done('create', id));
  failpoint('machines.create.begin');
  for (const directory of [stateDirOf(ctx, id), machineDirOf(ctx, id)]) {
    undo.add('directory', () => rm(directory, { recursive: true, force: true }));
    await mkdir(directory, { recursive: true, mode: 0o700 });
  }
  // One after another: each may take all of the disk's speed, and what fails shall fail before the next is begun.
  for (const planned of disks) {
    await makeDisk(ctx, id, planned, undo, work);
    work.signal?.throwIfAborted();
  }
  const files = await work.files?.(machineDirOf(ctx, id), record);
  failpoint('machines.create.made');
  ctx.store.transaction(() => {
    // Another machine may have taken a file meanwhile.
    for (const { path, readOnly } of record.spec.machine.disks)
      if (path !== undefined) refuseFileOfOther(ctx, id, { path, readOnly });
    ctx.records.put({
      ...record,
      spec: { ...record.spec, machine: { ...record.spec.machine, ...files } },
    });
    ctx.intents.done('create', id);
    publishContainer(ctx, record, 'create');
  });
  undo.keep();
  acknowledge(ctx, record);
}

/** From here on the disks stay, whatever becomes of the database. On a full disk the next start of the machine says it. */
function acknowledge(ctx: EngineContext, { id, spec }: MachineRecord): void {
  try {
    for (const { diskId } of spec.machine.disks) if (diskId !== undefined) ctx.disks.claim(diskId, id);
  } catch (error) {
    ctx.log.warn({ machine: id, err: error }, `its disks are not settled yet: ${messageOf(error)}`);
  }
}

type NamedRequest = Omit<MachineRequest, 'disks'> & {
  disks: (MachineRequest['disks'][number] & { target: string })[];
};

/** Every disk and CD gets the name that it has in the guest. */
function withTargets(request: MachineRequest): NamedRequest {
  const { disks, hardware } = request;
  const taken = new Set([...disks, ...hardware.cdroms].flatMap(({ target }) => target || []));
  const named = disks.map((disk) => ({ ...disk, target: disk.target || nextTarget(disk.bus, taken) }));
  return {
    ...request,
    disks: named,
    hardware: { ...hardware, cdroms: cdTargets(hardware.type, hardware.cdroms, named) },
  };
}

/** One file or disk for two of its own disks is as bad as for two machines. New ones get ids that differ by their targets. */
function checkDisksOnce(disks: PlannedDisk[]): void {
  const seen = new Map<string, string>();
  for (const { disk } of disks) {
    const what = disk.diskId ?? disk.path ?? '';
    const other = seen.get(what);
    if (other !== undefined)
      throw isleError('invalidParameter', {
        message: `the disks ${other} and ${disk.target} are the same: ${what}`,
      });
    seen.set(what, disk.target);
  }
}

function portsOf({ exposedPorts, portBindings }: ContainerSpec): PortKey[] {
  const ports = new Map<string, PortKey>();
  for (const { port, protocol } of [...exposedPorts, ...portBindings])
    ports.set(`${port}/${protocol}`, { port, protocol });
  return [...ports.values()];
}

/** What its guest is called by DHCP: the machine's name where that can be one. */
export function hostnameOf(name: string): string {
  const label = name
    .replace(/[^a-zA-Z0-9-]+/g, '-')
    .replace(/^-+/, '')
    .slice(0, 63)
    .replace(/-+$/, '');
  return label === '' ? 'machine' : label;
}
