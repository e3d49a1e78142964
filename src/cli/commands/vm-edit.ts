import { messageOf } from '../../lib/errors.ts';
import type { MachineBody } from '../client/machine-types.ts';
import { defineCommand } from '../command.ts';
import type { Context } from '../context.ts';
import { Failure } from '../failure.ts';
import { each, parsed, text, type Values } from '../flags.ts';
import { confirm } from '../terminal/prompt.ts';
import { parseBoot } from '../vm/boot.ts';
import { parseFilesystem, parseGraphics, parseHostDevice, parseTpm, parseVirtType } from '../vm/devices.ts';
import { getMachine, machinePath } from '../vm/machine.ts';
import { parseCpu, parseMemory, parseVcpus } from '../vm/memory.ts';
import { parseOsVariant } from '../vm/os-variant.ts';
import { capitalised } from '../vm/wire.ts';

const flags = {
  memory: parsed('Memory in MiB, or with a unit: 2048[,maxmemory=4096]', parseMemory, { value: 'size' }),
  vcpus: parsed('Number of processors: 2[,maxvcpus=4]', parseVcpus, { value: 'count' }),
  cpu: parsed('Model: host, or one of QEMU’s', (given) => ({ model: parseCpu(given) }), { value: 'model' }),
  boot: parsed('uefi, bios, kernel=FILE,…, or targets in their order: vda,sda,net0', parseEditedBoot, {
    value: 'options',
  }),
  'os-variant': parsed('Guest’s system', (given) => ({ name: parseOsVariant(given) }), { value: 'name' }),
  tpm: parsed('emulator or none', parseTpm, { value: 'type' }),
  graphics: parsed('vnc or none', parseGraphics, { value: 'type' }),
  'virt-type': parsed('kvm or qemu', parseVirtType, { value: 'type' }),
  filesystem: each('Shared directories instead of those it has: SOURCE,TAG', parseFilesystem, {
    value: 'source,tag',
  }),
  hostdev: each('Devices instead of those it has', parseHostDevice, { value: 'device' }),
  description: text('What it is for'),
} as const;

export const command = defineCommand({
  usage: '[OPTIONS] NAME',
  about:
    'Without flags its hardware is opened as YAML in $VISUAL or $EDITOR, and what was changed there is changed. A running machine has most of it at its next start, and what that is is said. What can be changed while it runs: isle vm setvcpus, setmem, attach-disk, ….',
  examples: [
    { run: 'vm edit deb', does: 'in your editor' },
    { run: 'vm edit --memory 4096 --vcpus 4 deb', does: 'for scripts' },
    { run: 'vm edit --boot sda,vda deb', does: 'from the CD first' },
  ],
  flags,
  args: [1, 1],
  complete: ['machine'],
  async run(context, { args: [name = ''], flags: given, given: said }) {
    const machine = await getMachine(context, name);
    if (said.size > 0) {
      if (given.vcpus?.value.cpuset !== undefined)
        throw new Failure('cpuset is no hardware', {
          hint: `isle update --cpuset-cpus ${given.vcpus.value.cpuset} ${machine.Name}`,
        });
      for (const { notes } of [given.vcpus, given.boot, given.graphics].filter((one) => one !== undefined))
        for (const note of notes) context.err.foreign(`note: ${note}`);
      return await apply(context, machine, changeOf(given, machine));
    }
    if (!process.stdin.isTTY && !context.env.VISUAL && !context.env.EDITOR)
      throw new Failure('there is no terminal to edit on', { hint: 'use the flags: isle help vm edit' });
    const [{ changeIn, toText }, { inEditor }] = await Promise.all([
      import('../vm/edit-text.ts'),
      import('../vm/editor.ts'),
    ]);
    await inEditor(
      toText(machine.Name, machine.Hardware),
      context.env,
      async (edited) => {
        const change = changeIn(edited, machine.Hardware);
        if (change) await apply(context, machine, change);
        else context.err.line('isle: nothing was changed');
      },
      async (problem) => {
        if (!process.stdin.isTTY) return false;
        context.err.foreign(`isle: ${messageOf(problem)}`);
        return await confirm(context.err, 'Edit it again?');
      },
    );
  },
});

async function apply({ client, out, err }: Context, machine: MachineBody, change: object): Promise<void> {
  const { AtNextStart } = await client.json<{ AtNextStart: string[] }>(
    'PUT',
    `${machinePath(machine.Id)}/hardware`,
    { body: change },
  );
  out.line(machine.Name);
  if (AtNextStart.length > 0) err.foreign(`note: it has ${AtNextStart.join(', ')} at its next start`);
}

function parseEditedBoot(given: string) {
  const targets = given.split(',');
  const named = targets.every((word) => /^(vd[a-z]|sd[a-z]|nvme\d+n1|net\d+)$/.test(word));
  return named ? { targets, devices: [], notes: [] } : parseBoot(given);
}

/** In the API's words. */
function changeOf(given: Values<typeof flags>, { Hardware, Disks }: MachineBody): object {
  const { boot } = given;
  const order = boot && ('targets' in boot ? boot.targets : orderOf(boot.devices, Hardware.Cdroms, Disks));
  const kernel = boot && 'kernel' in boot ? boot.kernel : undefined;
  const firmware = boot && 'firmware' in boot ? boot.firmware : undefined;
  const usb = given.hostdev.flatMap((one) =>
    one.kind === 'usb' ? [{ vendor: one.vendor, product: one.product }] : [],
  );
  const pci = given.hostdev.flatMap((one) => (one.kind === 'pci' ? [one.address] : []));
  const change = {
    memory: given.memory?.memory,
    maxMemory: given.memory?.maxMemory,
    vcpus: given.vcpus?.value.vcpus,
    maxVcpus: given.vcpus?.value.maxVcpus,
    cpuModel: given.cpu?.model,
    firmware,
    kernel,
    boot: order && order.length > 0 ? order : undefined,
    osVariant: given['os-variant']?.name,
    tpm: given.tpm,
    graphics: given.graphics?.graphics,
    accelerator: given['virt-type'],
    shares: given.filesystem.length > 0 ? given.filesystem : undefined,
    ...(given.hostdev.length > 0 && { usb, pci }),
    description: given.description,
    ...(given.cpu && given.cpu.model === undefined && { remove: ['CpuModel'] }),
  };
  return capitalised(change) as object;
}

function orderOf(
  devices: readonly string[],
  cdroms: MachineBody['Hardware']['Cdroms'],
  disks: MachineBody['Disks'],
) {
  return devices.flatMap((device) => {
    if (device === 'network') return ['net0'];
    return (device === 'hd' ? disks : cdroms).map(({ Target }) => Target);
  });
}
