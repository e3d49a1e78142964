import { BlockList, isIP } from 'node:net';

/**
 * The proxy URL for a request to `url`, or undefined for a direct one, by the rules of Go's `httpproxy` that
 * Docker users know: upper or lower case variables, loopback never, NO_PROXY with hosts, `.domains`, `*`,
 * addresses, CIDRs and ports.
 */
export function proxyFor(url: URL, environment: NodeJS.ProcessEnv): string | undefined {
  const name = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  const proxy = environment[name] || environment[name.toLowerCase()];
  if (!proxy) return undefined;
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  if (isLoopback(host)) return undefined;
  const exceptions = environment.NO_PROXY || environment.no_proxy || '';
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  if (exceptions.split(',').some((rule) => matches(rule.trim().toLowerCase(), host, port))) return undefined;
  return proxy.includes('://') ? proxy : `http://${proxy}`;
}

/** True for `localhost` and every loopback address. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase();
  return bare === 'localhost' || bare === '::1' || (isIP(bare) === 4 && bare.startsWith('127.'));
}

/** True when the address `host` lies in `cidr`. */
export function inCidr(host: string, cidr: string): boolean {
  const [network = '', bits = ''] = cidr.split('/');
  const family = isIP(network);
  if (family === 0 || isIP(host) !== family || !/^\d{1,3}$/.test(bits)) return false;
  if (Number(bits) > (family === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  const type = family === 4 ? 'ipv4' : 'ipv6';
  list.addSubnet(network, Number(bits), type);
  return list.check(host, type);
}

function matches(rule: string, host: string, port: string): boolean {
  if (rule === '') return false;
  if (rule === '*') return true;
  if (rule.includes('/')) return inCidr(host, rule);
  const [, named = rule, rulePort] = /^(.*?)(?::(\d+))?$/.exec(isIP(rule) === 6 ? '' : rule) ?? [];
  const name = (named || rule).replace(/^\[|\]$/g, '');
  if (rulePort !== undefined && rulePort !== port) return false;
  if (isIP(name)) return name === host;
  const domain = name.replace(/^\*?\./, '');
  if (host.endsWith(`.${domain}`)) return true;
  return host === domain && !name.startsWith('.');
}
