/** The guest's init and agent in a real guest, booted by hand. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GuestAgent, GuestExec } from '../../src/runtimes/microvm/guest/agent.ts';
import { encodeFrame } from '../../src/runtimes/microvm/guest/frame-codec.ts';
import { frameType } from '../../src/runtimes/microvm/protocol.ts';
import { makeBusyboxRoot } from '../fixtures/busybox-root.ts';
import { GuestMachine, guestProcess, guestSpec } from '../fixtures/guest-machine.ts';

/** Milliseconds: guests are slow on a busy host. */
const patience = { timeout: 240_000 };
const sigkill = 9;
const sigterm = 15;

describe('a long-lived workload', patience, () => {
  let machine: GuestMachine;
  let agent: GuestAgent;

  before(async () => {
    machine = await GuestMachine.boot();
    await writeFile(join(machine.root, 'etc/not-a-program'), 'text', { mode: 0o644 });
    agent = await machine.connect();
    const workload = guestProcess(['sh', '-c', 'echo ready; cat; echo end of input'], { stdin: true });
    await agent.run(guestSpec(workload));
    await machine.port.until((stdout) => stdout.includes('ready'));
  }, patience);

  after(async () => {
    agent.close();
    await machine[Symbol.asyncDispose]();
  });

  const shell = (script: string, more: Parameters<typeof guestProcess>[1] = {}): Promise<GuestExec> =>
    agent.exec(guestProcess(['sh', '-c', script], more));

  async function output(script: string, more: Parameters<typeof guestProcess>[1] = {}): Promise<string> {
    const exec = await shell(script, more);
    const [stdout, stderr, { code }] = await Promise.all([
      text(exec.streams.stdout),
      text(exec.streams.stderr),
      exec.exit,
    ]);
    assert.equal(code, 0, stderr);
    return stdout;
  }

  test('a second workload is refused', async () => {
    await assert.rejects(agent.run(guestSpec(guestProcess(['true']))), { code: 'guestFailed' });
  });

  test('an exec has its output, its errors and its exit code', async () => {
    const exec = await shell('echo out; echo err >&2; exit 7');
    assert.ok(exec.pid > 1);
    assert.equal(await text(exec.streams.stdout), 'out\n');
    assert.equal(await text(exec.streams.stderr), 'err\n');
    assert.deepEqual(await exec.exit, { code: 7, oomKilled: false });
  });

  test("an exec is in the workload's namespaces and control group", async () => {
    const lines = await output(
      'hostname; readlink /proc/1/ns/pid; readlink /proc/self/ns/pid; cat /proc/self/cgroup; echo $$',
    );
    const [host, one, self, cgroup, pid = ''] = lines.split('\n');
    assert.equal(host, 'guest');
    assert.equal(one, self);
    assert.equal(cgroup, '0::/');
    assert.ok(Number(pid) < 1000, pid);
    assert.match(await output('cat /proc/1/cmdline'), /^sh/);
  });

  test('an exec has the identity it was given, and no capabilities without being root', async () => {
    const status = await output('id; grep -E "Cap|NoNew" /proc/self/status; ulimit -n; pwd; env', {
      uid: 1000,
      gid: 1000,
      groups: [44],
      cwd: '/home/user',
      env: ['PATH=/bin', 'COLOUR=blå = "x"'],
      noNewPrivileges: true,
      rlimits: [{ resource: 7, soft: 77n, hard: 88n }],
    });
    assert.match(status, /uid=1000\(user\) gid=1000\(user\) groups=44\(video\)/);
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb'])
      assert.match(status, new RegExp(`${set}:\\t0+\\n`));
    assert.match(status, /CapBnd:\t00000000a80425fb/);
    assert.match(status, /NoNewPrivs:\t1/);
    assert.match(status, /\n77\n\/home\/user\n/);
    assert.match(status, /COLOUR=blå = "x"/);
  });

  test('root has the capabilities it was given', async () => {
    const status = await output(
      'grep Cap /proc/self/status; grep oom /proc/self/status; cat /proc/self/oom_score_adj',
      {
        capabilities: [0, 21],
        oomScoreAdj: 300,
      },
    );
    assert.match(status, /CapInh:\t0+\n/);
    for (const set of ['CapPrm', 'CapEff', 'CapBnd'])
      assert.match(status, new RegExp(`${set}:\\t0000000000200001`));
    assert.match(status, /300\n$/);
  });

  test('why a program cannot be executed is told precisely', async () => {
    await assert.rejects(agent.exec(guestProcess(['no-such-program'])), { code: 'commandNotFound' });
    await assert.rejects(agent.exec(guestProcess(['/etc/no/such'])), { code: 'commandNotFound' });
    await assert.rejects(agent.exec(guestProcess(['/etc/not-a-program'])), { code: 'commandNotExecutable' });
    await assert.rejects(agent.exec(guestProcess([''])), { code: 'commandNotFound' });
    await assert.rejects(agent.exec(guestProcess(['sh'], { cwd: '/no/such' })), {
      code: 'guestFailed',
      message: /change to the directory: \/no\/such: ENOENT/,
    });
    await assert.rejects(
      agent.exec(guestProcess(['sh'], { rlimits: [{ resource: 99, soft: 1n, hard: 1n }] })),
      {
        code: 'guestFailed',
        message: /set the resource limit: 99: EINVAL/,
      },
    );
  });

  test('a working directory cannot lead out of the root through a descriptor', async () => {
    for (let fd = 3; fd < 20; fd++)
      await assert.rejects(agent.exec(guestProcess(['pwd'], { cwd: `/proc/self/fd/${fd}` })), {
        code: 'guestFailed',
      });
    assert.match(await output('ls -l /proc/self/fd | wc -l'), /^[456]\n$/);
  });

  test('input reaches an exec, and its end too', async () => {
    const exec = await shell('cat; echo done', { stdin: true });
    exec.streams.stdin!.end('some input\n');
    assert.equal(await text(exec.streams.stdout), 'some input\ndone\n');
    assert.equal((await exec.exit).code, 0);
  });

  test('without input an exec reads nothing', async () => {
    assert.equal(await output('cat; echo end'), 'end\n');
  });

  test('much input and much output go through unchanged, both at once', async () => {
    const exec = await shell('cat', { stdin: true });
    const data = Buffer.alloc(3 * 1024 * 1024, 'The quick brown fox. ');
    const hash = createHash('sha256');
    let size = 0;
    exec.streams.stdout.on('data', (chunk: Buffer) => {
      hash.update(chunk);
      size += chunk.length;
    });
    exec.streams.stdin!.end(data);
    assert.equal((await exec.exit).code, 0);
    if (!exec.streams.stdout.readableEnded)
      await new Promise((resolve) => exec.streams.stdout.once('end', resolve));
    assert.equal(size, data.length);
    assert.equal(hash.digest('hex'), createHash('sha256').update(data).digest('hex'));
  });

  test('an exec whose output nobody reads waits, and others go on', async () => {
    const exec = await shell('yes | head -c 4000000; echo end >&2');
    await sleep(300);
    assert.equal(await output('echo others'), 'others\n');
    const all = await text(exec.streams.stdout);
    assert.equal(all.length, 4_000_000);
    assert.equal(await text(exec.streams.stderr), 'end\n');
    assert.equal((await exec.exit).code, 0);
  });

  test('what a process wrote before its end arrives, though another still holds the pipe', async () => {
    const exec = await shell('sleep 100 & head -c 50000 /dev/zero | tr "\\0" x; echo; echo $!');
    const { code } = await exec.exit;
    const all = await text(exec.streams.stdout);
    assert.equal(code, 0);
    assert.match(all, /^x{50000}\n\d+\n$/);
    await output(`kill ${all.split('\n')[1]}`);
  });

  test('a terminal has its size, its name, its signals and its own session', async () => {
    const exec = await agent.exec(
      guestProcess(
        [
          'sh',
          '-c',
          'tty; stty size; trap "stty size" WINCH; trap "echo got INT; exit 5" INT; echo up; while :; do sleep 0.1; done',
        ],
        {
          tty: true,
          stdin: true,
          size: { columns: 77, rows: 33 },
        },
      ),
    );
    let seen = '';
    const until = async (part: string): Promise<void> => {
      for (const late = Date.now() + 60_000; !seen.includes(part); await sleep(20))
        assert.ok(Date.now() < late, `no ${JSON.stringify(part)} in ${JSON.stringify(seen)}`);
    };
    exec.streams.stdout.on('data', (chunk: Buffer) => (seen += chunk.toString()));
    await until('up');
    assert.match(seen, /^\/dev\/pts\/\d+\r\n33 77\r\n/);
    await exec.resize({ columns: 100, rows: 40 });
    await until('40 100');
    exec.streams.stdin!.write('\x03');
    await until('got INT');
    assert.equal((await exec.exit).code, 5);
  });

  test('signals reach an exec, and how one ended it is told', async () => {
    const exec = await shell('trap "echo term; exit 9" TERM; echo up; while :; do sleep 0.1; done');
    const first = new Promise((resolve) => exec.streams.stdout.once('data', resolve));
    await first;
    await exec.signal(sigterm);
    assert.equal((await exec.exit).code, 9);
    const other = await shell('exec sleep 1000');
    await other.signal(sigkill);
    assert.deepEqual(await other.exit, { code: 137, oomKilled: false });
    await assert.rejects(other.signal(sigkill), { code: 'guestFailed', message: /ESRCH/ });
    await assert.rejects(agent.resize({ columns: 1, rows: 1 }), { code: 'guestFailed', message: /ENOTTY/ });
  });

  test('many execs run at once', async () => {
    const results = await Promise.all(Array.from({ length: 20 }, (_, index) => output(`echo ${index}`)));
    assert.deepEqual(
      results,
      Array.from({ length: 20 }, (_, index) => `${index}\n`),
    );
  });

  test('orphans do not stay as zombies of the agent', async () => {
    await output('(sleep 0.1 &) ; true');
    await sleep(500);
    const { processes } = await agent.processes();
    assert.ok(!processes.some((row) => row.join(' ').includes('sleep 0.1')), JSON.stringify(processes));
  });

  test('stats count what the workload uses', async () => {
    const stats = await agent.stats();
    assert.ok(stats.cpu.usage > 0);
    assert.ok(stats.memory.current > 0);
    assert.ok((stats.memory.stat.anon ?? 0) > 0);
    assert.ok(stats.pids >= 2, String(stats.pids));
    assert.ok(stats.guest.memoryTotal > 100 * 1024 * 1024);
    assert.ok(stats.guest.uptime > 0);
    assert.equal(stats.oomKills, 0);
  });

  test('processes are listed as the workload sees them', async () => {
    const { titles, processes } = await agent.processes();
    assert.equal(titles.length, 8);
    const first = processes.find((row) => row[1] === '1');
    assert.equal(first?.at(-1), 'sh -c echo ready; cat; echo end of input');
    assert.ok(processes.some((row) => row[2] === '1' && row[7] === 'cat'));
  });

  test('the clock follows the host, and the random pool takes a seed', async () => {
    await agent.clock(1_900_000_000_000_000_000n);
    assert.match(await output('date +%s'), /^19000000\d\d\n$/);
    await agent.clock(BigInt(Date.now()) * 1_000_000n);
    await agent.reseed('00'.repeat(32));
    await assert.rejects(agent.reseed('xy'), { code: 'guestFailed' });
  });

  test('the root is as a container expects it', async () => {
    const dev = await output(
      'ls -l /dev; echo x > /dev/null; head -c 3 /dev/zero | wc -c; stat -c %a /dev/shm',
    );
    for (const name of [
      'null',
      'zero',
      'full',
      'random',
      'urandom',
      'tty',
      'pts',
      'shm',
      'mqueue',
      'ptmx -> pts/ptmx',
      'fd -> /proc/self/fd',
      'stdout -> /proc/self/fd/1',
    ])
      assert.ok(dev.includes(name), `${name} in ${dev}`);
    assert.match(dev, /\n3\n1777\n$/);
    assert.equal(await output('cat /proc/kcore; ls /sys/firmware'), '');
    const forbidden = await shell('echo 1 > /proc/sys/kernel/printk');
    assert.notEqual((await forbidden.exit).code, 0);
    assert.doesNotMatch(await output('cat /proc/mounts'), /rootfs|modules|share/);
  });

  test('a client that goes hangs up its execs, but not those it detached', async () => {
    const lost = await shell('trap "echo hup > /tmp/hup; exit" HUP; echo up; while :; do sleep 0.1; done');
    await new Promise((resolve) => lost.streams.stdout.once('data', resolve));
    const stubborn = await shell('trap "" HUP; echo up; while :; do sleep 0.123; done');
    await new Promise((resolve) => stubborn.streams.stdout.once('data', resolve));
    const kept = await agent.exec(
      guestProcess(['sh', '-c', 'sleep 3; yes | head -c 600000; touch /tmp/kept']),
      {
        detached: true,
      },
    );
    agent.close();
    await assert.rejects(lost.exit, { code: 'guestGone' });
    await assert.rejects(kept.exit, { code: 'guestGone' });
    agent = await machine.connect();
    assert.equal(agent.welcome.workload, 'running');
    const settled = async (): Promise<string> => await output('ls /tmp; ps');
    for (const late = Date.now() + 60_000; ; await sleep(200)) {
      const now = await settled();
      if (/hup/.test(now) && /kept/.test(now) && !now.includes('sleep 0.123')) break;
      assert.ok(Date.now() < late, now);
    }
  });

  test('a new client gets in after one that left in the middle of a frame', async () => {
    agent.close();
    const rude = connect({ path: machine.agentSocket });
    await new Promise((resolve) => rude.once('connect', resolve));
    await new Promise<void>((resolve) => {
      rude.write(encodeFrame(frameType.stdin, 1, Buffer.alloc(100_000)).subarray(0, 5000), () => resolve());
    });
    await sleep(200);
    rude.destroy();
    agent = await machine.connect();
    assert.equal(await output('echo in'), 'in\n');
  });

  test('frames that no sound host sends do no harm', async () => {
    const execution = Buffer.from('arg\0true');
    const hostile = [
      ...Object.values(frameType)
        .filter((type) => type !== frameType.powerOff && type !== frameType.hello)
        .flatMap((type) => [
          encodeFrame(type, 0, Buffer.from('x')),
          encodeFrame(type, 77, Buffer.alloc(0)),
          encodeFrame(type, 77, execution),
          encodeFrame(
            type,
            77,
            Buffer.from(
              [
                'signal',
                '-1',
                'session',
                '99999',
                'columns',
                '999999',
                'time',
                'x',
                'uid',
                '-1',
                'arg',
                'true',
                '',
              ].join('\0'),
            ),
          ),
          encodeFrame(type, 77, Buffer.alloc(70_000, 'uid\0x\0')),
        ]),
      encodeFrame(200, 1, Buffer.alloc(1000)),
      Buffer.alloc(3000, 0xff),
    ];
    agent.close();
    const socket = connect({ path: machine.agentSocket });
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.resume();
    for (const frame of hostile) socket.write(frame);
    await new Promise<void>((resolve) => socket.end(resolve));
    await sleep(300);
    socket.destroy();
    agent = await machine.connect();
    assert.equal(await output('echo unharmed'), 'unharmed\n');
    assert.equal(agent.welcome.workload, 'running');
  });

  test('a client that asks and never reads does not stop the workload', async () => {
    agent.close();
    const socket = connect({ path: machine.agentSocket });
    await new Promise((resolve) => socket.once('connect', resolve));
    for (let session = 1; session < 3000; session++) socket.write(encodeFrame(frameType.stats, session));
    const before = machine.port.stdout.length;
    await machine.port.write(Buffer.from('still here\n'));
    await machine.port.until((stdout) => stdout.slice(before).includes('still here'));
    socket.destroy();
    agent = await machine.connect();
    assert.equal(await output('echo back'), 'back\n');
  });

  test("the end of the workload's input ends it, its exit is told last, and the guest goes", async () => {
    const data = Buffer.alloc(300_000, 'y');
    const before = machine.port.stdout.length;
    const running = await shell('exec sleep 1000');
    await machine.port.write(data);
    machine.port.send(frameType.stdinEnd);
    assert.deepEqual(await machine.port.exit, { code: 0, oom: false });
    const all = machine.port.stdout.subarray(before);
    assert.equal(all.length, data.length + 'end of input\n'.length);
    assert.deepEqual(await running.exit, { code: 137, oomKilled: false });
    machine.port.send(frameType.done);
    await machine.ended;
  });
});

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
