import { formatBytes } from '../../lib/units.ts';
import type { ContainerSummary, ImageSummary, VolumeBody } from '../client/types.ts';
import type { Context } from '../context.ts';
import { defineCommand } from '../command.ts';
import { boolean, text } from '../flags.ts';
import { printListing } from '../list-output.ts';
import { renderTable } from '../terminal/table.ts';
import { withSpinner } from '../terminal/spinner.ts';
import { ago, formatSum, shortened } from '../words.ts';

interface DiskUsage {
  LayersSize?: number;
  Images: (ImageSummary & { SharedSize: number; Containers: number })[] | null;
  Containers: ContainerSummary[] | null;
  Volumes: VolumeBody[] | null;
}

interface Row {
  type: string;
  total: number;
  active: number;
  size: number;
  reclaimable: number;
}

export const command = defineCommand({
  usage: '[OPTIONS]',
  examples: [
    { run: 'system df', does: 'what takes how much, and how much could go' },
    { run: 'system df -v', does: 'one by one' },
  ],
  flags: {
    format: text("'json', or a Go template"),
    verbose: boolean('One by one', { short: 'v' }),
  },
  args: [0, 0],
  async run(context, { flags }) {
    const usage = await withSpinner(context.err, 'measuring', context.client.get<DiskUsage>('/system/df'));
    if (flags.verbose && flags.format === undefined) return printDetails(context, usage);
    await printListing(
      context,
      { format: flags.format, quiet: false },
      {
        rows: summarize(usage),
        columns: [
          { title: 'TYPE', cell: (row) => row.type },
          { title: 'TOTAL', align: 'right', cell: (row) => String(row.total) },
          { title: 'ACTIVE', align: 'right', cell: (row) => String(row.active) },
          { title: 'SIZE', align: 'right', cell: (row) => formatSum(row.size) },
          { title: 'RECLAIMABLE', cell: reclaimable },
        ],
        id: (row) => row.type,
        fields: (row) => ({
          Type: row.type,
          TotalCount: String(row.total),
          Active: String(row.active),
          Size: formatSum(row.size),
          Reclaimable: reclaimable(row),
        }),
      },
    );
  },
});

function reclaimable(row: Row): string {
  const percent = row.size > 0 ? ` (${Math.floor((row.reclaimable * 100) / row.size)}%)` : '';
  return `${formatSum(row.reclaimable)}${percent}`;
}

function summarize(usage: DiskUsage): Row[] {
  const images = usage.Images ?? [];
  const containers = usage.Containers ?? [];
  const volumes = usage.Volumes ?? [];
  const sum = <T>(values: readonly T[], of: (value: T) => number) =>
    values.reduce((total, value) => total + Math.max(0, of(value)), 0);
  const layers = usage.LayersSize ?? sum(images, (image) => image.Size - Math.max(0, image.SharedSize));
  const usedImages = sum(
    images.filter((image) => image.Containers > 0),
    (image) => image.Size - Math.max(0, image.SharedSize),
  );
  const isLive = ({ State }: ContainerSummary) => ['running', 'paused', 'restarting'].includes(State);
  const isUsed = ({ UsageData }: VolumeBody) => (UsageData?.RefCount ?? 0) > 0;
  const sizeOf = ({ UsageData }: VolumeBody) => UsageData?.Size ?? 0;
  return [
    {
      type: 'Images',
      total: images.length,
      active: images.filter((image) => image.Containers > 0).length,
      size: layers,
      reclaimable: Math.max(0, layers - usedImages),
    },
    {
      type: 'Containers',
      total: containers.length,
      active: containers.filter(isLive).length,
      size: sum(containers, (one) => one.SizeRw ?? 0),
      reclaimable: sum(
        containers.filter((one) => !isLive(one)),
        (one) => one.SizeRw ?? 0,
      ),
    },
    {
      type: 'Local Volumes',
      total: volumes.length,
      active: volumes.filter(isUsed).length,
      size: sum(volumes, sizeOf),
      reclaimable: sum(
        volumes.filter((one) => !isUsed(one)),
        sizeOf,
      ),
    },
  ];
}

function printDetails({ out }: Context, usage: DiskUsage): void {
  const options = { width: out.columns, title: out.paint.bold };
  const right = 'right' as const;
  out.line('Images\n');
  out.write(
    renderTable(
      [
        { title: 'NAME', shrink: 20 },
        { title: 'IMAGE ID' },
        { title: 'CREATED' },
        { title: 'SIZE', align: right },
        { title: 'SHARED', align: right },
        { title: 'CONTAINERS', align: right },
      ],
      (usage.Images ?? []).map((image) => [
        image.RepoTags?.[0] ?? '<none>',
        shortened(image.Id),
        ago(image.Created),
        formatBytes(image.Size),
        formatBytes(Math.max(0, image.SharedSize)),
        String(image.Containers),
      ]),
      options,
    ),
  );
  out.line('\nContainers\n');
  out.write(
    renderTable(
      [
        { title: 'CONTAINER ID' },
        { title: 'NAME', shrink: 12 },
        { title: 'IMAGE', shrink: 12 },
        { title: 'SIZE', align: right },
        { title: 'STATUS' },
      ],
      (usage.Containers ?? []).map((one) => [
        shortened(one.Id),
        one.Names.map((name) => name.replace(/^\//, '')).join(','),
        one.Image,
        formatBytes(one.SizeRw ?? 0),
        one.Status,
      ]),
      options,
    ),
  );
  out.line('\nLocal Volumes\n');
  out.write(
    renderTable(
      [
        { title: 'VOLUME NAME', shrink: 20 },
        { title: 'LINKS', align: right },
        { title: 'SIZE', align: right },
      ],
      (usage.Volumes ?? []).map((one) => [
        one.Name,
        String(one.UsageData?.RefCount ?? 0),
        formatBytes(one.UsageData?.Size ?? 0),
      ]),
      options,
    ),
  );
}
