import { defineCommand } from '../command.ts';
import { encodeFilters, longFilterFlag } from '../filters.ts';
import { boolean } from '../flags.ts';
import { removeLeftovers } from '../compare/leftovers.ts';
import { prune, pruneImages, type Pruned } from '../prune.ts';

export const command = defineCommand({
  usage: '[OPTIONS]',
  examples: [
    { run: 'system prune', does: 'stopped containers, unused networks, nameless images' },
    { run: 'system prune -a --volumes -f', does: 'everything unused, without asking' },
  ],
  flags: {
    all: boolean('Every unused image, not only those without a name', { short: 'a' }),
    filter: longFilterFlag,
    force: boolean('Do not ask', { short: 'f' }),
    volumes: boolean('Anonymous volumes too'),
  },
  args: [0, 0],
  async run(context, { flags }) {
    const what = [
      'all stopped containers, and what a killed "isle compare" left running',
      'all networks not used by at least one container',
      ...(flags.volumes ? ['all anonymous volumes not used by at least one container'] : []),
      flags.all ? 'all images without at least one container associated to them' : 'all dangling images',
    ];
    const query = { filters: encodeFilters(flags.filter) };
    return prune(context, {
      force: flags.force,
      question: `This will remove:\n${what.map((one) => `  - ${one}`).join('\n')}`,
      run: async (client) => {
        const pruned: Pruned[] = [];
        // They may run on, as nobody was left to stop them; before others go, whose end shows that they are leftovers.
        const left =
          flags.filter.length === 0 ? await removeLeftovers(client) : { containers: [], volumes: [] };
        const containers = await client.post<{ ContainersDeleted: string[] | null; SpaceReclaimed: number }>(
          '/containers/prune',
          { query },
        );
        pruned.push({
          title: 'Deleted Containers',
          removed: [...left.containers, ...(containers.ContainersDeleted ?? [])],
          bytes: containers.SpaceReclaimed,
        });
        const networks = await client.post<{ NetworksDeleted: string[] | null }>('/networks/prune', {
          query,
        });
        pruned.push({ title: 'Deleted Networks', removed: networks.NetworksDeleted ?? [] });
        if (flags.volumes) {
          const volumes = await client.post<{ VolumesDeleted: string[] | null; SpaceReclaimed: number }>(
            '/volumes/prune',
            { query },
          );
          pruned.push({
            title: 'Deleted Volumes',
            removed: volumes.VolumesDeleted ?? [],
            bytes: volumes.SpaceReclaimed,
          });
        }
        if (left.volumes.length > 0) pruned.push({ title: 'Deleted Volumes', removed: left.volumes });
        pruned.push(await pruneImages(client, flags.all, flags.filter));
        return pruned;
      },
    });
  },
});
