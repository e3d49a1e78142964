import { defineCommand } from '../command.ts';
import { text } from '../flags.ts';
import { getMachine } from '../vm/machine.ts';
import { parseNic } from '../vm/network.ts';
import { refuseLater, whenFlags } from '../vm/when.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME [network] NETWORK',
  about:
    "Also while the machine runs: the guest finds the card and takes its address by DHCP. For good, and by virt-install's words too: NETWORK may be network=NAME,model=e1000e,mac=….",
  examples: [
    { run: 'vm attach-interface deb backend', does: 'a card on the network backend' },
    {
      run: 'vm attach-interface deb network backend --model e1000e',
      does: 'one that a guest without virtio knows',
    },
  ],
  flags: {
    model: text('The card: virtio (the default), e1000e, e1000, rtl8139, vmxnet3, …'),
    mac: text('Its Ethernet address'),
    ...whenFlags,
  },
  args: [2, 3],
  complete: ['machine', 'network'],
  async run(context, { args: [name = '', ...rest], flags }) {
    const machine = await getMachine(context, name);
    refuseLater(machine, flags);
    const nic = parseNic(
      [
        rest.at(-1)!,
        ...(flags.model === undefined ? [] : [`model=${flags.model}`]),
        ...(flags.mac === undefined ? [] : [`mac=${flags.mac}`]),
      ].join(),
    );
    for (const note of nic.notes) context.err.foreign(`note: ${note}`);
    const network = nic.network === 'default' ? 'bridge' : nic.network;
    await context.client.status('POST', `/networks/${encodeURIComponent(network)}/connect`, {
      body: {
        Container: machine.Id,
        EndpointConfig: {
          ...nic.endpoint,
          ...(nic.model !== undefined && { DriverOpts: { 'isle.nic.model': nic.model } }),
        },
      },
    });
  },
});
