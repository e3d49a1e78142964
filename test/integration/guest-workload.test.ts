/** Workloads in a real guest, booted by hand: from the run to the end of the guest. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GuestAgent } from '../../src/runtimes/microvm/guest/agent.ts';
import { makeBusyboxRoot } from '../fixtures/busybox-root.ts';
import { GuestMachine, guestProcess, guestSpec } from '../fixtures/guest-machine.ts';

/** Milliseconds: guests are slow on a busy host. */
const patience = { timeout: 240_000 };
const sigkill = 9;
const sigterm = 15;

test('a workload has its identity, its files and its exit code', patience, async () => {
  await using machine = await GuestMachine.boot();
  await mkdir(join(machine.root, 'data'));
  await symlink('/../../../../data', join(machine.root, 'link'));
  using agent = disposable(await machine.connect());
  const script =
    'id -u; pwd; hostname; cat /proc/sys/kernel/domainname /proc/sys/kernel/shmmni; mount | grep link; echo kept > file; echo tmp > /link/tmp; echo oops >&2; exit 42';
  const spec = guestSpec(guestProcess(['sh', '-c', script], { cwd: '/made/for me', uid: 0 }), {
    hostname: 'name',
    domainname: 'example.org',
    sysctls: { 'kernel.shmmni': '123' },
  });
  spec.mounts.push({ type: 'tmpfs', target: '/link', options: ['size=64k', 'mode=700'] });
  await agent.agent.run(spec);
  assert.deepEqual(await machine.port.exit, { code: 42, oom: false });
  assert.equal(machine.port.stderr.toString(), 'oops\n');
  const lines = machine.port.stdout.toString().split('\n');
  assert.deepEqual(lines.slice(0, 5), ['0', '/made/for me', 'name', 'example.org', '123']);
  assert.equal(await readFile(join(machine.root, 'made/for me/file'), 'utf8'), 'kept\n');
  assert.ok(!existsSync(join(machine.root, 'data/tmp')), 'the tmpfs was mounted inside of the root');
  // Nobody says that the exit was heard: the guest ends by itself.
  await machine.ended;
});

test('a failed start says which step, and another may follow', patience, async () => {
  await using machine = await GuestMachine.boot();
  using agent = disposable(await machine.connect());
  const failing = (args: string[], more: Parameters<typeof guestSpec>[1] = {}): Promise<void> =>
    agent.agent.run(guestSpec(guestProcess(args), more));
  await assert.rejects(failing(['no-such']), { code: 'commandNotFound' });
  await assert.rejects(failing(['true'], { share: { tag: 'isle', directory: 'no/such' } }), {
    message: /open the root in the share: no\/such: ENOENT/,
  });
  await assert.rejects(failing(['true'], { sysctls: { 'no.such': '1' } }), {
    message: /set the sysctl: no.such=1: ENOENT/,
  });
  await assert.rejects(
    failing(['true'], {
      links: [
        {
          macAddress: '02:00:00:00:00:01',
          name: 'eth0',
          mtu: 1500,
          addresses: [],
          routes: [],
          neighbours: [],
          sysctls: {},
        },
      ],
    }),
    { message: /find the link: 02:00:00:00:00:01: ENODEV/ },
  );
  await assert.rejects(
    failing(['true'], { mounts: [{ type: 'proc', target: '/etc/passwd/x', options: [] }] }),
    { message: /make the mount point: \/etc\/passwd\/x: ENOTDIR/ },
  );
  await failing(['sh', '-c', 'echo finally']);
  assert.equal((await machine.port.exit).code, 0);
  assert.equal(machine.port.stdout.toString(), 'finally\n');
});

test('a workload with a terminal, below an init', patience, async () => {
  await using machine = await GuestMachine.boot();
  using agent = disposable(await machine.connect());
  const script =
    'tty; stty size; echo console > /dev/console; (sleep 0.1 &); trap "echo term; exit 3" TERM; read line; echo "got $line"; echo up; while :; do sleep 0.1; done';
  await agent.agent.run(
    guestSpec(
      guestProcess(['sh', '-c', script], { tty: true, stdin: true, size: { columns: 90, rows: 30 } }),
      { init: true },
    ),
  );
  await machine.port.until((stdout) => stdout.includes('console\r\n'));
  assert.match(machine.port.stdout.toString(), /^\/dev\/pts\/0\r\n30 90\r\nconsole\r\n/);
  await machine.port.write(Buffer.from('typed\n'));
  await machine.port.until((stdout) => stdout.includes('got typed') && stdout.includes('up'));
  await agent.agent.resize({ columns: 10, rows: 5 });
  const { processes } = await agent.agent.processes();
  assert.ok(
    processes.some((row) => row[1] === '1'),
    JSON.stringify(processes),
  );
  assert.ok(!processes.some((row) => row.join(' ').includes('sleep 0.1')) || processes.length < 6);
  machine.port.signal(sigterm);
  assert.deepEqual(await machine.port.exit, { code: 3, oom: false });
  assert.match(machine.port.stdout.toString(), /term\r\n$/);
});

test('a workload that takes too much memory is killed, and the guest says so', patience, async () => {
  await using machine = await GuestMachine.boot({ memory: 128 });
  using agent = disposable(await machine.connect());
  await agent.agent.run(guestSpec(guestProcess(['sh', '-c', 'exec tail -c 90000000 /dev/zero'])));
  assert.deepEqual(await machine.port.exit, { code: 137, oom: true });
});

test('output that is read slowly is complete when the exit comes', patience, async () => {
  await using machine = await GuestMachine.boot();
  using agent = disposable(await machine.connect());
  await agent.agent.run(
    guestSpec(guestProcess(['sh', '-c', 'yes 0123456789 | head -c 8000000; echo end >&2'])),
  );
  machine.port.pause();
  await sleep(1000);
  machine.port.resume();
  assert.equal((await machine.port.exit).code, 0);
  assert.equal(machine.port.stdout.length, 8_000_000);
  assert.equal(machine.port.stderr.toString(), 'end\n');
});

test('a guest without a workload waits, and powers off when asked', patience, async () => {
  await using machine = await GuestMachine.boot();
  const first = await machine.connect();
  assert.equal(first.welcome.workload, 'none');
  await assert.rejects(first.exec(guestProcess(['true'])), { code: 'guestFailed' });
  first.close();
  const second = await machine.connect();
  second.powerOff();
  await machine.ended;
  assert.equal((await second.closed)?.name, 'IsleError');
});

test('powering off ends the workload in order', patience, async () => {
  await using machine = await GuestMachine.boot();
  using agent = disposable(await machine.connect());
  await agent.agent.run(
    guestSpec(
      guestProcess(['sh', '-c', 'trap "echo bye; exit 4" TERM; echo up; while :; do sleep 0.1; done']),
    ),
  );
  await machine.port.until((stdout) => stdout.includes('up'));
  agent.agent.powerOff();
  assert.equal((await machine.port.exit).code, 4);
  assert.equal(machine.port.stdout.toString(), 'up\nbye\n');
  await machine.ended;
});

test('a read-only root leaves its volumes writable', patience, async () => {
  await using machine = await GuestMachine.boot();
  await mkdir(join(machine.root, 'volume'));
  await writeFile(join(machine.root, 'etc/hosts'), 'before\n');
  using agent = disposable(await machine.connect());
  const script = 'touch /file; touch /volume/file; echo after > /etc/hosts; touch /tmp/file; ls /tmp';
  const spec = guestSpec(guestProcess(['sh', '-c', script]), {
    readonlyRoot: true,
    submounts: ['/volume', '/etc/hosts'],
  });
  spec.mounts.push({ type: 'tmpfs', target: '/tmp', options: ['nosuid'] });
  await agent.agent.run(spec);
  await machine.port.exit;
  assert.match(machine.port.stderr.toString(), /^touch: \/file: Read-only file system\n$/);
  assert.ok(existsSync(join(machine.root, 'volume/file')));
  assert.equal(await readFile(join(machine.root, 'etc/hosts'), 'utf8'), 'after\n');
  assert.equal(machine.port.stdout.toString(), 'file\n');
});

test('links get their names, addresses, routes and neighbours', patience, async () => {
  const mac = '02:49:53:00:00:07';
  const device = process.arch === 'x64' ? 'virtio-net-device' : 'virtio-net-pci';
  await using machine = await GuestMachine.boot({
    args: ['-netdev', 'hubport,id=net,hubid=0', '-device', `${device},netdev=net,mac=${mac}`],
  });
  using agent = disposable(await machine.connect());
  const script =
    'cat /sys/class/net/lan0/mtu; cat /proc/net/route /proc/net/if_inet6 /proc/net/arp; cat /proc/sys/net/ipv4/conf/lan0/route_localnet; cat /proc/net/fib_trie';
  const spec = guestSpec(guestProcess(['sh', '-c', script]), {
    links: [
      {
        macAddress: mac,
        name: 'lan0',
        mtu: 1400,
        addresses: ['10.9.8.7/24', 'fd00::7/64'],
        routes: [
          { destination: '0.0.0.0/0', gateway: '10.9.8.1' },
          { destination: '127.0.0.11/32', table: 255 },
        ],
        neighbours: [{ address: '127.0.0.11', macAddress: '02:00:00:00:00:0b' }],
        sysctls: { 'ipv4/conf/lan0/route_localnet': '1' },
      },
    ],
  });
  await agent.agent.run(spec);
  await machine.port.exit;
  const all = machine.port.stdout.toString();
  assert.match(all, /^1400\n/);
  assert.match(all, /lan0\t00000000\t0108090A\t0003/);
  assert.match(all, /fd000000000000000000000000000007 \w+ 40 00 8[02] +lan0/);
  assert.match(all, /127\.0\.0\.11 +0x1 +0x6 +02:00:00:00:00:0b/);
  assert.match(all, /\n1\n/);
});

test(
  'a workload that rearranges its root and its groups neither holds up nor leads astray an exec',
  patience,
  async () => {
    await using machine = await GuestMachine.boot();
    using connected = disposable(await machine.connect());
    const { agent } = connected;
    const all = Array.from({ length: 41 }, (_, bit) => bit);
    const script = `
    cd /sys/fs/cgroup; mkdir a; echo 1 > a/cgroup.procs; echo +memory > cgroup.subtree_control
    rm /dev/pts/ptmx; mkfifo /dev/pts/ptmx; rm /dev/null; mkfifo /dev/null; rm /dev/console; mkfifo /dev/console
    echo ready; exec sleep 1000`;
    const spec = guestSpec(guestProcess(['sh', '-c', script], { capabilities: all }), { readonlyPaths: [] });
    spec.mounts = spec.mounts
      .filter(({ type }) => type !== 'devpts')
      .map((mount) => ({ ...mount, options: mount.options.filter((option) => option !== 'ro') }));
    await agent.run(spec);
    await machine.port.until((stdout) => stdout.includes('ready'));
    const exec = await agent.exec(guestProcess(['cat', '/proc/self/cgroup']));
    assert.equal(await text(exec.streams.stdout), '0::/exec\n');
    await assert.rejects(agent.exec(guestProcess(['sh'], { tty: true })), {
      message: /open a terminal: .*: ENOTTY/,
    });
    await agent.signal(sigkill);
    assert.equal((await machine.port.exit).code, 137);
  },
);

test(
  'a root that is mounted into the share after the boot is found, with the mounts below it',
  patience,
  async () => {
    await using machine = await GuestMachine.boot();
    using connected = disposable(await machine.connect());
    const late = join(machine.root, 'late');
    await mkdir(late);
    await using undo = new AsyncDisposableStack();
    execFileSync('mount', ['-t', 'tmpfs', 'late', late]);
    undo.defer(() => void execFileSync('umount', ['-l', late]));
    await makeBusyboxRoot(late);
    await mkdir(join(late, 'volume'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'volume', join(late, 'volume')]);
    undo.defer(() => void execFileSync('umount', ['-l', join(late, 'volume')]));
    const script =
      'echo kept > /volume/file; echo root > /file; ls /late; stat -c %d / /volume | uniq | wc -l';
    const spec = guestSpec(guestProcess(['sh', '-c', script]), { share: { tag: 'isle', directory: 'late' } });
    await connected.agent.run(spec);
    assert.equal((await machine.port.exit).code, 0);
    assert.equal(machine.port.stdout.toString(), '2\n');
    assert.match(machine.port.stderr.toString(), /^ls: \/late: No such file or directory\n$/);
    assert.equal(await readFile(join(late, 'volume/file'), 'utf8'), 'kept\n');
  },
);

test('a guest of a machine with a PCI bus finds its devices, too', patience, async () => {
  const mac = '02:49:53:00:00:08';
  await using machine = await GuestMachine.boot({
    machine: 'q35',
    args: [
      ...['-netdev', 'hubport,id=net,hubid=0', '-device', `virtio-net-pci,netdev=net,mac=${mac}`],
      ...['-device', 'virtio-rng-pci', '-device', 'virtio-balloon-pci'],
    ],
  });
  using agent = disposable(await machine.connect());
  const link = { macAddress: mac, name: 'eth0', mtu: 1500, addresses: ['10.1.2.3/24'] };
  const spec = guestSpec(guestProcess(['sh', '-c', 'cat /sys/class/net/eth0/address; cat /proc/version']), {
    links: [{ ...link, routes: [], neighbours: [], sysctls: {} }],
  });
  await agent.agent.run(spec);
  assert.equal((await machine.port.exit).code, 0);
  assert.match(machine.port.stdout.toString(), new RegExp(`^${mac}\nLinux version`));
});

function disposable(agent: GuestAgent): Disposable & { agent: GuestAgent } {
  return { agent, [Symbol.dispose]: () => agent.close() };
}
