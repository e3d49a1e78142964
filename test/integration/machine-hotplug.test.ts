import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isIsleError } from '../../src/lib/errors.ts';
import { setVcpus } from '../../src/runtimes/machine/control/cpus.ts';
import { limitDisk, plugDisk, resizeDisk, unplugDisk } from '../../src/runtimes/machine/control/disks.ts';
import { changeMedium } from '../../src/runtimes/machine/control/medium.ts';
import { setMemory } from '../../src/runtimes/machine/control/memory.ts';
import { HandMadeMachine, machineDisk } from '../fixtures/live-machine.ts';

const MiB = 1024 * 1024;

function isConflict(pattern: RegExp) {
  return (error: unknown): boolean => isIsleError(error, 'conflict') && pattern.test(error.message);
}

describe('hardware of a running machine', { concurrency: false }, () => {
  let machine: HandMadeMachine;
  before(async () => {
    const ports = [0, 1, 2, 3, 4].flatMap((index) => [
      '-device',
      `pcie-root-port,id=port${index},bus=pcie.0,chassis=${index + 1},addr=0x10.${index}${index === 0 ? ',multifunction=on' : ''}`,
    ]);
    machine = new HandMadeMachine({
      memory: 192,
      args: [
        ...ports,
        ...['-device', 'virtio-balloon-pci,id=balloon'],
        ...['-device', 'virtio-scsi-pci,id=scsi', '-device', 'scsi-cd,id=sda,bus=scsi.0'],
        ...['-m', 'size=192M,maxmem=1G', '-smp', 'cpus=1,maxcpus=4,sockets=4,cores=1,threads=1'],
      ],
    });
    await machine.changeHardware((hardware) => ({
      ...hardware,
      spec: { ...hardware.spec, maxMemory: 1024 * MiB, maxVcpus: 4, cdroms: [{ target: 'sda' }] },
    }));
    await machine.booted();
  });
  after(() => machine[Symbol.asyncDispose]());

  /** Waits until a command in the guest says what is expected. */
  async function says(command: string, expected: string | RegExp): Promise<void> {
    let said = '';
    for (const late = Date.now() + 60_000; Date.now() < late; await sleep(300)) {
      said = await machine.shell(command);
      if (typeof expected === 'string' ? said === expected : expected.test(said)) return;
    }
    assert.fail(`${command}: ${said}`);
  }

  function disk(name: string, size = '64M', format = 'qcow2'): string {
    const path = join(machine.directory, name);
    execFileSync('qemu-img', ['create', '-q', '-f', format, path, size]);
    return path;
  }

  for (const bus of ['virtio', 'scsi'] as const)
    test(`a ${bus} disk comes, is written, grows, is limited and goes`, async () => {
      const target = bus === 'virtio' ? 'vdb' : 'sdb';
      const seen = bus === 'virtio' ? 'vdb' : 'sda';
      const path = disk(`${target}.qcow2`);
      await plugDisk(machine, machineDisk(target, { bus, serial: 'plugged' }), { path, chain: [] });
      await says(`coldplug; cat /sys/block/${seen}/size`, '131072');
      await machine.shell(`echo hello > /dev/${seen}; sync`);
      await resizeDisk(machine, target, 128 * MiB);
      await assert.rejects(resizeDisk(machine, target, 64 * MiB), isConflict(/cannot shrink/));
      if (bus === 'virtio') await says(`cat /sys/block/${seen}/size`, '262144');
      await limitDisk(machine, target, { writeBps: 8 * MiB, readIops: 100 });
      const drives = await (await machine.qmp()).execute<
        { qdev: string; inserted?: { bps_wr: number; iops_rd: number } }[]
      >('query-block');
      const { inserted } = drives.find(({ qdev }) => qdev.includes(target))!;
      assert.deepEqual([inserted?.bps_wr, inserted?.iops_rd], [8 * MiB, 100]);
      await assert.rejects(
        plugDisk(machine, machineDisk(target), { path, chain: [] }),
        isConflict(/already/),
      );
      await unplugDisk(machine, target);
      await says(`ls -d /sys/block/${seen} 2>/dev/null || echo gone`, 'gone');
      assert.equal(machine.hardware.disks.length, 1);
      assert.match(
        execFileSync('qemu-io', ['-r', '-f', 'qcow2', '-c', 'read -v 0 16', path]).toString(),
        /hello/,
      );
    });

  test('a linked clone comes with all that it stands on', async () => {
    const base = disk('base.qcow2');
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 0x61 0 4k', base], { stdio: 'ignore' });
    const path = join(machine.directory, 'over.qcow2');
    execFileSync('qemu-img', [
      'create',
      '-q',
      '-u',
      '-f',
      'qcow2',
      '-b',
      '/nowhere',
      '-F',
      'qcow2',
      path,
      '64M',
    ]);
    await plugDisk(machine, machineDisk('vdc'), { path, chain: [base] });
    await says('coldplug; head -c 3 /dev/vdb', 'aaa');
    await unplugDisk(machine, 'vdc');
    // All is free again.
    await plugDisk(machine, machineDisk('vdc'), { path: base, chain: [] });
    await unplugDisk(machine, 'vdc');
  });

  test('what cannot be plugged is refused in words, and leaves nothing', async () => {
    const plain = join(machine.directory, 'plain');
    writeFileSync(plain, 'no image at all');
    const files = { path: plain, chain: [] };
    await assert.rejects(plugDisk(machine, machineDisk('vdb'), files), (error) =>
      isIsleError(error, 'invalidDisk'),
    );
    await assert.rejects(plugDisk(machine, machineDisk('sdb', { bus: 'sata' }), files), isConflict(/sata/));
    await unplugDisk(machine, 'vdz');
    await assert.rejects(resizeDisk(machine, 'vdz', MiB), isConflict(/no disk vdz/));
    const nodes = await (await machine.qmp()).execute<{ 'node-name': string }[]>('query-named-block-nodes', {
      flat: true,
    });
    assert.ok(!nodes.some((node) => node['node-name'].includes('vdb')));
  });

  test('a medium is put in, changed while the guest uses it, and ejected', async () => {
    const iso = (name: string, text: string): string => {
      const path = join(machine.directory, name);
      writeFileSync(path, text.padEnd(64 * 1024));
      return path;
    };
    await changeMedium(machine, 'sda', iso('one.iso', 'first medium'));
    await says('coldplug; head -c 12 /dev/sr0', 'first medium');
    await changeMedium(machine, 'sda', iso('two.iso', 'other medium'));
    await says('head -c 12 /dev/sr0', 'other medium');
    await changeMedium(machine, 'sda', undefined);
    await says('head -c 12 /dev/sr0 2>&1 || true', /No medium|can't open/i);
    assert.deepEqual(machine.hardware.spec.cdroms, [{ target: 'sda' }]);
    await assert.rejects(changeMedium(machine, 'sdq', undefined), isConflict(/no CD drive/));
  });

  test('processors come, up to what it was started with', async () => {
    const online =
      'for c in /sys/devices/system/cpu/cpu[0-9]*/online; do echo 1 > $c 2>/dev/null; done; nproc';
    await setVcpus(machine, 3);
    await says(online, '3');
    assert.equal(machine.hardware.spec.vcpus, 3);
    // No KVM here: QEMU's emulation breaks its memory when it loses a processor.
    await assert.rejects(setVcpus(machine, 2), isConflict(/without KVM/));
    await assert.rejects(setVcpus(machine, 5), isConflict(/4 are the most/));
    await assert.rejects(setVcpus(machine, 0), isConflict(/started with 1/));
  });

  test('memory grows, shrinks again, and goes below what it was started with', async () => {
    const total = async (): Promise<number> =>
      Number((await machine.shell('grep MemTotal /proc/meminfo')).replace(/\D+/g, '')) / 1024;
    const before = await total();
    await machine.shell(
      'echo online > /sys/devices/system/memory/auto_online_blocks; (while sleep 1; do coldplug; done) >/dev/null 2>&1 & true',
    );
    await setMemory(machine, 512 * MiB);
    assert.equal(machine.hardware.spec.memory, 512 * MiB);
    assert.ok((await total()) > before + 250, `${before} → ${await total()}`);
    await assert.rejects(setMemory(machine, 2048 * MiB), isConflict(/1024 MiB are the most/));
    await setMemory(machine, 320 * MiB);
    assert.ok((await total()) < before + 200);
    await setMemory(machine, 160 * MiB);
    assert.ok((await total()) < before - 20, `${before} → ${await total()}`);
    assert.ok(Math.abs(machine.hardware.spec.memory - 160 * MiB) < MiB);
    await setMemory(machine, 192 * MiB);
    assert.ok(existsSync(machine.directory));
  });
});
