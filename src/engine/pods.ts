import type { Attachment } from '../network/network.ts';
import { ownsPod } from './containers/pod-network.ts';
import type { ContainerRecord } from './containers/record.ts';
import { isRunning } from './containers/records.ts';
import type { EngineContext } from './context.ts';

/** Containers that share an address. A plain container is a pod of one, by the same id. */
export interface Pod {
  id: string;
  /** The container whose network it is, first; then those that joined. */
  containers: ContainerRecord[];
  running: boolean;
  /** Absent when it does not run, or uses the host's network. */
  attachment?: Attachment;
}

/** All pods: derived from the containers' records, so that the two can never disagree. */
export function pods(ctx: Pick<EngineContext, 'records' | 'network'>): Pod[] {
  const members = new Map<string, ContainerRecord[]>();
  for (const record of ctx.records.all().reverse()) {
    const known = members.get(record.podId) ?? [];
    members.set(record.podId, record.id === record.podId ? [record, ...known] : [...known, record]);
  }
  return [...members].map(([id, containers]) => ({
    id,
    containers,
    running: containers.some(({ state }) => isRunning(state)),
    attachment: ctx.network.attachment(id),
  }));
}

/** Ids of the pods whose network must be there: their owner runs. */
export function runningPods(ctx: Pick<EngineContext, 'records'>): Set<string> {
  const owners = ctx.records.all().filter((record) => isRunning(record.state) && ownsPod(record));
  return new Set(owners.map(({ podId }) => podId));
}
