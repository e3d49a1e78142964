import { link, mkdir, readdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Exit, TakenIds, Workload } from '../../engine/runtime.ts';
import { bootAddress, makeTap, moveTap, type WiredLink, wireGuest } from '../../host/guest-link.ts';
import { readPodLinks } from '../../host/guest-record.ts';
import { errnoOf, isleError } from '../../lib/errors.ts';
import { newId } from '../../lib/ids.ts';
import { Rollback } from '../../lib/rollback.ts';
import { socketPath } from '../../host/socket-path.ts';
import { watched } from './boot-watch.ts';
import { monitorWorkload } from './confinement.ts';
import { GuestAgent } from './guest/agent.ts';
import { dropKernel } from './drop-kernel.ts';
import type { MicrovmLayout, VmPlace } from './layout.ts';
import { qemuUser } from '../confined/dressing.ts';
import { makeSockets, mountMonitor } from '../confined/monitor-directory.ts';
import type { MicrovmParts } from './parts.ts';
import { readVmRecord } from './record.ts';
import { type GuestSize, monitorResources, sizeOf } from './resources.ts';
import { mountShare, unmountPlace } from './share.ts';
import { makeVmDirectory, writeBootFile } from './vm-directory.ts';

/** A guest that has booted, with an empty share and a network card that leads nowhere. */
export interface ReadyGuest {
  /** Of the container that confines its monitor, and of its directory until it has a workload. */
  id: string;
  /** Of the shim. */
  pid: number;
  ids: TakenIds;
  size: GuestSize;
  agent: GuestAgent;
  ended: Promise<Exit>;
  over: boolean;
}

/** Rejects when it does not come up; nothing is left then. */
export async function bootReadyGuest(
  parts: MicrovmParts,
  ids: TakenIds,
  signal: AbortSignal,
): Promise<ReadyGuest> {
  const { layout, config, host, oci } = parts;
  const id = newId();
  const place = layout.vm(id);
  const root = ids.map.hostId;
  const size = sizeOf({}, config, host.accelerator);
  const logPath = layout.poolLog(id);
  await using undo = new Rollback();
  undo.add('guest', () => removeGuest(parts, id, ids));
  const confinement = await parts.confinement();
  await mkdir(dirname(logPath), { recursive: true, mode: 0o700 });
  await makeVmDirectory(place.directory, id);
  await mountMonitor(place.monitor, root, 512);
  await makeSockets(place.monitor, 'sockets', root);
  await mountShare(place, root);
  const taps = [{ name: 'isle-tap0', macAddress: bootAddress }];
  await writeBootFile(place, root, confinement, size, taps);
  const monitored = {
    id,
    stateDir: dirname(logPath),
    logPath,
    log: { driver: 'json-file', options: {} },
    tty: false,
    stdin: true,
    stdinOnce: true,
    idMap: ids.map,
    cgroupParent: '',
    resources: {},
  };
  await oci.create(monitorWorkload(monitored, place, confinement, { memory: size.memory, taps: true }));
  const [process] = await oci.processes(id);
  await makeTap(`/proc/${process}/ns/net`, { owner: root + qemuUser });
  const { pid } = await oci.start(id);
  const ended = oci.wait(id);
  const timeout = config.bootTimeout * 1000;
  const gone = new AbortController();
  const lost = () => gone.abort(isleError('guestGone', { what: 'its monitor ended while it booted' }));
  ended.then(lost, lost);
  const late = AbortSignal.any([signal, gone.signal, AbortSignal.timeout(timeout)]);
  const agent = await greet(parts, id, timeout, late);
  void dropKernel(parts, id);
  undo.keep();
  return { id, pid, ids, size, agent, ended, over: false };
}

async function greet(
  { layout, oci, log }: MicrovmParts,
  id: string,
  timeout: number,
  signal: AbortSignal,
): Promise<GuestAgent> {
  const { agent, qmp } = layout.vm(id);
  const cpuTime = async () => (await oci.stats(id)).cpu.total;
  return await watched({ id, qmp, cpuTime, log, signal }, async () => {
    using socket = await socketPath(agent, signal);
    return await GuestAgent.connect(socket.path, { timeout, signal });
  });
}

/** Ends one that has no workload. */
export async function endReadyGuest(parts: MicrovmParts, { id, ids, agent }: ReadyGuest): Promise<void> {
  agent.close();
  await removeGuest(parts, id, ids);
}

/** The pod's network, the limits and the log of a workload for a guest that waited. */
export async function giveGuest(
  { layout, oci }: MicrovmParts,
  guest: ReadyGuest,
  workload: Workload,
  place: VmPlace,
): Promise<WiredLink[]> {
  const netns = workload.netns as string;
  const pod = await readPodLinks(netns);
  if (pod.cables.length > 1)
    throw isleError('conflict', { message: `the guest at ${place.directory} has one network card only` });
  if (pod.cables.length === 1) await moveTap(`/proc/${guest.pid}/ns/net`, netns);
  const owner = guest.ids.map.hostId + qemuUser;
  const [links] = await Promise.all([
    pod.cables.length === 1 ? wireGuest(netns, { owner }) : [],
    linkLog(layout, guest.id, workload),
    limited(workload) ? oci.update(guest.id, monitorResources(workload.resources, guest.size.memory)) : null,
  ]);
  return links;
}

/** conmon writes to the file it was given when nobody knew whose it would be: that is the workload's too. */
export async function linkLog(
  layout: MicrovmLayout,
  monitor: string,
  { logPath }: Pick<Workload, 'logPath'>,
): Promise<void> {
  if (logPath === undefined) return;
  try {
    await link(layout.poolLog(monitor), logPath);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
    await rm(logPath);
    await link(layout.poolLog(monitor), logPath);
  }
}

function limited({ resources }: Workload): boolean {
  return Object.values(resources).some((value) => (Array.isArray(value) ? value.length > 0 : Boolean(value)));
}

/** What the host's last crash left of guests that nobody has. */
export async function sweepPoolLogs(layout: MicrovmLayout): Promise<void> {
  const names = await readdir(layout.poolLogs).catch(ignoreMissing);
  if (names.length === 0) return;
  const vms = await readdir(layout.vms);
  const records = await Promise.all(vms.map((id) => readVmRecord(layout.vm(id).record)));
  const used = new Set([...vms, ...records.map((record) => record?.booted?.monitor)]);
  const unused = names.filter((name) => !used.has(name));
  await Promise.all(
    unused.map((name) => rm(dirname(layout.poolLog(name)), { recursive: true, force: true })),
  );
}

function ignoreMissing(error: unknown): string[] {
  if (errnoOf(error) !== 'ENOENT') throw error;
  return [];
}

async function removeGuest({ layout, oci }: MicrovmParts, id: string, ids: TakenIds): Promise<void> {
  const place = layout.vm(id);
  await oci.delete(id);
  await unmountPlace(place);
  await rm(place.directory, { recursive: true, force: true });
  await rm(dirname(layout.poolLog(id)), { recursive: true, force: true });
  ids[Symbol.dispose]();
}
