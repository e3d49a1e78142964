import type { PortBinding, PortKey } from '../../engine/model.ts';

export interface DockerPort {
  IP?: string;
  PrivatePort: number;
  PublicPort?: number;
  Type: string;
}

/** A binding to every address of the host is shown as Docker does: once for each family. */
function addresses(binding: PortBinding): string[] {
  return binding.hostIp === '' ? ['0.0.0.0', '::'] : [binding.hostIp];
}

/** `NetworkSettings.Ports`: the exposed ones, with the real host ports where they are published. */
export function renderPortMap(exposed: PortKey[], published: PortBinding[]): Record<string, object[] | null> {
  const map = new Map<string, object[] | null>(exposed.map((port) => [portName(port), null]));
  for (const binding of published) {
    const list = map.get(portName(binding)) ?? [];
    for (const HostIp of addresses(binding)) list.push({ HostIp, HostPort: String(binding.hostPort) });
    map.set(portName(binding), list);
  }
  return Object.fromEntries([...map].sort(([a], [b]) => a.localeCompare(b)));
}

/** `HostConfig.PortBindings`, as asked for. */
export function renderPortBindings(bindings: PortBinding[]): Record<string, object[]> {
  const map = new Map<string, object[]>();
  for (const binding of bindings) {
    const list = map.get(portName(binding)) ?? [];
    list.push({ HostIp: binding.hostIp, HostPort: hostPortText(binding) });
    map.set(portName(binding), list);
  }
  return Object.fromEntries(map);
}

/** `Ports` of the list. */
export function renderPortList(exposed: PortKey[], published: PortBinding[]): DockerPort[] {
  const open = new Set(published.map(portName));
  return [
    ...published.flatMap((binding) =>
      addresses(binding).map((IP) => ({
        IP,
        PrivatePort: binding.port,
        PublicPort: binding.hostPort,
        Type: binding.protocol,
      })),
    ),
    ...exposed
      .filter((port) => !open.has(portName(port)))
      .map((port) => ({ PrivatePort: port.port, Type: port.protocol })),
  ];
}

export function portName(port: PortKey): string {
  return `${port.port}/${port.protocol}`;
}

function hostPortText(binding: PortBinding): string {
  if (binding.hostPort === 0) return '';
  return binding.hostPortEnd ? `${binding.hostPort}-${binding.hostPortEnd}` : String(binding.hostPort);
}
