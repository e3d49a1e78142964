import { formatBytes } from '../../lib/units.ts';
import type { ContainerSummary } from '../client/types.ts';
import { defineCommand } from '../command.ts';
import { encodeFilters, filterFlag } from '../filters.ts';
import { boolean, integer } from '../flags.ts';
import { type ListColumn, listFlags, printListing } from '../list-output.ts';
import { dockerPorts, formatPorts } from '../ports.ts';
import type { Paint } from '../terminal/paint.ts';
import { cut } from '../terminal/table.ts';
import { ago, formatLabels, localTime, shortened } from '../words.ts';

export const command = defineCommand({
  usage: '[OPTIONS]',
  examples: [
    { run: 'ps', does: 'what runs' },
    { run: 'ps -a --filter status=exited', does: 'what has ended' },
    { run: 'ps --filter runtime=microvm', does: 'what has a kernel of its own' },
    { run: "ps --format '{{.Names}} {{.Ports}}'", does: 'for scripts' },
  ],
  flags: {
    all: boolean('Stopped ones too', { short: 'a' }),
    filter: filterFlag,
    last: integer('The last N created', { short: 'n' }),
    latest: boolean('The last one created', { short: 'l' }),
    size: boolean('Sizes on disk', { short: 's' }),
    ...listFlags,
  },
  args: [0, 0],
  async run(context, { flags }) {
    const needsSize = flags.size || (flags.format?.includes('.Size') ?? false);
    const limit = flags.latest ? 1 : flags.last;
    const rows = await context.client.get<ContainerSummary[]>('/containers/json', {
      all: flags.all || undefined,
      limit: limit !== undefined && limit > 0 ? limit : undefined,
      size: needsSize || undefined,
      filters: encodeFilters(flags.filter),
    });
    const full = flags['no-trunc'];
    await printListing(context, flags, {
      rows,
      columns: columns(context.out.paint, full, flags.size),
      id: (row) => shortened(row.Id, full),
      fields: (row) => fields(row, full),
    });
  },
});

function columns(paint: Paint, full: boolean, size: boolean): ListColumn<ContainerSummary>[] {
  return [
    { title: 'CONTAINER ID', cell: (row) => ({ text: shortened(row.Id, full), paint: paint.dim }) },
    { title: 'NAME', shrink: 12, cell: (row) => ({ text: namesOf(row), paint: paint.bold }) },
    { title: 'IMAGE', shrink: 12, cell: (row) => imageOf(row, full) },
    { title: 'ISOLATION', cell: (row) => isolationOf(row) },
    { title: 'COMMAND', shrink: 8, cell: (row) => (full ? `"${row.Command}"` : cut(row.Command, 20)) },
    { title: 'CREATED', cell: (row) => ago(row.Created) },
    { title: 'STATUS', cell: (row) => ({ text: statusOf(row, full), paint: statusPaint(row, paint) }) },
    ...(size ? [{ title: 'SIZE', cell: sizeOf }] : []),
    { title: 'PORTS', shrink: 12, cell: (row) => formatPorts(row.Ports ?? []) },
  ];
}

function statusPaint({ State, Status }: ContainerSummary, paint: Paint): (text: string) => string {
  if (State === 'running')
    return /unhealthy/.test(Status) ? paint.red : /starting/.test(Status) ? paint.yellow : paint.green;
  if (State === 'paused' || State === 'restarting' || State === 'removing') return paint.yellow;
  if (State === 'dead') return paint.red;
  return State === 'exited' && !/^Exited \(0\)/.test(Status) ? paint.red : paint.dim;
}

const namesOf = (row: ContainerSummary) => row.Names.map((name) => name.replace(/^\//, '')).join(',');
/** With what went wrong, where something did. */
function statusOf(row: ContainerSummary, full: boolean): string {
  const error = noted(row, 'isle.error');
  return error === '' ? row.Status : `${row.Status}: ${full ? error : cut(error, 40)}`;
}

const noted = (row: ContainerSummary, name: string) => row.HostConfig?.Annotations?.[name] ?? '';
const isolationOf = (row: ContainerSummary) => noted(row, 'isle.isolation');
const imageOf = (row: ContainerSummary, full: boolean) =>
  !full && /^sha256:/.test(row.Image) ? shortened(row.Image) : row.Image;

function sizeOf(row: ContainerSummary): string {
  const written = formatBytes(row.SizeRw ?? 0);
  return row.SizeRootFs ? `${written} (virtual ${formatBytes(row.SizeRootFs)})` : written;
}

function fields(row: ContainerSummary, full: boolean): Record<string, string> {
  const mounts = row.Mounts ?? [];
  return {
    ID: shortened(row.Id, full),
    Names: namesOf(row),
    Image: imageOf(row, full),
    Command: `"${full ? row.Command : cut(row.Command, 20)}"`,
    CreatedAt: localTime(row.Created),
    RunningFor: ago(row.Created),
    Ports: dockerPorts(row.Ports ?? []),
    State: row.State,
    Status: row.Status,
    Size: sizeOf(row),
    Labels: formatLabels(row.Labels),
    Mounts: mounts.map((mount) => mount.Name || mount.Source || '').join(','),
    LocalVolumes: String(mounts.filter((mount) => mount.Type === 'volume').length),
    Isolation: isolationOf(row),
    Runtime: noted(row, 'isle.runtime'),
    Networks: Object.keys(row.NetworkSettings?.Networks ?? {}).join(','),
  };
}
