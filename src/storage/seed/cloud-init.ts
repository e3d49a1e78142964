import type { CloudInit } from '../../engine/machine.ts';
import { toYaml } from './yaml.ts';

/** A network card of the guest, found in it by its address. */
export interface SeedLink {
  macAddress: string;
  /** CIDR, IPv4 and IPv6: what DHCP will answer. */
  addresses: string[];
}

/**
 * The files of a NoCloud seed: https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html. What the user
 * gave as files is passed on byte by byte; the rest goes beside it as vendor-data, which user-data overrules.
 */
export function seedFiles(cloudInit: CloudInit, links: readonly SeedLink[]): Record<string, string> {
  const { userData, metaData, networkConfig } = cloudInit;
  const config = `#cloud-config\n${toYaml(cloudConfig(cloudInit))}`;
  return {
    'meta-data': metaData ?? toYaml(identity(cloudInit)),
    'network-config': networkConfig ?? toYaml(networks(links)),
    'user-data': userData ?? config,
    ...(userData !== undefined && { 'vendor-data': config }),
  };
}

function identity({ instanceId, hostname }: CloudInit) {
  return { 'instance-id': instanceId, ...(hostname !== undefined && { 'local-hostname': hostname }) };
}

/** Cards by address, each asking by DHCP; without it cloud-init would set up the first one only. */
function networks(links: readonly SeedLink[]) {
  const ethernets = links.map(({ macAddress, addresses }, at) => {
    // A guest that asks for what nobody answers waits for minutes.
    const has = (sign: string) => addresses.some((address) => address.includes(sign));
    const ask = { dhcp4: has('.'), dhcp6: has(':') };
    // Guests that do not know netplan (ifupdown, sysconfig) find a card by its name only: it is given the one that is said.
    const name = `eth${at}`;
    return [name, { match: { macaddress: macAddress.toLowerCase() }, 'set-name': name, ...ask }] as const;
  });
  return { version: 2, ethernets: Object.fromEntries(ethernets) };
}

/** In a virtual machine systemd makes it of the firmware's UUID, which a clone has its own of: machine-id(5). */
const newMachineId =
  'rm -f /etc/machine-id && systemd-machine-id-setup; if [ -e /var/lib/dbus/machine-id ]; then ln -sf /etc/machine-id /var/lib/dbus/machine-id; fi';

/** `password` and `chpasswd.list` take hashes: https://docs.cloud-init.io/en/latest/reference/modules.html#set-passwords. */
function cloudConfig({ hostname, sshKeys, user, passwordHash, root, freshMachineId }: CloudInit) {
  const passwords = [
    ...(root?.passwordHash === undefined ? [] : [`root:${root.passwordHash}`]),
    ...(user === undefined || passwordHash === undefined ? [] : [`${user}:${passwordHash}`]),
  ];
  const others = [
    ...(user === undefined ? [] : [account(user, sshKeys)]),
    ...(root && root.sshKeys.length > 0 ? [{ name: 'root', ssh_authorized_keys: root.sshKeys }] : []),
  ];
  return {
    ...(freshMachineId && {
      bootcmd: [['cloud-init-per', 'instance', 'isle-machine-id', 'sh', '-c', newMachineId]],
    }),
    ...(hostname !== undefined && { hostname }),
    ...(user === undefined && sshKeys.length > 0 && { ssh_authorized_keys: sshKeys }),
    ...(user === undefined && passwordHash !== undefined && { password: passwordHash }),
    ...((passwordHash !== undefined || passwords.length > 0) && {
      chpasswd: { expire: false, ...(passwords.length > 0 && { list: passwords }) },
    }),
    ...(others.length > 0 && { users: ['default', ...others] }),
    ...(others.some(({ name }) => name === 'root') && { disable_root: false }),
  };
}

function account(name: string, sshKeys: string[]) {
  return {
    name,
    ...(name !== 'root' && { sudo: 'ALL=(ALL) NOPASSWD:ALL', shell: '/bin/bash', lock_passwd: false }),
    ...(sshKeys.length > 0 && { ssh_authorized_keys: sshKeys }),
  };
}
