import type { MachineDiskUsage } from '../client/machine-types.ts';
import { defineCommand } from '../command.ts';
import { Failure } from '../failure.ts';
import { bytes, integerWithin } from '../flags.ts';
import { getMachine, machinePath } from '../vm/machine.ts';
import { refuseLater, whenFlags } from '../vm/when.ts';

const most = Number.MAX_SAFE_INTEGER;
const rate = (help: string, ...aliases: string[]) => bytes(`${help} (0: no limit)`, { aliases });
const count = (help: string, ...aliases: string[]) =>
  integerWithin(0, most, `${help} (0: no limit)`, { aliases });

export const command = defineCommand({
  usage: '[OPTIONS] NAME TARGET',
  about: 'Without flags it prints the limits of the disk. They hold at once, and over restarts.',
  examples: [
    { run: 'vm blkdeviotune deb vda --write-bytes-sec 50M', does: 'at most 50 MiB a second written' },
    { run: 'vm blkdeviotune deb vda --read-iops-sec 500 --write-iops-sec 500', does: 'operations' },
  ],
  flags: {
    'read-bytes-sec': rate('Bytes read a second', 'read_bytes_sec'),
    'write-bytes-sec': rate('Bytes written a second', 'write_bytes_sec'),
    'read-iops-sec': count('Reads a second', 'read_iops_sec'),
    'write-iops-sec': count('Writes a second', 'write_iops_sec'),
    ...whenFlags,
  },
  args: [2, 2],
  complete: ['machine'],
  async run(context, { args: [name = '', target = ''], flags }) {
    const { client, out } = context;
    const asked = {
      ReadBps: flags['read-bytes-sec'],
      WriteBps: flags['write-bytes-sec'],
      ReadIops: flags['read-iops-sec'],
      WriteIops: flags['write-iops-sec'],
    };
    const disks = await client.get<MachineDiskUsage[]>(`${machinePath(name)}/disks`);
    const disk = disks.find(({ Target }) => Target === target);
    if (!disk) throw new Failure(`the machine ${name} has no disk ${target}: see isle vm domblklist ${name}`);
    const now = { ReadBps: 0, WriteBps: 0, ReadIops: 0, WriteIops: 0, ...disk.Limits };
    const wanted = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));
    if (Object.keys(wanted).length > 0) {
      refuseLater(await getMachine(context, name), flags);
      const path = `${machinePath(name)}/disks/${encodeURIComponent(target)}/limits`;
      await client.status('PUT', path, { body: { ...now, ...wanted } });
      return;
    }
    out.line(`read_bytes_sec : ${now.ReadBps}`);
    out.line(`write_bytes_sec: ${now.WriteBps}`);
    out.line(`read_iops_sec  : ${now.ReadIops}`);
    out.line(`write_iops_sec : ${now.WriteIops}`);
  },
});
