import type { ElementChange } from '../host/nftables.ts';
import { parseAddress, toBytes, type Subnet } from '../lib/address.ts';

/** What the firewall knows of a network. */
export interface NetworkRules {
  bridge: string;
  /** No way in or out of the network. */
  internal: boolean;
  /** Pods may talk to each other. */
  icc: boolean;
  /** What leaves the host carries the host's address. */
  masquerade: boolean;
  subnets: Subnet[];
}

/** A host port whose traffic the kernel redirects to a pod. */
export interface Publication {
  protocol: 'tcp' | 'udp' | 'sctp';
  /** A host address of the same family as `address`, or `0.0.0.0` or `::` for every one. */
  hostIp: string;
  hostPort: number;
  address: string;
  port: number;
}

/** An element in both of its forms: for the kernel, and for a ruleset's text. */
export interface Element {
  set: string;
  key: Buffer;
  keyEnd?: Buffer;
  data?: Buffer;
  text: string;
}

/**
 * The whole table of an instance, as a script that replaces what was there in one transaction. Networks and ports
 * are elements of sets and maps, so that after this no rule ever changes.
 *
 * Chains stand at the usual priorities and only ever drop: an `accept` here ends this table's chain, and the host's
 * own chains still decide. A host firewall that drops what it forwards therefore drops published ports and
 * the pods' traffic as well, until its owner allows them.
 *
 * - `guard`: a bridge has route_localnet, so that the host reaches published ports through 127.0.0.1; nothing that
 *   comes from a bridge may use that.
 * - `prerouting` leaves 127.0.0.0/8 alone: a port published there is reached from the host itself only.
 * - `output` leaves ::1 alone: the kernel drops answers to it that come in by a bridge. A proxy serves it.
 * - `forward`: into a network comes what was published, answers, and what stays inside it. This also keeps
 *   neighbours on the host's own network from routing straight to a pod's address.
 */
export function rulesetScript(table: string, elements: readonly Element[]): string {
  const sets = Object.entries(setTypes)
    .map(([name, type]) => {
      const own = elements.filter((element) => element.set === name).map((element) => element.text);
      const list = own.length === 0 ? '' : `\n    elements = { ${own.join(', ')} }`;
      return `  ${type.includes(' : ') ? 'map' : 'set'} ${name} {\n    type ${type}${list}\n  }\n`;
    })
    .join('');
  return `table inet ${table}\ndelete table inet ${table}\ntable inet ${table} {\n${sets}${chains}}\n`;
}

const setTypes = {
  bridges: 'ifname',
  internal: 'ifname',
  outbound: 'ifname',
  inside: 'ifname . ifname',
  hairpin4: 'ifname . ipv4_addr; flags interval',
  hairpin6: 'ifname . ipv6_addr; flags interval',
  ports4: 'inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service',
  ports4_any: 'inet_proto . inet_service : ipv4_addr . inet_service',
  ports6: 'inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service',
  ports6_any: 'inet_proto . inet_service : ipv6_addr . inet_service',
};

const chains = `
  chain publish {
    dnat ip to meta l4proto . ip daddr . th dport map @ports4
    dnat ip to meta l4proto . th dport map @ports4_any
    dnat ip6 to meta l4proto . ip6 daddr . th dport map @ports6
    dnat ip6 to meta l4proto . th dport map @ports6_any
  }
  chain guard {
    type filter hook prerouting priority raw; policy accept;
    iifname @bridges ip daddr 127.0.0.0/8 drop
    iifname @bridges ip saddr 127.0.0.0/8 drop
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr 127.0.0.0/8 return
    meta l4proto { tcp, udp, sctp } iifname != @internal fib daddr type local jump publish
  }
  chain output {
    type nat hook output priority -100; policy accept;
    ip6 daddr ::1 return
    meta l4proto { tcp, udp, sctp } fib daddr type local jump publish
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname @bridges ip saddr 127.0.0.0/8 masquerade
    ct status dnat oifname . ip saddr @hairpin4 masquerade
    ct status dnat oifname . ip6 saddr @hairpin6 masquerade
    iifname @outbound oifname != @bridges masquerade
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname . oifname @inside accept
    iifname @internal drop
    oifname @internal drop
    oifname @bridges ct state established,related accept
    oifname @bridges ct status dnat accept
    oifname @bridges drop
  }
`;

export function networkElements({ bridge, internal, icc, masquerade, subnets }: NetworkRules): Element[] {
  const one = (set: string): Element => ({ set, key: ifname(bridge), text: `"${bridge}"` });
  const list = [one('bridges'), ...subnets.map((subnet) => hairpinElement(bridge, subnet))];
  if (internal) list.push(one('internal'));
  if (masquerade && !internal) list.push(one('outbound'));
  if (icc) {
    const key = Buffer.concat([ifname(bridge), ifname(bridge)]);
    list.push({ set: 'inside', key, text: `"${bridge}" . "${bridge}"` });
  }
  return list;
}

/** A pod that reaches another of its network through a published port must be answered the same way. */
function hairpinElement(bridge: string, { family, first, last, cidr }: Subnet): Element {
  const at = (address: bigint): Buffer => Buffer.concat([ifname(bridge), toBytes(address, family)]);
  const set = family === 'ipv4' ? 'hairpin4' : 'hairpin6';
  return { set, key: at(first), keyEnd: at(last), text: `"${bridge}" . ${cidr}` };
}

export function publicationElement({ protocol, hostIp, hostPort, address, port }: Publication): Element {
  const any = hostIp === '0.0.0.0' || hostIp === '::';
  const family = address.includes(':') ? '6' : '4';
  const key = [field(Buffer.from([protocolNumbers[protocol]])), service(hostPort)];
  if (!any) key.splice(1, 0, parseAddress(hostIp)!);
  const from = any ? `${protocol} . ${hostPort}` : `${protocol} . ${hostIp} . ${hostPort}`;
  return {
    set: `ports${family}${any ? '_any' : ''}`,
    key: Buffer.concat(key),
    data: Buffer.concat([parseAddress(address)!, service(port)]),
    text: `${from} : ${address} . ${port}`,
  };
}

export function change(action: ElementChange['action'], { text: _text, ...element }: Element): ElementChange {
  return { action, ...element };
}

const protocolNumbers = { tcp: 6, udp: 17, sctp: 132 };

function ifname(name: string): Buffer {
  const out = Buffer.alloc(16);
  out.write(name);
  return out;
}

/** A field of a concatenation takes whole words of four bytes. */
function field(value: Buffer): Buffer {
  const out = Buffer.alloc(4);
  value.copy(out);
  return out;
}

function service(port: number): Buffer {
  return field(Buffer.from([port >> 8, port & 0xff]));
}
