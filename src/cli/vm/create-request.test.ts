import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { IsleError } from '../../lib/errors.ts';
import { Failure } from '../failure.ts';
import { parseArguments } from '../parse.ts';
import { createFlags } from './create-flags.ts';
import { createRequest } from './create-request.ts';
import { sha512Crypt } from './sha512-crypt.ts';
import { refuseLater } from './when.ts';

const directory = mkdtempSync(join(tmpdir(), 'isle-vm-create-'));
after(() => rmSync(directory, { recursive: true }));

function file(name: string, content = ''): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

const qcow2 = file('deb.qcow2');
const img = file('cloud.img');
const iso = file('debian.iso');
const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample me@here';
const pub = file('id.pub', `${key}\n`);

function ask(line: string | string[]) {
  const words = typeof line === 'string' ? line.split(' ') : line;
  const { args, flags } = parseArguments(words, createFlags, { interspersed: true });
  return { args, ...createRequest(flags, args[0] ?? flags.name) };
}

function refused(line: string | string[], message: RegExp): void {
  assert.throws(() => ask(line), message, String(line));
}

test('what virt-install would do and Isle does not is said', () => {
  const { notes } = ask(
    `deb --image ${qcow2} --wait -1 --autoconsole graphical --metadata title=Web --video qxl`,
  );
  assert.match(notes.join(), /does not wait.*isle vm display.*title= has no effect.*--video has no effect/);
  ask(`deb --image ${qcow2} --os-type linux --os-variant debian12`);
  refused('deb --image https://example.org/deb.qcow2', /download it first/);
  refused(`deb --image ${qcow2} --nographics`, /say --graphics none/);
  refused(`deb --image ${qcow2} --autoconsole loud`, /there are text and none/);
});

test('a change that a running machine has at once is refused to who wants it at the next start only', () => {
  const flags = { config: true, live: false, persistent: false };
  const machine = { Name: 'deb', State: 'running', Saved: false };
  assert.throws(() => refuseLater(machine, flags), /deb runs, .* --live --config/);
  refuseLater(machine, { ...flags, live: true });
  refuseLater(machine, { ...flags, config: false });
  refuseLater({ ...machine, State: 'exited' }, flags);
});

test('a cloud image, grown, with a key', () => {
  const { body, notes } = ask(
    `deb --memory 2048 --vcpus 2 --image ${qcow2} --disk size=20 --ssh-key ${pub} -p 2222:22`,
  );
  assert.equal(body.Name, 'deb');
  assert.deepEqual(body.Disks, [
    {
      source: { kind: 'import', path: qcow2, format: 'qcow2', size: 20 * 1024 ** 3 },
      readOnly: false,
      limits: {},
      target: 'vda',
      bus: 'virtio',
      discard: true,
    },
  ]);
  assert.deepEqual(body.Hardware, {
    arch: process.arch === 'arm64' ? 'aarch64' : 'x86_64',
    type: process.arch === 'arm64' ? 'virt' : 'q35',
    firmware: process.arch === 'arm64' ? 'uefi' : 'bios',
    graphics: process.arch !== 'arm64',
    memory: 2 * 1024 ** 3,
    vcpus: 2,
    tpm: false,
    cdroms: [],
    nicModels: ['virtio'],
    shares: [],
    usb: [],
    pci: [],
    boot: ['vda'],
    cloudInit: { sshKeys: [key] },
  });
  assert.deepEqual(body.Container.HostConfig, {
    NetworkMode: 'default',
    PortBindings: { '22/tcp': [{ HostIp: '', HostPort: '2222' }] },
    RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
    NanoCpus: undefined,
    CpusetCpus: undefined,
    LogConfig: { Type: '', Config: {} },
  });
  assert.deepEqual(notes, []);
});

test('a note for virt-install, word by word', () => {
  const { body, notes } = ask([
    ...'--connect qemu:///system --virt-type qemu --name web --ram 1024,maxmemory=4096 --vcpus=2,maxvcpus=4'.split(
      ' ',
    ),
    ...'--cpu host-passthrough --os-variant ubuntu22.04 --hvm --arch x86_64 --machine q35'.split(' '),
    '--disk',
    `path=/var/lib/libvirt/images/web-that-is-not-there.qcow2,size=20,format=qcow2,bus=virtio,cache=none,discard=unmap,io=native`,
    ...`--cdrom ${iso} --network bridge=virbr0,model=virtio,mac=52:54:00:aa:bb:cc`.split(' '),
    ...'--graphics vnc,listen=0.0.0.0 --console pty,target_type=serial --rng /dev/urandom --noautoconsole'.split(
      ' ',
    ),
    ...'--channel unix,target_type=virtio,name=org.qemu.guest_agent.0 --video qxl --autostart --boot uefi'.split(
      ' ',
    ),
    ...'--events on_reboot=restart --tpm emulator,model=tpm-crb,version=2.0 --features kvm_hidden=on --check all=off'.split(
      ' ',
    ),
  ]);
  assert.equal(body.Name, 'web');
  assert.deepEqual(body.Disks[0]?.source, { kind: 'empty', size: 20 * 1024 ** 3 });
  assert.equal(body.Disks[0]?.cache, 'none');
  assert.deepEqual(body.Hardware.cdroms, [{ target: 'sda', path: iso }]);
  assert.deepEqual(body.Hardware.boot, ['vda', 'sda']);
  assert.equal(body.Hardware.firmware, 'uefi');
  assert.equal(body.Hardware.tpm, true);
  assert.equal(body.Hardware.accelerator, 'tcg');
  assert.equal(body.Hardware.maxVcpus, 4);
  assert.equal(body.Hardware.maxMemory, 4 * 1024 ** 3);
  assert.deepEqual(body.Container.Labels, { 'isle.autostart': '0' });
  assert.deepEqual(body.Container.NetworkingConfig, {
    EndpointsConfig: { default: { MacAddress: '52:54:00:aa:bb:cc' } },
  });
  assert.equal(notes.length, 4, notes.join('\n'));
});

test('what the guest’s system needs, where nothing else is said', () => {
  const { body } = ask(`--os-variant win11 --cdrom ${iso} --arch x86_64`);
  const { firmware, tpm, nicModels, memory, boot } = body.Hardware;
  assert.deepEqual([firmware, tpm, nicModels, memory / 1024 ** 3], ['uefi-secure', true, ['e1000e'], 4]);
  assert.equal(body.Disks[0]?.bus, 'sata');
  assert.deepEqual(boot, ['sda', 'sdb']);
  assert.equal(ask(`--osinfo detect=on,name=debian12 --disk ${qcow2}`).body.Hardware.osVariant, 'debian12');
  refused('--os-variant debain12 --pxe', /unknown --os-variant "debain12" \(did you mean "debian12"\?\)/);
});

test('what boots first: a CD while the disk is empty, a CD before a full one, what is numbered', () => {
  const boot = (line: string) => ask(`${line} --arch x86_64`).body.Hardware.boot;
  assert.deepEqual(boot(`--cdrom ${iso} --disk size=1`), ['vda', 'sda']);
  assert.deepEqual(boot(`--cdrom ${iso} --disk ${qcow2}`), ['sda', 'vda']);
  assert.deepEqual(
    boot(`--disk size=1,boot_order=2 --disk ${qcow2},boot_order=1 --network default,boot_order=3`),
    ['vdb', 'vda', 'net0'],
  );
  assert.deepEqual(boot(`--disk size=1 --cdrom ${iso} --boot network,hd`), ['net0', 'vda']);
  assert.deepEqual(boot('--pxe --disk size=1'), ['net0', 'vda']);
});

test('disks from everywhere', () => {
  const disk = (given: string) => ask(['--disk', given, '--arch', 'x86_64']).body.Disks[0];
  assert.deepEqual(disk('vol=old-vda')?.source, { kind: 'disk', disk: 'old-vda', linked: false });
  assert.deepEqual(disk('vol=default/old-vda')?.source, { kind: 'disk', disk: 'old-vda', linked: false });
  assert.deepEqual(disk('backing_store=base-vda,size=30')?.source, {
    kind: 'disk',
    disk: 'base-vda',
    linked: true,
    size: 30 * 1024 ** 3,
  });
  assert.deepEqual(disk(qcow2)?.source, { kind: 'file', path: qcow2, format: 'qcow2' });
  const vmdk = file('a.vmdk');
  assert.deepEqual(disk(`${vmdk},size=512M`)?.source, {
    kind: 'import',
    path: vmdk,
    format: 'vmdk',
    size: 512 * 1024 ** 2,
  });
  assert.deepEqual(disk('size=1,read_bytes_sec=1000,write_iops_sec=5,serial=A1,readonly=on,bus=scsi'), {
    source: { kind: 'empty', size: 1024 ** 3 },
    readOnly: true,
    limits: { readBps: 1000, writeIops: 5 },
    serial: 'A1',
    bus: 'scsi',
    target: 'sda',
    discard: true,
  });
});

test('formats are never guessed from what is in a file', () => {
  writeFileSync(img, Buffer.from('QFI\xfb', 'latin1'));
  refused(
    `--image ${img}`,
    /cannot tell the format of .*cloud.img by its name: add format=qcow2 \(it begins as qcow2 does; any guest that wrote to it may have made it so\)/,
  );
  assert.equal(
    ask(`--image ${img},format=qcow2 --checksum ${'A'.repeat(64)}`).body.Disks[0]?.source.kind,
    'import',
  );
});

test('seeds', () => {
  const seed = (...words: string[]) => ask(['--image', qcow2, '--arch', 'x86_64', ...words]);
  const userData = file('user-data', '#cloud-config\npackages: [nginx]\n');
  const first = seed('--cloud-init', userData, '--ssh-key', key).body.Hardware.cloudInit;
  assert.deepEqual(first, { sshKeys: [key], userData: '#cloud-config\npackages: [nginx]\n' });
  assert.deepEqual(
    seed('--cloud-init', `ssh-key=${pub},user-data=${userData}`, '--hostname', 'h').body.Hardware.cloudInit,
    {
      sshKeys: [key],
      hostname: 'h',
      root: { sshKeys: [key] },
      userData: '#cloud-config\npackages: [nginx]\n',
    },
  );
  const bare = seed('--cloud-init', '--vcpus', '1');
  assert.match(bare.rootPassword ?? '', /^\w{16}$/);
  assert.match(JSON.stringify(bare.body.Hardware.cloudInit), /"passwordHash":"\$6\$/);
  assert.match(seed().notes.join(), /nobody can log in/);
  assert.deepEqual(seed().body.Hardware.cloudInit, { sshKeys: [] });
  assert.equal(seed('--cloud-init', 'none').body.Hardware.cloudInit, undefined);
  const secret = file('id', '-----BEGIN OPENSSH PRIVATE KEY-----\n');
  assert.deepEqual(seed('--ssh-key', secret).body.Hardware.cloudInit, { sshKeys: [key] });
  refused(
    `--image ${qcow2} --ssh-key ${file('lone', '-----BEGIN PRIVATE KEY-----')}`,
    /is a private key: give its public one/,
  );
  refused(`--image ${qcow2} --ssh-key ${iso}`, /no SSH key in it/);
  refused(`--image ${qcow2} --cloud-init root-pasword-generate=on`, /did you mean root-password-generate\?/);
});

test('passwords are hashed as crypt(3) does', () => {
  for (const password of ['a', 'secret', 'ä'.repeat(40), 'x'.repeat(130)])
    assert.equal(
      sha512Crypt(password, 'saltsalt12345678'),
      execFileSync('openssl', ['passwd', '-6', '-salt', 'saltsalt12345678', '-stdin'], { input: password })
        .toString()
        .trim(),
    );
});

test('devices, shares and the rest', () => {
  const { body } = ask(
    `--boot kernel=/k,initrd=/i,kernel_args=console=ttyS0 --hostdev pci_0000_01_00_0 --hostdev 1d6b:0002 --filesystem /srv,data --filesystem source=/etc,target=conf,readonly=on --network none --cpu EPYC,+svm,disable=vmx --restart on-failure:3 --uuid 11111111-2222-3333-4444-555555555555`,
  );
  assert.deepEqual(body.Hardware.pci, ['0000:01:00.0']);
  assert.deepEqual(body.Hardware.usb, [{ vendor: 0x1d6b, product: 2 }]);
  assert.deepEqual(body.Hardware.shares, [
    { source: '/srv', tag: 'data', readOnly: false },
    { source: '/etc', tag: 'conf', readOnly: true },
  ]);
  assert.deepEqual(body.Hardware.kernel, { path: '/k', initrd: '/i', arguments: 'console=ttyS0' });
  assert.equal(body.Hardware.cpuModel, 'EPYC,+svm,-vmx');
  assert.deepEqual(body.Hardware.nicModels, []);
  assert.equal(body.Hardware.graphics, false);
  assert.equal((body.Container.HostConfig as { NetworkMode: string }).NetworkMode, 'none');
  assert.deepEqual(ask(['--boot', 'kernel=/k,kernel_args="a=1,2 b"']).body.Hardware.kernel, {
    path: '/k',
    arguments: 'a=1,2 b',
  });
});

test('what cannot be is refused by name, with the way to what is meant', () => {
  refused('deb', /nothing to boot from/);
  refused('--location http://x/ --disk size=1', /--location.*not supported: download the installation CD/);
  refused('--disk size=20,buss=virtio', /"buss" \(did you mean bus\?\)/);
  refused('--disk size=1,size=2', /size is said twice/);
  refused('--disk size=0', /no size: "0"/);
  refused('--disk /nowhere/a.qcow2', /no such file; with size=GIB a new disk is made/);
  refused('--disk pool=default,size=1', /pool is not supported/);
  refused(`--disk ${qcow2},shareable=on`, /one machine at a time/);
  refused('--pxe --network bridge=br0', /make a network/);
  refused('--pxe --network user', /leave --network out/);
  refused('--pxe --network a --network a', /one card on each/);
  refused('--pxe --network a,model=ne3000', /unknown model "ne3000"/);
  refused('--pxe --machine pc', /i440FX/);
  refused('--pxe --machine microvm --arch aarch64', /--machine microvm is not for aarch64/);
  refused('--pxe --vcpus 4,sockets=1,cores=3', /make 3, not 4/);
  refused('--pxe --events on_poweroff=restart', /--restart/);
  refused('--pxe --graphics sdl', /vnc or none/);
  refused('--pxe --hostdev video0', /no device: "video0"/);
  refused('--pxe --tpm /dev/tpm0', /is not passed through/);
  refused('--pxe --connect xen:///', /isle --host/);
  refused('--pxe --checksum abc', /no checksum/);
  refused('--pxe --qemu-commandline=-s', /QEMU is started by Isle alone/);
});

test('--import and --cloud-init know their value from what follows', () => {
  const read = (line: string) => parseArguments(line.split(' '), createFlags, { interspersed: true });
  assert.equal(read('web --import web.ova').flags.import, 'web.ova');
  assert.deepEqual(read('--import web --disk size=1').args, ['web']);
  assert.equal(read('--import --disk size=1').flags.import, '');
  assert.equal(read('--cloud-init deb').flags['cloud-init'], '');
  assert.equal(read('--cloud-init=deb').flags['cloud-init'], 'deb');
});

test('whatever is typed is taken or refused with words, and never ends in a stack', () => {
  const word = fc.constantFrom(
    ...[
      'size',
      'path',
      'vol',
      'format',
      'bus',
      'cache',
      'qcow2',
      'raw',
      '20',
      '-1',
      '1e9',
      '=',
      ',',
      '"',
      "'",
      '\\',
      '\n',
      '\0',
      ' ',
    ],
    ...[
      'none',
      'uefi',
      'hd',
      'kernel',
      'network',
      'mac',
      'user-data',
      '__proto__',
      'constructor',
      'yes',
      '../..',
      '/dev/null',
      '💾',
      '-x',
    ],
  );
  const text = fc
    .array(fc.oneof(word, fc.string({ unit: 'binary', maxLength: 4 })), { maxLength: 8 })
    .map((words) => words.join(''));
  const flags = [
    'disk',
    'image',
    'boot',
    'network',
    'memory',
    'vcpus',
    'cpu',
    'cloud-init',
    'ssh-key',
    'filesystem',
    'hostdev',
    'tpm',
    'graphics',
    'os-variant',
    'checksum',
    'events',
    'publish',
    'import',
    'serial',
    'features',
  ];
  fc.assert(
    fc.property(fc.constantFrom(...flags), text, (flag, value) => {
      try {
        const { body } = ask(['--pxe', `--${flag}=${value}`]);
        assert.ok(body.Disks.length <= 1);
        assert.equal(Object.getPrototypeOf(body.Hardware), Object.prototype);
      } catch (error) {
        assert.ok(error instanceof Failure || error instanceof IsleError, String(error));
      }
    }),
    { numRuns: 3000 },
  );
});
