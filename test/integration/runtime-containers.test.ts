import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile, readlink, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Exit, Workload } from '../../src/engine/runtime.ts';
import { detectCgroups } from '../../src/host/cgroup/detect.ts';
import { CAP_SYS_RESOURCE, hasCapability } from '../../src/host/limits.ts';
import { isIsleError } from '../../src/lib/errors.ts';
import { newId } from '../../src/lib/ids.ts';
import { type OciFixture, ociFixture } from '../fixtures/oci.ts';
import { outputOf, textOf, until } from '../fixtures/streams.ts';

describe('containers of crun and conmon', { concurrency: false }, () => {
  let fixture: OciFixture;
  before(async () => {
    fixture = await ociFixture();
  });
  after(async () => await fixture.dispose());

  async function start(changes: Partial<Workload>): Promise<Workload> {
    const workload = await fixture.workload(changes);
    await fixture.runtime.create(workload);
    await fixture.runtime.start(workload.id);
    return workload;
  }

  /** Runs a shell script to its end. */
  async function sh(script: string, changes: Partial<Workload> = {}): Promise<{ out: string; exit: Exit }> {
    const { runtime } = fixture;
    const workload = await fixture.workload({ args: ['sh', '-c', script], ...changes });
    await runtime.create(workload);
    const output = outputOf(await runtime.attach(workload.id));
    await runtime.start(workload.id);
    const exit = await runtime.wait(workload.id);
    const { stdout, stderr } = await output;
    await runtime.delete(workload.id);
    return { out: stdout + stderr, exit };
  }

  async function refused(changes: Partial<Workload>, message: RegExp): Promise<void> {
    const workload = await fixture.workload(changes);
    await assert.rejects(fixture.runtime.create(workload), (error) => {
      assert.ok(isIsleError(error, 'invalidParameter'), `${String(error)} ${JSON.stringify(changes)}`);
      assert.match(error.message, message);
      return true;
    });
    assert.ok(!(await fixture.runtime.leftovers()).includes(workload.id));
  }

  test('a terminal has its size, echoes, and is resized', async () => {
    const { runtime } = fixture;
    const workload = await fixture.workload({
      args: [
        'sh',
        '-c',
        'stty size; read A; until stty size | grep "40 100"; do sleep 0.02; done; echo got $A; tty',
      ],
      tty: true,
      stdin: true,
      stdinOnce: true,
      size: { columns: 91, rows: 33 },
    });
    await runtime.create(workload);
    const streams = await runtime.attach(workload.id);
    streams.stderr.resume();
    const first = until(streams.stdout, '33 91');
    await runtime.start(workload.id);
    await first;
    await runtime.resize(workload.id, { columns: 100, rows: 40 });
    const rest = textOf(streams.stdout);
    streams.stdin!.write('word\n');
    const text = await rest;
    assert.match(text, /40 100\r\n/);
    assert.match(text, /got word\r\n/);
    assert.match(text, /\/dev\/pts\/0/);
    await runtime.delete(workload.id);
  });

  test('a resize before the start is kept', async () => {
    const { runtime } = fixture;
    const workload = await fixture.workload({ args: ['stty', 'size'], tty: true });
    await runtime.create(workload);
    await runtime.resize(workload.id, { columns: 77, rows: 22 });
    const output = outputOf(await runtime.attach(workload.id));
    await delay(50);
    await runtime.start(workload.id);
    assert.equal((await output).stdout, '22 77\r\n');
    await runtime.delete(workload.id);
  });

  test('an exec has a terminal of its own, users, groups, a directory and privileges', async () => {
    const { runtime } = fixture;
    const { id } = await start({ args: ['sleep', '100'] });
    const exec = async (changes: object) => {
      const session = await runtime.exec(id, {
        id: newId(),
        args: ['sh', '-c', 'id; pwd; grep CapEff /proc/self/status'],
        env: ['PATH=/bin'],
        cwd: '/',
        user: '',
        tty: false,
        stdin: false,
        privileged: false,
        ...changes,
      });
      return (await outputOf(session.streams)).stdout;
    };
    assert.match(
      await exec({ user: 'user', cwd: '/tmp' }),
      /uid=1000\(user\) gid=1000\(user\) groups=.*44\(video\).*\n\/tmp\n/,
    );
    assert.match(await exec({ user: '1234:video' }), /uid=1234 gid=44\(video\)/);
    assert.match(await exec({}), /CapEff:\s*00000000a80425fb/);
    assert.match(await exec({ privileged: true }), /CapEff:\s*000001[ef]f/);
    assert.match(
      await exec({ tty: true, args: ['sh', '-c', 'tty; stty size'], size: { columns: 60, rows: 20 } }),
      /\/dev\/pts\/\d+\r\n20 60\r\n/,
    );
    await runtime.delete(id);
  });

  test('an exec loses no output to a slow reader, and what it leaves behind does not hold its streams', async () => {
    const { runtime } = fixture;
    const { id } = await start({ args: ['sleep', '100'] });
    const run = async (script: string) =>
      await runtime.exec(id, {
        id: newId(),
        args: ['sh', '-c', script],
        env: ['PATH=/bin'],
        cwd: '/',
        user: '',
        tty: false,
        stdin: false,
        privileged: false,
      });
    const big = await run('dd if=/dev/zero bs=65536 count=32 2>/dev/null; echo to-stderr > /dev/stderr');
    await delay(400);
    assert.deepEqual(await outputOf(big.streams).then(({ stdout, stderr }) => [stdout.length, stderr]), [
      32 * 65_536,
      'to-stderr\n',
    ]);
    const daemon = await run('sleep 50 & echo started');
    assert.equal((await daemon.exit).code, 0);
    assert.equal((await outputOf(daemon.streams)).stdout, 'started\n');
    await runtime.delete(id);
  });

  test('what a daemon created and started survives its death by SIGKILL', async () => {
    const workload = await fixture.workload({
      args: ['sh', '-c', 'echo before; read A; echo after $A; exit 21'],
      stdin: true,
    });
    const script = `
      import { createOciRuntime } from ${JSON.stringify(join(import.meta.dirname, '../../src/runtimes/oci/runtime.ts'))};
      import { silentLog } from ${JSON.stringify(join(import.meta.dirname, '../../src/lib/log.ts'))};
      const runtime = await createOciRuntime({ ...${JSON.stringify(fixture.options)}, log: silentLog() });
      const workload = ${JSON.stringify(workload)};
      await runtime.create(workload);
      await runtime.attach(workload.id);
      await runtime.start(workload.id);
      console.log('started');
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const gone = new Promise((resolve) => child.once('exit', resolve));
    await until(child.stdout, 'started');
    child.kill('SIGKILL');
    await gone;
    const runtime = await fixture.restart();
    const found = await runtime.recover(workload.id);
    assert.equal(found.state, 'running');
    const streams = await runtime.attach(workload.id);
    const output = outputOf(streams);
    const waiting = runtime.wait(workload.id);
    streams.stdin!.write('it\n');
    assert.equal((await waiting).code, 21);
    assert.match((await output).stdout, /^(before\n)?after it\n$/);
    const log = await readFile(workload.logPath!, 'utf8');
    assert.match(log, /^\S+\+00:00 stdout F before$/m);
    assert.match(log, /stdout F after it$/m);
    const over = await (await fixture.restart()).recover(workload.id);
    assert.equal(over.state === 'exited' && over.exit.code, 21);
    await runtime.delete(workload.id);
  });

  test('a killed monitor ends the container, and that is noticed', async () => {
    const { id } = await start({ args: ['sleep', '100'] });
    const { runtime } = fixture;
    const [pid = 0] = await runtime.processes(id);
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
    process.kill(Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]), 'SIGKILL');
    assert.equal((await runtime.wait(id)).code, 255);
    await runtime.delete(id);
  });

  test('running out of memory is told', async () => {
    const { exit } = await sh('exec tail /dev/zero', { resources: { memory: 16 * 1024 * 1024 } });
    assert.equal(exit.code, 137);
    assert.equal(exit.oomKilled, true);
    const child = await sh('tail /dev/zero; exit 3', { resources: { memory: 16 * 1024 * 1024 } });
    assert.deepEqual([child.exit.code, child.exit.oomKilled], [3, true]);
  });

  test('the oom score is the asked one, and never below the daemon’s default for others', async () => {
    const { runtime } = fixture;
    const { id } = await start({ args: ['sleep', '100'], oomScoreAdj: 300 });
    const session = await runtime.exec(id, {
      id: newId(),
      args: ['sh', '-c', 'sleep 0.2; cat /proc/1/oom_score_adj /proc/self/oom_score_adj'],
      env: ['PATH=/bin'],
      cwd: '/',
      user: '',
      tty: false,
      stdin: false,
      privileged: false,
    });
    assert.equal((await outputOf(session.streams)).stdout, '300\n300\n');
    await runtime.delete(id);
  });

  test('limits reach the cgroup, and can be changed all together or not at all', async () => {
    const { runtime } = fixture;
    const { id } = await start({
      args: ['sleep', '100'],
      resources: { memory: 32 << 20, nanoCpus: 500_000_000, pidsLimit: 50, cpuShares: 512, cpusetCpus: '0' },
    });
    const limit = async () => (await runtime.stats(id)).memory.limit;
    assert.equal(await limit(), 32 << 20);
    assert.equal((await runtime.stats(id)).pids.limit, 50);
    await runtime.update(id, { memory: 64 << 20, pidsLimit: 70 });
    assert.equal(await limit(), 64 << 20);
    assert.equal((await runtime.stats(id)).pids.limit, 70);
    await assert.rejects(runtime.update(id, { memory: 128 << 20, cpusetCpus: '4000' }), (error) =>
      isIsleError(error, 'invalidParameter'),
    );
    await assert.rejects(runtime.update(id, { memory: 1000 }), /6MB/);
    assert.equal(await limit(), 64 << 20);
    await runtime.update(id, { memory: 24 << 20 });
    assert.equal(await limit(), 24 << 20);
    await runtime.delete(id);
  });

  test('limits that the host cannot set are refused with a reason', async () => {
    await refused({ resources: { memory: 1000 } }, /6MB/);
    await refused({ resources: { nanoCpus: 1000e9 } }, /only \d+ CPUs available/);
    await refused({ resources: { cpusetCpus: '999' } }, /not available - requested 999/);
    await refused(
      { ulimits: [{ name: 'nofile', soft: 1 << 30, hard: 1 << 30 }] },
      /CAP_SYS_RESOURCE|cannot be set/,
    );
    await refused({ ulimits: [{ name: 'nonsense', soft: 1, hard: 1 }] }, /invalid ulimit type/);
    if (!hasCapability(CAP_SYS_RESOURCE)) await refused({ oomScoreAdj: -1000 }, /oom score adj/);
    await refused({ capAdd: ['NONSENSE'] }, /unknown capability/);
    await refused({ sysctls: { 'kernel.panic': '1' } }, /would change the host/);
    await refused({ sysctls: { 'net.ipv4.ip_forward': '1' } }, /host network namespace/);
    await refused(
      { devices: [{ hostPath: '/dev/nope', containerPath: '', permissions: '' }] },
      /no such file/,
    );
    await refused(
      { devices: [{ hostPath: '/etc/passwd', containerPath: '', permissions: '' }] },
      /not a device node/,
    );
    await refused({ securityOpt: ['apparmor=strict'] }, /AppArmor/);
    await refused({ securityOpt: ['seccomp={bad'] }, /invalid seccomp profile/);
    await refused({ args: [] }, /no command specified/);
    await refused(
      { mounts: [{ type: 'bind', source: '/no/such', target: '/x', readOnly: false }] },
      /bind source path does not exist: \/no\/such/,
    );
    await refused(
      { mounts: [{ type: 'bind', source: '/tmp', target: '/', readOnly: false }] },
      /invalid mount target/,
    );
    await refused({ cgroupParent: '../..' }, /cgroup parent/);
  });

  test('a parent group that was asked for goes with the last container in it, unless it was there before', async () => {
    const { runtime, instance } = fixture;
    const cgroups = await detectCgroups();
    const [made, found] = [`/${instance}-made`, `/${instance}-found`];
    const exists = (path: string) => cgroups.cgroup(path).exists();
    await cgroups.cgroup(found).create();
    try {
      const changes = { args: ['sleep', '1000'] };
      const one = await start({ ...changes, cgroupParent: `${made}/a/b` });
      const two = await start({ ...changes, cgroupParent: `${made}/a` });
      const three = await start({ ...changes, cgroupParent: `${found}/c` });
      await runtime.delete(one.id);
      assert.deepEqual([await exists(`${made}/a/b`), await exists(`${made}/a`)], [false, true]);
      await runtime.delete(two.id);
      assert.deepEqual([await exists(`${made}/a`), await exists(made)], [false, false]);
      await runtime.delete(three.id);
      assert.deepEqual([await exists(`${found}/c`), await exists(found)], [false, true]);
    } finally {
      await cgroups.cgroup(found).remove();
    }
  });

  test('ulimits, shm size, hostname, sysctls and read-only roots are as asked', async () => {
    const { out } = await sh(
      'ulimit -n; ulimit -c; hostname; df -k /dev/shm | tail -1; touch /x; cat /proc/sys/kernel/msgmax; echo $HOME $PATH',
      {
        ulimits: [
          { name: 'nofile', soft: 100, hard: 200 },
          { name: 'core', soft: 0, hard: 0 },
        ],
        shmSize: 1 << 20,
        hostname: 'some-name',
        readonlyRootfs: true,
        sysctls: { 'kernel.msgmax': '12345' },
      },
    );
    assert.match(out, /^100\n0\nsome-name\n/);
    assert.match(out, /\s1024\s/);
    assert.match(out, /Read-only file system/);
    assert.match(out, /\n12345\n\/root \/usr\/local\/sbin:/);
  });

  test('binds are shared, read-only ones recursively, and tmpfs has its options', async () => {
    const source = join(fixture.directory, 'shared');
    await mkdir(source);
    await writeFile(join(source, 'file'), 'content');
    const { out } = await sh(
      'cat /in/file; touch /ro/new || echo refused; echo x > /in/written; grep " /t " /proc/mounts; mount | grep -c /ro',
      {
        mounts: [
          { type: 'bind', source, target: '/in', readOnly: false },
          { type: 'bind', source, target: '/ro', readOnly: true, recursiveReadOnly: true },
          { type: 'tmpfs', source: '', target: '/t', readOnly: false, options: ['size=65536', 'mode=1777'] },
        ],
      },
    );
    assert.match(out, /^content/);
    assert.match(out, /refused/);
    assert.match(out, /tmpfs \/t tmpfs rw,nosuid,nodev,noexec.*size=64k/);
    assert.equal(await readFile(join(source, 'written'), 'utf8'), 'x\n');
  });

  test('an init reaps and forwards signals', async () => {
    const { runtime } = fixture;
    const { id } = await start({ args: ['sleep', '100'], init: true });
    for (let tries = 0; tries < 100 && (await runtime.processes(id)).length < 2; tries++) await delay(10);
    assert.equal((await runtime.processes(id)).length, 2);
    await runtime.signal(id, 15);
    assert.equal((await runtime.wait(id)).code, 143);
    await runtime.delete(id);
  });

  test('namespaces of the host and of another container are joined', async () => {
    const { runtime } = fixture;
    const first = await start({ args: ['sleep', '100'], hostname: 'first' });
    const [host = 0] = await runtime.processes(first.id);
    const joined = await sh('hostname; cat /proc/1/comm', { pid: { pid: host }, uts: { pid: host } });
    assert.match(joined.out, /^first\nsleep\n/);
    const hostPid = await sh('readlink /proc/self/ns/pid', { pid: 'host' });
    assert.equal(hostPid.out, `${await readlink('/proc/self/ns/pid')}\n`);
    const left = await start({ args: ['sh', '-c', 'sleep 1000 & exit 0'], pid: { pid: host } });
    await runtime.wait(left.id);
    assert.equal((await runtime.processes(left.id)).length, 1);
    await runtime.delete(left.id);
    await runtime.delete(first.id);
  });

  test('shared memory is shared with who joins a shareable IPC namespace', async () => {
    const { runtime } = fixture;
    const owner = await start({
      args: ['sh', '-c', 'echo hello > /dev/shm/word; df -k /dev/shm | tail -1 > /dev/shm/size; sleep 100'],
      ipc: 'shareable',
      shmSize: 1 << 20,
    });
    const [pid = 0] = await runtime.processes(owner.id);
    const { out } = await sh(
      'until [ -s /dev/shm/size ]; do sleep 0.02; done; cat /dev/shm/word /dev/shm/size',
      {
        ipc: { pid },
      },
    );
    assert.match(out, /^hello\nshm\s+1024\s/);
    const mounted = async () =>
      (await readFile('/proc/self/mountinfo', 'utf8')).includes(`containers/${owner.id}/shm`);
    assert.equal(await mounted(), true);
    await runtime.delete(owner.id);
    assert.equal(await mounted(), false);
  });

  test('the host’s namespaces, no IPC at all, and privileges', async () => {
    const links = 'for n in pid ipc uts cgroup; do readlink /proc/self/ns/$n; done; ';
    const own = await Promise.all(
      ['pid', 'ipc', 'uts', 'cgroup'].map((name) => readlink(`/proc/self/ns/${name}`)),
    );
    const host = { pid: 'host', ipc: 'host', uts: 'host', cgroupns: 'host' } as const;
    const shared = await sh(`${links} ls -d /dev/shm /dev/mqueue`, host);
    assert.equal(shared.out, `${own.join('\n')}\n/dev/mqueue\n/dev/shm\n`);
    const { out } = await sh(`${links} ls -d /dev/shm`, { ipc: 'none' });
    assert.ok(!own.some((link) => out.includes(link)), out);
    assert.match(out, /shm: No such file/);
    const all = await sh(
      'grep -E "CapBnd|Seccomp:" /proc/self/status; mount -t tmpfs t /tmp && echo mounted; echo 8192 > /proc/sys/kernel/msgmax && echo set; [ -c /dev/kmsg ] && echo device',
      { privileged: true },
    );
    assert.match(all.out, /CapBnd:\s*000001fff[ef]ffffff\nSeccomp:\s*0\nmounted\nset\ndevice\n/);
  });

  test('attaching, resizing and executing over and over leaves no descriptor behind', async () => {
    const { runtime } = fixture;
    const { id } = await start({ args: ['sh', '-c', 'read A'], tty: true, stdin: true });
    const round = async (count: number) => {
      for (let n = 0; n < count; n++) {
        const streams = await runtime.attach(id);
        streams.stdout.resume();
        streams.close();
        await runtime.resize(id, { columns: 80 + n, rows: 25 });
        if (n % 10 > 0) continue;
        const spec = { env: ['PATH=/bin'], cwd: '/', user: '', stdin: n % 20 > 0, privileged: false };
        const session = await runtime.exec(id, { ...spec, id: newId(), args: ['true'], tty: n % 30 === 0 });
        const output = outputOf(session.streams);
        await session.exit;
        await output;
      }
    };
    const open = async () => (await readdir('/proc/self/fd')).length;
    await round(20);
    await delay(300);
    const earlier = await open();
    await round(200);
    for (let tries = 0; tries < 100 && (await open()) > earlier; tries++) await delay(20);
    assert.ok((await open()) <= earlier, `${await open()} descriptors, ${earlier} before`);
    assert.deepEqual(await readdir(join(fixture.options.runRoot, 'pids')), []);
    assert.deepEqual(await readdir(join(fixture.options.runRoot, 'containers', id, 'execs')), []);
    await runtime.delete(id);
  });

  test('a log is written anew after it was moved away', async () => {
    const { runtime } = fixture;
    const workload = await start({ args: ['sh', '-c', 'echo one; read A; echo two'], stdin: true });
    const streams = await runtime.attach(workload.id);
    for (let tries = 0; tries < 100 && !(await readFile(workload.logPath!, 'utf8')).includes('one'); tries++)
      await delay(10);
    await rename(workload.logPath!, `${workload.logPath}.1`);
    await runtime.reopenLog(workload.id);
    for (let tries = 0; tries < 100; tries++) {
      const there = await readFile(workload.logPath!).catch(() => undefined);
      if (there) break;
      await delay(10);
    }
    streams.stdin!.write('x\n');
    await runtime.wait(workload.id);
    assert.match(await readFile(workload.logPath!, 'utf8'), /^\S+ stdout F two\n$/);
    assert.match(await readFile(`${workload.logPath}.1`, 'utf8'), /^\S+ stdout F one\n$/);
    streams.close();
    await runtime.delete(workload.id);
  });

  test('a client that reads slowly loses nothing, and one that never reads does not stop another for good', async () => {
    const { runtime } = fixture;
    const workload = await fixture.workload({
      args: ['sh', '-c', 'dd if=/dev/zero bs=65536 count=64; echo end >&2'],
      logPath: undefined,
    });
    await runtime.create(workload);
    const slow = await runtime.attach(workload.id);
    const idle = await runtime.attach(workload.id);
    slow.stderr.resume();
    await runtime.start(workload.id);
    let bytes = 0;
    const reading = (async () => {
      for await (const chunk of slow.stdout) {
        bytes += chunk.length;
        if (bytes % 500_000 < 10_000) await delay(1);
      }
    })();
    await delay(300);
    assert.ok(bytes < 64 * 65_536, 'a client that does not read holds the process back');
    idle.close();
    await reading;
    assert.equal(bytes, 64 * 65_536);
    await runtime.delete(workload.id);
  });
});
