import type { MachineBlocks } from '../../../engine/machine.ts';
import type { LiveMachine } from '../live-machine.ts';
import { abandonCopy, blockDisks, type BlockHost, copyBlocks, removeBitmaps } from './block-copy.ts';

/** Through the QEMU of a machine that runs, on a connection of its own. */
export async function liveBlocks(
  live: LiveMachine,
  freeze: () => Promise<AsyncDisposable>,
): Promise<MachineBlocks> {
  const qmp = await live.ownQmp();
  const host: BlockHost = {
    qmp,
    open: (file) => live.expose(file, { write: true }),
    close: (file) => live.withdraw(file),
    freeze,
  };
  return {
    disks: () => blockDisks(qmp),
    copy: (options) => copyBlocks(host, options),
    removeBitmaps: (names) => removeBitmaps(qmp, names),
    abandon: () => abandonCopy(qmp),
    async [Symbol.asyncDispose]() {
      qmp.close();
    },
  };
}
