import type { Qmp } from '../../../host/qmp/qmp.ts';
import { isleError } from '../../../lib/errors.ts';
import { failpoint } from '../../../lib/failpoint.ts';
import type { CpuSocket } from '../board.ts';
import type { LiveMachine } from '../live-machine.ts';
import { hasRegionsFor } from './translated-code.ts';
import { unplug } from './unplug.ts';

/** Milliseconds that a guest has to take a processor offline. */
const patience = 20_000;

const prefix = 'cpu';

/**
 * Plugs processors in or takes away those that were plugged in, the last first. The guest may have to take new ones online itself. Throws
 * `conflict` when there are no more, or the guest keeps one.
 */
export async function setVcpus(live: LiveMachine, count: number): Promise<void> {
  const qmp = await live.qmp();
  const sockets = (await qmp.execute<CpuSocket[]>('query-hotpluggable-cpus')).toSorted(
    (a, b) => (a.props['socket-id'] ?? 0) - (b.props['socket-id'] ?? 0),
  );
  const there = sockets.filter((one) => one['qom-path'] !== undefined);
  const plugged = there.filter((one) => one['qom-path']?.startsWith('/machine/peripheral/'));
  const least = there.length - plugged.length;
  if (count > sockets.length) throw tooMany(live, count, sockets.length);
  if (count < least)
    throw isleError('conflict', {
      message: `the machine started with ${least} vCPUs, and fewer it cannot have while it runs: set them for its next start (--config)`,
    });
  const emulated = count !== there.length && !(await qmp.execute<{ enabled: boolean }>('query-kvm')).enabled;
  if (count < there.length && emulated)
    throw isleError('conflict', {
      message:
        'without KVM a machine cannot lose vCPUs while it runs (QEMU may crash): take them offline in the guest, or set them for its next start (--config)',
    });
  const free = sockets.filter((one) => one['qom-path'] === undefined);
  try {
    for (const [more, socket] of free.slice(0, Math.max(0, count - there.length)).entries()) {
      if (emulated) await refuseFull(qmp, { there: there.length + more, most: sockets.length });
      await plug(qmp, socket);
    }
    for (const socket of plugged.toReversed().slice(0, Math.max(0, there.length - count))) {
      await unplug(live, idOf(socket), {
        what: 'a vCPU',
        patience,
        // QEMU's word comes when nobody refers to it any more, which may be never.
        isGone: async () => (await present(qmp)).every((one) => one['qom-path'] !== socket['qom-path']),
      });
    }
  } finally {
    await remember(live, qmp);
  }
}

/** As many as it really has, whatever became of the change. */
async function remember(live: LiveMachine, qmp: Qmp): Promise<void> {
  const vcpus = (await present(qmp)).length;
  await live.changeHardware((hardware) => ({ ...hardware, spec: { ...hardware.spec, vcpus } }));
}

async function present(qmp: Qmp): Promise<CpuSocket[]> {
  const sockets = await qmp.execute<CpuSocket[]>('query-hotpluggable-cpus');
  return sockets.filter((one) => one['qom-path'] !== undefined);
}

async function plug(qmp: Qmp, socket: CpuSocket): Promise<void> {
  failpoint('machine.vcpus.plug');
  const id = `${prefix}${socket.props['socket-id'] ?? socket.props['core-id'] ?? 0}`;
  await qmp.execute('device_add', { driver: socket.type, id, ...socket.props });
}

/** A processor that finds no region for its translated code takes its QEMU and the guest along. */
async function refuseFull(qmp: Qmp, vcpus: { there: number; most: number }): Promise<void> {
  const answer = await qmp.execute<{ 'human-readable-text': unknown }>('x-query-jit');
  if (hasRegionsFor(String(answer['human-readable-text']), vcpus)) return;
  throw isleError('conflict', {
    message: `without KVM QEMU keeps the guest's code translated, and has no room for that of vCPU ${vcpus.there + 1} left: move the machine to a new QEMU first (isle vm migrate), or set the vCPUs for its next start (--config)`,
  });
}

function idOf(socket: CpuSocket): string {
  return (socket['qom-path'] as string).slice('/machine/peripheral/'.length);
}

function tooMany({ hardware }: LiveMachine, count: number, most: number): Error {
  const how =
    hardware.spec.maxVcpus === undefined
      ? 'it was started without room for more: edit it (--vcpus N,maxvcpus=M) and start it anew'
      : `${most} are the most it was started with`;
  return isleError('conflict', { message: `the machine cannot have ${count} vCPUs: ${how}` });
}
