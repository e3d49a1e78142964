import type { BlockCopy, DirtyBitmap, MachineBlocks } from '../../../engine/machine.ts';
import type { LiveMachine } from '../live-machine.ts';
import { abandonCopy, bitmapsOf, type BlockHost, copyBlocks, removeBitmaps } from './block-copy.ts';

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
    bitmaps: (): Promise<DirtyBitmap[]> => bitmapsOf(qmp),
    copy: (options: BlockCopy) => copyBlocks(host, options),
    removeBitmaps: (names) => removeBitmaps(qmp, names),
    abandon: () => abandonCopy(qmp),
    async [Symbol.asyncDispose]() {
      qmp.close();
    },
  };
}
