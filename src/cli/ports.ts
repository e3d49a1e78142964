import type { PortSummary } from './client/types.ts';

/** `8080->80/tcp` for a port on all addresses, runs of ports as one range, others with their address. */
export function formatPorts(ports: readonly PortSummary[]): string {
  const groups: { head: string; type: string; first: number; last: number; offset: number }[] = [];
  const sorted = ports.toSorted(
    (a, b) =>
      a.Type.localeCompare(b.Type) || (a.IP ?? '').localeCompare(b.IP ?? '') || a.PrivatePort - b.PrivatePort,
  );
  const everywhere = new Set(sorted.filter((port) => port.IP === '0.0.0.0').map(keyOf));
  for (const port of sorted) {
    if (port.IP === '::' && everywhere.has(keyOf(port))) continue;
    const offset = port.PublicPort ? port.PublicPort - port.PrivatePort : Number.NaN;
    const address = port.IP === '0.0.0.0' || port.IP === '::' ? '' : (port.IP ?? '');
    const head =
      port.PublicPort && address !== '' ? `${address.includes(':') ? `[${address}]` : address}:` : '';
    const before = groups.at(-1);
    const joins =
      before?.type === port.Type &&
      before.head === head &&
      Object.is(before.offset, offset) &&
      before.last + 1 === port.PrivatePort;
    if (joins) before.last = port.PrivatePort;
    else groups.push({ head, type: port.Type, first: port.PrivatePort, last: port.PrivatePort, offset });
  }
  const range = (first: number, last: number) => (first === last ? String(first) : `${first}-${last}`);
  return groups
    .map(({ head, type, first, last, offset }) =>
      Number.isNaN(offset)
        ? `${range(first, last)}/${type}`
        : `${head}${range(first + offset, last + offset)}->${range(first, last)}/${type}`,
    )
    .join(', ');
}

const keyOf = (port: PortSummary) => `${port.PublicPort}:${port.PrivatePort}/${port.Type}`;

/** As Docker's `{{.Ports}}` has them, for scripts: every address named, ports that are the same on both sides as ranges. */
export function dockerPorts(ports: readonly PortSummary[]): string {
  const groups = new Map<string, { first: number; last: number }>();
  const ranges: string[] = [];
  const mappings: string[] = [];
  const close = (key: string, { first, last }: { first: number; last: number }) => {
    const [type = '', address] = key.split('/');
    const range = first === last ? String(first) : `${first}-${last}`;
    ranges.push(address ? `${joinHost(address, range)}->${range}/${type}` : `${range}/${type}`);
  };
  for (const port of ports.toSorted(byPrivatePort)) {
    const { PrivatePort: current, PublicPort, Type, IP = '' } = port;
    if (IP !== '' && PublicPort !== current) {
      mappings.push(`${joinHost(IP, String(PublicPort))}->${current}/${Type}`);
      continue;
    }
    const key = `${Type}/${IP}`;
    const group = groups.get(key);
    if (group && current === group.last + 1) group.last = current;
    else {
      if (group) close(key, group);
      groups.set(key, { first: current, last: current });
    }
  }
  for (const [key, group] of groups) close(key, group);
  return [...ranges, ...mappings].join(', ');
}

function joinHost(address: string, port: string): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function byPrivatePort(a: PortSummary, b: PortSummary): number {
  const text = (x: string, y: string) => (x < y ? -1 : x > y ? 1 : 0);
  return (
    a.PrivatePort - b.PrivatePort ||
    text(a.IP ?? '', b.IP ?? '') ||
    (a.PublicPort ?? 0) - (b.PublicPort ?? 0) ||
    text(a.Type, b.Type)
  );
}
