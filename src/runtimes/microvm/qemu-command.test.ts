import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Machine, qemuCommand } from './qemu-command.ts';
import { sizeOf } from './resources.ts';
import { virtiofsdCommand } from '../confined/virtiofsd-command.ts';
import { defaultMicrovmConfig } from './config.ts';

const machine: Machine = {
  qemu: '/usr/bin/qemu',
  type: 'microvm',
  accelerator: 'tcg',
  arch: 'x64',
  cpus: 1,
  memory: 300 * 1024 * 1024 + 5,
  kernel: '/isle/kernel',
  initramfs: '/isle/initramfs',
  kernelArguments: '',
  taps: [],
};

test('every machine is confined, has bounded memory, and says no more than it must', () => {
  for (const [type, arch, accelerator] of [
    ['microvm', 'x64', 'tcg'],
    ['microvm', 'x64', 'kvm'],
    ['q35', 'x64', 'kvm'],
    ['virt', 'arm64', 'tcg'],
  ] as const) {
    const words = qemuCommand({ ...machine, type, arch, accelerator });
    const line = words.join(' ');
    assert.match(line, /-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny/);
    assert.match(line, /-nodefaults -no-user-config -display none -no-reboot/);
    assert.match(line, /memory-backend-memfd,id=memory,size=300M,share=on/);
    assert.equal(/tb-size=/.test(line), accelerator === 'tcg', 'translated code is bounded');
    assert.equal(/mitigations=off/.test(line), accelerator === 'tcg', 'a real processor needs them');
    assert.equal(
      words.filter((word) => word.includes(`-${type === 'q35' ? 'pci' : 'device'},`)).length,
      3,
      line,
    );
    assert.equal(/force-legacy=false/.test(line), type !== 'q35');
  }
});

test('each tap is a device of its own', () => {
  const line = qemuCommand({ ...machine, taps: [{ name: 'tap0', macAddress: '02:00:00:00:00:01' }] }).join(
    ' ',
  );
  assert.match(
    line,
    /-netdev tap,id=net0,ifname=tap0,script=no,downscript=no,vhost=off -device virtio-net-device,netdev=net0,mac=02:00:00:00:00:01/,
  );
});

test('both virtiofsds are told the same in their own words', () => {
  assert.ok(
    virtiofsdCommand('/usr/lib/qemu/virtiofsd', '/share')
      .join(' ')
      .includes('sandbox=chroot,announce_submounts'),
  );
  const rust = virtiofsdCommand('/usr/libexec/virtiofsd', '/share').join(' ');
  assert.ok(rust.includes('--sandbox=chroot --announce-submounts') && !rust.includes(' -o '), rust);
});

test('processors are rounded up, and one unless asked for under emulation', () => {
  const cpus = (nanoCpus: number | undefined, accelerator: 'kvm' | 'tcg') =>
    sizeOf({ nanoCpus }, defaultMicrovmConfig, accelerator).cpus;
  assert.equal(cpus(undefined, 'tcg'), 1);
  assert.equal(cpus(500_000_000, 'kvm'), 1);
  assert.equal(
    sizeOf({ memory: 200 * 1024 * 1024 + 1 }, defaultMicrovmConfig, 'tcg').memory,
    200 * 1024 * 1024,
  );
  assert.throws(() => sizeOf({ memory: 1 }, defaultMicrovmConfig, 'tcg'), /at least 64 MiB/);
});
