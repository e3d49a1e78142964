import type { MachineControl, MachineHardware } from '../../engine/machine.ts';
import { freeze } from './agent/freeze.ts';
import { guestFiles } from './agent/guest-files.ts';
import { boardNameOf, boardOf, forgetBoard, keepBoard } from './board.ts';
import { liveBlocks } from './control/backup.ts';
import { setVcpus } from './control/cpus.ts';
import { limitDisk, plugDisk, resizeDisk, unplugDisk } from './control/disks.ts';
import { machineInfo } from './control/info.ts';
import { plugLink, unplugLink } from './control/links.ts';
import { migrateMachine } from './control/migrate.ts';
import { changeMedium } from './control/medium.ts';
import { setMemory } from './control/memory.ts';
import { pivotDisks } from './control/pivot.ts';
import { rebootGuest, resetGuest, shutdownGuest } from './control/power.ts';
import { saveMemory } from './control/save.ts';
import { openScreen, takeScreenshot } from './control/screen.ts';
import { removeSnapshot, revertSnapshot, takeSnapshot } from './control/snapshots.ts';
import { idleBlocks } from './idle-blocks.ts';
import { accelerationFor, type MachineHost } from './host.ts';
import type { Machine } from './machine.ts';

/** Everything that can be done with a machine: each a function of the one that runs. */
export function machineControl(host: MachineHost, running: (id: string) => Promise<Machine>): MachineControl {
  return {
    shutdown: async (id) => await shutdownGuest(await running(id)),
    reboot: async (id) => await rebootGuest(await running(id)),
    reset: async (id) => await resetGuest(await running(id)),
    async save(id, path) {
      const machine = await running(id);
      await rememberBoard(machine, { path });
      await machine.save({ ending: 'its memory was saved' });
      try {
        return await saveMemory(machine, path);
      } catch (error) {
        await machine.save({ ending: undefined });
        throw error;
      }
    },
    async info(id) {
      const machine = await running(id);
      return await machineInfo(machine, accelerationFor(host, machine.hardware.spec));
    },
    plugDisk: async (id, disk, files) => await plugDisk(await running(id), disk, files),
    unplugDisk: async (id, target) => await unplugDisk(await running(id), target),
    resizeDisk: async (id, target, size) => await resizeDisk(await running(id), target, size),
    limitDisk: async (id, target, limits) => await limitDisk(await running(id), target, limits),
    changeMedium: async (id, target, path) => await changeMedium(await running(id), target, path),
    setVcpus: async (id, count) => await setVcpus(await running(id), count),
    setMemory: async (id, bytes) => await setMemory(await running(id), bytes),
    async takeSnapshot(id, name, options) {
      const machine = await running(id);
      if (options.memory) await rememberBoard(machine, { snapshot: name });
      return await takeSnapshot(machine, name, options);
    },
    revertSnapshot: async (id, name) => await revertSnapshot(await running(id), name),
    async removeSnapshot(id, name) {
      const machine = await running(id);
      await removeSnapshot(machine, name);
      await forgetBoard(machine.record.workload.stateDir, boardNameOf({ snapshot: name }));
    },
    plugLink: async (id, link) => await plugLink(await running(id), link),
    unplugLink: async (id, name) => await unplugLink(await running(id), name),
    pivotDisks: async (id, overlays) => await pivotDisks(await running(id), overlays),
    async blocks(id, idle) {
      if (idle) return idleBlocks(idle);
      const machine = await running(id);
      return await liveBlocks(machine, () => freeze(machine));
    },
    migrate: async (id, options) => await migrateMachine(await running(id), options),
    screenshot: async (id) => await takeScreenshot(await running(id)),
    display: async (id) => await openScreen(await running(id)),
    agentFiles(id) {
      const files = async () => guestFiles(await running(id));
      return {
        stat: async (path) => await (await files()).stat(path),
        read: async (path) => await (await files()).read(path),
        write: async (directory, tar, options) => await (await files()).write(directory, tar, options),
      };
    },
  };
}

/** Before its memory is kept: where its devices are then, those that were plugged in included. */
async function rememberBoard(
  machine: Machine,
  memory: NonNullable<MachineHardware['restoreFrom']>,
): Promise<void> {
  const { stateDir } = machine.record.workload;
  await keepBoard(stateDir, boardNameOf(memory), await boardOf(await machine.qmp()));
}
