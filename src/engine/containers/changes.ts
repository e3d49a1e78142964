import type { EngineContext } from '../context.ts';
import { refuseMachine } from '../machines/record.ts';
import type { ContainerRecord } from './record.ts';
import { identityFiles } from './identity.ts';

export interface Change {
  path: string;
  kind: 0 | 1 | 2;
}

/** What a runtime makes in every root to mount on: `docker diff` does not show it. */
const mountPoints = ['/dev', '/proc', '/sys', '/run', '/.dockerenv', '/etc/mtab'];

export async function changesOf(ctx: EngineContext, reference: string): Promise<Change[]> {
  const record = ctx.records.find(reference);
  refuseMachine(record, 'list what changed in', 'whose disks are not compared with an image');
  return withoutMountPoints(await ctx.snapshots.changes(record.id), record);
}

/** Leaves out what was added only to be mounted on, and directories that changed by nothing else. */
export function withoutMountPoints(changes: Change[], record: Pick<ContainerRecord, 'mountSpecs'>): Change[] {
  const hidden = new Set([
    ...mountPoints,
    ...identityFiles.map((name) => `/etc/${name}`),
    ...record.mountSpecs.map(({ target }) => target),
  ]);
  const isHidden = ({ path, kind }: Change) => kind === 1 && (hidden.has(path) || path.startsWith('/dev/'));
  const removed = changes.filter(isHidden).map(({ path }) => path);
  const kept = changes.filter((change) => !isHidden(change));
  return kept.filter(({ path, kind }) => {
    const holds = (other: string) => other.startsWith(`${path}/`);
    return kind !== 0 || !removed.some(holds) || kept.some((other) => holds(other.path));
  });
}
