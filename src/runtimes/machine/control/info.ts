import type { MachineInfo } from '../../../engine/machine.ts';
import type { Qmp } from '../../../host/qmp/qmp.ts';
import { guestInfo } from '../agent/guest-info.ts';
import type { LiveMachine } from '../live-machine.ts';

/** What a running machine is like, as QEMU and its guest say. */
export async function machineInfo(
  live: LiveMachine,
  acceleration: { accelerator: 'kvm' | 'tcg'; why?: string },
): Promise<MachineInfo> {
  const qmp = await live.qmp();
  const [version, vcpus, memory, disks, guest] = await Promise.all([
    qmp.execute<{ qemu: { major: number; minor: number; micro: number } }>('query-version'),
    qmp.execute<unknown[]>('query-cpus-fast'),
    memoryOf(qmp),
    disksOf(live, qmp),
    guestInfo(live),
  ]);
  const { major, minor, micro } = version.qemu;
  return {
    accelerator: acceleration.accelerator,
    ...(acceleration.why === undefined ? {} : { acceleratorReason: acceleration.why }),
    qemuVersion: [major, minor, micro].map(Number).join('.'),
    vcpus: vcpus.length,
    memory,
    ...(guest && { guest }),
    disks,
  };
}

/** bytes, plugged in ones included. */
async function memoryOf(qmp: Qmp): Promise<number> {
  const summary = await qmp.execute<{ 'base-memory': number; 'plugged-memory'?: number }>(
    'query-memory-size-summary',
  );
  return Number(summary['base-memory']) + Number(summary['plugged-memory'] ?? 0);
}

interface Block {
  qdev?: string;
  inserted?: { image?: { 'virtual-size'?: number; 'actual-size'?: number } };
}

interface BlockStats {
  qdev?: string;
  stats?: { rd_bytes?: number; wr_bytes?: number };
}

async function disksOf({ hardware }: LiveMachine, qmp: Qmp): Promise<MachineInfo['disks']> {
  const [blocks, stats] = await Promise.all([
    qmp.execute<Block[]>('query-block'),
    qmp.execute<BlockStats[]>('query-blockstats'),
  ]);
  return hardware.spec.disks.map(({ target }) => {
    const image = blocks.find(({ qdev }) => names(qdev, target))?.inserted?.image;
    const counted = stats.find(({ qdev }) => names(qdev, target))?.stats;
    return {
      target,
      virtualSize: Number(image?.['virtual-size'] ?? 0),
      allocated: Number(image?.['actual-size'] ?? 0),
      readBytes: Number(counted?.rd_bytes ?? 0),
      writtenBytes: Number(counted?.wr_bytes ?? 0),
    };
  });
}

/** A device by its id, or by the path of a virtio device's back end. */
function names(qdev: string | undefined, target: string): boolean {
  return (
    qdev === target ||
    qdev === `/machine/peripheral/${target}` ||
    qdev === `/machine/peripheral/${target}/virtio-backend`
  );
}
