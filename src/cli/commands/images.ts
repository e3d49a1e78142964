import { formatBytes } from '../../lib/units.ts';
import type { ImageSummary } from '../client/types.ts';
import { defineCommand } from '../command.ts';
import { encodeFilters, filterFlag } from '../filters.ts';
import { boolean } from '../flags.ts';
import { splitReference } from '../image/pull.ts';
import { type ListColumn, listFlags, printListing } from '../list-output.ts';
import { ago, formatSum, localTime, shortened } from '../words.ts';

interface Row {
  repository: string;
  tag: string;
  digest: string;
  image: ImageSummary;
}

export const command = defineCommand({
  usage: '[OPTIONS] [REPOSITORY[:TAG]]',
  examples: [
    { run: 'images', does: 'all of them' },
    { run: "images 'debian*'", does: 'by name' },
    { run: 'images -q --filter dangling=true', does: 'ids of those without a name' },
  ],
  flags: {
    all: boolean('Intermediate images too', { short: 'a' }),
    digests: boolean('Show digests'),
    filter: filterFlag,
    ...listFlags,
  },
  args: [0, 1],
  complete: ['image'],
  async run(context, { args: [reference], flags }) {
    const filters =
      reference === undefined ? flags.filter : [...flags.filter, ['reference', reference] as const];
    const images = await context.client.get<ImageSummary[]>('/images/json', {
      all: flags.all || undefined,
      filters: encodeFilters(filters),
    });
    const full = flags['no-trunc'];
    const rows = images.flatMap(toRows);
    const seen = new Set<string>();
    await printListing(context, flags, {
      rows: flags.quiet ? rows.filter(({ image }) => !seen.has(image.Id) && seen.add(image.Id)) : rows,
      columns: columns(full, flags.digests),
      id: ({ image }) => shortened(image.Id, full),
      fields: (row) => fields(row, full),
    });
  },
});

function toRows(image: ImageSummary): Row[] {
  const digests = new Map(
    (image.RepoDigests ?? []).map((reference) => {
      const { name, tag } = splitReference(reference);
      return [name, tag ?? '<none>'] as const;
    }),
  );
  const tags = (image.RepoTags ?? []).filter((tag) => tag !== '<none>:<none>');
  if (tags.length > 0)
    return tags.map((reference) => {
      const { name, tag = '<none>' } = splitReference(reference);
      return { repository: name, tag, digest: digests.get(name) ?? '<none>', image };
    });
  const [[name, digest] = ['<none>', '<none>'] as const] = digests;
  return [{ repository: name, tag: '<none>', digest, image }];
}

function columns(full: boolean, digests: boolean): ListColumn<Row>[] {
  return [
    { title: 'REPOSITORY', shrink: 16, cell: (row) => row.repository },
    { title: 'TAG', shrink: 8, cell: (row) => row.tag },
    ...(digests ? [{ title: 'DIGEST', shrink: 16, cell: (row: Row) => row.digest }] : []),
    { title: 'IMAGE ID', cell: ({ image }) => shortened(image.Id, full) },
    { title: 'CREATED', cell: ({ image }) => ago(image.Created) },
    { title: 'SIZE', align: 'right', cell: ({ image }) => formatBytes(image.Size) },
  ];
}

function fields({ repository, tag, digest, image }: Row, full: boolean): Record<string, string> {
  const known = (value: number | undefined, show: (value: number) => string) =>
    value === undefined || value < 0 ? 'N/A' : show(value);
  return {
    ID: shortened(image.Id, full),
    Repository: repository,
    Tag: tag,
    Digest: digest,
    CreatedSince: ago(image.Created),
    CreatedAt: localTime(image.Created),
    Size: formatBytes(image.Size),
    SharedSize: known(image.SharedSize, formatBytes),
    UniqueSize: known(image.SharedSize, (shared) => formatBytes(image.Size - shared)),
    VirtualSize: formatSum(image.Size),
    Containers: known(image.Containers, String),
  };
}
