import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../lib/errors.ts';
import { guestRules } from '../guest-rules.ts';
import { detectKvm, type Kvm } from '../kvm.ts';
import { emulatorOf, fetchedKernel, virtiofsdPaths } from '../microvm-tools.ts';
import { addVeth } from '../netlink.ts';
import { NetworkJob } from '../network-job.ts';
import type { DoctorOptions, Finding } from './finding.ts';
import { nearestDirectory } from './place.ts';
import { checkTool } from './tools.ts';

const bringAll = 'sh scripts/bootstrap --microvms';

export async function checkKvm(): Promise<Finding> {
  return judgeKvm(await detectKvm());
}

/** Containers need no KVM: without it only VMs are slow. */
export function judgeKvm(kvm: Kvm): Finding {
  const why = 'microVMs without it are emulated, some ten times slower; containers do not need it';
  if (kvm.usable) return { name: 'kvm', status: 'ok', found: `usable (${kvm.module})`, why };
  return {
    name: 'kvm',
    status: 'warn',
    found: `${kvm.why}: microVMs are emulated (TCG)`,
    why,
    advice: 'nothing for containers; for VMs use a host with (nested) virtualisation turned on',
  };
}

export async function checkQemu(): Promise<Finding> {
  const emulator = emulatorOf(process.arch);
  const why = 'it runs microVMs; containers do not need it';
  if (emulator === undefined)
    return {
      name: 'qemu',
      status: 'warn',
      found: `none for ${process.arch}`,
      why,
      advice: 'x86-64 or arm64, for microVMs',
    };
  return await checkTool({
    name: 'qemu',
    command: emulator.program,
    package: emulator.package,
    oldest: '6.2',
    why,
    missing: 'warn',
  });
}

export async function checkVirtiofsd(): Promise<Finding> {
  const name = 'virtiofsd';
  const why = 'it shows a microVM its root file system and volumes; containers do not need it';
  const found = virtiofsdPaths.find((path) => existsSync(path));
  if (found !== undefined) return { name, status: 'ok', found, why };
  const advice = 'apt-get install virtiofsd (before Debian 13: qemu-system-common)';
  return { name, status: 'warn', found: 'not installed', why, advice };
}

export async function checkGuestKernel(): Promise<Finding> {
  const name = 'guest-kernel';
  const why = 'microVMs boot it; it is unpacked, not installed, and containers do not need it';
  const directory = fetchedKernel();
  if (directory === undefined) {
    const advice = `${bringAll}, or name a kernel of yours as microvm.kernelSource in the configuration`;
    return { name, status: 'warn', found: 'not fetched yet', why, advice };
  }
  const [version] = await readdir(join(directory, 'modules')).catch(() => []);
  return { name, status: 'ok', found: `${version ?? 'a kernel without modules'} in ${directory}`, why };
}

/** Tries the devices and rules that lead a network to a guest, in a namespace that goes at once. */
export async function checkGuestNetwork({ runRoot }: DoctorOptions): Promise<Finding> {
  const name = 'guest-network';
  const why = 'a microVM’s network is a tap device, to which nftables forwards; containers do not need it';
  const directory = await mkdtemp(join(await nearestDirectory(runRoot), '.isle-doctor-'));
  const path = join(directory, 'netns');
  const namespace = new NetworkJob().create(path);
  const [link, tap] = ['guest0', 'tap0'];
  const port = {
    link,
    tap,
    mac: Buffer.from('024953000001', 'hex'),
    addresses: [Buffer.from([192, 0, 2, 1])],
  };
  try {
    await namespace.run();
    const job = new NetworkJob().enter(path);
    job.route([addVeth(link, {}, { name: 'far0', inner: false })]).tap(tap, 0);
    await job.netfilter(guestRules([port], false)).run();
    return { name, status: 'ok', found: 'tap devices and forwarding work', why };
  } catch (error) {
    const tun = !existsSync('/dev/net/tun') || String(error).includes('/dev/net/tun');
    return {
      name,
      status: 'warn',
      found: messageOf(error),
      why,
      advice: tun
        ? 'modprobe tun, or a kernel with CONFIG_TUN'
        : 'modprobe nft_fwd_netdev, or a kernel with CONFIG_NF_TABLES_NETDEV and CONFIG_NFT_FWD_NETDEV',
    };
  } finally {
    await new NetworkJob().remove(path).run();
    await rm(directory, { recursive: true });
  }
}
