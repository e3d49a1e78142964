import type { MachineDisk } from '../../engine/machine.ts';
import { Failure } from '../failure.ts';

/** The next free name as a Linux guest has it (`vda`, `sdb`, `nvme0n1`); `taken` gets it. */
export function nextTarget(bus: MachineDisk['bus'], taken: Set<string>): string {
  for (let index = 0; index < 26; index++) {
    const letter = String.fromCharCode(97 + index);
    const target = bus === 'nvme' ? `nvme${index}n1` : `${bus === 'virtio' ? 'vd' : 'sd'}${letter}`;
    if (taken.has(target)) continue;
    taken.add(target);
    return target;
  }
  throw new Failure(`there are too many disks on ${bus}`);
}
