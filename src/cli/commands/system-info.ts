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

interface RuntimeList {
  Default: string;
  Runtimes: { Name: string; Status: Record<string, string>; Reason?: string }[];
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
    const runtimes = await client.get<RuntimeList>('/isle/v1/runtimes');
    const states = `${info.ContainersRunning} running, ${info.ContainersPaused} paused, ${info.ContainersStopped} stopped`;
    const rows: [string, string][] = [
      ['Engine', info.ServerVersion],
      ['Containers', `${info.Containers} (${states})`],
      ['Images', String(info.Images)],
      ['Storage', `${info.Driver}, ${info.DockerRootDir}`],
      ['cgroups', `v${info.CgroupVersion}, ${info.CgroupDriver}`],
      ...runtimeRows(runtimes),
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
    // Those of missing runtimes are in their rows.
    const warnings = (info.Warnings ?? []).filter((warning) => !/^WARNING: the runtime /.test(warning));
    for (const warning of warnings) err.line(`${err.paint.yellow('warning')}: ${warning}`);
  },
});

/** What there is, then each that is not, with the reason. */
function runtimeRows({ Default, Runtimes }: RuntimeList): [string, string][] {
  const names = Runtimes.filter(({ Reason }) => Reason === undefined).map(({ Name }) => Name);
  const accelerator = Runtimes.find(({ Name }) => Name === 'microvm')?.Status.accelerator ?? '';
  return [
    ['Runtimes', `${names.join(', ')} (default ${Default})`],
    ...Runtimes.flatMap(({ Name, Reason }): [string, string][] =>
      Reason === undefined ? [] : [['', `no ${Name}: ${Reason}`]],
    ),
    ['microVMs', accelerator],
  ];
}
