import { isleError } from '../../lib/errors.ts';
import type { MachineDisk } from '../machine.ts';

/** Names as a Linux guest has them: `vda`, `sdb`, `nvme0n1`. What is named keeps its name; `taken` gets the new ones. */
export function nextTarget(bus: MachineDisk['bus'], taken: Set<string>): string {
  for (let index = 0; index < 26; index++) {
    const target = targetOf(bus, index);
    if (taken.has(target)) continue;
    taken.add(target);
    return target;
  }
  throw isleError('invalidParameter', { message: `there are too many disks on the bus ${bus}` });
}

function targetOf(bus: MachineDisk['bus'], index: number): string {
  if (bus === 'nvme') return `nvme${index}n1`;
  return `${bus === 'virtio' ? 'vd' : 'sd'}${String.fromCharCode(97 + index)}`;
}
