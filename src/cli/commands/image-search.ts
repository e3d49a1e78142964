import type { ServerImageBody } from '../client/types.ts';
import { defineCommand } from '../command.ts';
import { boolean } from '../flags.ts';
import { listFlags, printListing } from '../list-output.ts';
import { withSpinner } from '../terminal/spinner.ts';
import { formatSum } from '../words.ts';

export const command = defineCommand({
  usage: '[OPTIONS] REMOTE:|URL [PATTERN]',
  about: 'Lists what a simplestreams server of LXD or Incus images offers for this machine.',
  examples: [
    { run: 'image search images: debian', does: 'all of Debian' },
    { run: 'image search https://images.example alpine/3', does: 'on any server' },
  ],
  flags: { all: boolean('For other machines, too', { short: 'a' }), ...listFlags },
  args: [1, 2],
  async run(context, { args: [server = '', pattern = ''], flags }) {
    const found = await withSpinner(
      context.err,
      `asking ${server}`,
      context.client.get<ServerImageBody[]>('/isle/v1/images/search', { server: server.replace(/:$/, '') }),
    );
    const own = { x64: 'amd64', arm64: 'arm64' }[process.arch as string] ?? process.arch;
    const wanted = pattern.toLowerCase();
    const rows = found
      .filter((row) => flags.all || row.Architecture === own)
      .filter((row) =>
        [...row.Aliases, row.OS, row.Release].some((text) => text.toLowerCase().includes(wanted)),
      )
      .toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
    await printListing(context, flags, {
      rows,
      columns: [
        { title: 'IMAGE', shrink: 16, cell: nameOf },
        { title: 'DISTRIBUTION', shrink: 12, cell: (row) => `${row.OS} ${row.Release}` },
        { title: 'VARIANT', cell: (row) => row.Variant },
        { title: 'ARCHITECTURE', cell: (row) => row.Architecture },
        { title: 'VERSION', shrink: 10, cell: (row) => row.Version },
        { title: 'SIZE', align: 'right', cell: (row) => formatSum(row.Size) },
      ],
      id: nameOf,
      fields: (row) => ({
        Name: nameOf(row),
        Aliases: row.Aliases.join(','),
        OS: row.OS,
        Release: row.Release,
        Variant: row.Variant,
        Architecture: row.Architecture,
        Version: row.Version,
        Size: String(row.Size),
      }),
    });
  },
});

/** The shortest way to ask for it. */
function nameOf({ Aliases, OS, Release, Variant }: ServerImageBody): string {
  const [shortest] = Aliases.toSorted((a, b) => a.length - b.length);
  return shortest ?? `${OS}/${Release}/${Variant}`.toLowerCase();
}
