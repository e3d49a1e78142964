import { defineCommand } from '../command.ts';
import { boolean, parseInteger } from '../flags.ts';
import { machinePath } from '../vm/machine.ts';

export const command = defineCommand({
  usage: '[OPTIONS] NAME COUNT',
  about:
    'A running machine gets and loses processors at once, up to the maximum it was started with (isle vm create --vcpus 2,maxvcpus=8). Losing them needs KVM. Some guests wait to be told to use new ones: echo 1 > /sys/devices/system/cpu/cpuN/online.',
  examples: [
    { run: 'vm setvcpus deb 4', does: 'at once, and for good' },
    { run: 'vm setvcpus --config deb 4', does: 'at its next start' },
    { run: 'vm setvcpus --maximum --config deb 8', does: 'how far it may go, at its next start' },
  ],
  flags: {
    config: boolean('At its next start only'),
    maximum: boolean('The maximum, at its next start'),
    live: boolean('Accepted: at once', { hidden: true }),
    current: boolean('Accepted', { hidden: true }),
  },
  args: [2, 2],
  complete: ['machine'],
  async run({ client }, { args: [name = '', count = ''], flags }) {
    const number = parseInteger(count);
    if (flags.maximum || (flags.config && !flags.live))
      await client.status('PUT', `${machinePath(name)}/hardware`, {
        body: flags.maximum ? { MaxVcpus: number } : { Vcpus: number },
      });
    else await client.status('PUT', `${machinePath(name)}/vcpus`, { body: { Count: number } });
  },
});
