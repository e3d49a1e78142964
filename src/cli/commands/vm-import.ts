import { defineCommand } from '../command.ts';
import { boolean, text } from '../flags.ts';
import { formatWord, importFormats } from '../vm/format-word.ts';
import { importAppliance } from '../vm/import-appliance.ts';

export const command = defineCommand({
  usage: '[OPTIONS] FILE',
  about:
    "Makes a machine of another hypervisor's files: OVA, OVF, VMX, .vbox, Hyper-V's exports, XVA, xl.cfg, Parallels' .pvm, libvirt's XML, or a disk alone. It keeps the hardware that its guest knows. Checksums are checked; what could not be carried over is said.",
  examples: [
    { run: 'vm import web.ova', does: 'VirtualBox, VMware' },
    { run: 'vm import "Virtual Machines/5A3C….vmcx"', does: 'in an export of Hyper-V' },
    { run: 'vm import --virtio --name web web.xva', does: 'XenServer; its Linux changed to boot on virtio' },
    { run: 'vm import --format raw disk.bin', does: 'a disk whose name does not say what it is' },
  ],
  flags: {
    name: text('Its name here'),
    format: text(`What the file is, where its name does not say: ${importFormats.join(', ')}`, {
      value: 'FORMAT',
      complete: importFormats,
    }),
    virtio: boolean('Change a Linux guest so that it boots on virtio'),
    quiet: boolean('Print the id only', { short: 'q' }),
  },
  args: [1, 1],
  complete: ['file'],
  async run(context, { args: [file = ''], flags }) {
    const { client, out, err } = context;
    const { Id, Warnings } = await importAppliance(context, file, {
      name: flags.name,
      hint: flags.format === undefined ? undefined : formatWord(flags.format, importFormats),
      virtio: flags.virtio,
      quiet: flags.quiet,
    });
    for (const warning of Warnings) err.foreign(`isle: ${err.paint.yellow('warning')}: ${warning}`);
    if (flags.quiet) {
      out.line(Id);
      return 0;
    }
    const { Name } = await client.get<{ Name: string }>(`/isle/v1/machines/${Id}`);
    out.line(Name);
    return 0;
  },
});
