import { defineCommand } from '../command.ts';
import { Failure } from '../failure.ts';
import { text } from '../flags.ts';
import { getMachine } from '../vm/machine.ts';
import { refuseLater, whenFlags } from '../vm/when.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME [network] [NETWORK]',
  about:
    'By its network, or by its Ethernet address with --mac. The guest of a running machine has to let go of it.',
  examples: [
    { run: 'vm detach-interface deb backend', does: 'its card on the network backend' },
    { run: 'vm detach-interface deb network --mac 02:42:ac:12:00:02', does: "as in people's notes" },
  ],
  flags: {
    mac: text('Its Ethernet address'),
    ...whenFlags,
  },
  args: [1, 3],
  complete: ['machine', 'network'],
  async run(context, { args: [name = '', ...rest], flags }) {
    const machine = await getMachine(context, name);
    refuseLater(machine, flags);
    const { Id, Networks } = machine;
    const words =
      rest.length > 1 || flags.mac !== undefined ? rest.filter((word) => word !== 'network') : rest;
    const [named] = words;
    const mac = flags.mac?.toLowerCase();
    const wanted = named === 'default' ? 'bridge' : named;
    const cards: { Network: string; MacAddress?: string }[] = Networks;
    const found = cards.filter(
      ({ Network, MacAddress }) =>
        (wanted === undefined || Network === wanted) &&
        (mac === undefined || MacAddress?.toLowerCase() === mac),
    );
    if (found.length === 0 && mac === undefined && wanted !== undefined) found.push({ Network: wanted });
    const [card, ...others] = found;
    if (card === undefined)
      throw new Failure(`the machine ${name} has no such network card: see isle vm domiflist ${name}`);
    if (others.length > 0 || (wanted === undefined && mac === undefined))
      throw new Failure(
        `say which: the machine ${name} is on ${found.map(({ Network }) => Network).join(', ')}`,
      );
    await context.client.status('POST', `/networks/${encodeURIComponent(card.Network)}/disconnect`, {
      body: { Container: Id },
    });
  },
});
