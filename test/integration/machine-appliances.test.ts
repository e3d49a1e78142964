import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileAppliances } from '../../src/images/appliances/file-appliances.ts';
import { silentLog } from '../../src/lib/log.ts';
import type { ForeignFormat } from '../../src/storage/disks.ts';
import { createDisks } from '../../src/storage/disks/service.ts';
import { contentOf, writeTestDisk } from '../fixtures/appliances/disks.ts';
import { samples } from '../fixtures/appliances/samples.ts';
import { type FakeEngine, fakeEngine, withMachines } from '../fixtures/fake-engine.ts';

/** The engine over the real disk store and the real readers and writers; nothing boots here. */

const directory = mkdtempSync(join(tmpdir(), 'isle-appliances-'));
const size = 6 << 20;
const raw = join(directory, 'disk.raw');
const content = writeTestDisk(raw, size);
const signal = new AbortController().signal;
const engines: FakeEngine[] = [];

after(async () => {
  for (const fake of engines) await fake.close();
  rmSync(directory, { recursive: true, force: true });
});

async function engine(): Promise<FakeEngine> {
  const dataRoot = mkdtempSync(join(tmpdir(), 'isle-appliances-root-'));
  const disks = createDisks({ dataRoot, log: silentLog() });
  const fake = await fakeEngine({ dataRoot, disks, appliances: fileAppliances() }, undefined, withMachines);
  engines.push(fake);
  return fake;
}

function empty(): string {
  return mkdtempSync(join(directory, 'a-'));
}

/** What the guest of a machine would see on its first disk. */
function seen({ engine, options }: FakeEngine, name: string): string {
  const { diskId } = engine.machines.get(name).spec.machine.disks[0]!;
  const { path } = options.disks.files(diskId!);
  return contentOf(path, 'qcow2', directory, size);
}

test('a machine of every hypervisor comes in with its disk, and nothing is left beside it', async () => {
  const fake = await engine();
  const wrong: string[] = [];
  for (const [index, [name, sample]] of Object.entries(samples).entries()) {
    const progress = new Set<string>();
    const { id } = await fake.engine.machines.appliances.import(sample(empty(), raw), {
      name: `m${index}`,
      virtio: false,
      signal,
      onProgress: (what) => progress.add(what),
    });
    if (seen(fake, id) !== content) wrong.push(`${name}: another content`);
    if (progress.size === 0) wrong.push(`${name}: no progress`);
    const left = readdirSync(join(fake.options.dataRoot, 'machines', id));
    if (left.includes('import')) wrong.push(`${name}: left ${left.join(' ')}`);
  }
  assert.deepEqual(wrong, []);
});

test('hardware is what the guest knows: controllers, cards, addresses, firmware, boot order', async () => {
  const fake = await engine();
  const import_ = async (sample: string) => {
    const { id, warnings } = await fake.engine.machines.appliances.import(samples[sample]!(empty(), raw), {
      virtio: false,
      signal,
    });
    const { name, spec } = fake.engine.machines.get(id);
    return { name, spec, machine: spec.machine, warnings };
  };
  const vmx = await import_('VMware VMX, one file');
  assert.equal(vmx.name, 'old-server');
  assert.deepEqual(
    vmx.machine.disks.map(({ target, bus, controller }) => [target, bus, controller]),
    [['sda', 'scsi', 'lsi53c895a']],
  );
  assert.deepEqual(vmx.machine.cdroms, [{ target: 'sdb' }]);
  assert.deepEqual(vmx.machine.boot, ['sda', 'sdb']);
  assert.deepEqual(vmx.machine.nicModels, ['vmxnet3']);
  assert.deepEqual(vmx.spec.networks, { bridge: { macAddress: '00:0c:29:cc:bb:aa' } });
  assert.match(vmx.warnings.join('\n'), /network card 2 \(00:50:56:00:11:22.*isle network connect/);
  assert.equal(vmx.machine.origin, 'vmx: old.vmx');
  const flat = await import_('VMware ESXi VMX, flat');
  assert.equal(flat.machine.disks[0]!.controller, 'pvscsi');
  assert.notEqual(flat.machine.uuid, vmx.machine.uuid);
  assert.match(flat.warnings.join('\n'), /UUID is taken/);
  const hyperv = await import_('Hyper-V 2nd generation, VMCX');
  assert.deepEqual(
    [hyperv.name, hyperv.machine.firmware, hyperv.machine.nicModels],
    ['win-box', 'uefi-secure', ['e1000e']],
  );
  const libvirt = await import_('libvirt');
  assert.deepEqual(
    [libvirt.machine.disks[0]!.bus, libvirt.machine.tpm, libvirt.machine.osVariant],
    ['virtio', true, 'debian12'],
  );
  assert.match(libvirt.warnings.join('\n'), /TPM is a new one/);
});

test('a machine goes out in every format and comes back the same', async () => {
  const fake = await engine();
  const { appliances } = fake.engine.machines;
  const { id } = await appliances.import(samples['VMware OVA']!(empty(), raw), {
    name: 'srv',
    virtio: false,
    signal,
  });
  const place = empty();
  for (const format of ['vmdk', 'vdi', 'vhdx', 'vpc', 'raw', 'qcow2'] satisfies ForeignFormat[]) {
    const { files } = await appliances.export(id, { format, target: join(place, `srv.${format}`), signal });
    assert.deepEqual(files, [join(place, `srv-sda.${format}`), join(place, `srv-sdb.${format}`)]);
    assert.equal(contentOf(files[0]!, format, directory, size), content, format);
    const back = await appliances.import(files[0]!, {
      name: `back-${format}`,
      hint: format,
      virtio: false,
      signal,
    });
    assert.equal(seen(fake, back.id), content, `${format} and back`);
  }
  const target = join(place, 'srv.ova');
  const { files, bytes } = await appliances.export(id, { format: 'ova', target, signal });
  assert.deepEqual(files, [target]);
  assert.ok(bytes > 100_000);
  const back = await appliances.import(target, { name: 'back', virtio: false, signal });
  assert.equal(seen(fake, back.id), content);
  const [before, then] = [fake.engine.machines.get(id), fake.engine.machines.get(back.id)];
  const facts = ({ machine, networks }: typeof before.spec) => ({
    memory: machine?.memory,
    vcpus: machine?.vcpus,
    firmware: machine?.firmware,
    disks: machine?.disks.map(({ bus, controller }) => [bus, controller]),
    nics: machine?.nicModels,
    networks,
  });
  assert.deepEqual(facts(then.spec), facts(before.spec));
  assert.deepEqual(
    readdirSync(join(fake.options.dataRoot, 'machines', id)).filter((name) => name.startsWith('export')),
    [],
  );
});

test('nothing is written over, and what is given up leaves nothing', async () => {
  const fake = await engine();
  const { appliances } = fake.engine.machines;
  const sample = samples['VirtualBox OVA']!(empty(), raw);
  const { id } = await appliances.import(sample, { name: 'web', virtio: false, signal });
  const place = empty();
  writeFileSync(join(place, 'there.ova'), 'mine');
  await assert.rejects(
    appliances.export(id, { format: 'ova', target: join(place, 'there.ova'), signal }),
    /there already/,
  );
  for (const format of ['ova', 'vdi'] as const) {
    const gone = new AbortController();
    const target = join(place, `gone.${format}`);
    const exporting = appliances.export(id, {
      format,
      target,
      signal: gone.signal,
      onProgress: () => gone.abort(new Error('enough')),
    });
    await assert.rejects(exporting);
    assert.deepEqual(readdirSync(place), ['there.ova']);
  }
  const gone = new AbortController();
  const importing = appliances.import(sample, {
    name: 'half',
    virtio: false,
    signal: gone.signal,
    onProgress: () => gone.abort(new Error('enough')),
  });
  await assert.rejects(importing);
  assert.equal(fake.engine.machines.list().length, 1);
  assert.deepEqual(
    fake.options.disks.list().map((disk) => disk.id),
    ['web-sda'],
  );
  assert.equal(existsSync(join(fake.options.dataRoot, 'machines', id)), true);
  assert.equal(readdirSync(join(fake.options.dataRoot, 'machines')).length, 1);
});

test('a machine that runs, or whose disk is a file of the user, is not exported', async () => {
  const fake = await engine();
  const { appliances } = fake.engine.machines;
  const { id } = await appliances.import(samples['qcow2 alone']!(empty(), raw), {
    name: 'web',
    virtio: false,
    signal,
  });
  await fake.engine.containers.start(id);
  const target = join(empty(), 'web.ova');
  await assert.rejects(appliances.export(id, { format: 'ova', target, signal }), /"web" runs: shut it down/);
});
