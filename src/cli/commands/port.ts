import type { ContainerInspect } from '../client/types.ts';
import { defineCommand } from '../command.ts';
import { containerPath } from '../each-name.ts';
import { Failure } from '../failure.ts';

export const command = defineCommand({
  usage: 'CONTAINER [PRIVATE_PORT[/PROTO]]',
  examples: [
    { run: 'port web', does: 'all of them' },
    { run: 'port web 80', does: 'where port 80 is to be found' },
  ],
  flags: {},
  args: [1, 2],
  complete: ['running'],
  async run({ client, out }, { args: [name = '', wanted] }) {
    const { NetworkSettings } = await client.get<ContainerInspect>(`${containerPath(name)}/json`);
    const ports = NetworkSettings.Ports ?? {};
    const address = (binding: { HostIp: string; HostPort: string }) =>
      `${binding.HostIp.includes(':') ? `[${binding.HostIp}]` : binding.HostIp}:${binding.HostPort}`;
    if (wanted !== undefined) {
      const key = wanted.includes('/') ? wanted : `${wanted}/tcp`;
      const bindings = ports[key];
      if (!bindings?.length) throw new Failure(`no public port '${key}' published for ${name}`);
      for (const binding of bindings) out.line(address(binding));
      return;
    }
    const sorted = Object.entries(ports).sort(([a], [b]) => Number.parseInt(a) - Number.parseInt(b));
    for (const [key, bindings] of sorted)
      for (const binding of bindings ?? []) out.line(`${key} -> ${address(binding)}`);
  },
});
