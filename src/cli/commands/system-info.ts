import { defineCommand } from '../command.ts';
import { text } from '../flags.ts';
import { formatBinaryBytes } from '../../lib/units.ts';

interface Info {
  [key: string]: unknown;
  Containers: number;
  ContainersRunning: number;
  ContainersPaused: number;
  ContainersStopped: number;
  Images: number;
  ServerVersion: string;
  Name: string;
  OperatingSystem: string;
  KernelVersion: string;
  Architecture: string;
  NCPU: number;
  MemTotal: number;
  Driver: string;
  CgroupDriver: string;
  CgroupVersion: string;
  DefaultRuntime: string;
  Runtimes: Record<string, { status?: Record<string, string> | null }> | null;
  DockerRootDir: string;
  SecurityOptions: string[] | null;
  Warnings: string[] | null;
}

export const command = defineCommand({
  usage: '[OPTIONS]',
  examples: [{ run: "info -f '{{.NCPU}} CPUs, cgroup v{{.CgroupVersion}}'", does: 'a part of it' }],
  flags: { format: text("'json', or a Go template", { short: 'f' }) },
  args: [0, 0],
  async run({ client, out, err }, { flags }) {
    const info = await client.get<Info>('/info');
    if (flags.format === 'json') return out.line(JSON.stringify(info));
    if (flags.format !== undefined) {
      const { compileTemplate } = await import('../template/template.ts');
      return out.line(compileTemplate(flags.format)(info));
    }
    const states = `${info.ContainersRunning} running, ${info.ContainersPaused} paused, ${info.ContainersStopped} stopped`;
    const rows: [string, string][] = [
      ['Engine', info.ServerVersion],
      ['Containers', `${info.Containers} (${states})`],
      ['Images', String(info.Images)],
      ['Storage', `${info.Driver}, ${info.DockerRootDir}`],
      ['cgroups', `v${info.CgroupVersion}, ${info.CgroupDriver}`],
      ['Runtimes', `${Object.keys(info.Runtimes ?? {}).join(', ')} (default ${info.DefaultRuntime})`],
      ['VMs', info.Runtimes?.microvm?.status?.accelerator ?? ''],
      [
        'Security',
        (info.SecurityOptions ?? []).map((one) => one.replace(/^name=/, '').replace(/,.*$/, '')).join(', '),
      ],
      ['Host', `${info.Name}, ${info.OperatingSystem}`],
      ['Kernel', `${info.KernelVersion}, ${info.Architecture}`],
      ['CPUs', String(info.NCPU)],
      ['Memory', formatBinaryBytes(info.MemTotal)],
    ];
    for (const [name, value] of rows)
      if (value !== '') out.line(`${out.paint.bold(name.padEnd(11))} ${value}`);
    for (const warning of info.Warnings ?? []) err.line(`${err.paint.yellow('warning')}: ${warning}`);
  },
});
