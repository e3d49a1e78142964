import { isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import type { Rollback } from '../../lib/rollback.ts';
import type { AttachRequest, Attachment } from '../../network/network.ts';
import type { EngineContext } from '../context.ts';
import { continuationOf, returningEndpoint } from '../machines/moment.ts';
import type { ContainerSpec } from '../model.ts';
import type { ContainerRecord } from './record.ts';
import { isRunning } from './records.ts';

/** What a container's process joins, and the files that go with it. */
export interface PodNetwork {
  /** Undefined: the host's. */
  netns?: string;
  hosts?: string;
  resolvConf?: string;
  /** The container whose files are used instead (`container:ID`). */
  sharesFilesOf?: string;
  attachment?: Attachment;
}

/** Gives the container its network before its process exists. All or nothing. */
export async function attachPod(
  ctx: EngineContext,
  record: ContainerRecord,
  undo: Rollback,
): Promise<PodNetwork> {
  const { spec, id } = record;
  if (ownerOf(spec) !== undefined) return joinPod(ctx, record);
  undo.add('network', () => ctx.network.detach(id));
  failpoint('engine.network-attach.before');
  const attachment = await ctx.network.attach(id, attachRequestOf(ctx, record));
  failpoint('engine.network-attach.after');
  return {
    netns: attachment.netnsPath,
    hosts: attachment.hosts,
    resolvConf: attachment.resolvConf,
    attachment,
  };
}

/** Idempotent. What joined another pod has nothing of its own to give back. */
export async function detachPod(ctx: EngineContext, record: ContainerRecord): Promise<void> {
  if (!ownsPod(record)) return;
  const attachment = ctx.network.attachment(record.id);
  await ctx.network.detach(record.id);
  publishEndpoints(ctx, record, attachment, 'disconnect');
}

export function publishEndpoints(
  ctx: EngineContext,
  record: ContainerRecord,
  attachment: Attachment | undefined,
  action: 'connect' | 'disconnect',
): void {
  for (const endpoint of attachment?.endpoints ?? [])
    ctx.events.publish('network', action, endpoint.networkId, {
      container: record.id,
      name: endpoint.networkName,
      type: ctx.network.get(endpoint.networkId).driver,
    });
}

/** True when the pod's network lives and dies with this container. */
export function ownsPod(record: ContainerRecord): boolean {
  return ownerOf(record.spec) === undefined;
}

/** The other container of `container:<id>`, or undefined. */
export function ownerOf(spec: Pick<ContainerSpec, 'networkMode'>): string | undefined {
  return spec.networkMode.startsWith('container:') ? spec.networkMode.slice('container:'.length) : undefined;
}

function joinPod(ctx: EngineContext, record: ContainerRecord): PodNetwork {
  const owner = ctx.records.find(ownerOf(record.spec)!);
  if (!isRunning(owner.state))
    throw isleError('conflict', { message: `cannot join network of a non running container: ${owner.id}` });
  const attachment = ctx.network.attachment(owner.podId);
  return { netns: attachment?.netnsPath, sharesFilesOf: owner.id, attachment };
}

function attachRequestOf(ctx: EngineContext, record: ContainerRecord): AttachRequest {
  const { spec } = record;
  return {
    name: record.name,
    hostname: record.hostname,
    domainname: spec.domainname,
    networks: networksAgain(ctx, record),
    ports: spec.portBindings,
    exposedPorts: record.exposedPorts,
    publishAllPorts: spec.publishAllPorts,
    dns: spec.dns,
    dnsSearch: spec.dnsSearch,
    dnsOptions: spec.dnsOptions,
    extraHosts: [...spec.extraHosts, ...linkedHosts(ctx, spec)],
    sysctls: spec.sysctls,
    ownUser: ownsUser(ctx, record),
    ...(ctx.runtimeOf(record).traits.machine && { guest: true }),
  };
}

/** A guest that goes on from its memory has the addresses that it knows. */
function networksAgain(ctx: EngineContext, record: ContainerRecord): AttachRequest['networks'] {
  const had = continuationOf(ctx, record, '')?.endpoints ?? [];
  return networksOf(record.spec).map(({ network, endpoint }) => ({
    network,
    endpoint: returningEndpoint(ctx.network.get(network).name, endpoint, had),
  }));
}

/** What joins another's processes is in that one's user namespace; a guest's network is the monitor's, not the guest's. */
function ownsUser(ctx: EngineContext, { idMap, spec, runtimeName }: ContainerRecord): boolean {
  if (idMap === undefined || ctx.runtimeOf({ runtimeName }).traits.ownKernel) return false;
  return typeof spec.ipcMode !== 'object' && typeof spec.pidMode !== 'object';
}

/** `--link container:alias`: the names by which a linked container is known, as entries of the hosts file. */
function linkedHosts(ctx: EngineContext, spec: ContainerSpec): string[] {
  return spec.links.flatMap((link) => {
    const [reference = '', alias = reference] = link.split(':');
    const linked = ctx.records.find(reference);
    if (!isRunning(linked.state))
      throw isleError('conflict', {
        message: `Cannot link to a non running container: /${linked.name} AS ${alias}`,
      });
    const address = ctx.network.attachment(linked.podId)?.endpoints[0]?.ipv4?.address;
    return address === undefined
      ? []
      : [...new Set([alias, linked.hostname, linked.name])].map((name) => `${name}:${address}`);
  });
}

/** The network of the mode first, then the others in the order given. */
export function networksOf(spec: ContainerSpec): AttachRequest['networks'] {
  if (spec.networkDisabled) return [];
  const first = defaultNetworkOf(spec.networkMode);
  const own = spec.networks[spec.networkMode] ?? spec.networks[first] ?? {};
  const others = Object.entries(spec.networks).filter(
    ([name]) => name !== spec.networkMode && name !== first,
  );
  const endpoint = spec.macAddress && !own.macAddress ? { ...own, macAddress: spec.macAddress } : own;
  const rest = others.map(([network, other]) => ({ network, endpoint: other }));
  // Taken out of its last network: it has a namespace, and nothing in it.
  if (first === 'none' && !Object.hasOwn(spec.networks, 'none')) return rest;
  return [{ network: first, endpoint }, ...rest];
}

export function defaultNetworkOf(mode: string): string {
  return mode === '' || mode === 'default' ? 'bridge' : mode;
}
