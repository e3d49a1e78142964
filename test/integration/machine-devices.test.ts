import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { MachineSpec } from '../../src/engine/machine.ts';
import { isIsleError } from '../../src/lib/errors.ts';
import {
  addInterface,
  machineDisk,
  machineFixture,
  type MachineFixture,
  tinySpec,
} from '../fixtures/machine.ts';
import { tinyGuest, tinyImage } from '../fixtures/tiny-guest.ts';

let machines: MachineFixture;
before(async () => {
  machines = await machineFixture();
});
after(async () => await machines.dispose());

/** Starts a machine, looks at it with QEMU's own eyes, and pulls its plug: no guest has to come up. */
async function withMachine(
  changes: Partial<MachineSpec>,
  look: (ask: <T>(command: string, args?: object) => Promise<T>, directory: string) => Promise<void>,
): Promise<void> {
  const { runtime } = machines;
  const workload = await machines.workload(tinySpec(changes));
  addInterface(workload.netns!);
  await runtime.create(workload);
  await runtime.start(workload.id);
  const qmp = await (await runtime.live(workload.id)).qmp();
  assert.equal((await qmp.execute<{ running: boolean }>('query-status')).running, true);
  await look((command, args) => qmp.execute(command, args), workload.machine.directory);
  await runtime.delete(workload.id);
}

test('a q35 has a port of its own for each device, and ports for those to come', async () => {
  const disks = (['virtio', 'scsi', 'sata', 'ide', 'nvme'] as const).map((bus, index) =>
    machineDisk({ bus, target: `d${index}`, format: index % 2 === 0 ? 'qcow2' : 'raw' }),
  );
  const cdroms = [{ target: 'sda', path: tinyImage() }, { target: 'sdb' }];
  const changes = { disks, cdroms, boot: ['sda', 'd0', 'net0'], maxVcpus: 2, maxMemory: 256 * 1024 * 1024 };
  await withMachine({ ...changes, graphics: true }, async (ask) => {
    const ports = (await ask<{ name: string }[]>('qom-list', { path: '/machine/peripheral' })).filter(
      ({ name }) => name.startsWith('port'),
    );
    let free = 0;
    for (const { name } of ports) {
      const inside = await ask<{ name: string }[]>('qom-list', {
        path: `/machine/peripheral/${name}/${name}`,
      });
      if (!inside.some((each) => each.name.startsWith('child['))) free++;
    }
    assert.equal(free, 8);
    const blocks = await ask<{ qdev?: string }[]>('query-block');
    assert.deepEqual(
      blocks
        .map(({ qdev }) => qdev?.match(/\/peripheral\/(\w+)/)?.[1] ?? String(qdev))
        .toSorted((a, b) => a.localeCompare(b)),
      ['d0', 'd1', 'd2', 'd3', 'd4', 'sda', 'sdb'],
    );
    const found = await ask<{ type: string; props: { 'vcpu-id'?: number } }[]>('query-hotpluggable-cpus');
    assert.equal(found.length, 2);
    assert.equal((await ask<{ enabled: boolean }>('query-vnc')).enabled, true);
  });
});

test('UEFI has variables of its own, also with secure boot, and a TPM keeps its state in the machine', async () => {
  for (const firmware of ['uefi', 'uefi-secure'] as const)
    await withMachine({ firmware, tpm: true, kernel: undefined }, async (ask, directory) => {
      const nodes = await ask<{ 'node-name': string; drv: string }[]>('query-named-block-nodes');
      assert.equal(nodes.find((node) => node['node-name'] === 'nvram')?.drv, 'qcow2');
      assert.ok(existsSync(join(directory, 'nvram.qcow2')));
      const [tpm] = await ask<{ model: string }[]>('query-tpm');
      assert.equal(tpm?.model, 'tpm-crb');
      assert.ok(readdirSync(join(directory, 'tpm')).includes('tpm2-00.permall'));
    });
});

test('a microvm has its devices without a bus', async () => {
  await withMachine({ type: 'microvm', disks: [machineDisk()] }, async (ask) => {
    const blocks = await ask<{ qdev?: string }[]>('query-block');
    assert.match(blocks[0]?.qdev ?? '', /vda/);
  });
});

test('other processors are emulated', async () => {
  const arm = tinyGuest('aarch64');
  const kernel = { path: arm.kernel, initrd: arm.initrd, arguments: arm.arguments };
  const virt: Partial<MachineSpec> = { type: 'virt', disks: [machineDisk()], cdroms: [{ target: 'sda' }] };
  await withMachine({ ...virt, arch: 'aarch64', kernel, graphics: true }, async (ask) => {
    assert.equal((await ask<{ arch: string }>('query-target')).arch, 'aarch64');
  });
  await withMachine(
    { ...virt, arch: 'aarch64', firmware: 'uefi', kernel: undefined, tpm: true },
    async (ask) => {
      assert.equal((await ask<unknown[]>('query-tpm')).length, 1);
    },
  );
  await withMachine({ ...virt, arch: 'riscv64', kernel: undefined }, async (ask) => {
    assert.equal((await ask<{ arch: string }>('query-target')).arch, 'riscv64');
  });
});

test('a shared directory is seen by the guest, with owners as on the host', async () => {
  const source = join(machines.directory, 'shared');
  await mkdir(source);
  await writeFile(join(source, 'file'), 'from the host\n');
  const workload = await machines.up(tinySpec({ shares: [{ source, tag: 'docs', readOnly: false }] }));
  const said = await machines.type(
    workload,
    'mount -t virtiofs docs /mnt; cat /mnt/file; stat -c %u:%g /mnt/file; echo from the guest >/mnt/answer; sync',
  );
  assert.match(said, /from the host\n0:0\n/);
  assert.ok(existsSync(join(source, 'answer')));
  await machines.runtime.delete(workload.id);
});

test('devices that this host does not have are refused by name', async () => {
  const refused = async (changes: Partial<MachineSpec>, message: RegExp) => {
    const workload = await machines.workload(tinySpec(changes));
    await assert.rejects(
      machines.runtime.create(workload),
      (error) => isIsleError(error, 'invalidParameter', 'unavailable') && message.test(String(error)),
    );
  };
  await refused({ usb: [{ vendor: 0xdead, product: 0xbeef }] }, /no USB device dead:beef/);
  await refused({ pci: ['0000:7f:1f.7'] }, /0000:7f:1f\.7 is not there/);
  await refused(
    { arch: 'aarch64', type: 'virt', accelerator: 'kvm' },
    /cannot run a machine for aarch64 with KVM/,
  );
  const { runtime } = machines;
  assert.deepEqual(await runtime.leftovers(), []);
});
