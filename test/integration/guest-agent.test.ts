/** A guest's agent beside a long-lived workload, in a real guest booted by hand. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GuestAgent, GuestExec } from '../../src/runtimes/microvm/guest/agent.ts';
import { encodeFrame } from '../../src/runtimes/microvm/guest/frame-codec.ts';
import { frameType } from '../../src/runtimes/microvm/protocol.ts';
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
    agent = await machine.connect(undefined, true);
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
