import { defineCommand } from '../command.ts';
import { choice, text } from '../flags.ts';
import { Failure } from '../failure.ts';
import { parseDisk } from '../vm/disk.ts';
import { followWork } from '../vm/follow-work.ts';
import { getMachine, machinePath } from '../vm/machine.ts';
import { capitalised } from '../vm/wire.ts';
import { refuseLater, whenFlags } from '../vm/when.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME SOURCE [TARGET]',
  about:
    "Also while the machine runs: the guest finds the disk. SOURCE is a file, or virt-install's words for --disk: size=20, vol=NAME (a disk of the store), backing_store=NAME (a linked clone of one), path=FILE,format=….",
  examples: [
    { run: 'vm attach-disk deb size=20', does: 'a new disk of 20 GiB' },
    { run: 'vm attach-disk deb vol=old-vda vdc', does: 'one that was kept, as vdc' },
    { run: 'vm attach-disk deb /srv/data.qcow2 vdb --mode readonly', does: 'a file of yours' },
  ],
  flags: {
    bus: choice(['virtio', 'scsi', 'sata', 'ide', 'nvme'], 'How it is connected', { aliases: ['targetbus'] }),
    format: text('Of the file: qcow2, raw, vmdk, …', { aliases: ['subdriver'] }),
    cache: choice(['none', 'writeback', 'writethrough', 'unsafe'], 'How the host caches it'),
    mode: choice(['readonly'], 'readonly'),
    serial: text('Its serial number'),
    driver: text('Accepted', { hidden: true }),
    sourcetype: text('Accepted', { hidden: true }),
    ...whenFlags,
  },
  args: [2, 3],
  complete: ['machine', 'file'],
  async run(context, { args: [name = '', source = '', target], flags }) {
    const machine = await getMachine(context, name);
    refuseLater(machine, flags);
    const words = [
      source,
      ...(target === undefined ? [] : [`target=${target}`]),
      ...(flags.bus === undefined ? [] : [`bus=${flags.bus}`]),
      ...(flags.format === undefined ? [] : [`format=${flags.format}`]),
      ...(flags.cache === undefined ? [] : [`cache=${flags.cache}`]),
      ...(flags.mode === undefined ? [] : ['readonly=on']),
      ...(flags.serial === undefined ? [] : [`serial=${flags.serial}`]),
    ];
    const asked = parseDisk(words.join());
    if (asked.kind !== 'disk')
      throw new Failure('this attaches disks', {
        hint: `for a CD: isle vm change-media ${name} TARGET FILE`,
      });
    for (const note of asked.notes) context.err.foreign(`note: ${note}`);
    const body = capitalised({ ...asked.request, bus: asked.request.bus ?? busOf(target) }) as object;
    const { Target } = await followWork<{ Target: string }>(
      context,
      'POST',
      `${machinePath(machine.Id)}/disks`,
      { query: { stream: true }, body },
      { cancelled: 'cancelled; the machine has no new disk' },
    );
    context.out.line(Target);
  },
});

/** As its name says it. */
function busOf(target: string | undefined): string {
  if (target?.startsWith('sd')) return 'scsi';
  return target?.startsWith('nvme') ? 'nvme' : 'virtio';
}
