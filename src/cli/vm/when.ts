import type { MachineBody } from '../client/machine-types.ts';
import { Failure } from '../failure.ts';
import { boolean } from '../flags.ts';
import { isOff } from './state.ts';

/** virsh's words for when a change holds. Isle's hold at once, where the machine runs, and for good. */
export const whenFlags = {
  live: boolean('Accepted: a running machine has it at once', { hidden: true }),
  config: boolean('Accepted: it holds over restarts', { hidden: true }),
  persistent: boolean('Accepted: it holds over restarts', { hidden: true }),
  current: boolean('Accepted', { hidden: true }),
} as const;

/** Who says `--config` alone means that a guest which runs keeps what it has. */
export function refuseLater(
  machine: Pick<MachineBody, 'Name' | 'State' | 'Saved'>,
  { config, live, persistent }: { config: boolean; live: boolean; persistent: boolean },
): void {
  if (!config || live || persistent || isOff(machine)) return;
  throw new Failure(
    `${machine.Name} runs, and this changes it at once, not at its next start only: say --live --config, or shut it down first`,
  );
}
