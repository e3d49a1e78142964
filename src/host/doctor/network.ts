import { readFile, writeFile } from 'node:fs/promises';
import { isIsleError } from '../../lib/errors.ts';
import { run } from '../run.ts';
import type { DoctorOptions, Finding } from './finding.ts';

export async function checkForwarding(): Promise<Finding> {
  const name = 'ip-forward';
  const why = 'packets of containers reach the world through the host';
  const file = '/proc/sys/net/ipv4/ip_forward';
  if ((await readFile(file, 'utf8')).trim() === '1') return { name, status: 'ok', found: 'on', why };
  return {
    name,
    status: 'warn',
    found: 'off',
    why,
    advice: 'sysctl -w net.ipv4.ip_forward=1 (the engine turns it on with its first bridge network)',
    fix: { does: 'sysctl -w net.ipv4.ip_forward=1', run: () => writeFile(file, '1') },
  };
}

/** With br_netfilter, packets between containers of one bridge go through the host's forward rules too. */
export async function checkBridgeFilter(options: DoctorOptions): Promise<Finding> {
  const file = '/proc/sys/net/bridge/bridge-nf-call-iptables';
  const value = await readFile(file, 'utf8').then(
    (text) => text.trim() === '1',
    () => false,
  );
  return judgeBridgeFilter(value, value ? await foreignDrops(options.instance) : []);
}

export function judgeBridgeFilter(on: boolean, chains: readonly string[]): Finding {
  const name = 'br-netfilter';
  const why =
    'with it on, packets between containers of one bridge pass the host’s firewall, which may drop them';
  if (!on) return { name, status: 'ok', found: 'off', why };
  if (chains.length === 0) return { name, status: 'ok', found: 'on, and no other table drops', why };
  return {
    name,
    status: 'warn',
    found: `on, and ${chains.join(', ')} drops`,
    why,
    advice:
      'if containers cannot reach each other: sysctl -w net.bridge.bridge-nf-call-iptables=0 (Kubernetes needs 1)',
  };
}

/**
 * Docker, ufw and firewalld set the policy of forwarding to drop. A packet must be accepted by every base chain: Isle's
 * own table cannot overrule theirs.
 */
export async function checkForwardPolicy(options: DoctorOptions): Promise<Finding> {
  return judgeForwardPolicy(await foreignDrops(options.instance), options.instance);
}

async function foreignDrops(instance: string): Promise<string[]> {
  try {
    const { stdout, code } = await run('nft', ['-j', 'list', 'chains']);
    return code === 0 ? droppingChains(stdout, instance) : [];
  } catch (error) {
    // No nft is the nftables check's to tell.
    if (isIsleError(error, 'hostTool')) return [];
    throw error;
  }
}

export function judgeForwardPolicy(chains: readonly string[], instance: string): Finding {
  const name = 'forward-policy';
  const why = 'a packet must be accepted by every table of the host: Isle’s cannot overrule another’s drop';
  if (chains.length === 0)
    return { name, status: 'ok', found: 'no other table drops forwarded packets', why };
  const bridge = `${instance}0`;
  const docker = chains.some((chain) => chain.includes('filter FORWARD'));
  const rules = docker
    ? `iptables -I DOCKER-USER -i ${bridge} -j ACCEPT; iptables -I DOCKER-USER -o ${bridge} -j ACCEPT (FORWARD instead of DOCKER-USER where Docker is not running)`
    : `accept packets from and to ${bridge} there`;
  return {
    name,
    status: 'warn',
    found: `policy drop in ${chains.join(', ')}`,
    why,
    advice: `if containers cannot reach the world: ${rules}`,
  };
}

/** The base chains on the forward hook, in tables not of this instance, whose policy is drop. */
export function droppingChains(json: string, instance: string): string[] {
  const { nftables } = JSON.parse(json) as { nftables?: { chain?: Record<string, unknown> }[] };
  return (nftables ?? [])
    .map((entry) => entry.chain)
    .filter((chain) => chain?.hook === 'forward' && chain.policy === 'drop' && chain.table !== instance)
    .map((chain) => `${String(chain?.family)} ${String(chain?.table)} ${String(chain?.name)}`);
}
