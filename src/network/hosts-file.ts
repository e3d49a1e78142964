import { isleError } from '../lib/errors.ts';
import { canonical } from '../lib/address.ts';

export interface HostsFile {
  hostname: string;
  domainname: string;
  /** Addresses the hostname stands for. */
  addresses: string[];
  /** The pod has IPv6. */
  ipv6: boolean;
  extraHosts: readonly ExtraHost[];
}

export interface ExtraHost {
  name: string;
  address: string;
}

/** The contents of /etc/hosts, as Docker writes them. */
export function formatHosts({ hostname, domainname, addresses, ipv6, extraHosts }: HostsFile): string {
  const lines = ['127.0.0.1\tlocalhost'];
  if (ipv6) {
    lines.push(
      '::1\tlocalhost ip6-localhost ip6-loopback',
      'fe00::\tip6-localnet',
      'ff00::\tip6-mcastprefix',
    );
    lines.push('ff02::1\tip6-allnodes', 'ff02::2\tip6-allrouters');
  }
  for (const { name, address } of extraHosts) lines.push(`${address}\t${name}`);
  const names = domainname === '' ? hostname : `${hostname}.${domainname} ${hostname}`;
  if (hostname !== '') for (const address of addresses) lines.push(`${address}\t${names}`);
  return `${lines.join('\n')}\n`;
}

/**
 * Parses `name:address` and `name=address` (`[…]` around IPv6 is fine); `host-gateway` stands for `gateways`.
 * Throws `invalidParameter`.
 */
export function parseExtraHosts(list: readonly string[], gateways: readonly string[]): ExtraHost[] {
  return list.flatMap((entry) => {
    const match = /^([^:=\s]+)[:=](\S+)$/.exec(entry);
    const [, name = '', value = ''] = match ?? [];
    if (!isHostName(name)) throw bad(entry);
    if (value === 'host-gateway') return gateways.map((address) => ({ name, address }));
    const address = canonical(value.replace(/^\[(.*)\]$/, '$1'));
    if (address === undefined) throw bad(entry);
    return [{ name, address }];
  });
}

/** Whether `name` can stand in a file of names: no space, no control character, nothing that ends a line. */
export function isHostName(name: string): boolean {
  return /^[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,251}[a-zA-Z0-9_])?\.?$/.test(name);
}

function bad(entry: string): Error {
  return isleError('invalidParameter', {
    message: `bad format for add-host: "${entry}": write it like name:10.1.2.3 or name:host-gateway`,
  });
}
