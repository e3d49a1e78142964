import { isleError } from '../../lib/errors.ts';
import type { MachineDisk, MachineSpec } from '../machine.ts';

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

/** CDs with the names of those that have none yet. */
export function cdTargets(
  type: MachineSpec['type'],
  cdroms: MachineSpec['cdroms'],
  disks: readonly { target?: string }[],
): MachineSpec['cdroms'] {
  const taken = new Set([...disks, ...cdroms].flatMap(({ target }) => target || []));
  const bus = type === 'q35' ? 'sata' : 'scsi';
  return cdroms.map((cdrom) => ({ ...cdrom, target: cdrom.target || nextTarget(bus, taken) }));
}

function targetOf(bus: MachineDisk['bus'], index: number): string {
  if (bus === 'nvme') return `nvme${index}n1`;
  return `${bus === 'virtio' ? 'vd' : 'sd'}${String.fromCharCode(97 + index)}`;
}
