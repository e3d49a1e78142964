import type { MachineSnapshotBody } from '../client/machine-types.ts';
import type { Context } from '../context.ts';
import { Failure } from '../failure.ts';
import { withSpinner } from '../terminal/spinner.ts';
import { machinePath } from './machine.ts';

export function machineSnapshotsPath(machine: string): string {
  return `${machinePath(machine)}/snapshots`;
}

export function machineSnapshotPath(machine: string, name: string): string {
  return `${machineSnapshotsPath(machine)}/${encodeURIComponent(name)}`;
}

/** Takes one and says its name; how long the guest held still, on a terminal. */
export async function takeMachineSnapshot(
  { client, out, err }: Context,
  machine: string,
  options: { name?: string; comment?: string; diskOnly: boolean; quiesce: boolean },
): Promise<void> {
  const work = client.post<MachineSnapshotBody & { PausedMs: number }>(machineSnapshotsPath(machine), {
    body: {
      Name: options.name,
      Comment: options.comment,
      Memory: !options.diskOnly && !options.quiesce,
      Quiesce: options.quiesce,
    },
  });
  const taken = await withSpinner(err, 'taking a snapshot', work);
  out.line(taken.Name);
  if (taken.PausedMs > 0 && err.isTerminal)
    err.line(`${machine} held still for ${Math.ceil(taken.PausedMs)} ms`);
}

/** The name that was given, or with `--current` the one that the disks stand on. */
export async function snapshotName(
  { client }: Context,
  machine: string,
  name: string | undefined,
  current: boolean,
): Promise<string> {
  if (name !== undefined && current) throw new Failure('name a snapshot or say --current, not both');
  if (name !== undefined) return name;
  if (!current) throw new Failure('which snapshot? Name it, or say --current');
  const all = await client.get<MachineSnapshotBody[]>(machineSnapshotsPath(machine));
  const found = all.find((one) => one.Current);
  if (!found) throw new Failure(`${machine} stands on no snapshot`);
  return found.Name;
}

/** Lines like virsh's: children below their parent, oldest first. */
export function treeOf(all: readonly MachineSnapshotBody[]): string[] {
  const names = new Set(all.map(({ Name }) => Name));
  const below = (parent: string | undefined) =>
    all.filter(({ Parent }) => (Parent !== undefined && names.has(Parent) ? Parent : undefined) === parent);
  const lines = (one: MachineSnapshotBody, lead: string, own: string): string[] => {
    const children = below(one.Name);
    return [
      `${lead}${own}${one.Name}${one.Current ? ' (current)' : ''}`,
      ...children.flatMap((child, index) => {
        const last = index === children.length - 1;
        const inner = own === '' ? lead : `${lead}${own === '└── ' ? '    ' : '│   '}`;
        return lines(child, inner, last ? '└── ' : '├── ');
      }),
    ];
  };
  return below(undefined).flatMap((root) => lines(root, '', ''));
}
