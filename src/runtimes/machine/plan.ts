import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { MachineHardware } from '../../engine/machine.ts';
import { qemuUser } from '../confined/dressing.ts';
import { virtiofsdCommand } from '../confined/virtiofsd-command.ts';
import type { Board } from './board.ts';
import type { BootPlan, Helper } from './boot-file.ts';
import type { Visible } from './command/blocks.ts';
import type { Node } from './command/blocks.ts';
import { qemuCommand } from './command/qemu-command.ts';
import { bootLoaderOf, nvramName, prepareFirmware } from './firmware.ts';
import { qemuFor, type MachineHost, swtpmFor, virtiofsdFor } from './host.ts';
import { machinePaths } from './layout.ts';
import type { MachineRecord } from './record.ts';

/** Where the TPM keeps its state, in the machine's directory. */
const tpmName = 'tpm';

/**
 * What the supervisor shall start for a machine, once its files are visible. `incoming`: memory comes from elsewhere.
 * Throws `unavailable` with what to install.
 */
export async function bootPlanOf(
  host: MachineHost,
  { hardware, links, accelerator }: Pick<MachineRecord, 'hardware' | 'links' | 'accelerator'>,
  visible: Visible,
  {
    generation,
    incoming,
    passed,
    board,
  }: { generation: number; incoming: boolean; passed: Node[]; board: Board | undefined },
): Promise<BootPlan> {
  const [qemu, helpers, firmware] = await Promise.all([
    qemuFor(host, hardware.spec.arch),
    helpersOf(host, hardware, visible),
    prepareFirmware(hardware),
  ]);
  const bootLoader = bootLoaderOf(hardware);
  const args = qemuCommand({
    ...(bootLoader === undefined ? {} : { bootLoader }),
    qemu,
    accelerator,
    hardware,
    links,
    helpers,
    visible,
    generation,
    incoming,
    passed,
    ...(board && { board }),
    ...(firmware ? { firmware: { ...firmware, nvram: join(machinePaths.own, nvramName) } } : {}),
  });
  return { helpers, taps: links.map(({ tap }) => tap), qemu: { user: qemuUser, args } };
}

async function helpersOf(
  host: MachineHost,
  { spec, directory }: MachineHardware,
  visible: Visible,
): Promise<Helper[]> {
  const helpers: Helper[] = [];
  if (spec.tpm) {
    // Its mode is not changed afterwards: by then QEMU may have put a link to elsewhere in its place.
    await mkdir(join(directory, tpmName), { recursive: true, mode: 0o700 });
    helpers.push({ name: 'tpm', user: qemuUser, args: swtpmCommand(await swtpmFor(host)) });
  }
  if (spec.shares.length > 0) {
    const virtiofsd = await virtiofsdFor(host);
    for (const [index, { source }] of spec.shares.entries())
      helpers.push({ name: `share${index}`, user: 0, args: virtiofsdCommand(virtiofsd, visible(source)) });
  }
  return helpers;
}

/** Its state is one file in the machine's directory; its listening socket is descriptor 3. */
function swtpmCommand(swtpm: string): string[] {
  const state = join(machinePaths.own, tpmName);
  return [
    ...[swtpm, 'socket', '--tpm2', '--tpmstate', `dir=${state},mode=0600`, '--ctrl', 'type=unixio,fd=3'],
    '--terminate',
  ];
}

/** Files of the host that QEMU uses, with who may write them. Those below the machine's directory are visible anyway. */
export function filesOf({
  spec,
  disks,
  seed,
  directory,
}: MachineHardware): { path: string; write: boolean; share: boolean }[] {
  const found = [
    ...spec.disks.flatMap(({ readOnly }, index) => {
      const { path = '', chain = [] } = disks[index] ?? {};
      return [
        { path, write: !readOnly, share: false },
        ...chain.map((base) => ({ path: base, write: false, share: false })),
      ];
    }),
    ...spec.cdroms.flatMap(({ path }) => (path === undefined ? [] : [{ path, write: false, share: false }])),
    ...[seed, spec.kernel?.path, spec.kernel?.initrd].flatMap((path) =>
      path === undefined ? [] : [{ path, write: false, share: false }],
    ),
    ...spec.shares.map(({ source, readOnly }) => ({ path: source, write: !readOnly, share: true })),
  ];
  return found.filter(({ path }) => !path.startsWith(`${directory}/`));
}
